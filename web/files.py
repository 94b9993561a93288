"""The dashboard: uploads, and one page of the files with filter and search."""

from http import HTTPStatus
from urllib.parse import urlencode

from aiohttp import web

from aggsvc.errors import InvalidRequest
from aggsvc.http.routing import Route, Scope
from aggsvc.http.uploads import open_uploads
from aggsvc.keys import SERVICE
from aggsvc.model import Status
from web.render import render

PAGE_FILES = 25


async def to_files(_request: web.Request) -> web.Response:
    """GET /: the files page."""
    raise web.HTTPFound("/ui")


async def files_page(request: web.Request) -> web.Response:
    """GET /ui: the upload form and one page of files."""
    return await show_files(request, [])


async def upload_files(request: web.Request) -> web.Response:
    """POST /ui: keep each file of the form; refusals are shown above the list."""
    refused, accepted = [], 0
    async with open_uploads(request) as uploads:
        async for upload in uploads:
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
    }
    return render("files.html", request, context, status)


ROUTES = (
    Route("GET", "/", to_files, "home", None),
    Route("GET", "/ui", files_page, "files_page", Scope.READ),
    Route("POST", "/ui", upload_files, "upload_files", Scope.WRITE, takes_files=True),
)
"""The dashboard's routes."""
