"""The pages: which there are, what is served beside them, and how they tell what went wrong."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from aggsvc.errors import AggsvcError
from aggsvc.http.problems import HEADERS, refusal
from aggsvc.http.routing import Route, add_routes
from web import actions, assets, file, files, sign_in
from web.render import FOLDER, render, setup_rendering

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup_pages(app: web.Application) -> None:
    """Add the pages, their templates and static files to the app."""
    static = assets.Assets(FOLDER / "static")
    setup_rendering(app, static)
    app.middlewares.append(page_error_middleware)
    add_routes(app, files.ROUTES + file.ROUTES + actions.ROUTES + sign_in.ROUTES)
    add_routes(app, [Route("GET", assets.ROUTE, static.serve, "static", None)])


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
