"""The server's protocol, but that it answers what is not HTTP with a problem, as all else."""

import asyncio
from http import HTTPStatus
from typing import Self

import structlog
from aiohttp import web
from aiohttp.hdrs import EXPECT
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong

from aggsvc.errors import UnknownExpectation
from aggsvc.http.answer_headers import complete
from aggsvc.http.kinds import HEAD_TOO_LARGE, INTERNAL, MALFORMED_HTTP, kind_of
from aggsvc.http.problems import INTERNAL_DETAIL, problem
from aggsvc.http.request_ids import bind_identity

UNKNOWN_EXPECTATION = "the expectation is not known; Expect is 100-continue"

log = structlog.get_logger()


class ProblemProtocol(web.RequestHandler):
    """One connection; what cannot be read as a request, and what breaks outside of the app."""

    __slots__ = ()

    @classmethod
    def of(cls, server: web.Server) -> Self:
        """A connection as the server itself would make it."""
        return cls(server, loop=asyncio.get_running_loop(), **server._kwargs)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; what an Expect that is not known gets before the app is asked, too."""
        if isinstance(resp, web.HTTPException) and resp.status == HTTPStatus.EXPECTATION_FAILED:
            resp = _expects_the_unknown(request)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A problem, after which the connection ends; nothing of the input is told or logged."""
        # aiohttp's own refusal of an Expect quotes it, and breaks where that is no text.
        is_no_text = isinstance(exc, UnicodeEncodeError) and EXPECT in request.headers
        answer = _expects_the_unknown(request) if is_no_text else _answer(exc, message or "")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it can only be broken off")
        complete(answer)
        answer.force_close()
        return answer


def _expects_the_unknown(request: web.BaseRequest) -> web.Response:
    bind_identity(request)
    answer = problem(kind_of(UnknownExpectation), UNKNOWN_EXPECTATION, EXPECT)
    answer.force_close()  # the body may follow or not
    return answer


def _answer(error: BaseException | None, message: str) -> web.Response:
    match error:
        case LineTooLong():
            detail = "the request line or a header is longer than is taken; shorten it"
            return problem(HEAD_TOO_LARGE, detail)
        case HttpProcessingError():
            why = _why(error, message)
            log.info("malformed request", reason=why)
            return problem(MALFORMED_HTTP, f"the request is not well-formed HTTP/1.1 ({why})")
        case ConnectionError():  # before the app was asked, as where it was to be told to go on
            log.info("client hung up")
            return web.Response(status=HTTPStatus.BAD_REQUEST)  # that nobody reads
    log.error("request broke", exc_info=error)
    return problem(INTERNAL, INTERNAL_DETAIL)


def _why(error: HttpProcessingError, message: str) -> str:
    if isinstance(error, InvalidURLError):
        return "Invalid URL"
    return message.partition(":")[0].strip().removesuffix(".")  # behind a colon comes input
