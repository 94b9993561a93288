"""The page of one file, with all that is known of it.

Its address says what is picked: a `sensor`, a stretch of time (`from`, `to`), the order, search and
page of the sensors (`sort`, `q`, `cursor`), and a `reason` of row errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote, urlencode

from aiohttp import web

from aggsvc.errors import Busy, Conflict, InvalidRequest, NotFound
from aggsvc.http.hangups import while_connected
from aggsvc.http.routing import Route, Scope
from aggsvc.keys import SERVICE
from aggsvc.model import REASONS, Aggregates, FileRecord, RowError, Status, rfc3339
from aggsvc.service import SensorPage, Series, Service
from web.advice import advice_on
from web.charts import Bar, Reach, SeriesChart, bars, micros
from web.render import render

PAGE_SENSORS = 25
SHOWN_ERRORS = 25
MOST_COLUMNS = 8
CELL_CHARS = 100
# A picked sensor of a larger file comes after the page, which would wait too long for it.
READ_AT_ONCE_BYTES = 8 * 1024 * 1024
KEPT = ("sensor", "from", "to", "sort", "q", "cursor", "reason")
# Names of figures on a page, each with that of the aggregate that it shows.
HEADLINES = {"Mean": "mean_value", "Minimum": "min_value", "Maximum": "max_value"}
FIGURES = {
    "Standard deviation": "stddev_value",
    "Median": "p50_value",
    "95th percentile": "p95_value",
    "99th percentile": "p99_value",
}
# Columns of the table of sensors, each with what it is sorted by.
SENSOR_COLUMNS = {
    "Sensor": "sensor_id",
    "Readings": "row_count",
    "Minimum": "min_value",
    "Mean": "mean_value",
    "Maximum": "max_value",
    "Deviation": "stddev_value",
    "First reading": "first_timestamp",
    "Last reading": "last_timestamp",
}
REQUIRED = ("sensor_id", "timestamp", "value")
# Of a file that is done what listened to its events is replaced, too.
NO_LONGER_LIVE = {"HX-Retarget": "#live", "HX-Reselect": "#live"}
# A page that shows a file as it is at its end asks with this whether that is still so.
SHOWN_VERSION = "Shown-Version"
# Of one that was deleted meanwhile nothing is left on the page.
GONE = {"HX-Retarget": "#main", "HX-Reselect": "#main"}


async def file_page(request: web.Request) -> web.Response:
    """GET /ui/files/{file_id}: the record, its charts, sensors and row errors."""
    service = request.app[SERVICE]
    try:
        record = await service.get(request.match_info["file_id"])
    except NotFound:
        if not _is_shown(request):
            raise
        return _gone(request)
    if request.headers.get(SHOWN_VERSION) == str(record.version):
        return web.Response(status=HTTPStatus.NO_CONTENT)
    page = _Page(record, _picked(request))
    at_once = "now" in request.query or record.size_bytes <= READ_AT_ONCE_BYTES
    context = {
        "file": record,
        "page": page,
        "headlines": HEADLINES,
        "figures": FIGURES,
        "advice": record.message and advice_on(record.message),
        "pace": _Pace.of(record),
        "origin": request.url.origin(),
        "series": await while_connected(request, _series(service, page, at_once=at_once)),
        "sensors": await _sensors(service, page),
        "errors": await _errors(service, page),
    }
    response = render("file.html", request, context)
    if record.status.is_final and _is_shown(request):
        response.headers.update(NO_LONGER_LIVE)
    return response


def _is_shown(request: web.Request) -> bool:
    """Whether a page that shows the file asks how it stands now."""
    return request.headers.get("HX-Target") in ("file", "live")


def _gone(request: web.Request) -> web.Response:
    context = {
        "title": "Deleted",
        "detail": "The file is gone: it was deleted while this page showed it.",
        "advice": "",
    }
    response = render("error.html", request, context, HTTPStatus.NOT_FOUND)
    response.headers.update(GONE)
    return response


def _picked(request: web.Request) -> dict[str, str]:
    """What the address says is picked; a reason that is none counts as left out."""
    picked = {name: request.query[name] for name in KEPT if request.query.get(name)}
    if picked.get("reason", REASONS[0]) not in REASONS:
        del picked["reason"]
    return picked


@dataclass(frozen=True, slots=True)
class _Page:
    """A file and what is picked of it."""

    file: FileRecord
    picked: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"/ui/files/{self.file.file_id}"

    @property
    def bad_percent(self) -> float:
        """How many of the rows are bad, of 100; neither 0 nor 100 where some are not."""
        rows, bad = self.file.progress.rows_read, self.file.error_count
        percent = 100 * bad / rows
        return percent if bad == rows else min(float(f"{percent:.2g}"), 99.9)

    @property
    def readings(self) -> Aggregates | None:
        """The statistics, where there are readings."""
        aggregates = self.file.aggregates
        return aggregates if aggregates and aggregates.row_count else None

    def at(self, **changes: str | None) -> str:
        """The address with something else picked; `from_` is for `from`."""
        query = dict(self.picked) | {name.rstrip("_"): text for name, text in changes.items()}
        kept = {name: text for name, text in query.items() if text}
        return f"{self.url}?{urlencode(kept, quote_via=quote)}" if kept else self.url

    def sorted_by(self, column: str) -> str:
        """The address with the sensors in that order, or the other way round if they are."""
        sort = self.picked.get("sort", "sensor_id")
        # Of figures the greatest are wanted first.
        first, then = ("", "-sensor_id") if column == "sensor_id" else (f"-{column}", column)
        return self.at(sort=then if sort == (first or column) else first, cursor=None)

    def order_of(self, column: str) -> str | None:
        """Whether the sensors are sorted by it, as aria-sort has it."""
        sort = self.picked.get("sort", "sensor_id")
        return {column: "ascending", f"-{column}": "descending"}.get(sort)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast a file has been processed so far, and when it is done if that goes on."""

    bytes_per_second: int
    ms_left: float

    @classmethod
    def of(cls, record: FileRecord) -> Self | None:
        """The pace of a file that is being processed, once there is something to tell it by."""
        done = record.progress.bytes_read
        if record.status is not Status.PROCESSING or record.started_at is None or not done:
            return None
        gone = datetime.now(UTC) - datetime.fromisoformat(record.started_at)
        rate = done / max(gone.total_seconds(), 1e-3)
        return cls(int(rate), 1_000 * (record.size_bytes - done) / rate)


