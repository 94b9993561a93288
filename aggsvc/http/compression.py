"""Large answers gzipped for clients that ask for it."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from aggsvc.http.accept import takes_gzip

# Smaller ones do not become packets fewer.
MIN_BYTES = 1400
# What is compressed in the loop's thread takes less than 10 ms.
MAX_INLINE_BYTES = 32 * 1024
LEVEL = 6
WORTH_IT = (
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "application/javascript",
    "text/",
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def compression_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress an answer that was made whole; a stream's handler does so by `compress_stream`."""
    answer = await handler(request)
    if answer.status == HTTPStatus.NOT_MODIFIED:
        vary(answer, "Accept-Encoding")
    if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and _is_worth_it(answer):
        vary(answer, "Accept-Encoding")
        if len(answer.body) >= MIN_BYTES and _asks_for_gzip(request):
            answer.body = await _compressed(answer.body)
            answer.headers["Content-Encoding"] = "gzip"
            _weaken_tag(answer)
    return answer


def compress_stream(request: web.Request, answer: web.StreamResponse) -> None:
    """Have a stream, which is not prepared yet, compressed as it is sent, in a thread."""
    vary(answer, "Accept-Encoding")
    if not _asks_for_gzip(request):
        return
    if request.method == "HEAD":  # of which aiohttp would send the end of an empty body
        answer.headers["Content-Encoding"] = "gzip"
    else:
        answer.enable_compression(web.ContentCoding.gzip)


def vary(answer: web.StreamResponse, name: str) -> None:
    """Note that the answer depends on this field of the request."""
    known = [text.strip() for text in answer.headers.get("Vary", "").split(",") if text.strip()]
    if name not in known:
        answer.headers["Vary"] = ", ".join([*known, name])


def _weaken_tag(answer: web.Response) -> None:
    """A strong tag would stand for these very bytes, and other clients get others."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        answer.headers["ETag"] = f"W/{tag}"


def _asks_for_gzip(request: web.Request) -> bool:
    return takes_gzip(request.headers.getall("Accept-Encoding", []))


def _is_worth_it(answer: web.Response) -> bool:
    return "Content-Encoding" not in answer.headers and answer.content_type.startswith(WORTH_IT)


async def _compressed(body: bytes) -> bytes:
    if len(body) <= MAX_INLINE_BYTES:
        return _gzip(body)
    return await asyncio.to_thread(_gzip, body)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)
