"""Sign in with a token, and out again."""

import re
from http import HTTPStatus

from aiohttp import web

from aggsvc.errors import TokenInvalid, TooManyFailures
from aggsvc.http.access import SIGN_IN, guard_of, refuse
from aggsvc.http.forms import CSRF_TOKEN, check_form_token, read_form
from aggsvc.http.guard import CALLER, Guard
from aggsvc.http.problems import refusal
from aggsvc.http.routing import Route
from aggsvc.http.sessions import FORM_TOKEN
from web.render import render

# Where one may be led after signing in: to a page of ours.
OWN_PAGE = re.compile(r"/ui(?:[/?][!-\[\]-~]*)?")


async def sign_in_page(request: web.Request) -> web.Response:
    """GET /ui/sign-in: the form."""
    guard = guard_of(request)
    if guard is None or CALLER in request:
        raise web.HTTPSeeOther(_next(request))
    guard.check()
    return await _show(request, guard)


async def sign_in(request: web.Request) -> web.Response:
    """POST /ui/sign-in: begin a session of the token's, and go on to the page that was wanted."""
    guard = guard_of(request)
    if guard is None:
        raise web.HTTPSeeOther(_next(request))
    form = await read_form(request)
    check_form_token(request, form)
    try:
        token = guard.by_text(request, str(form.get("token", "")).strip())
    except (TokenInvalid, TooManyFailures) as error:
        refuse(request, error)
        return await _show(request, guard, *refusal(request, error))
    onward = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": _next(request)})
    await guard.sessions.save_session(request, onward, await guard.sessions.begin(token.id))
    return onward


async def sign_out(request: web.Request) -> web.Response:
    """POST /ui/sign-out: end the session."""
    onward = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": SIGN_IN})
    if (guard := guard_of(request)) is not None:
        await guard.sessions.save_session(request, onward, await guard.sessions.new_session())
    return onward


async def _show(
    request: web.Request, guard: Guard, status: HTTPStatus = HTTPStatus.OK, refused: str = ""
) -> web.Response:
    session = await guard.sessions.load_session(request)
    is_new = FORM_TOKEN not in session
    if is_new:
        session = await guard.sessions.begin()
    request[CSRF_TOKEN] = session[FORM_TOKEN]
    page = render("sign_in.html", request, {"refused": refused, "next": _next(request)}, status)
    if is_new:
        await guard.sessions.save_session(request, page, session)
    return page


def _next(request: web.Request) -> str:
    wanted = request.query.get("next", "")
    return wanted if OWN_PAGE.fullmatch(wanted) else "/ui"


ROUTES = (
    Route("GET", SIGN_IN, sign_in_page, "sign_in_page", None),
    Route("POST", SIGN_IN, sign_in, "sign_in", None),
    Route("POST", "/ui/sign-out", sign_out, "sign_out", None),
)
