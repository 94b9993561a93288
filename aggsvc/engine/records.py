"""Where records begin and end: an async byte stream becomes a header and blocks of whole records.

The rules are those of docs/format.md: a record is one physical line (ended by LF, CRLF, a lone CR
or the end of the file), or several where a quoted field runs over a line end. A quoted field that
is still open at the end of the file has run over it.

Blocks lie on a fixed grid of the file's bytes, so the same file always has the same blocks,
however its stream is chunked.
"""

import asyncio
import re
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Literal, Protocol, overload, runtime_checkable

import numpy as np
import numpy.typing as npt

from aggsvc.errors import FileRejected

GRID_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 65_536
MAX_RECORD_LINES = 100

# Behind a record's start, what its extent can depend on: the longest record and its CRLF.
LOOKAHEAD_BYTES = MAX_RECORD_BYTES + 2
# What is judged at a time: room for a line of the greatest length, and few enough rows that a
# block in which every row is bad takes little memory.
PIECE_BYTES = 4 * MAX_RECORD_BYTES
PIECE_RECORDS = 8_192
DENSE_PIECE_BYTES = 2 * PIECE_RECORDS  # of lines with one character each
# A hop to another thread costs more than cutting this much where we are.
INLINE_BYTES = 64 * 1024
BUFFER_BYTES = GRID_BYTES + LOOKAHEAD_BYTES
PADDING = 2 * 64

LF = 10
END_OF_DATA = b"\n".ljust(PADDING, b"\0")
BOM = b"\xef\xbb\xbf"
UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


Integers = npt.NDArray[np.int64]


class Extent(IntEnum):
    """How a record was found to end."""

    WHOLE = 0
    TOO_LONG = 1
    UNCLOSED = 2


class Records:
    """The records of a block as columns, 13 bytes each, for a block may hold two million.

    Iterates over (start, end, line, extent): data[start:end] is the record without its last line
    end, `line` counts from 0 at the block's first.
    """

    def __init__(self) -> None:
        self._starts = array("I")
        self._ends = array("I")
        self._lines = array("I")
        self._extents = bytearray()

    def append(self, start: int, end: int, line: int, extent: Extent) -> None:
        """Add the next record."""
        self._starts.append(start)
        self._ends.append(end)
        self._lines.append(line)
        self._extents.append(extent)

    def extend(self, starts: Integers, ends: Integers, lines: Integers, extents: Integers) -> None:
        """Add the next records."""
        for column, numbers in (self._starts, starts), (self._ends, ends), (self._lines, lines):
            column.frombytes(numbers.astype(np.uint32).tobytes())
        self._extents += extents.astype(np.uint8).tobytes()

    def split(self, size: int) -> Iterator["Records"]:
        """The same records, at most `size` at a time."""
        for first in range(0, len(self._starts), size):
            some = Records()
            some._starts = self._starts[first : first + size]
            some._ends = self._ends[first : first + size]
            some._lines = self._lines[first : first + size]
            some._extents = self._extents[first : first + size]
            yield some

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self._starts, self._ends, self._lines, self._extents, strict=True)


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
class Piece:
    """Some records of a block.

    `records` is None where every line of data that is not blank is a record: lines end in LF only,
    and there is no quote and no record too long. `line_number` is that of data's first line.
    """

    data: bytes | memoryview
    records: Records | None
    line_number: int


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
        delimiter: str = ",",
        cutter: Cutter | None = None,
        on_read: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._source: Source = stream if isinstance(stream, Source) else _Chunks(stream)
        self._delimiter = delimiter
        self._cutter = cutter or LineCutter()
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
        line = _physical_line(data, 0, self._is_all(data))
        if line is None or line[0] > MAX_RECORD_BYTES:
            raise FileRejected(
                f"the header is longer than {MAX_RECORD_BYTES:,} bytes; is this a CSV file?"
            )
        end = _record_end(data, 0, None, self._delimiter)
        if end is None:
            raise FileRejected("the header has a quote that is never closed")
        _, following = _physical_line(data, end, at_end=True)
        self._take(following, _line_ends(data[:end]) + 1)
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
            self._take(blank, _line_ends(data[:blank]))
        if not self._size:
            raise FileRejected("the file has no header: it is empty or holds only blank lines")

    async def _skip_line(self) -> None:
        while True:
            await self._fill(LOOKAHEAD_BYTES)
            data = self._head()
            line = _physical_line(data, 0, self._is_all(data))
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


class LineCutter:
    """The Cutter for rows.py: finds each record, where each line is not one."""

    def at_once(self, stretch: Stretch, width: int, delimiter: str) -> Cut | None:
        """The cut if that takes no longer than the loop can wait, else None."""
        if stretch.size > INLINE_BYTES:
            return None
        return self.in_full(stretch, width, delimiter)

    def in_full(self, stretch: Stretch, width: int, delimiter: str) -> Cut:
        """The cut, whatever it takes."""
        data = stretch.buffer.bytes[: stretch.size].tobytes()
        found = _cut_plain(data, stretch.stop, stretch.at_end)
        return found or _cut_records(data, stretch.stop, width, delimiter, stretch.at_end)


def _cut_plain(data: bytes, stop: int, at_end: bool) -> Cut | None:
    """The cut of data in which each line is a record and short enough, else None."""
    if b'"' in data:
        return None
    last = data.rfind(b"\n", 0, stop)
    end = last + 1 if last + 1 == min(stop, len(data)) else data.find(b"\n", stop) + 1
    block = data[: end or len(data)] if at_end else data[:end]
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if not block or b"\r" in text or _has_long_line(text):
        return None
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    return Cut(len(block), len(block), text=text, lines=lines)


