"""The API's handlers: each reads its request, asks the service, and shows the answer."""

import re
from collections.abc import AsyncIterable
from http import HTTPStatus
from urllib.parse import quote

import structlog
from aiohttp import web

from aggsvc.api.views import (
    errors_as_csv,
    json_response,
    listed_view,
    record_view,
    sensors_as_csv,
    sensors_as_lines,
    to_json,
)
from aggsvc.errors import AggsvcError, InvalidRequest, NotAcceptable, RangeNotSatisfiable
from aggsvc.http.accept import best_media_type
from aggsvc.http.answer_headers import ATTACHMENT_POLICY
from aggsvc.http.compression import compress_stream, vary
from aggsvc.http.conditional import has_already, not_modified, strong_tag, weak_tag
from aggsvc.http.problems import problem
from aggsvc.http.ranges import asked_range
from aggsvc.http.uploads import open_upload
from aggsvc.keys import ADMISSION, EVENT_STREAMS, HEALTH, SERVICE, SETTINGS, TRANSFERS
from aggsvc.model import Status

DEFAULT_LIMIT = 50
MAX_FILES = 200
MAX_SENSORS = 1000
KINDS = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
# For what a client may keep, if it asks each time whether it still holds.
ASK_AGAIN = "private, no-cache"
IDEMPOTENCY_KEY = re.compile("[!-~]{1,255}")
# A client that takes an answer more slowly than uploads may come is waited for as long as this:
# somebody may be reading it page by page.
READING_SECONDS = 600.0

log = structlog.get_logger()


async def submit_file(request: web.Request) -> web.Response:
    """POST /files."""
    key = _idempotency_key(request)
    async with open_upload(request) as upload:
        sent = await request.app[SERVICE].submit_once(key, upload.filename, upload.chunks)
    headers = {"Location": f"/files/{sent.record.file_id}"}
    if sent.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return json_response(record_view(sent.record), status=HTTPStatus.ACCEPTED, headers=headers)


async def list_files(request: web.Request) -> web.Response:
    """GET /files."""
    query = request.query
    page = await request.app[SERVICE].list(
        status=_status(query.get("status")),
        search=query.get("q", ""),
        sort=query.get("sort", ""),
        limit=_limit(query.get("limit"), MAX_FILES),
        cursor=query.get("cursor") or None,
    )
    return json_response({"items": list(map(listed_view, page.items)), "next_cursor": page.cursor})


async def get_file(request: web.Request) -> web.Response:
    """GET /files/{file_id}."""
    record = await request.app[SERVICE].get(_file_id(request))
    body = to_json(record_view(record))
    tag, cache = weak_tag(body), ASK_AGAIN if record.status.is_final else "no-store"
    if has_already(request, tag):
        return not_modified(tag, cache)
    headers = {"ETag": tag, "Cache-Control": cache}
    return web.Response(body=body, content_type="application/json", headers=headers)


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted = _format(request, "ndjson", "csv")
    record = await service.get(_file_id(request))
    async with service.open_errors(record) as lines:
        rows = errors_as_csv(lines) if wanted == "csv" else lines
        return await _export(request, rows, f"{record.filename}.errors", wanted)


async def get_sensors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/sensors: a page as JSON, or all as CSV or JSON lines."""
    wanted = _format(request, "json", "csv", "ndjson")
    if wanted == "json":
        answer = await _sensor_page(request)
        vary(answer, "Accept")
        return answer
    if "limit" in request.query or "cursor" in request.query:
        raise InvalidRequest(f"{wanted} gives all sensors; limit and cursor are for format=json")
    record = await request.app[SERVICE].get(_file_id(request))
    sort = request.query.get("sort", "")
    async with request.app[SERVICE].open_sensors(record, sort) as pages:
        rows = sensors_as_csv(pages) if wanted == "csv" else sensors_as_lines(pages)
        return await _export(request, rows, f"{record.filename}.sensors", wanted)


async def _sensor_page(request: web.Request) -> web.Response:
    query = request.query
    page = await request.app[SERVICE].sensors(
        _file_id(request),
        sort=query.get("sort", ""),
        limit=_limit(query.get("limit"), MAX_SENSORS),
        cursor=query.get("cursor") or None,
    )
    return json_response({"items": page.items, "next_cursor": page.cursor})


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    service = request.app[SERVICE]
    record = await service.get(_file_id(request))
    tag = strong_tag(record.sha256)
    if has_already(request, tag):
        return not_modified(tag, ASK_AGAIN)
    try:
        span = asked_range(request, record.size_bytes, tag)
    except RangeNotSatisfiable as error:
        return _no_such_range(error)
    async with service.open_content(record, span) as upload:
        answer = _attached(record.filename, upload.info.content_type)
        answer.headers.update({"ETag": tag, "Cache-Control": ASK_AGAIN, "Accept-Ranges": "bytes"})
        _say_range(answer, span, record.size_bytes)
        return await _stream(request, answer, upload.chunks)


def _say_range(answer: web.StreamResponse, span: tuple[int, int] | None, size: int) -> None:
    if span is not None:
        answer.set_status(HTTPStatus.PARTIAL_CONTENT)
        answer.headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{size}"
    first, last = span or (0, size - 1)
    answer.content_length = last + 1 - first


def _no_such_range(error: RangeNotSatisfiable) -> web.Response:
    answer = problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, str(error))
    answer.headers["Content-Range"] = f"bytes */{error.size}"
    return answer


async def delete_file(request: web.Request) -> web.Response:
    """DELETE /files/{file_id}."""
    await request.app[SERVICE].delete(_file_id(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def reprocess_file(request: web.Request) -> web.Response:
    """POST /files/{file_id}/reprocess."""
    request.app[ADMISSION].job()
    record = await request.app[SERVICE].reprocess(_file_id(request))
    return json_response(record_view(record), status=HTTPStatus.ACCEPTED)


async def file_events(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/events: the state now, then each change; ends with the file's end."""
    async with request.app[SERVICE].watch(_file_id(request)) as events:
        return await request.app[EVENT_STREAMS].send(request, events)


