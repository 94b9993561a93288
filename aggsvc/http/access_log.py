"""One line of the log for each request that was answered."""

from http import HTTPStatus

import structlog
from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, StreamResponse

READING = ("GET", "HEAD", "OPTIONS")

log = structlog.get_logger()


class AccessLog(AbstractAccessLogger):
    """Method, path, status, milliseconds and bytes; the request's id is bound to the context.

    What reads and is answered well is DEBUG, so that pages and scripts that ask again and again do
    not drown the rest; what changes something or is refused is INFO.
    """

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Write the line; aiohttp calls it in the request's own context."""
        is_quiet = request.method in READING and response.status < HTTPStatus.BAD_REQUEST
        write = log.debug if is_quiet else log.info
        write(
            "request answered",
            method=request.method,
            path=request.path,
            status=response.status,
            ms=round(time * 1000, 1),
            bytes=response.body_length,
        )
