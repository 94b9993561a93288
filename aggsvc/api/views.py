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

from aggsvc.model import LONG_LISTS, FileRecord, SensorStatistics

KEPT_NOT_SHOWN = ("version", "attempts", "errors_key", "sensors", "sensors_key")
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
        del item[name]
    return item


def listed_view(record: FileRecord) -> dict[str, Any]:
    """The record in a listing: without its errors and the long lists of its aggregates."""
    item = record_view(record)
    del item["errors"]
    if item["aggregates"] is not None:
        for name in LONG_LISTS:
            del item["aggregates"][name]
    return item


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