async def all_events(request: web.Request) -> web.StreamResponse:
    """GET /events: every change of any file from now on."""
    with request.app[SERVICE].watch_all() as changes:
        return await request.app[EVENT_STREAMS].send(request, changes)


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 while every part works, else 503."""
    report = await request.app[HEALTH].report()
    status = HTTPStatus.OK if report["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response(report, status=status)


async def health_live(_request: web.Request) -> web.Response:
    """GET /health/live: 200 while the process answers."""
    return json_response({"status": "ok"})


async def _export(
    request: web.Request, rows: AsyncIterable[bytes], name: str, wanted: str
) -> web.StreamResponse:
    kind = KINDS[wanted] + ("; charset=utf-8" if wanted == "csv" else "")
    answer = _attached(f"{name}.{wanted}", kind)
    vary(answer, "Accept")
    compress_stream(request, answer)
    return await _stream(request, answer, rows)


def _attached(filename: str, content_type: str) -> web.StreamResponse:
    """An answer that a browser saves, and does not show."""
    fields = {
        "Content-Type": content_type,
        "Content-Disposition": _attachment(filename),
        "Content-Security-Policy": ATTACHMENT_POLICY,
    }
    return web.StreamResponse(headers=fields)


async def _stream(
    request: web.Request, response: web.StreamResponse, chunks: AsyncIterable[bytes]
) -> web.StreamResponse:
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    floor = request.app[SETTINGS].min_upload_rate
    try:
        with request.app[TRANSFERS].begin(floor, READING_SECONDS) as pace:
            async for chunk in chunks:
                await pace.send(response.write(chunk), len(chunk))
    except AggsvcError as error:  # too late for another answer; what was sent must not look whole
        log.warning("answer broken off", path=request.path, reason=str(error))
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _attachment(filename: str) -> str:
    # For clients of old, which know no encoding: what is not plain is left out of the name.
    plain = re.sub(r'[^ -~]|["%\\]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _format(request: web.Request, *offered: str) -> str:
    """The one of these formats that is asked for by `format`, else by Accept."""
    wanted = request.query.get("format")
    if wanted is None:
        return _accepted(request, offered)
    if wanted not in offered:
        raise InvalidRequest(f"format={wanted[:40]!r}: it is {' or '.join(offered)}")
    return wanted


def _accepted(request: web.Request, offered: tuple[str, ...]) -> str:
    kinds = {KINDS[name]: name for name in offered}
    kind = best_media_type(request.headers.getall("Accept", []), list(kinds))
    if kind is None:
        raise NotAcceptable(f"Accept names none of what there is: {', '.join(kinds)}")
    return kinds[kind]


def _idempotency_key(request: web.Request) -> str | None:
    match request.headers.getall("Idempotency-Key", []):
        case []:
            return None
        case [key] if IDEMPOTENCY_KEY.fullmatch(key):
            return key
    raise InvalidRequest(
        "the Idempotency-Key is not one key of 1 to 255 visible ASCII characters, such as a UUID"
    )


def _file_id(request: web.Request) -> str:
    return request.match_info["file_id"]


def _status(text: str | None) -> Status | None:
    if not text:
        return None
    try:
        return Status(text)
    except ValueError:
        raise InvalidRequest(f"status={text[:40]!r}: it is one of {', '.join(Status)}") from None


def _limit(text: str | None, most: int) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most:
        return int(text)
    raise InvalidRequest(f"limit={text[:40]!r}: it is a number from 1 to {most}")
