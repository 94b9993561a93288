"""The JSON API."""

from functools import cache

from aiohttp import web

from aggsvc.api.openapi import DOCUMENT, Document, describe
from aggsvc.api.routes import ROUTES
from aggsvc.http.routing import add_routes


def setup_api(app: web.Application) -> None:
    """Add the API's calls, and their description, to the app."""
    add_routes(app, ROUTES)
    app[DOCUMENT] = _document()


@cache  # it is the same for each app of a process
def _document() -> Document:
    return Document(describe(ROUTES))
