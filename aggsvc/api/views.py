"""What the API shows: records as JSON, row errors and sensors also as JSON lines or CSV.

In CSV a text that a spreadsheet would take for a formula has an apostrophe before it.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any

import orjson
from aiohttp import web

from aggsvc.model import LONG_LISTS, Aggregates, FileRecord, SensorStatistics
from aggsvc.service import Series

KEPT_NOT_SHOWN = ("version", "attempts", "errors_key", "sensors", "sensors_key", "past")
# What a series does not have among its statistics.
OF_ALL_READINGS = (
    "sensor_count",
    "per_sensor_count",
    "per_sensor_count_truncated",
    "histogram",
    "time_series",
)
ERROR_COLUMNS = ("row_number", "line_number", "column", "reason", "value")
SENSOR_COLUMNS = SensorStatistics.__slots__
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_response(data: object, **options: Any) -> web.Response:
    """The data as JSON, floats bit for bit."""
    return web.Response(body=to_json(data), content_type="application/json", **options)


def to_json(data: object) -> bytes:
    """The data as one line of JSON."""
    return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)


def record_view(record: FileRecord) -> dict[str, Any]:
    """The record as the API shows it."""
    item = record.to_item()
    for name in KEPT_NOT_SHOWN:
        item.pop(name, None)
    return item | {"history": record.history}


def listed_view(record: FileRecord) -> dict[str, Any]:
    """The record in a listing: without its errors and the long lists of its aggregates."""
    item = record_view(record)
    del item["errors"], item["history"]
    if item["aggregates"] is not None:
        for name in LONG_LISTS:
            del item["aggregates"][name]
    return item


def series_view(series: Series) -> dict[str, Any]:
    """The statistics of some of a file's readings, and which they are."""
    found = series.aggregates
    figures = (name for name in Aggregates.__slots__ if name not in OF_ALL_READINGS)
    return {
        "file_id": series.file_id,
        "sensor_id": series.sensor_id,
        "from": series.first,
        "to": series.end,
        "statistics": {name: getattr(found, name) for name in figures},
        "time_series": found.time_series,
        "histogram": found.histogram,
    }


async def errors_of(reason: str, lines: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Those JSON lines of row errors, in any chunks, that have this reason."""
    # A quote within a value has a backslash before it, so no value looks like this.
    mark = b'"reason":' + orjson.dumps(reason)
    rest = b""
    async for chunk in lines:
        *whole, rest = (rest + chunk).split(b"\n")
        if found := b"".join(line + b"\n" for line in whole if mark in line):
            yield found


async def errors_as_csv(lines: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """JSON lines of row errors, in any chunks, as CSV with a header."""
    yield _csv_rows([ERROR_COLUMNS])
    rest = b""
    async for chunk in lines:
        *whole, rest = (rest + chunk).split(b"\n")
        yield await asyncio.to_thread(_errors_csv, whole)


async def sensors_as_csv(pages: AsyncIterable[Sequence[SensorStatistics]]) -> AsyncIterator[bytes]:
    """Pages of sensors as CSV with a header."""
    yield _csv_rows([SENSOR_COLUMNS])
    async for page in pages:
        yield await asyncio.to_thread(_sensors_csv, page)


async def sensors_as_lines(
    pages: AsyncIterable[Sequence[SensorStatistics]],
) -> AsyncIterator[bytes]:
    """Pages of sensors as JSON lines."""
    async for page in pages:
        yield await asyncio.to_thread(_lines, page)


def _errors_csv(lines: Iterable[bytes]) -> bytes:
    errors = map(orjson.loads, lines)
    return _csv_rows([error[name] for name in ERROR_COLUMNS] for error in errors)


def _sensors_csv(sensors: Iterable[SensorStatistics]) -> bytes:
    return _csv_rows([getattr(sensor, name) for name in SENSOR_COLUMNS] for sensor in sensors)


def _lines(items: Iterable[object]) -> bytes:
    return b"".join(map(to_json, items))


def _csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_harmless, row) for row in rows)
    return text.getvalue().encode()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
