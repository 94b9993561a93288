"""The records of files: a listing of large ones is whole, and holds the loop for short times."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from aggsvc.model import (
    Aggregates,
    FileRecord,
    Histogram,
    RowError,
    Status,
    TimeSeries,
    rfc3339,
)
from tests.conftest import Parts
from tests.machine import within

HELD_SECONDS = 0.01
ERROR = RowError(1, 2, "value", "invalid value", "N/A")
LARGE = Aggregates(
    row_count=1_000_000,
    **dict.fromkeys(
        [f"{name}_value" for name in ("min", "max", "mean", "stddev", "p50", "p95", "p99")],
        0.1234567890123456,
    ),
    first_timestamp=rfc3339(0),
    last_timestamp=rfc3339(1),
    sensor_count=300,
    per_sensor_count={f"sensor-{number}": number for number in range(300)},
    per_sensor_count_truncated=False,
    histogram=Histogram(0.01, (0.123456789,) * 64, (1_000,) * 64),
    time_series=TimeSeries(
        60.0, (rfc3339(0),) * 512, (1_000,) * 512, *[(0.12345678901234567,) * 512] * 3
    ),
)


def large(number: int) -> FileRecord:
    """A record of about 80 KB."""
    record = FileRecord(f"{number:032}", "a.csv", 1, "", f"2025-10-01T08:00:{number:09}Z")
    return replace(
        record,
        status=Status.PARTIAL,
        aggregates=LARGE,
        errors=(ERROR,) * 100,
        errors_key="e",
        sensors="x" * 32_000,
    )


async def test_a_listing_of_large_records_is_whole_and_holds_the_loop_for_short_times(
    parts: Parts, stall: Callable[[], float]
) -> None:
    """200 of 80 KB: far more than the table gives at a time."""
    await asyncio.gather(*(parts.files.create(large(number)) for number in range(210)))
    held = []
    for _ in range(3):  # of the same work; what else the machine does only adds to it
        stall()
        page = await parts.files.list(limit=200)
        held.append(stall())
    assert [record.file_id for record in page.items] == [f"{n:032}" for n in range(209, 9, -1)]
    assert within(min(held), HELD_SECONDS)
    rest = await parts.files.list(limit=200, cursor=page.cursor)
    assert (len(rest.items), rest.cursor) == (10, None)


async def test_a_listed_record_lacks_its_long_lists_and_nothing_else(parts: Parts) -> None:
    whole = large(1)
    await parts.files.create(whole)
    (listed,) = (await parts.files.list()).items
    brief = replace(LARGE, per_sensor_count={}, histogram=None, time_series=None)
    assert listed == replace(whole, aggregates=brief, errors=(), sensors=None)
    assert await parts.files.get(whole.file_id) == whole
