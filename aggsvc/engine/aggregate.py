"""The pipeline: a CSV stream in, its Outcome out, its row errors to a sink as they are found."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field, replace

from aggsvc.engine.batch import Batch
from aggsvc.engine.records import Block, BlockReader, pieces
from aggsvc.engine.rows import Header, read_header, read_rows
from aggsvc.engine.summary import Summary
from aggsvc.errors import FileRejected
from aggsvc.model import Progress, RowError

ErrorSink = Callable[[list[RowError]], Awaitable[None]]
ProgressSink = Callable[[Progress], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """What a file came to. rows_read = summary.row_count + the sum of error_summary's counts."""

    summary: Summary = field(default_factory=Summary)
    rows_read: int = 0
    error_summary: Counter[str] = field(default_factory=Counter)

    @property
    def error_count(self) -> int:
        """How many rows were no readings."""
        return self.rows_read - self.summary.row_count


async def aggregate(
    stream: AsyncIterable[bytes],
    *,
    on_errors: ErrorSink,
    on_progress: ProgressSink,
    max_sensors: int,
    delimiter: str = ",",
) -> Outcome:
    """Read the whole stream; raises FileRejected where it cannot be read as a whole.

    `on_errors` gets the row errors in order, each once; `on_progress` is called after each batch.
    """
    reader = BlockReader(stream, delimiter)
    header = read_header(await reader.header(), delimiter)
    outcome = Outcome()
    async for block in reader.blocks(header.width):
        for piece in pieces(block):
            batch = await asyncio.to_thread(_fold_rows, piece, header, outcome.summary)
            if len(outcome.summary.sensor_counts) > max_sensors:
                raise FileRejected(f"the file has more than {max_sensors:,} distinct sensors")
            await _report(batch, outcome, on_errors)
            await on_progress(Progress(block.end_offset, outcome.rows_read))
    return outcome


def _fold_rows(piece: Block, header: Header, summary: Summary) -> Batch:
    batch = read_rows(piece, header)
    summary.fold(batch)
    return batch


async def _report(batch: Batch, outcome: Outcome, on_errors: ErrorSink) -> None:
    if batch.errors:
        before = outcome.rows_read
        await on_errors([replace(e, row_number=e.row_number + before) for e in batch.errors])
        outcome.error_summary.update(error.reason for error in batch.errors)
    outcome.rows_read += batch.rows_read
