"""Errors as RFC 9457 problem details: one middleware maps ours and aiohttp's."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import orjson
import structlog
from aiohttp import web

from aggsvc.errors import (
    AggsvcError,
    Conflict,
    InvalidRequest,
    NotFound,
    StoreFull,
    StoreUnavailable,
    UnsupportedMedia,
)

PROBLEM_JSON = "application/problem+json"
RETRY_SECONDS = "5"

STATUSES: dict[type[AggsvcError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreFull: HTTPStatus.INSUFFICIENT_STORAGE,
}
INTERNAL = "an internal error; see the log"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with problem details; what is not foreseen is logged and 500."""
    try:
        return await handler(request)
    except AggsvcError as error:
        return problem(*refusal(request, error))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _of_http_exception(request, error)
    except ConnectionError:
        log.info("client hung up", method=request.method, path=request.path)
        return web.Response(status=HTTPStatus.BAD_REQUEST)  # that nobody reads
    except Exception:
        log.exception("request broke", method=request.method, path=request.path)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL)


def problem(status: HTTPStatus, detail: str) -> web.Response:
    """A problem details answer with that one sentence."""
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    headers = {"Retry-After": RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return web.Response(
        status=status,
        body=orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE),
        content_type=PROBLEM_JSON,
        headers=headers,
    )


def refusal(request: web.Request, error: AggsvcError) -> tuple[HTTPStatus, str]:
    """The status and the sentence that answer an error of ours.

    What only the operator may know, such as the paths of files, is logged instead.
    """
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request broke", method=request.method, path=request.path, exc_info=error)
        return status, INTERNAL
    if isinstance(error, StoreUnavailable):
        log.warning("request refused", path=request.path, reason=str(error))
        return status, error.public
    return status, str(error)


def status_of(error: AggsvcError) -> HTTPStatus:
    """The status that answers an error of ours; one that no client can cause is 500."""
    known = (STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def _of_http_exception(request: web.Request, error: web.HTTPException) -> web.Response:
    status = HTTPStatus(error.status)
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not among what {request.path} takes: "
        + error.headers.get("Allow", ""),
    }
    answer = problem(status, details.get(status, error.reason))
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer
