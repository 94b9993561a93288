"""The pipeline: a CSV stream in, its Outcome out, its row errors to a sink as they are found.

Blocks are read in parallel, each by a reader and into a summary that no other thread uses
meanwhile; what they report is told in the order of the file. Summaries are exact, so it does not
matter which block went into which: merged they are the summary of the file.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable, Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aggsvc.engine import ErrorSink, ProgressSink
from aggsvc.engine.batch import Batch
from aggsvc.engine.blocks import Block, BlockReader, Buffer, Stretch
from aggsvc.engine.choice import ALL, Choice
from aggsvc.engine.lanes import Lane, Reader
from aggsvc.engine.names import Names
from aggsvc.engine.row_errors import RowErrors
from aggsvc.engine.rows import Header, read_header
from aggsvc.engine.sensor_ids import MIN_SLOTS
from aggsvc.engine.sift import sifting
from aggsvc.engine.summary import Summary
from aggsvc.errors import FileRejected
from aggsvc.model import Progress


@dataclass(slots=True)
class Outcome:
    """What a file came to. rows_read = summary.row_count + the sum of error_summary's counts."""

    summary: Summary = field(default_factory=Summary)
    rows_read: int = 0
    error_summary: Counter[str] = field(default_factory=Counter)

    @property
    def error_count(self) -> int:
        """How many rows were no readings."""
        return self.error_summary.total()


async def aggregate(
    stream: AsyncIterable[bytes],
    *,
    lane: Lane,
    on_errors: ErrorSink,
    on_progress: ProgressSink,
    max_sensors: int,
    delimiter: str = ",",
    choice: Choice = ALL,
) -> Outcome:
    """Read the whole stream; raises FileRejected where it cannot be read as a whole.

    `on_errors` gets the row errors in order, each once; `on_progress` is called as bytes come and
    rows are read.
    With a choice the outcome is that of the chosen readings, and no row error is told.
    """
    lane = lane if choice.is_all else sifting(lane, choice)
    teller = _Teller(on_errors, on_progress)
    reader = BlockReader(stream, lane.cutter, delimiter, teller.tell_bytes)
    header = read_header(await reader.header(), delimiter)
    teller.line_number = reader.line_number
    team = _Team(lane, header)
    limit = _Limit(max_sensors)
    beginning = asyncio.create_task(team.begin_all(reader.blocks(header.width)))
    try:
        while (run := await team.runs.get()) is not None:
            await team.finish(*run, teller, limit)
        await beginning
    finally:
        beginning.cancel()
        await asyncio.wait({beginning})
        team.abandon()
    summary = await asyncio.to_thread(team.merged)
    limit.check(summary.sensor_count)
    return Outcome(summary, teller.rows_read, teller.error_summary)


@dataclass(frozen=True, slots=True)
class LaneEngine:
    """The Engine of a lane."""

    lane: Lane

    def __call__(self, stream: AsyncIterable[bytes], **options: Any) -> Awaitable[Outcome]:
        """Read the whole stream, as `aggregate` does with these options."""
        return aggregate(stream, lane=self.lane, **options)


@dataclass(frozen=True, slots=True)
class _Limit:
    max_sensors: int

    def check(self, sensor_count: int) -> None:
        if sensor_count > self.max_sensors:
            raise FileRejected(f"the file has more than {self.max_sensors:,} distinct sensors")


class _Teller:
    """Tells row errors and progress in the order of the file, and counts them."""

    def __init__(self, on_errors: ErrorSink, on_progress: ProgressSink) -> None:
        self.rows_read = 0
        self.line_number = 1  # of the block's first line
        self._bytes_read = 0
        self.error_summary: Counter[str] = Counter()
        self._on_errors = on_errors
        self._on_progress = on_progress

    async def tell_bytes(self, bytes_read: int) -> None:
        """Tell how much has come, however long a block takes to fill."""
        self._bytes_read = bytes_read
        await self._tell_progress()

    async def tell(self, some: "_Some") -> None:
        if some.errors:
            self.error_summary.update(some.errors.counts())
            await self._on_errors(some.errors.moved(self.rows_read, self.line_number - 1))
        self.rows_read += some.rows_read
        self.line_number += some.lines
        await self._tell_progress()

    async def _tell_progress(self) -> None:
        await self._on_progress(Progress(self._bytes_read, self.rows_read))


@dataclass(slots=True)
class _Member:
    """What one thread works with: nobody else uses it meanwhile."""

    reader: Reader
    summary: Summary = field(default_factory=Summary)


@dataclass(slots=True)
class _Run:
    """A block on its way: who reads it, once somebody does, and what is left of it."""

    block: Block
    member: _Member | None = None
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))


class _Team:
    """Has blocks read by the threads there are, some of them waiting; they end in order."""

    def __init__(self, lane: Lane, header: Header) -> None:
        self.runs: asyncio.Queue[tuple[_Run, asyncio.Task[_Some]] | None] = asyncio.Queue()
        self._lane = lane
        self._header = header
        self._members: list[_Member] = []
        self._idle: deque[_Member] = deque()
        self._room = asyncio.Semaphore(lane.blocks)
        self._tasks: set[asyncio.Task[_Some]] = set()

    async def begin_all(self, blocks: AsyncIterable[Block]) -> None:
        """Have each block read as soon as a thread is idle; None in `runs` is the end."""
        try:
            async for block in blocks:
                await self._room.acquire()
                run = _Run(block)
                self.runs.put_nowait((run, self._begin(run)))
        finally:
            self.runs.put_nowait(None)

    async def finish(
        self, run: _Run, reading: "asyncio.Task[_Some]", teller: _Teller, limit: _Limit
    ) -> None:
        """Read the rest of the block and tell what is in it."""
        while True:
            some = await reading
            limit.check(some.sensor_count)
            if some.is_last:
                break
            reading = self._begin(run)
            await teller.tell(some)
        run.block.release()
        self._room.release()
        await teller.tell(some)

    def abandon(self) -> None:
        """Wait for no block any more; a thread that reads one ends by itself."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, run: _Run) -> "asyncio.Task[_Some]":
        task = asyncio.create_task(asyncio.to_thread(self._read_on, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _read_on(self, run: _Run) -> "_Some":
        """In a thread: read some more of the block, with a member that it keeps to its end."""
        if run.member is None:
            run.member = self._idle_member()
            run.batches = run.member.reader.batches(run.block, run.member.summary.ids)
        some = _read_some(run.batches, run.member)
        if some.is_last:
            self._idle.append(run.member)
        return some

    def _idle_member(self) -> _Member:
        """One that has nothing to do, or a new one: at most one for each block under way."""
        try:
            return self._idle.pop()
        except IndexError:
            member = _Member(self._lane.reader(self._header))
            self._members.append(member)  # as other threads may do at the same moment
            return member

    def merged(self) -> Summary:
        """The summary of all that was read."""
        first, *others = [member.summary for member in self._members] or [Summary()]
        for other in others:
            first.merge(other)
        return first


# Row errors that may wait to be told: bounds the memory of a block in which every row is bad.
MAX_WAITING_ERRORS = 8_192


@dataclass(frozen=True, slots=True)
class _Some:
    """Rows read on, and their row errors, numbered from 1 at the first of these rows.

    `sensor_count` is that of all that the member has read. The last have the block's `lines`.
    """

    rows_read: int
    errors: RowErrors
    sensor_count: int
    lines: int = 0
    is_last: bool = False


def _read_some(batches: Iterator[Batch], member: _Member) -> _Some:
    rows_read, summary = 0, member.summary
    waiting = 0
    parts: list[RowErrors] = []
    for batch in batches:
        summary.fold(batch)
        if batch.errors:
            parts.append(batch.errors.moved(rows_read, 0))
            waiting += len(batch.errors)
        rows_read += batch.rows_read
        if waiting >= MAX_WAITING_ERRORS:
            return _Some(rows_read, RowErrors.joined(parts), summary.sensor_count)
    errors, sensor_count = RowErrors.joined(parts), summary.sensor_count
    return _Some(rows_read, errors, sensor_count, member.reader.lines, is_last=True)


WARM_UP_FILE = b"""a,2025-10-01T00:00:00Z,1
"a",2025-10-01,1e300
,2025-10-01,1
"a
b",x,y
"""


def warm_up(lane: Lane) -> None:
    """Read each kind of record once, so that all there is to compile is compiled."""
    header, buffer, size = read_header(b"sensor_id,timestamp,value"), Buffer(), len(WARM_UP_FILE)
    buffer.bytes[:size] = np.frombuffer(WARM_UP_FILE, np.uint8)
    buffer.end_at(size)
    stretch = Stretch(buffer, size, size, at_end=True)
    lane.cutter.at_once(stretch, header.width, header.delimiter)
    block = Block(buffer, lane.cutter.in_full(stretch, header.width, header.delimiter))
    member = _Member(lane.reader(header))
    _read_some(member.reader.batches(block, member.summary.ids), member)
    whole = Summary()
    whole.merge(member.summary)
    whole.sensors()
    whole.ids.of(Names.of([b"%d" % number for number in range(MIN_SLOTS)]))  # so that it grows
