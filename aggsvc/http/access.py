"""Access: each request is let in or refused before its handler; what no route allows is refused."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION, METH_GET, METH_HEAD, METH_OPTIONS

from aggsvc.errors import (
    AggsvcError,
    ScopeMissing,
    TokenInvalid,
    TokensUnreadable,
    TooManyFailures,
    Unauthenticated,
)
from aggsvc.http.forms import CSRF_TOKEN, require_form_token
from aggsvc.http.guard import CALLER, SCHEME, Caller, Guard
from aggsvc.http.origins import require_own_host, require_own_origin
from aggsvc.http.routing import route_of
from aggsvc.http.sessions import FORM_TOKEN
from aggsvc.keys import GUARD, SETTINGS
from aggsvc.tokens import Scope

SAFE = (METH_GET, METH_HEAD, METH_OPTIONS)
SIGN_IN = "/ui/sign-in"
REALM = 'Bearer realm="aggsvc"'
# What the refusal of a request has to say in its head.
REFUSAL_HEADERS = web.RequestKey("REFUSAL_HEADERS", dict)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def access_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in that may come; raises what refuses it, on pages the way to sign in."""
    if request.method == METH_OPTIONS or request.match_info.http_exception is not None:
        return await handler(request)
    guard = guard_of(request)
    if guard is None:
        require_own_host(request)
        require_own_origin(request)
        return await handler(request)
    try:
        caller = await _admit(request, guard)
    except AggsvcError as error:
        refuse(request, error)
        raise
    if caller is None:
        return await handler(request)
    with guard.admitted(request, caller):
        return await handler(request)


def refuse(request: web.Request, error: AggsvcError) -> None:
    """Have the answer say in its head why the request is refused."""
    request[REFUSAL_HEADERS] = _headers_of(error)


async def add_access_headers(request: web.Request, response: web.StreamResponse) -> None:
    """An on_response_prepare: why a request was refused, and that no proxy keeps what is told."""
    response.headers.update(request.get(REFUSAL_HEADERS, {}))
    if CALLER in request and response.headers.get("Cache-Control") == "no-cache":
        response.headers["Cache-Control"] = "private, no-cache"


def guard_of(request: web.Request) -> Guard | None:
    """What tells who calls, where everybody is asked for a token."""
    return request.app[GUARD] if request.app[SETTINGS].auth == "on" else None


def may_know(request: web.Request) -> bool:
    """Whether the caller may be told more than anybody."""
    return guard_of(request) is None or CALLER in request


def is_page(request: web.Request) -> bool:
    """Whether a person looks at the answer."""
    return request.path == "/" or request.path.startswith("/ui")


def needs_of(request: web.Request) -> Scope | None:
    """What the route needs; one that nobody has described is for the administrator."""
    if isinstance(request.match_info.route.resource, web.StaticResource):
        return None
    route = route_of(request)
    return Scope.ADMIN if route is None else route.needs


async def _admit(request: web.Request, guard: Guard) -> Caller | None:
    needs = needs_of(request)
    try:
        caller = await _identify(request, guard)
    except TokensUnreadable:
        if needs is not None:
            raise
        caller = None
    if caller is not None:
        request[CALLER] = caller
    require_own_origin(request)
    if needs is not None:
        _require_scope(request, caller, needs)
    if request.method not in SAFE and request.get(CSRF_TOKEN):
        await require_form_token(request)
    return caller


async def _identify(request: web.Request, guard: Guard) -> Caller | None:
    if _has_bearer(request):
        given = request.headers.getall(AUTHORIZATION)
        if len(given) > 1:  # a proxy before us may have looked at another one
            raise TokenInvalid("the request has more than one Authorization; send one")
        return guard.by_header(request, given[0])
    session = await guard.sessions.load_session(request)
    request[CSRF_TOKEN] = session.get(FORM_TOKEN, "")
    return guard.by_session(session)


def _has_bearer(request: web.Request) -> bool:
    # Another scheme is that of a proxy before us, and no business of ours.
    given = request.headers.getall(AUTHORIZATION, [])
    return any(value.lower().startswith(SCHEME) for value in given)


def _require_scope(request: web.Request, caller: Caller | None, needs: Scope) -> None:
    if caller is None:
        if is_page(request):
            raise _to_sign_in(request)
        raise Unauthenticated(
            "this needs a token; send it as Authorization: Bearer TOKEN, or sign in at /ui/sign-in"
        )
    if not caller.token.scope.allows(needs):
        raise ScopeMissing(needs, caller.token.scope)


def _to_sign_in(request: web.Request) -> web.HTTPException:
    back = request.path_qs if request.method in SAFE else "/ui"
    url = f"{SIGN_IN}?{urlencode({'next': back})}"
    if "HX-Request" in request.headers:  # a fragment of a page: the whole page is to go there
        return web.HTTPNoContent(headers={"HX-Redirect": SIGN_IN})
    return web.HTTPSeeOther(url)


def _headers_of(error: AggsvcError) -> dict[str, str]:
    if isinstance(error, TooManyFailures):
        return {"Retry-After": str(error.seconds)}
    if isinstance(error, ScopeMissing):
        return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{error.needs}"'}
    if isinstance(error, TokenInvalid):
        return {"WWW-Authenticate": f'{REALM}, error="invalid_token", error_description="{error}"'}
    return {"WWW-Authenticate": REALM} if isinstance(error, Unauthenticated) else {}
