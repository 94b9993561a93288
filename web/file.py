"""The page of one file, with all that is known of it."""

from aiohttp import web

from aggsvc.http.routing import Route, Scope
from aggsvc.keys import SERVICE
from web.render import render

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


ROUTES = (Route("GET", "/ui/files/{file_id}", file_page, "file_page", Scope.READ),)
"""The file page's routes."""