@dataclass(frozen=True, slots=True)
class _SeriesPart:
    """The series that is picked, its charts, and where to go from it; or why there is none."""

    found: Series | None = None
    chart: SeriesChart | None = None
    bars: list[Bar] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    comes_later: bool = False


async def _series(service: Service, page: _Page, *, at_once: bool) -> _SeriesPart:
    picked = page.picked
    if page.readings is None:
        return _SeriesPart()
    steps = _steps(page, page.readings)
    if not at_once and {"sensor", "from", "to"} & picked.keys():
        return _SeriesPart(steps=steps, comes_later=True)
    try:
        found = await service.series(
            page.file.file_id,
            sensor_id=picked.get("sensor"),
            first=picked.get("from"),
            end=picked.get("to"),
        )
    except (Busy, Conflict, InvalidRequest, NotFound) as error:
        return _SeriesPart(refused=str(error), steps=steps)
    series, histogram = found.aggregates.time_series, found.aggregates.histogram
    return _SeriesPart(
        found,
        SeriesChart.of(series) if series else None,
        bars(histogram) if histogram else [],
        steps,
    )


def _steps(page: _Page, readings: Aggregates) -> dict[str, str]:
    """Where to go from the stretch of time that is picked: each with its address."""
    if readings.first_timestamp is None or readings.last_timestamp is None:
        return {}
    low, high = micros(readings.first_timestamp), micros(readings.last_timestamp) + 1
    try:
        start = micros(page.picked["from"]) if "from" in page.picked else low
        end = micros(page.picked["to"]) if "to" in page.picked else high
    except ValueError:
        return {"Whole": page.at(from_=None, to=None)}
    quarter = max(1, (end - start) // 4)
    stretches = {
        "Zoom in": (start + quarter, end - quarter),
        "Zoom out": (start - 2 * quarter, end + 2 * quarter),
        "Earlier": (start - 2 * quarter, end - 2 * quarter),
        "Later": (start + 2 * quarter, end + 2 * quarter),
        "Whole": (low, high),
    }
    now = max(start, low), min(end, high)
    if now == (low, high):
        del stretches["Earlier"], stretches["Later"]
    steps = {}
    for name, (first, last) in stretches.items():
        within = max(first, low), min(last, high)
        if within != now and within[0] < within[1]:
            is_whole = within == (low, high)
            from_, to = (None, None) if is_whole else map(rfc3339, within)
            steps[name] = page.at(from_=from_, to=to)
    return steps


@dataclass(frozen=True, slots=True)
class _SensorsPart:
    """A page of the sensors, each with how far it reaches."""

    page: SensorPage
    rows: list[tuple[Any, Reach]]
    columns: Mapping[str, str]
    refused: str | None = None


async def _sensors(service: Service, page: _Page) -> _SensorsPart | None:
    readings, picked = page.readings, page.picked
    if readings is None or readings.min_value is None or readings.max_value is None:
        return None
    refused = None
    try:
        found = await _sensor_page(service, page, picked.get("sort", ""), picked.get("cursor"))
    except (Conflict, InvalidRequest) as error:
        refused = str(error)
        found = await _sensor_page(service, page, "", None)
    most = max(readings.per_sensor_count.values())
    rows = [
        (sensor, Reach.of(sensor, readings.min_value, readings.max_value, most))
        for sensor in found.items
    ]
    return _SensorsPart(found, rows, SENSOR_COLUMNS, refused)


async def _sensor_page(service: Service, page: _Page, sort: str, cursor: str | None) -> SensorPage:
    search = page.picked.get("q", "")
    return await service.sensors(
        page.file.file_id, search=search, sort=sort, limit=PAGE_SENSORS, cursor=cursor
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """A field of a row, and whether it is the one that is wrong."""

    text: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class _ErrorRow:
    """A row error and the row's cells: one, which is wrong, where the fields are not known."""

    error: RowError
    cells: list[_Cell]


@dataclass(frozen=True, slots=True)
class _ErrorsPart:
    """The first row errors, of the reason that is picked, under the columns of the header."""

    reasons: Mapping[str, int]
    columns: list[str]
    rows: list[_ErrorRow]
    of: int


async def _errors(service: Service, page: _Page) -> _ErrorsPart | None:
    record, reason = page.file, page.picked.get("reason")
    if not record.error_count:
        return None
    wanted = [error for error in record.errors if reason in (None, error.reason)][:SHOWN_ERRORS]
    found = await service.excerpt(record, {error.line_number for error in wanted})
    names = list(found.columns) or list(REQUIRED)
    folded = [name.casefold() for name in names]
    if len(names) > MOST_COLUMNS:
        places = sorted(folded.index(name) for name in REQUIRED)
    else:
        places = list(range(len(names)))
    rows = []
    for error in wanted:
        bad = folded.index(error.column) if error.column in folded else None
        row = found.rows.get(error.line_number)
        rows.append(_ErrorRow(error, _cells(error, row, places, bad)))
    total = record.error_count if reason is None else record.error_summary.get(reason, 0)
    return _ErrorsPart(record.error_summary, [names[place] for place in places], rows, total)


def _cells(
    error: RowError, row: tuple[str, ...] | None, places: list[int], bad: int | None
) -> list[_Cell]:
    if bad is None:
        return [_Cell(error.value[:CELL_CHARS], is_bad=True)]
    if row is None:
        return [_Cell(error.value[:CELL_CHARS] if at == bad else "", at == bad) for at in places]
    return [_Cell(row[at].strip()[:CELL_CHARS], at == bad) for at in places]


ROUTES = (Route("GET", "/ui/files/{file_id}", file_page, "file_page", Scope.READ),)
"""The file page's routes."""
