"""The pages: files with upload form, filter and search; one file with all that is known of it."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import web

from aggsvc.errors import AggsvcError, InvalidRequest
from aggsvc.http.forms import form_context
from aggsvc.http.problems import HEADERS, refusal
from aggsvc.http.routing import Route, Scope, add_routes
from aggsvc.http.uploads import open_form
from aggsvc.keys import ADMISSION, SERVICE
from aggsvc.model import Status

FOLDER = Path(__file__).parent
PAGE_FILES = 25
SHOWN_SENSORS = 100
# Names of figures on a page, each with that of the aggregate that it shows.
FIGURES = {
    "Min": "min_value",
    "Max": "max_value",
    "Mean": "mean_value",
    "Standard deviation": "stddev_value",
    "Median": "p50_value",
    "95th percentile": "p95_value",
    "99th percentile": "p99_value",
}
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup_pages(app: web.Application) -> None:
    """Add the pages, their templates and static files to the app."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": format_bytes, "utc": format_utc, "count": "{:,}".format}
    app.middlewares.append(page_error_middleware)
    add_routes(app, ROUTES)
    app.router.add_static("/static", FOLDER / "static", name="static")


@web.middleware
async def page_error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what goes wrong on a page with a page."""
    try:
        return await handler(request)
    except AggsvcError as error:
        if not request.path.startswith("/ui"):
            raise
        status, detail = refusal(request, error)
        context = {"title": status.phrase, "detail": detail}
        page = render("error.html", request, context, status)
        page.headers.update(HEADERS.get(status, {}))
        return page


async def to_files(_request: web.Request) -> web.Response:
    """GET /: the files page."""
    raise web.HTTPFound("/ui")


async def files_page(request: web.Request) -> web.Response:
    """GET /ui: the upload form and one page of files."""
    return await show_files(request, [])


async def upload_files(request: web.Request) -> web.Response:
    """POST /ui: keep each file of the form; refusals are shown above the list."""
    refused, accepted = [], 0
    async with open_form(request) as form:
        async for upload in form.uploads:
            try:
                await request.app[SERVICE].submit(upload.filename, upload.chunks)
                accepted += 1
            except InvalidRequest as error:
                refused.append(f"{upload.filename}: {error}")
    if not refused and not accepted:
        refused.append("choose a CSV file first")
    if refused:
        return await show_files(request, refused, HTTPStatus.BAD_REQUEST)
    raise web.HTTPSeeOther("/ui")


async def show_files(
    request: web.Request, refused: list[str], status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    """The files page, with what was refused."""
    service = request.app[SERVICE]
    wanted = request.query.get("status", "")
    search = request.query.get("q", "")
    page = await service.list(
        status=Status(wanted) if wanted in set(Status) else None,
        search=search,
        limit=PAGE_FILES,
        cursor=request.query.get("cursor") or None,
    )
    kept = {name: text for name, text in (("status", wanted), ("q", search)) if text}
    context = {
        "files": page.items,
        "statuses": list(Status),
        "counts": await service.count_by_status(),
        "status": wanted,
        "search": search,
        "is_first": "cursor" not in request.query,
        "first_url": "/ui?" + urlencode(kept),
        "next_url": page.cursor and "/ui?" + urlencode({**kept, "cursor": page.cursor}),
        "refused": refused,
        "events_url": "/events",
    }
    return render("files.html", request, context, status)


async def file_page(request: web.Request) -> web.Response:
    """GET /ui/files/{file_id}: the record, its first errors, and what can be downloaded."""
    record = await request.app[SERVICE].get(request.match_info["file_id"])
    aggregates = record.aggregates
    sensors = list(aggregates.per_sensor_count.items()) if aggregates else []
    context = {
        "file": record,
        "figures": [(name, getattr(aggregates, figure)) for name, figure in FIGURES.items()]
        if aggregates
        else [],
        "sensors": sensors[:SHOWN_SENSORS],
        "more_sensors": len(sensors) > SHOWN_SENSORS,
        "events_url": None if record.status.is_final else f"/files/{record.file_id}/events",
    }
    return render("file.html", request, context)


async def delete_from_page(request: web.Request) -> web.Response:
    """POST /ui/files/{file_id}/delete: delete the file and go back to the list."""
    await request.app[SERVICE].delete(request.match_info["file_id"])
    raise web.HTTPSeeOther("/ui")


async def reprocess_from_page(request: web.Request) -> web.Response:
    """POST /ui/files/{file_id}/reprocess: queue the file again and show it."""
    request.app[ADMISSION].job()
    record = await request.app[SERVICE].reprocess(request.match_info["file_id"])
    raise web.HTTPSeeOther(f"/ui/files/{record.file_id}")


def render(
    template: str,
    request: web.Request,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> web.Response:
    """The template as a page that loads nothing from elsewhere."""
    context |= form_context(request)
    response = aiohttp_jinja2.render_template(template, request, context, status=status)
    response.headers.update(SECURITY_HEADERS)
    return response


def format_bytes(size: int) -> str:
    """A size for a person, in powers of 1,024: 312 bytes, 1.5 KiB, 388.0 MiB."""
    if size < 1024:
        return f"{size} bytes"
    amount, units = size / 1024, iter(("KiB", "MiB", "GiB"))
    unit = next(units)
    while amount >= 1024 and unit != "GiB":
        amount, unit = amount / 1024, next(units)
    return f"{amount:,.1f} {unit}"


def format_utc(time: str | None) -> str:
    """An RFC 3339 time for a person: 2025-10-01 08:12:10 UTC."""
    return f"{time[:10]} {time[11:19]} UTC" if time else "-"


ROUTES = (
    Route("GET", "/", to_files, "home", None),
    Route("GET", "/ui", files_page, "files_page", Scope.READ),
    Route("POST", "/ui", upload_files, "upload_files", Scope.WRITE, takes_files=True),
    Route("GET", "/ui/files/{file_id}", file_page, "file_page", Scope.READ),
    Route("POST", "/ui/files/{file_id}/delete", delete_from_page, "delete_from_page", Scope.WRITE),
    Route(
        "POST",
        "/ui/files/{file_id}/reprocess",
        reprocess_from_page,
        "reprocess_from_page",
        Scope.WRITE,
    ),
)
