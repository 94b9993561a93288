"""The fields that every answer has, whoever makes it; a handler that set one keeps its own."""

from http import HTTPStatus

from aiohttp import web

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
COME_BACK = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
RETRY_SECONDS = "5"


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
    if answer.status in COME_BACK:
        fields.setdefault("Retry-After", RETRY_SECONDS)
