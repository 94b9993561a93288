"""An async byte stream becomes a header and blocks of whole records.

Blocks lie on a fixed grid of the file's bytes, so the same file always has the same blocks,
however its stream is chunked.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from aggsvc.engine.records import (
    LOOKAHEAD_BYTES,
    MAX_RECORD_BYTES,
    Records,
    count_line_ends,
    physical_line,
    record_end,
)
from aggsvc.errors import FileRejected

GRID_BYTES = 4 * 1024 * 1024
BUFFER_BYTES = GRID_BYTES + LOOKAHEAD_BYTES
PADDING = 2 * 64

LF = 10
BOM = b"\xef\xbb\xbf"
UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Buffer:
    """The memory of a block: room for its bytes, what is looked at behind them, and PADDING."""

    def __init__(self) -> None:
        self.bytes = np.empty(BUFFER_BYTES + PADDING, np.uint8)

    def end_at(self, size: int) -> None:
        """Put a line end behind the first `size` bytes, and zeros behind that."""
        self.bytes[size] = LF
        self.bytes[size + 1 : size + PADDING] = 0


@dataclass
class Block:
    """The records that start in one stretch of the grid, with their line ends and blank lines.

    They are the first `size` bytes of the buffer, a too long last record cut short. What a Cutter
    found out of them is there for its lane.
    """

    buffer: Buffer
    found: "Cut"
    release: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.found.size

    @cached_property
    def data(self) -> bytes:
        """A copy of these bytes."""
        return self.buffer.bytes[: self.size].tobytes()


@dataclass(frozen=True, slots=True)
class Cut:
    """What a Cutter found: the block's size, where the next block starts, and for some lanes more.

    `unfinished`: the last record is too long and its line end not in sight. For rows.py: `text` is
    the block's data, `records` its records (see Piece), `lines` how many physical lines it has.
    """

    size: int
    next: int
    unfinished: bool = False
    text: bytes = b""
    records: Records | None = None
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a block is to be cut from: the first `size` bytes of a buffer, a line end behind them.

    They reach LOOKAHEAD_BYTES behind `stop`, before which the block's records start, or to the end
    of the file.
    """

    buffer: Buffer
    size: int
    stop: int
    at_end: bool


class Cutter(Protocol):
    """Cuts a block off a stretch: the records of so many fields that start before its stop."""

    def at_once(self, stretch: Stretch, width: int, delimiter: str) -> Cut | None:
        """The cut if that takes no longer than the loop can wait, else None."""

    def in_full(self, stretch: Stretch, width: int, delimiter: str) -> Cut:
        """The cut, whatever it takes."""


@runtime_checkable
class Source(Protocol):
    """Bytes that are put where they are wanted."""

    async def readinto(self, buffer: memoryview) -> int:
        """Put the next bytes there, as many as can be; returns how many, 0 at the end."""


