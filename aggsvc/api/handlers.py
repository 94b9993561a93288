"""The API's handlers: each reads its request, asks the service, and shows the answer."""

from collections.abc import AsyncIterable
from http import HTTPStatus
from urllib.parse import quote

import structlog
from aiohttp import web

from aggsvc.api.openapi import DOCUMENT
from aggsvc.api.parameters import (
    CURSOR,
    ERRORS_FORMAT,
    FILE_ID,
    FILE_LIMIT,
    FILE_SORT,
    IDEMPOTENCY_KEY,
    SEARCH,
    SENSOR_LIMIT,
    SENSOR_SORT,
    STATUS,
)
from aggsvc.api.views import errors_as_csv, json_response, listed_view, record_view
from aggsvc.errors import AggsvcError
from aggsvc.http.uploads import open_upload
from aggsvc.keys import ADMISSION, EVENT_STREAMS, HEALTH, SERVICE, SETTINGS, TRANSFERS
from aggsvc.model import Status

# A client that takes an answer more slowly than uploads may come is waited for as long as this:
# somebody may be reading it page by page.
READING_SECONDS = 600.0

log = structlog.get_logger()


async def submit_file(request: web.Request) -> web.Response:
    """POST /files."""
    key = IDEMPOTENCY_KEY.of(request)
    async with open_upload(request) as upload:
        sent = await request.app[SERVICE].submit_once(key, upload.filename, upload.chunks)
    headers = {"Location": f"/files/{sent.record.file_id}"}
    if sent.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return json_response(record_view(sent.record), status=HTTPStatus.ACCEPTED, headers=headers)


async def list_files(request: web.Request) -> web.Response:
    """GET /files."""
    status = STATUS.of(request)
    page = await request.app[SERVICE].list(
        status=Status(status) if status else None,
        search=SEARCH.of(request),
        sort=FILE_SORT.of(request),
        limit=FILE_LIMIT.of(request),
        cursor=CURSOR.of(request) or None,
    )
    return json_response({"items": list(map(listed_view, page.items)), "next_cursor": page.cursor})


async def get_file(request: web.Request) -> web.Response:
    """GET /files/{file_id}."""
    return json_response(record_view(await request.app[SERVICE].get(FILE_ID.of(request))))


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted = ERRORS_FORMAT.of(request)
    record = await service.get(FILE_ID.of(request))
    headers = {"Content-Disposition": _attachment(f"{record.filename}.errors.{wanted}")}
    async with service.open_errors(record) as lines:
        if wanted == "csv":
            kind = "text/csv; charset=utf-8"
            return await _stream(request, errors_as_csv(lines), kind, headers)
        return await _stream(request, lines, "application/x-ndjson", headers)


async def get_sensors(request: web.Request) -> web.Response:
    """GET /files/{file_id}/sensors."""
    page = await request.app[SERVICE].sensors(
        FILE_ID.of(request),
        sort=SENSOR_SORT.of(request),
        limit=SENSOR_LIMIT.of(request),
        cursor=CURSOR.of(request) or None,
    )
    return json_response({"items": page.items, "next_cursor": page.cursor})


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    service = request.app[SERVICE]
    record = await service.get(FILE_ID.of(request))
    headers = {
        "Content-Disposition": _attachment(record.filename),
        "Content-Length": str(record.size_bytes),
        "X-Content-Type-Options": "nosniff",
    }
    async with service.open_content(record) as upload:
        return await _stream(request, upload.chunks, upload.info.content_type, headers)


async def delete_file(request: web.Request) -> web.Response:
    """DELETE /files/{file_id}."""
    await request.app[SERVICE].delete(FILE_ID.of(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def reprocess_file(request: web.Request) -> web.Response:
    """POST /files/{file_id}/reprocess."""
    request.app[ADMISSION].job()
    record = await request.app[SERVICE].reprocess(FILE_ID.of(request))
    return json_response(record_view(record), status=HTTPStatus.ACCEPTED)


async def file_events(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/events: the state now, then each change; ends with the file's end."""
    async with request.app[SERVICE].watch(FILE_ID.of(request)) as events:
        return await request.app[EVENT_STREAMS].send(request, events)


async def all_events(request: web.Request) -> web.StreamResponse:
    """GET /events: every change of any file from now on."""
    with request.app[SERVICE].watch_all() as changes:
        return await request.app[EVENT_STREAMS].send(request, changes)


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 while every part works, else 503."""
    report = await request.app[HEALTH].report()
    status = HTTPStatus.OK if report.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response(report, status=status)


async def health_live(_request: web.Request) -> web.Response:
    """GET /health/live: 200 while the process answers."""
    return json_response({"status": "ok"})


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: the calls of the API, described."""
    document = request.app[DOCUMENT]
    answer = web.Response(headers={"Cache-Control": "no-cache"})
    answer.etag = document.etag
    if any(each.value in (document.etag, "*") for each in request.if_none_match or ()):
        answer.set_status(HTTPStatus.NOT_MODIFIED)
    else:
        answer.body, answer.content_type = document.body, "application/json"
    return answer


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
