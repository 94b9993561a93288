"""OPTIONS on every route, and CORS for the origins that a setting names."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from aggsvc.http.compression import vary
from aggsvc.keys import SETTINGS

ANY, NONE = "*", "none"
# What a script of another origin may send, and may read, beside what CORS allows always.
MAY_SEND = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Range, "
    "traceparent, X-Request-ID"
)
MAY_READ = (
    "Accept-Encoding, Accept-Ranges, Allow, Content-Disposition, Content-Range, ETag, "
    "Idempotency-Replayed, Location, Retry-After, traceparent, WWW-Authenticate, X-Request-ID"
)
ASK_AGAIN_SECONDS = "600"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def options_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer OPTIONS of a path that there is: its methods."""
    wrong = request.match_info.http_exception
    if request.method != "OPTIONS" or not isinstance(wrong, web.HTTPMethodNotAllowed):
        return await handler(request)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": wrong.headers["Allow"]})


async def add_allowed_method(request: web.Request, answer: web.StreamResponse) -> None:
    """An on_response_prepare: each path that names its methods takes OPTIONS too."""
    if "Allow" in answer.headers:
        methods = {*answer.headers["Allow"].replace(" ", "").split(","), "OPTIONS"}
        answer.headers["Allow"] = ", ".join(sorted(methods))


async def add_cors_headers(request: web.Request, answer: web.StreamResponse) -> None:
    """An on_response_prepare: let scripts of the allowed origins read the answer.

    Never with credentials: such a script authenticates itself by a token, not by a cookie.
    """
    allowed = request.app[SETTINGS].cors_origins.split()
    if allowed == [NONE]:
        return
    vary(answer, "Origin")
    origin = request.headers.get("Origin", "")
    if ANY in allowed or origin in allowed:
        answer.headers["Access-Control-Allow-Origin"] = ANY if ANY in allowed else origin
        answer.headers["Access-Control-Expose-Headers"] = MAY_READ
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            answer.headers["Access-Control-Allow-Methods"] = answer.headers.get("Allow", "")
            answer.headers["Access-Control-Allow-Headers"] = MAY_SEND
            answer.headers["Access-Control-Max-Age"] = ASK_AGAIN_SECONDS