class _Chunks:
    """The Source of a stream that comes in chunks."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = aiter(stream)
        self._unread = memoryview(b"")

    async def readinto(self, buffer: memoryview) -> int:
        while not self._unread:
            chunk = await anext(self._stream, None)
            if chunk is None:
                return 0
            self._unread = memoryview(chunk)
        size = min(len(buffer), len(self._unread))
        buffer[:size] = self._unread[:size]
        self._unread = self._unread[size:]
        return size


class BlockReader:
    """Reads a CSV stream: `header()` once, then `blocks(width)`.

    A stream that is a Source too is read straight into the blocks. `on_read` is told how many bytes
    have come. Its buffers are used again once their blocks are released: it has one more than there
    are blocks in use at a time.
    """

    def __init__(
        self,
        stream: AsyncIterable[bytes],
        cutter: Cutter,
        delimiter: str = ",",
        on_read: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._source: Source = stream if isinstance(stream, Source) else _Chunks(stream)
        self._delimiter = delimiter
        self._cutter = cutter
        self._on_read = on_read
        self._free: list[Buffer] = []
        self._buffer = Buffer()
        self._size = 0
        self._offset = 0
        self._line_number = 1
        self._at_end = False

    @property
    def line_number(self) -> int:
        """The line on which the first block starts, once the header is read."""
        return self._line_number

    async def header(self) -> bytes:
        """The first record's bytes; raises FileRejected where there is none that can be read."""
        await self._fill(LOOKAHEAD_BYTES)
        if self._head().startswith(UTF_16_BOMS):
            raise FileRejected("the file is UTF-16; save it as UTF-8 and upload it again")
        if self._head().startswith(BOM):
            self._take(len(BOM), lines=0)
        await self._skip_blank_lines()
        return self._take_header()

    async def blocks(self, width: int) -> AsyncIterator[Block]:
        """The blocks behind the header, in order; width is the header's number of fields."""
        while True:
            stop = GRID_BYTES - self._offset % GRID_BYTES
            await self._fill(stop + LOOKAHEAD_BYTES)
            if not self._size:
                return
            yield await self._next_block(stop, width)

    async def _next_block(self, stop: int, width: int) -> Block:
        buffer, size = self._buffer, self._size
        buffer.end_at(size)
        arguments = Stretch(buffer, size, stop, self._at_end), width, self._delimiter
        found = self._cutter.at_once(*arguments)
        if found is None:
            found = await asyncio.to_thread(self._cutter.in_full, *arguments)
        self._offset += found.next
        self._size = size - found.next
        if self._size or not self._at_end:
            self._buffer = self._free.pop() if self._free else Buffer()
            self._buffer.bytes[: self._size] = buffer.bytes[found.next : size]
        buffer.end_at(found.size)
        if found.unfinished:
            await self._skip_line()
        return Block(buffer, found, lambda: self._free.append(buffer))

    def _take_header(self) -> bytes:
        data = self._head()
        line = physical_line(data, 0, self._is_all(data))
        if line is None or line[0] > MAX_RECORD_BYTES:
            raise FileRejected(
                f"the header is longer than {MAX_RECORD_BYTES:,} bytes; is this a CSV file?"
            )
        end = record_end(data, 0, None, self._delimiter)
        if end is None:
            raise FileRejected("the header has a quote that is never closed")
        _, following = physical_line(data, end, at_end=True)
        self._take(following, count_line_ends(data[:end]) + 1)
        return data[:end]

    async def _skip_blank_lines(self) -> None:
        while True:
            await self._fill(LOOKAHEAD_BYTES)
            data = self._head()
            blank = len(data) - len(data.lstrip(b"\r\n"))
            if not blank:
                break
            if blank == len(data) and not self._is_all(data):
                blank -= 1  # it may be the CR of a CRLF that is still to come whole
            self._take(blank, count_line_ends(data[:blank]))
        if not self._size:
            raise FileRejected("the file has no header: it is empty or holds only blank lines")

    async def _skip_line(self) -> None:
        while True:
            await self._fill(LOOKAHEAD_BYTES)
            data = self._head()
            line = physical_line(data, 0, self._is_all(data))
            if line is not None:
                self._take(line[1], lines=0)  # counted as the block's last
                return
            # The last byte may be the CR of a CRLF that is still to come whole.
            self._take(len(data) - 1, lines=0)

    async def _fill(self, size: int) -> None:
        """Have so many bytes in the buffer, or all that there are.

        No more, for what is behind those that are taken is moved to the front each time.
        """
        while self._size < size and not self._at_end:
            room = self._buffer.bytes.data[self._size : size]
            found = await self._source.readinto(room)
            self._size += found
            self._at_end = not found
            if self._on_read:
                await self._on_read(self._offset + self._size)

    def _head(self) -> bytes:
        """The first bytes that there are, as many as a record and its line end may take."""
        return self._buffer.bytes[: min(self._size, LOOKAHEAD_BYTES)].tobytes()

    def _is_all(self, head: bytes) -> bool:
        """Whether nothing comes behind the head."""
        return self._at_end and len(head) == self._size

    def _take(self, size: int, lines: int) -> None:
        held = self._buffer.bytes
        held[: self._size - size] = held[size : self._size]
        self._size -= size
        self._offset += size
        self._line_number += lines
