"""How the engine's tests run it: whole, on chunks of their choosing, with everything it reports."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from aggsvc.engine.aggregate import Outcome, aggregate
from aggsvc.engine.batch import NO_READING, Batch
from aggsvc.engine.blocks import BlockReader, Source
from aggsvc.engine.lanes import ROWS, lane_of
from aggsvc.engine.rows import read_header
from aggsvc.engine.sensor_ids import SensorIds
from aggsvc.errors import FileRejected
from aggsvc.model import Progress, RowError


@dataclass
class Run:
    """What one run of the engine came to: its outcome, or why the file was rejected."""

    outcome: Outcome | None = None
    rejected: str | None = None
    errors: list[RowError] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)


LANES = {"rows": ROWS, "kernel": lane_of("auto", cores=2)}


async def run_engine(
    chunks: Iterable[bytes] | Source,
    *,
    lane: str = "rows",
    delimiter: str = ",",
    max_sensors: int = 1000,
) -> Run:
    run = Run()

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def on_errors(errors: list[RowError]) -> None:
        run.errors += errors

    async def on_progress(progress: Progress) -> None:
        run.progress.append(progress)

    try:
        run.outcome = await aggregate(
            chunks if isinstance(chunks, Source) else stream(),
            lane=LANES[lane],
            on_errors=on_errors,
            on_progress=on_progress,
            max_sensors=max_sensors,
            delimiter=delimiter,
        )
    except FileRejected as error:
        run.rejected = str(error)
    return run


def readings_in(batch: Batch, ids: SensorIds) -> list[tuple[str, int, float]]:
    """The batch's readings in order: sensor, timestamp, value."""
    names = [name.decode() for name in ids.names().encoded()]
    columns = (batch.sensors.tolist(), batch.timestamps.tolist(), batch.values.tolist())
    rows = zip(*columns, strict=True)
    return [(names[sensor], *row) for sensor, *row in rows if sensor != NO_READING]


def readings_of(data: bytes, lane: str = "rows") -> list[tuple[str, int, float]]:
    """Every reading of a file that is not rejected, from the batches' columns."""

    async def read() -> list[tuple[str, int, float]]:
        async def stream() -> AsyncIterator[bytes]:
            yield data

        found: list[tuple[str, int, float]] = []
        reader = BlockReader(stream(), LANES[lane].cutter)
        header = read_header(await reader.header())
        lane_reader, ids = LANES[lane].reader(header), SensorIds()
        async for block in reader.blocks(header.width):
            for batch in lane_reader.batches(block, ids):
                found += readings_in(batch, ids)
            block.release()
        return found

    return asyncio.run(read())


def run_sync(chunks: Iterable[bytes], **options: object) -> Run:
    """run_engine for Hypothesis, which calls plain functions."""
    return asyncio.run(run_engine(chunks, **options))  # type: ignore[arg-type]
