"""The API's handlers: each reads its request, asks the service, and shows the answer."""

from http import HTTPStatus

from aiohttp import web

from aggsvc.api import downloads, parameters, views
from aggsvc.api.answers import ProblemType
from aggsvc.api.openapi import DOCUMENT
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
    key, service = parameters.IDEMPOTENCY_KEY.of(request), request.app[SERVICE]
    is_replay = key is not None and await service.is_used(key)
    async with open_upload(request, is_replay=is_replay) as upload:
        sent = await service.submit_once(key, upload.filename, upload.chunks)
    headers = {"Location": f"/files/{sent.record.file_id}"}
    if sent.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return views.json_response(
        views.record_view(sent.record), status=HTTPStatus.ACCEPTED, headers=headers
    )


async def list_files(request: web.Request) -> web.Response:
    """GET /files."""
    status = parameters.STATUS.of(request)
    page = await request.app[SERVICE].list(
        status=Status(status) if status else None,
        search=parameters.SEARCH.of(request),
        sort=parameters.FILE_SORT.of(request),
        limit=parameters.FILE_LIMIT.of(request),
        cursor=parameters.CURSOR.of(request) or None,
    )
    return views.json_response(
        {"items": list(map(views.listed_view, page.items)), "next_cursor": page.cursor}
    )


async def get_file(request: web.Request) -> web.Response:
    """GET /files/{file_id}."""
    record = await request.app[SERVICE].get(parameters.FILE_ID.of(request))
    body = views.to_json(views.record_view(record))
    tag, cache = weak_tag(body), downloads.ASK_AGAIN if record.status.is_final else "no-store"
    if has_already(request, tag):
        return not_modified(tag, cache)
    headers = {"ETag": tag, "Cache-Control": cache}
    return web.Response(body=body, content_type="application/json", headers=headers)


async def get_errors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/errors."""
    service = request.app[SERVICE]
    wanted = downloads.wanted_format(request, parameters.ERRORS_FORMAT, "ndjson", "csv")
    reason = parameters.ERRORS_REASON.of(request)
    record = await service.get(parameters.FILE_ID.of(request))
    async with service.open_errors(record) as found:
        lines = found if reason is None else views.errors_of(reason, found)
        rows = views.errors_as_csv(lines) if wanted == "csv" else lines
        return await downloads.send_list(request, rows, f"{record.filename}.errors", wanted)


async def get_sensors(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/sensors: a page as JSON, or all as CSV or JSON lines."""
    wanted = downloads.wanted_format(request, parameters.SENSORS_FORMAT, "json", "csv", "ndjson")
    if wanted == "json":
        return await _sensor_page(request)
    downloads.refuse_pages(request, wanted)
    service = request.app[SERVICE]
    search, sort = parameters.SENSOR_SEARCH.of(request), parameters.SENSOR_SORT.of(request)
    record = await service.get(parameters.FILE_ID.of(request))
    async with service.open_sensors(record, search=search, sort=sort) as pages:
        rows = views.sensors_as_csv(pages) if wanted == "csv" else views.sensors_as_lines(pages)
        return await downloads.send_list(request, rows, f"{record.filename}.sensors", wanted)


async def _sensor_page(request: web.Request) -> web.Response:
    page = await request.app[SERVICE].sensors(
        parameters.FILE_ID.of(request),
        search=parameters.SENSOR_SEARCH.of(request),
        sort=parameters.SENSOR_SORT.of(request),
        limit=parameters.SENSOR_LIMIT.of(request),
        cursor=parameters.CURSOR.of(request) or None,
    )
    answer = views.json_response({"items": page.items, "next_cursor": page.cursor})
    vary(answer, "Accept")
    return answer


async def get_series(request: web.Request) -> web.Response:
    """GET /files/{file_id}/series."""
    reading = request.app[SERVICE].series(
        parameters.FILE_ID.of(request),
        sensor_id=parameters.SENSOR.of(request),
        first=parameters.FROM.of(request),
        end=parameters.TO.of(request),
    )
    return views.json_response(views.series_view(await while_connected(request, reading)))


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/content."""
    return await downloads.send_content(
        request, await request.app[SERVICE].get(parameters.FILE_ID.of(request))
    )


async def delete_file(request: web.Request) -> web.Response:
    """DELETE /files/{file_id}."""
    await request.app[SERVICE].delete(parameters.FILE_ID.of(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def reprocess_file(request: web.Request) -> web.Response:
    """POST /files/{file_id}/reprocess."""
    request.app[ADMISSION].job()
    record = await request.app[SERVICE].reprocess(parameters.FILE_ID.of(request))
    return views.json_response(views.record_view(record), status=HTTPStatus.ACCEPTED)


async def file_events(request: web.Request) -> web.StreamResponse:
    """GET /files/{file_id}/events: the state now, then each change; ends with the file's end."""
    async with request.app[SERVICE].watch(parameters.FILE_ID.of(request)) as events:
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
    return views.json_response(told, status=status)


async def health_live(_request: web.Request) -> web.Response:
    """GET /health/live: 200 while the process answers."""
    return views.json_response({"status": "ok"})


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: the calls of the API, described."""
    document = request.app[DOCUMENT]
    if has_already(request, document.tag):
        return not_modified(document.tag, downloads.ASK_AGAIN)
    headers = {"ETag": document.tag, "Cache-Control": downloads.ASK_AGAIN}
    return web.Response(body=document.body, content_type="application/json", headers=headers)


async def get_problem(request: web.Request) -> web.Response:
    """GET /problems/{name}: what the type of a problem means."""
    kind = KINDS.get(request.match_info[parameters.PROBLEM_NAME.name])
    if kind is None:
        raise web.HTTPNotFound
    return views.json_response(ProblemType.of(kind))
