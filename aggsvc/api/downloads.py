"""What is sent as it is read, however long it is: the upload, and lists as JSON lines or CSV."""

import re
from collections.abc import AsyncIterable
from http import HTTPStatus
from urllib.parse import quote

import structlog
from aiohttp import web

from aggsvc.errors import AggsvcError, InvalidParameter, NotAcceptable, RangeNotSatisfiable
from aggsvc.http.accept import best_media_type
from aggsvc.http.answer_headers import ATTACHMENT_POLICY
from aggsvc.http.compression import compress_stream, vary
from aggsvc.http.conditional import has_already, not_modified, strong_tag
from aggsvc.http.kinds import kind_of
from aggsvc.http.operations import Parameter
from aggsvc.http.problems import problem
from aggsvc.http.ranges import asked_range
from aggsvc.keys import SERVICE, SETTINGS, TRANSFERS
from aggsvc.model import FileRecord

KINDS = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
# For what a client may keep, if it asks each time whether it still holds.
ASK_AGAIN = "private, no-cache"
# A client that takes an answer more slowly than uploads may come is waited for as long as this:
# somebody may be reading it page by page.
READING_SECONDS = 600.0

log = structlog.get_logger()


def wanted_format(request: web.Request, parameter: Parameter[str], *offered: str) -> str:
    """The one of these formats that the parameter asks for, else the field Accept.

    Raises InvalidParameter and NotAcceptable.
    """
    given = parameter.of(request)
    if given:
        return given
    kinds = {KINDS[name]: name for name in offered}
    kind = best_media_type(request.headers.getall("Accept", []), list(kinds))
    if kind is None:
        raise NotAcceptable(f"Accept names none of what there is: {', '.join(kinds)}")
    return kinds[kind]


async def send_content(request: web.Request, record: FileRecord) -> web.StreamResponse:
    """The upload, or the range of it that is asked for."""
    tag = strong_tag(record.sha256)
    if has_already(request, tag):
        return not_modified(tag, ASK_AGAIN)
    try:
        span = asked_range(request, record.size_bytes, tag)
    except RangeNotSatisfiable as error:
        return _no_such_range(error)
    async with request.app[SERVICE].open_content(record, span) as upload:
        answer = _attached(record.filename, upload.info.content_type)
        answer.headers.update({"ETag": tag, "Cache-Control": ASK_AGAIN, "Accept-Ranges": "bytes"})
        _say_range(answer, span, record.size_bytes)
        return await _stream(request, answer, upload.chunks)


async def send_list(
    request: web.Request, rows: AsyncIterable[bytes], name: str, wanted: str
) -> web.StreamResponse:
    """A list in that format, to be saved under the name."""
    kind = KINDS[wanted] + ("; charset=utf-8" if wanted == "csv" else "")
    answer = _attached(f"{name}.{wanted}", kind)
    vary(answer, "Accept")
    compress_stream(request, answer)
    return await _stream(request, answer, rows)


def _no_such_range(error: RangeNotSatisfiable) -> web.Response:
    answer = problem(kind_of(type(error)), str(error), "Range")
    answer.headers["Content-Range"] = f"bytes */{error.size}"
    return answer


def _say_range(answer: web.StreamResponse, span: tuple[int, int] | None, size: int) -> None:
    if span is not None:
        answer.set_status(HTTPStatus.PARTIAL_CONTENT)
        answer.headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{size}"
    first, last = span or (0, size - 1)
    answer.content_length = last + 1 - first


def _attached(filename: str, content_type: str) -> web.StreamResponse:
    """An answer that a browser saves, and does not show."""
    fields = {
        "Content-Type": content_type,
        "Content-Disposition": _attachment(filename),
        "Content-Security-Policy": ATTACHMENT_POLICY,
    }
    return web.StreamResponse(headers=fields)


def _attachment(filename: str) -> str:
    # For clients of old, which know no encoding: what is not plain is left out of the name.
    plain = re.sub(r'[^ -~]|["%\\]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def _stream(
    request: web.Request, answer: web.StreamResponse, chunks: AsyncIterable[bytes]
) -> web.StreamResponse:
    await answer.prepare(request)
    if request.method == "HEAD":
        return answer
    floor = request.app[SETTINGS].min_upload_rate
    try:
        with request.app[TRANSFERS].begin(floor, READING_SECONDS) as pace:
            async for chunk in chunks:
                await pace.send(answer.write(chunk), len(chunk))
    except AggsvcError as error:  # too late for another answer; what was sent must not look whole
        log.warning("answer broken off", path=request.path, reason=str(error))
        if request.transport is not None:
            request.transport.abort()
        return answer
    await answer.write_eof()
    return answer


def refuse_pages(request: web.Request, wanted: str) -> None:
    """Raise InvalidParameter where a page is asked for of what comes whole."""
    for name in ("limit", "cursor"):
        if request.query.get(name):
            raise InvalidParameter(
                f"{wanted} gives all sensors; limit and cursor are for format=json", name
            )
