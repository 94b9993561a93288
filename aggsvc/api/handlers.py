"""The API's handlers: each reads its request, asks the service, and shows the answer."""

from collections.abc import AsyncIterable, AsyncIterator
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web

from aggsvc.api.views import errors_as_csv, json_response, listed_view, record_view
from aggsvc.errors import InvalidRequest, StoreUnavailable
from aggsvc.events import Event, FileDeleted, FileEvent
from aggsvc.http.uploads import open_upload
from aggsvc.keys import BACKENDS, EVENT_STREAMS, SERVICE, WORKERS
from aggsvc.model import Status
from aggsvc.ports import MetadataTable, ObjectStore

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


async def submit_file(request: web.Request) -> web.Response:
    """POST /files."""
    upload = await open_upload(request)
    record = await request.app[SERVICE].submit(upload.filename, upload.chunks)
    location = {"Location": f"/files/{record.file_id}"}
    return json_response(record_view(record), status=HTTPStatus.ACCEPTED, headers=location)


async def list_files(request: web.Request) -> web.Response:
    """GET /files."""
    query = request.query
    page = await request.app[SERVICE].list(
        status=_status(query.get("status")),
        search=query.get("q", ""),
        sort=query.get("sort", ""),
        limit=_limit(query.get("limit")),
        cursor=query.get("cursor") or None,
    )
    return json_response({"items": list(map(listed_view, page.items)), "next_cursor": page.cursor})


async def get_file(request: web.Request) -> web.Response:
    """GET /files/{file_id}."""
    return json_response(record_view(await request.app[SERVICE].get(_file_id(request))))


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted = request.query.get("format", "ndjson")
    if wanted not in ("ndjson", "csv"):
        raise InvalidRequest(f"format={wanted}: it is ndjson or csv")
    record = await service.get(_file_id(request))
    async with service.open_errors(record) as lines:
        if wanted == "csv":
            return await _stream(request, errors_as_csv(lines), "text/csv; charset=utf-8")
        return await _stream(request, lines, "application/x-ndjson")


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    service = request.app[SERVICE]
    record = await service.get(_file_id(request))
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(record.filename, safe='')}",
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
    record = await request.app[SERVICE].reprocess(_file_id(request))
    return json_response(record_view(record), status=HTTPStatus.ACCEPTED)


async def file_events(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/events: the state now, then each change; ends with the file's end."""
    service = request.app[SERVICE]
    file_id = _file_id(request)

    with service.events.subscribe(file_id) as changes:
        first = FileEvent.of(await service.get(file_id))
        return await request.app[EVENT_STREAMS].send(request, _until_final(first, changes))


async def all_events(request: web.Request) -> web.StreamResponse:
    """GET /events: every change of any file from now on."""
    with request.app[SERVICE].events.subscribe() as changes:
        return await request.app[EVENT_STREAMS].send(request, changes)


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 while every part works, else 503."""
    backends, workers = request.app[BACKENDS], request.app[WORKERS]
    objects, table = await _state(backends.objects), await _state(backends.table)
    pool: dict[str, object] = {
        "status": "ok" if workers.is_healthy else "unavailable",
        "alive": workers.alive,
        "busy": workers.busy,
        "waiting": backends.queue.depth(),
    }
    parts: dict[str, dict[str, object]] = {"objects": objects, "table": table, "workers": pool}
    well = all(part["status"] == "ok" for part in parts.values())
    return json_response(
        {"status": "ok" if well else "unavailable", **parts},
        status=HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE,
    )


async def health_live(_request: web.Request) -> web.Response:
    """GET /health/live: 200 while the process answers."""
    return json_response({"status": "ok"})


async def _state(store: ObjectStore | MetadataTable) -> dict[str, object]:
    try:
        await store.check()
    except StoreUnavailable as error:
        return {"status": "unavailable", "detail": str(error)}
    return {"status": "ok"}


async def _until_final(first: FileEvent, changes: AsyncIterable[Event]) -> AsyncIterator[Event]:
    yield first
    if first.status.is_final:
        return
    async for event in changes:
        if not isinstance(event, FileEvent) or event.version > first.version:
            yield event
        if isinstance(event, FileDeleted) or (
            isinstance(event, FileEvent) and event.status.is_final
        ):
            return


async def _stream(
    request: web.Request,
    chunks: AsyncIterable[bytes],
    content_type: str,
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
    await response.prepare(request)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


def _file_id(request: web.Request) -> str:
    return request.match_info["file_id"]


def _status(text: str | None) -> Status | None:
    if not text:
        return None
    try:
        return Status(text)
    except ValueError:
        raise InvalidRequest(f"status={text}: it is one of {', '.join(Status)}") from None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT:
        return int(text)
    raise InvalidRequest(f"limit={text}: it is a number from 1 to {MAX_LIMIT}")