def _has_long_line(data: bytes) -> bool:
    position = 0
    while len(data) - position > MAX_RECORD_BYTES:
        position = data.rfind(b"\n", position, position + MAX_RECORD_BYTES + 1) + 1
        if position == 0:
            return True
    return False


def _cut_records(data: bytes, stop: int, width: int, delimiter: str, at_end: bool) -> Cut:
    records = Records()
    position = lines = 0
    while position < min(stop, len(data)):
        found = next_record(data, position, width, delimiter, at_end)
        if found is None:
            size, following = unfinished(data, position)
            records.append(position, size, lines, Extent.TOO_LONG)
            # The line's end is still to come, and to be counted as that of this block's last line.
            return Cut(size, following, True, data[:size], records, lines + 1)
        end, following, spanned, extent = found
        if end > position:
            records.append(position, end, lines, extent)
        position, lines = following, lines + spanned
    return Cut(position, position, False, data[:position], records, lines)


def next_record(
    data: bytes, start: int, width: int, delimiter: str, at_end: bool
) -> tuple[int, int, int, Extent] | None:
    """Where the record ends, where the next line begins, how many lines it has, and its extent.

    A blank line ends where it starts. None: the line is too long and its end not in sight.
    """
    line = _physical_line(data, start, at_end)
    if line is None:
        return None
    end, following = line
    if end - start > MAX_RECORD_BYTES:
        return end, following, 1, Extent.TOO_LONG
    if data.find(b'"', start, end) < 0:
        return end, following, 1, Extent.WHOLE
    quoted_end = _record_end(data, start, width, delimiter)
    if quoted_end is None:
        return end, following, 1, Extent.UNCLOSED
    _, following = _physical_line(data, quoted_end, at_end=True)
    return quoted_end, following, _line_ends(data[start:quoted_end]) + 1, Extent.WHOLE


def unfinished(data: bytes, start: int) -> tuple[int, int]:
    """Where to cut a last record that is too long, its line end not in sight, and what follows."""
    # The last byte may be the CR of a CRLF; leave it for the reader to skip with the line's rest.
    return start + MAX_RECORD_BYTES + 1, len(data) - 1


def pieces(found: Cut) -> Iterator[Piece]:
    """A LineCutter's records in order, some at a time, so that their rows take little memory."""
    if found.records is None:
        return _pieces_of_lines(found.text)
    return (Piece(found.text, some, 1) for some in found.records.split(PIECE_RECORDS))


def _pieces_of_lines(text: bytes) -> Iterator[Piece]:
    start, line_number = 0, 1
    while start < len(text):
        end = start + PIECE_BYTES
        end = text.rfind(b"\n", start, end) + 1 if end < len(text) else len(text)
        if text.count(b"\n", start, end) > PIECE_RECORDS:
            end = text.find(b"\n", start + DENSE_PIECE_BYTES, end) + 1 or end
        data = text[start:end]
        yield Piece(data, None, line_number)
        start, line_number = end, line_number + data.count(b"\n")


def records_of(piece: Piece) -> Records:
    """The piece's records one by one, also where each line is one."""
    if piece.records is not None:
        return piece.records
    records = Records()
    position = 0
    for line, text in enumerate(bytes(piece.data).split(b"\n")):
        if text:
            records.append(position, position + len(text), line, Extent.WHOLE)
        position += len(text) + 1
    return records


_LINE_END = re.compile(rb"\r\n?|\n")


@overload
def _physical_line(data: bytes, start: int, at_end: Literal[True]) -> tuple[int, int]: ...
@overload
def _physical_line(data: bytes, start: int, at_end: bool) -> tuple[int, int] | None: ...
def _physical_line(data: bytes, start: int, at_end: bool) -> tuple[int, int] | None:
    """Where the line ends and where the next starts; None while its end is not in sight."""
    match = _LINE_END.search(data, start)
    if match is None:
        return (len(data), len(data)) if at_end else None
    if match.end() == len(data) and match[0] == b"\r" and not at_end:
        return None
    return match.span()


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


# An opening quote to its closing one: the first that is not doubled.
_QUOTED = re.compile(rb'"(?:[^"]++|"")*+"')


@lru_cache
def _unquoted(delimiter: str) -> re.Pattern[bytes]:
    return re.compile(rb"[^\r\n" + re.escape(delimiter.encode()) + rb"]*+")


def _record_end(data: bytes, start: int, width: int | None, delimiter: str) -> int | None:
    """Where the record ends (without its line end), or None if a quoted field spoils it.

    Follows csv.reader's state machine a field at a time: a quote opens a field only as its first
    byte; what follows the closing quote on its line is taken literally. Only a field that runs
    over a line end must close properly and its record have `width` fields (None: any number).
    """
    limit = min(len(data), start + MAX_RECORD_BYTES + 1)
    unquoted, separator = _unquoted(delimiter), delimiter.encode()
    position, fields, line_ends = start, 0, 0
    while True:
        fields += 1
        if line_ends and width is not None and fields > width:
            return None
        if data[position : position + 1] == b'"':
            closed = _QUOTED.match(data, position, limit)
            if closed is None:
                return None
            position = closed.end()
            if inside := _line_ends(closed[0]):
                line_ends += inside
                if line_ends >= MAX_RECORD_LINES:
                    return None
                if data[position : position + 1] not in (separator, b"\r", b"\n", b""):
                    return None
        rest = unquoted.match(data, position, limit)
        position = rest.end() if rest else position
        if position >= limit or data[position : position + 1] != separator:
            break
        position += 1
    whole = position - start <= MAX_RECORD_BYTES and (not line_ends or width in (None, fields))
    return position if whole else None
