"""The description of the API for people: Swagger UI to try it, ReDoc to read it."""

from aiohttp import web

from aggsvc.http.routing import Route
from web.render import render

SWAGGER_UI = "vendor/swagger-ui-dist-5.35.0"
REDOC = "vendor/redoc-2.5.4"
# ReDoc writes its style into the page, and searches in a worker that it makes of a blob.
REDOC_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
)


async def docs_page(request: web.Request) -> web.Response:
    """GET /docs: the calls, each of which can be made from the page."""
    context = {
        "title": "Try the API",
        "frame": "div",  # Swagger UI has a main of its own
        "styles": [f"{SWAGGER_UI}/swagger-ui.css", "docs.css"],
        "scripts": [f"{SWAGGER_UI}/swagger-ui-bundle.js", "aria.js", "docs.js"],
    }
    return render("docs.html", request, context)


async def redoc_page(request: web.Request) -> web.Response:
    """GET /redoc: the calls, to be read and searched."""
    context = {
        "title": "Read about the API",
        "frame": "main",
        "styles": ["docs.css"],
        "scripts": [f"{REDOC}/redoc.standalone.js", "aria.js", "redoc.js"],
    }
    page = render("docs.html", request, context)
    page.headers["Content-Security-Policy"] = REDOC_POLICY
    return page


ROUTES = (
    Route("GET", "/docs", docs_page, "docs_page", None),
    Route("GET", "/redoc", redoc_page, "redoc_page", None),
)
