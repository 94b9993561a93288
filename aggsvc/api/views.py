"""What the API shows: records and events as JSON, row errors as JSON lines or CSV."""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from aggsvc.model import LONG_LISTS, FileRecord

KEPT_NOT_SHOWN = ("version", "attempts", "errors_key", "sensors", "sensors_key")
ERROR_COLUMNS = ("row_number", "line_number", "column", "reason", "value")


def json_response(data: object, **options: Any) -> web.Response:
    """The data as JSON, floats bit for bit."""
    return web.Response(
        body=orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE),
        content_type="application/json",
        **options,
    )


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
        errors = map(orjson.loads, whole)
        yield _csv_rows([[error[name] for name in ERROR_COLUMNS] for error in errors])


def _csv_rows(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
