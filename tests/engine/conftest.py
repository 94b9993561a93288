"""How the engine's tests run it: whole, on chunks of their choosing, with everything it reports."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from aggsvc.engine.aggregate import Outcome, aggregate
from aggsvc.engine.records import BlockReader, pieces
from aggsvc.engine.rows import read_header, read_rows
from aggsvc.errors import FileRejected
from aggsvc.model import Progress, RowError


@dataclass
class Run:
    """What one run of the engine came to: its outcome, or why the file was rejected."""

    outcome: Outcome | None = None
    rejected: str | None = None
    errors: list[RowError] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)


async def run_engine(
    chunks: Iterable[bytes], *, delimiter: str = ",", max_sensors: int = 1000
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
            stream(),
            on_errors=on_errors,
            on_progress=on_progress,
            max_sensors=max_sensors,
            delimiter=delimiter,
        )
    except FileRejected as error:
        run.rejected = str(error)
    return run


def readings_of(data: bytes) -> list[tuple[str, int, float]]:
    """Every reading of a file that is not rejected, from the batches' columns."""

    async def read() -> list[tuple[str, int, float]]:
        async def stream() -> AsyncIterator[bytes]:
            yield data

        found: list[tuple[str, int, float]] = []
        reader = BlockReader(stream())
        header = read_header(await reader.header())
        async for block in reader.blocks(header.width):
            for piece in pieces(block):
                batch = read_rows(piece, header)
                found += zip(batch.sensors, batch.timestamps, batch.values, strict=True)
        return found

    return asyncio.run(read())


def run_sync(chunks: Iterable[bytes], **options: object) -> Run:
    """run_engine for Hypothesis, which calls plain functions."""
    return asyncio.run(run_engine(chunks, **options))  # type: ignore[arg-type]
