"""The fields that every answer has, whoever makes it; a handler that set one keeps its own."""

from http import HTTPStatus

from aiohttp import web

from aggsvc.http.operations import Header

# What a page may load and be loaded by: its own origin and nobody. No inline script or style; the
# style sheets have small images within them.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# For bytes that a client has sent: nothing in them may run, whatever a browser takes them for.
ATTACHMENT_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"

EVERY_ANSWER = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# aiohttp would name itself, its version and Python's.
SERVER = "aggsvc"
COME_BACK = Header("Retry-After", "After how many seconds to try again.", pattern="^[0-9]+$")
# What an answer of this status has beside them, as its description says.
OF_STATUSES = {
    HTTPStatus.UNAUTHORIZED: Header(
        "WWW-Authenticate", "That a token is asked for, and what is wrong with one that came."
    ),
    HTTPStatus.FORBIDDEN: Header(
        "WWW-Authenticate", "Which scope is needed, if the token's is too narrow.", required=False
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: Header("Allow", "The methods that the path takes."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Header(
        "Accept-Encoding", "How a body may be encoded: not at all.", pattern="^identity$"
    ),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: Header(
        "Content-Range", "How many bytes there are.", pattern=r"^bytes \*/[0-9]+$"
    ),
    HTTPStatus.TOO_MANY_REQUESTS: COME_BACK,
    HTTPStatus.SERVICE_UNAVAILABLE: COME_BACK,
}
# What these are where nobody knows better.
DEFAULTS = {"Accept-Encoding": "identity", "Retry-After": "5"}


def keep_own(answer: web.Response, error: web.HTTPException) -> None:
    """Have the answer to an error tell what an error of its status has to tell beside it."""
    own = OF_STATUSES.get(HTTPStatus(error.status))
    if own and own.name in error.headers:
        answer.headers[own.name] = error.headers[own.name]


async def add_answer_headers(_request: web.Request, answer: web.StreamResponse) -> None:
    """An on_response_prepare: complete the answer's head before it is sent."""
    complete(answer)


def complete(answer: web.StreamResponse) -> None:
    """Set what the answer lacks of what every answer has."""
    fields = answer.headers
    fields["Server"] = SERVER
    for name, value in EVERY_ANSWER.items():
        fields.setdefault(name, value)
    # What may be shown again must say so itself, by a tag to ask with.
    fields.setdefault("Cache-Control", "no-cache" if "ETag" in fields else "no-store")
    own = OF_STATUSES.get(HTTPStatus(answer.status))
    if own and own.name in DEFAULTS:
        fields.setdefault(own.name, DEFAULTS[own.name])
