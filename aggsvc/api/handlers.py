"""The API's handlers: each reads its request, asks the service, and shows the answer."""

import re
from collections.abc import AsyncIterable
from http import HTTPStatus
from urllib.parse import quote

import structlog
from aiohttp import web

from aggsvc.api.views import (
    errors_as_csv,
    errors_of,
    json_response,
    listed_view,
    record_view,
    series_view,
)
from aggsvc.errors import AggsvcError, InvalidRequest
from aggsvc.http.hangups import while_connected
from aggsvc.http.uploads import open_upload
from aggsvc.keys import ADMISSION, EVENT_STREAMS, HEALTH, SERVICE, SETTINGS, TRANSFERS
from aggsvc.model import Status

DEFAULT_LIMIT = 50
MAX_FILES = 200
MAX_SENSORS = 1000
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
    return json_response(record_view(await request.app[SERVICE].get(_file_id(request))))


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted, reason = request.query.get("format", "ndjson"), request.query.get("reason")
    if wanted not in ("ndjson", "csv"):
        raise InvalidRequest(f"format={wanted}: it is ndjson or csv")
    record = await service.get(_file_id(request))
    headers = {"Content-Disposition": _attachment(f"{record.filename}.errors.{wanted}")}
    async with service.open_errors(record) as found:
        lines = found if reason is None else errors_of(reason, found)
        if wanted == "csv":
            kind = "text/csv; charset=utf-8"
            return await _stream(request, errors_as_csv(lines), kind, headers)
        return await _stream(request, lines, "application/x-ndjson", headers)


async def get_sensors(request: web.Request) -> web.Response:
    """GET /files/{file_id}/sensors."""
    query = request.query
    page = await request.app[SERVICE].sensors(
        _file_id(request),
        search=query.get("q", ""),
        sort=query.get("sort", ""),
        limit=_limit(query.get("limit"), MAX_SENSORS),
        cursor=query.get("cursor") or None,
    )
    return json_response({"items": page.items, "next_cursor": page.cursor})


async def get_series(request: web.Request) -> web.Response:
    """GET /files/{file_id}/series."""
    query = request.query
    reading = request.app[SERVICE].series(
        _file_id(request),
        sensor_id=query.get("sensor"),
        first=query.get("from"),
        end=query.get("to"),
    )
    return json_response(series_view(await while_connected(request, reading)))


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    service = request.app[SERVICE]
    record = await service.get(_file_id(request))
    headers = {
        "Content-Disposition": _attachment(record.filename),
        "Content-Length": str(record.size_bytes),
        "X-Content-Type-Options": "nosniff",
    }
    async with service.open_content(record) as upload:
        return await _stream(request, upload.chunks, upload.info.content_type, headers)


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


async def _stream(
    request: web.Request,
    chunks: AsyncIterable[bytes],
    content_type: str,
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
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
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


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
