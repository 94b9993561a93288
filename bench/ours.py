"""Our engine on a local file, read as the mock store reads it."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import aiofiles

from aggsvc.engine import Engine, load_engine
from aggsvc.engine.sensors import SensorTable
from aggsvc.model import Aggregates
from aggsvc.server import SWITCH_SECONDS
from bench.task import Answers, Task, measure

MAX_SENSORS = 2_000_000

Found = tuple[Aggregates, SensorTable, dict[str, int]]


async def ignore(_told: object) -> None:
    """Take row errors and progress, as the service would, and drop them."""


async def run(engine: Engine, path: str) -> Found:
    """The aggregates, each sensor's statistics, and the count of row errors by reason."""
    with ThreadPoolExecutor(1) as executor:
        async with aiofiles.open(path, "rb", buffering=0, executor=executor) as file:
            outcome = await engine(
                file, on_errors=ignore, on_progress=ignore, max_sensors=MAX_SENSORS
            )
    summary = outcome.summary
    return summary.aggregates(), summary.sensors(), dict(outcome.error_summary)


def run_in(threads: int, engine: Engine, path: str) -> Found:
    """The same with as many threads for the engine as the service gives it."""
    found: list[Found] = []

    async def keep() -> None:  # for asyncio.run spells out the result of its task when it ends
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        found.append(await run(engine, path))

    asyncio.run(keep())
    return found[0]


def answers(found: Found) -> Answers:
    """What is compared with the truth."""
    overall, sensors, error_summary = found
    names = ("row_count", "min_value", "max_value", "mean_value", "stddev_value", "sensor_count")
    return {
        **{
            name: getattr(overall, name) for name in (*names, "p50_value", "p95_value", "p99_value")
        },
        "first_us": microseconds(overall.first_timestamp),
        "last_us": microseconds(overall.last_timestamp),
        "sensor_rows": int(sensors.row_counts.sum()),
        "histogram_rows": sum(overall.histogram.row_counts),
        "series_rows": sum(overall.time_series.row_counts),
        "error_summary": error_summary,
    }


def microseconds(timestamp: str) -> int:
    """Microseconds since 1970 of RFC 3339 text."""
    time = datetime.fromisoformat(timestamp)
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond


if __name__ == "__main__":
    task = Task.given()
    loaded = load_engine(task.engine, task.cores)
    sys.setswitchinterval(SWITCH_SECONDS)
    measure(lambda: run_in(task.cores, loaded, task.path), answers)
