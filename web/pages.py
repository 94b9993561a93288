"""The pages: which there are, what is served beside them, and how they tell what went wrong."""

from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus

from aiohttp import web

from aggsvc.errors import AggsvcError
from aggsvc.http.answer_headers import keep_own
from aggsvc.http.problems import refusal
from aggsvc.http.routing import Route, add_routes
from web import actions, assets, docs, file, files, sign_in
from web.render import FOLDER, render, setup_rendering

TITLES = {
    HTTPStatus.BAD_REQUEST: "That did not work",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.CONFLICT: "Not now",
    HTTPStatus.SERVICE_UNAVAILABLE: "Busy",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something broke",
}
ADVICE = {
    HTTPStatus.BAD_REQUEST: "Go back and change it, or start again from the list of files.",
    HTTPStatus.NOT_FOUND: "It may have been deleted meanwhile, or the address is cut short.",
    HTTPStatus.CONFLICT: "Reload the page to see how the file stands now.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Wait a few seconds, then reload the page.",
    HTTPStatus.INSUFFICIENT_STORAGE: "What was stored before is safe. Delete files to make room.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Whoever runs the service finds the cause in its log.",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup_pages(app: web.Application) -> None:
    """Add the pages, their templates and static files to the app."""
    static = _static()
    setup_rendering(app, static)
    app.middlewares.append(page_error_middleware)
    for routes in (files.ROUTES, file.ROUTES, actions.ROUTES, sign_in.ROUTES, docs.ROUTES):
        add_routes(app, routes)
    add_routes(app, [Route("GET", assets.ROUTE, static.serve, "static", None)])


@cache  # they are the same for each app of a process
def _static() -> assets.Assets:
    return assets.Assets(FOLDER / "static")


@web.middleware
async def page_error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what goes wrong on a page with a page."""
    try:
        return await handler(request)
    except AggsvcError as error:
        if not _is_page(request):
            raise
        return _error_page(request, *refusal(request, error))
    except web.HTTPException as error:
        if not _is_page(request) or error.status < HTTPStatus.BAD_REQUEST:
            raise
        there_is = f"there is no page {request.path}"
        detail = there_is if error.status == HTTPStatus.NOT_FOUND else error.reason
        answer = _error_page(request, HTTPStatus(error.status), detail)
        keep_own(answer, error)
        return answer


def _is_page(request: web.Request) -> bool:
    return f"{request.path}/".startswith("/ui/")


def _error_page(request: web.Request, status: HTTPStatus, detail: str) -> web.Response:
    context = {
        "title": TITLES.get(status, status.phrase),
        "detail": detail[:1].upper() + detail[1:],
        "advice": ADVICE.get(status, ""),
    }
    return render("error.html", request, context, status)
