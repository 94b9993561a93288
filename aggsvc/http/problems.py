"""Errors as RFC 9457 problem details: one middleware maps ours and aiohttp's."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import orjson
import structlog
from aiohttp import HttpVersion10, web
from aiohttp.hdrs import CONTENT_ENCODING

from aggsvc.errors import AggsvcError, Busy, StoreUnavailable, UnsupportedMedia
from aggsvc.http.answer_headers import complete, keep_own
from aggsvc.http.kinds import (
    INTERNAL,
    MALFORMED_HTTP,
    METHOD_NOT_ALLOWED,
    NOTHING_HERE,
    ProblemKind,
    kind_of,
    kind_of_status,
)

PROBLEM_JSON = "application/problem+json"
INTERNAL_DETAIL = "an internal error; see the log"
NO_VERSION = "the request line names no version of HTTP; end it with HTTP/1.1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with problem details; what is not foreseen is logged and 500.

    The connection ends with a refusal that leaves some of the request's body unread.
    """
    answer = await _answer(request, handler)
    if answer.status >= HTTPStatus.BAD_REQUEST and not request.content.is_eof():
        answer.force_close()
    return answer


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.version < HttpVersion10:  # which the parser takes a line without any for
        return problem(MALFORMED_HTTP, NO_VERSION)
    try:
        _refuse_encoded(request)
        return await handler(request)
    except AggsvcError as error:
        _status, detail = refusal(request, error)
        return problem(kind_of(type(error)), detail, error.field)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _of_http_exception(request, error)
    except (ConnectionError, TimeoutError):
        log.info("client hung up", method=request.method, path=request.path)
        return web.Response(status=HTTPStatus.BAD_REQUEST)  # that nobody reads
    except Exception:
        log.exception("request broke", method=request.method, path=request.path)
        return problem(INTERNAL, INTERNAL_DETAIL)


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong, where, and what would be right, as RFC 9457 has it.

    `type` leads to what documents the kind of problem. `field` names the parameter, header or form
    field that is at fault, if it is one. `request_id` finds the request in the log; null where what
    came could not be read as a request.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    request_id: str | None


def problem(kind: ProblemKind, detail: str, field: str | None = None) -> web.Response:
    """A problem details answer of that kind, with that one sentence."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    body = Problem(kind.type, kind.title, kind.status, detail, field, request_id)
    return web.Response(
        status=kind.status,
        body=orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE),
        content_type=PROBLEM_JSON,
    )


def problem_bytes(detail: str) -> bytes:
    """A whole 503 with that problem, for a connection that is to be closed unheard."""
    answer = problem(kind_of(Busy), detail)
    body = cast(bytes, answer.body)
    complete(answer)
    fields = {**answer.headers, "Content-Length": len(body), "Connection": "close"}
    lines = (f"{name}: {value}" for name, value in fields.items())
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n" + "\r\n".join(lines)
    return head.encode() + b"\r\n\r\n" + body


def _refuse_encoded(request: web.Request) -> None:
    encodings = request.headers.getall(CONTENT_ENCODING, [])
    if any(encoding.strip().lower() != "identity" for encoding in encodings):
        raise UnsupportedMedia(
            "the body has a Content-Encoding; send it as it is", field=CONTENT_ENCODING
        )


def refusal(request: web.Request, error: AggsvcError) -> tuple[HTTPStatus, str]:
    """The status and the sentence that answer an error of ours.

    What only the operator may know, such as the paths of files, is logged instead.
    """
    status = HTTPStatus(kind_of(type(error)).status)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request broke", method=request.method, path=request.path, exc_info=error)
        return status, INTERNAL_DETAIL
    if isinstance(error, StoreUnavailable):
        log.warning("request refused", path=request.path, reason=str(error))
        return status, error.public
    return status, str(error)


def _of_http_exception(request: web.Request, error: web.HTTPException) -> web.Response:
    kind = kind_of_status(error.status)
    allowed = error.headers.get("Allow", "")
    details = {
        NOTHING_HERE: f"there is nothing at {request.path}",
        METHOD_NOT_ALLOWED: f"{request.method} is not among what {request.path} takes: {allowed}",
    }
    answer = problem(kind, details.get(kind, error.reason))
    keep_own(answer, error)
    return answer
