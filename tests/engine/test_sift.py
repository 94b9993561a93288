"""Some readings of a file, chosen: the answer is that of a file that has no others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aggsvc.engine import sift
from aggsvc.engine.aggregate import aggregate
from aggsvc.engine.choice import Choice
from aggsvc.engine.fields import read_timestamp
from aggsvc.model import Aggregates, Progress, RowError
from tests.engine.conftest import LANES

HEADER = b"sensor_id,timestamp,value\n"
DAY = read_timestamp("2025-10-02"), read_timestamp("2025-10-03")


def row(number: int) -> bytes:
    """Of one of 500 sensors, on one of four days; every tenth is no reading."""
    sensor, day, minute = number % 500, number // 1_000 % 4 + 1, number * 7 % 1440
    value = "x" if number % 10 == 9 else str(number % 977 / 16)
    padding = b"-" * 30  # so that there are blocks to be merged, with fewer rows
    time = f"2025-10-{day:02}T{minute // 60:02}:{minute % 60:02}Z"
    return f"s{sensor}{padding.decode()},{time},{value}\n".encode()


ROWS = list(map(row, range(90_000)))
SENSOR = ROWS[42].split(b",")[0].decode()


async def told(rows: list[bytes], lane: str, choice: Choice) -> Aggregates:
    async def stream() -> AsyncIterator[bytes]:
        yield HEADER + b"".join(rows)

    async def no_errors(_errors: list[RowError]) -> None:
        assert choice.is_all

    async def ignore(_progress: Progress) -> None:
        pass

    options = {"on_errors": no_errors, "on_progress": ignore, "max_sensors": 5_000}
    outcome = await aggregate(stream(), lane=LANES[lane], choice=choice, **options)  # type: ignore[arg-type]
    return outcome.summary.aggregates()


@pytest.mark.parametrize(
    ("choice", "part"),
    [
        (Choice(SENSOR), SENSOR.encode()),
        (Choice(SENSOR, *DAY), SENSOR.encode()),
        (Choice(None, *DAY), b",2025-10-02T"),
    ],
)
def test_the_chosen_readings_are_told_to_the_bit_as_if_there_were_no_others(
    choice: Choice, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks by several threads, which forget names meanwhile."""
    monkeypatch.setattr(sift, "MAX_NAMES", 100)
    assert len(b"".join(ROWS)) > 4 * 1024 * 1024
    chosen = [one for one in ROWS if part in one]
    if choice.first_us == DAY[0]:
        chosen = [one for one in chosen if b",2025-10-02T" in one]
    alone = asyncio.run(told(chosen, "kernel", Choice()))
    found = asyncio.run(told(ROWS, "kernel", choice))
    assert found.row_count > 10
    for name in ("mean_value", "stddev_value", "p99_value", "time_series", "histogram"):
        assert getattr(found, name) == getattr(alone, name)


def test_the_reference_lane_chooses_the_same() -> None:
    choice = Choice(SENSOR, *DAY)
    few = ROWS[:20_000]
    assert asyncio.run(told(few, "rows", choice)) == asyncio.run(told(few, "kernel", choice))
