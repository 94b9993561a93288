"""The API's handlers: each reads its request, asks the service, and shows the answer."""

from http import HTTPStatus

from aiohttp import web

from aggsvc.api.answers import ProblemType
from aggsvc.api.downloads import (
    ASK_AGAIN,
    refuse_pages,
    send_content,
    send_list,
    wanted_format,
)
from aggsvc.api.openapi import DOCUMENT
from aggsvc.api.parameters import (
    CURSOR,
    ERRORS_FORMAT,
    ERRORS_REASON,
    FILE_ID,
    FILE_LIMIT,
    FILE_SORT,
    FROM,
    IDEMPOTENCY_KEY,
    PROBLEM_NAME,
    SEARCH,
    SENSOR,
    SENSOR_LIMIT,
    SENSOR_SEARCH,
    SENSOR_SORT,
    SENSORS_FORMAT,
    STATUS,
    TO,
)
from aggsvc.api.views import (
    errors_as_csv,
    errors_of,
    json_response,
    listed_view,
    record_view,
    sensors_as_csv,
    sensors_as_lines,
    series_view,
    to_json,
)
from aggsvc.health import HealthSummary
from aggsvc.http.access import may_know
from aggsvc.http.compression import vary
from aggsvc.http.conditional import has_already, not_modified, weak_tag
from aggsvc.http.hangups import while_connected
from aggsvc.http.kinds import KINDS
from aggsvc.http.uploads import open_upload
from aggsvc.keys import ADMISSION, EVENT_STREAMS, HEALTH, SERVICE
from aggsvc.model import Status


async def submit_file(request: web.Request) -> web.Response:
    """POST /files."""
    key, service = IDEMPOTENCY_KEY.of(request), request.app[SERVICE]
    is_replay = key is not None and await service.is_used(key)
    async with open_upload(request, is_replay=is_replay) as upload:
        sent = await service.submit_once(key, upload.filename, upload.chunks)
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
    record = await request.app[SERVICE].get(FILE_ID.of(request))
    body = to_json(record_view(record))
    tag, cache = weak_tag(body), ASK_AGAIN if record.status.is_final else "no-store"
    if has_already(request, tag):
        return not_modified(tag, cache)
    headers = {"ETag": tag, "Cache-Control": cache}
    return web.Response(body=body, content_type="application/json", headers=headers)


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted = wanted_format(request, ERRORS_FORMAT, "ndjson", "csv")
    reason = ERRORS_REASON.of(request)
    record = await service.get(FILE_ID.of(request))
    async with service.open_errors(record) as found:
        lines = found if reason is None else errors_of(reason, found)
        rows = errors_as_csv(lines) if wanted == "csv" else lines
        return await send_list(request, rows, f"{record.filename}.errors", wanted)


async def get_sensors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/sensors: a page as JSON, or all as CSV or JSON lines."""
    wanted = wanted_format(request, SENSORS_FORMAT, "json", "csv", "ndjson")
    if wanted == "json":
        return await _sensor_page(request)
    refuse_pages(request, wanted)
    service = request.app[SERVICE]
    search, sort = SENSOR_SEARCH.of(request), SENSOR_SORT.of(request)
    record = await service.get(FILE_ID.of(request))
    async with service.open_sensors(record, search=search, sort=sort) as pages:
        rows = sensors_as_csv(pages) if wanted == "csv" else sensors_as_lines(pages)
        return await send_list(request, rows, f"{record.filename}.sensors", wanted)


async def _sensor_page(request: web.Request) -> web.Response:
    page = await request.app[SERVICE].sensors(
        FILE_ID.of(request),
        search=SENSOR_SEARCH.of(request),
        sort=SENSOR_SORT.of(request),
        limit=SENSOR_LIMIT.of(request),
        cursor=CURSOR.of(request) or None,
    )
    answer = json_response({"items": page.items, "next_cursor": page.cursor})
    vary(answer, "Accept")
    return answer


async def get_series(request: web.Request) -> web.Response:
    """GET /files/{file_id}/series."""
    reading = request.app[SERVICE].series(
        FILE_ID.of(request),
        sensor_id=SENSOR.of(request),
        first=FROM.of(request),
        end=TO.of(request),
    )
    return json_response(series_view(await while_connected(request, reading)))


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    return await send_content(request, await request.app[SERVICE].get(FILE_ID.of(request)))


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
    told = report if may_know(request) else HealthSummary(report.status)
    return json_response(told, status=status)


async def health_live(_request: web.Request) -> web.Response:
    """GET /health/live: 200 while the process answers."""
    return json_response({"status": "ok"})


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: the calls of the API, described."""
    document = request.app[DOCUMENT]
    if has_already(request, document.tag):
        return not_modified(document.tag, ASK_AGAIN)
    headers = {"ETag": document.tag, "Cache-Control": ASK_AGAIN}
    return web.Response(body=document.body, content_type="application/json", headers=headers)


async def get_problem(request: web.Request) -> web.Response:
    """GET /problems/{name}: what the type of a problem means."""
    kind = KINDS.get(request.match_info[PROBLEM_NAME.name])
    if kind is None:
        raise web.HTTPNotFound
    return json_response(ProblemType.of(kind))
