"""Routes as data: what answers them, what a caller must be allowed, and what a call is."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web

from aggsvc.http.operations import Operation
from aggsvc.tokens import Scope

__all__ = ["Call", "Route", "Scope", "add_routes", "route_of"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; `needs` is None where anybody may call it.

    `takes_files` is for bodies of which nothing is read before the handler says so.
    """

    method: str
    path: str
    handler: Handler
    name: str
    needs: Scope | None
    takes_files: bool = field(default=False, kw_only=True)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What the handler makes of the request."""
        return await self.handler(request)


@dataclass(frozen=True, slots=True)
class Call(Route):
    """A route of the API, which is not without its description."""

    operation: Operation

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What the handler makes of the request, which has no parameter but those described."""
        self.operation.check(request)
        return await self.handler(request)


def add_routes(app: web.Application, routes: Iterable[Route]) -> None:
    """Have the app answer these routes."""
    for route in routes:
        if route.method == "GET":
            app.router.add_get(route.path, route.answer, name=route.name)  # and HEAD
        elif route.takes_files:
            app.router.add_route(
                *(route.method, route.path, route.answer),
                name=route.name,
                expect_handler=no_continue_yet,
            )
        else:
            app.router.add_route(route.method, route.path, route.answer, name=route.name)


def route_of(request: web.Request) -> Route | None:
    """The route that answers the request, if it is one of a table."""
    owner = getattr(request.match_info.handler, "__self__", None)
    return owner if isinstance(owner, Route) else None


async def no_continue_yet(_request: web.Request) -> None:
    """The expect_handler of uploads: what is refused is told instead of 100 Continue."""
