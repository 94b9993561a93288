"""Routes as data: what answers them, and what a caller must be allowed."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scope(StrEnum):
    """What a caller may be allowed: to read, to write as well, to do all."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


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
    takes_files: bool = False


def add_routes(app: web.Application, routes: Iterable[Route]) -> None:
    """Have the app answer these routes."""
    for route in routes:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler, name=route.name)  # and HEAD
        elif route.takes_files:
            app.router.add_route(
                *(route.method, route.path, route.handler),
                name=route.name,
                expect_handler=no_continue_yet,
            )
        else:
            app.router.add_route(route.method, route.path, route.handler, name=route.name)


async def no_continue_yet(_request: web.Request) -> None:
    """The expect_handler of uploads: what is refused is told instead of 100 Continue."""
