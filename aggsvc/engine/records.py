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
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Literal, overload

import numpy as np

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

LF, CR = b"\n\r"
BOM = b"\xef\xbb\xbf"
UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


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


@dataclass(frozen=True, slots=True)
class Block:
    """The records that start in one stretch of the grid.

    `data` holds them and the blank lines between, with their line ends; a too long last record is
    cut short. `records` is None where every line of data that is not blank is a record: lines end
    in LF only, and there is no quote and no record too long. `line_number` is that of data's first
    line; `end_offset` is how much of the file has been read.
    """

    data: bytes
    records: Records | None
    line_number: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What cutting found: the block's data and records, its lines, where the next block starts.

    `unfinished`: the last record is too long and its line end not in sight.
    """

    data: bytes
    records: Records | None
    lines: int
    next: int
    unfinished: bool = False


class BlockReader:
    """Reads a CSV stream: `header()` once, then `blocks(width)`.

    Holds one block with its look-ahead and a chunk of the stream, some of it in up to three copies.
    """

    def __init__(
        self, stream: AsyncIterable[bytes], delimiter: str = ",", cut: "Cutter | None" = None
    ) -> None:
        self._stream = aiter(stream)
        self._delimiter = delimiter
        self._cut = cut or cut_lines
        self._buffer = bytearray()
        self._offset = 0
        self._line_number = 1
        self._at_end = False

    async def header(self) -> bytes:
        """The first record's bytes; raises FileRejected where there is none that can be read."""
        await self._fill(LOOKAHEAD_BYTES)
        if self._buffer.startswith(UTF_16_BOMS):
            raise FileRejected("the file is UTF-16; save it as UTF-8 and upload it again")
        if self._buffer.startswith(BOM):
            self._take(len(BOM), lines=0)
            await self._fill(LOOKAHEAD_BYTES)
        await self._skip_blank_lines()
        return self._take_header()

    async def blocks(self, width: int) -> AsyncIterator[Block]:
        """The blocks behind the header, in order; width is the header's number of fields."""
        while True:
            stop = GRID_BYTES - self._offset % GRID_BYTES
            await self._fill(stop + LOOKAHEAD_BYTES)
            if not self._buffer:
                return
            yield await self._next_block(stop, width)

    async def _next_block(self, stop: int, width: int) -> Block:
        buffer = bytes(self._buffer)
        arguments = (buffer, stop, width, self._delimiter, self._at_end)
        if len(buffer) <= INLINE_BYTES:
            found = self._cut(*arguments)
        else:
            found = await asyncio.to_thread(self._cut, *arguments)
        line_number = self._line_number
        self._take(found.next, found.lines)
        if found.unfinished:
            await self._skip_line()
        return Block(found.data, found.records, line_number, self._offset)

    def _take_header(self) -> bytes:
        data = bytes(self._buffer)
        line = _physical_line(data, 0, self._at_end)
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
        while blank := len(self._buffer) - len(self._buffer.lstrip(b"\r\n")):
            if blank == len(self._buffer) and not self._at_end:
                blank -= 1  # it may be the CR of a CRLF that is still to come whole
            self._take(blank, _line_ends(self._buffer[:blank]))
            await self._fill(LOOKAHEAD_BYTES)
        if not self._buffer:
            raise FileRejected("the file has no header: it is empty or holds only blank lines")

    async def _skip_line(self) -> None:
        while True:
            await self._fill(2)
            line = _physical_line(bytes(self._buffer), 0, self._at_end)
            if line is not None:
                self._take(line[1], lines=1)
                return
            # The last byte may be the CR of a CRLF that is still to come whole.
            self._take(len(self._buffer) - 1, lines=0)

    async def _fill(self, size: int) -> None:
        while len(self._buffer) < size and not self._at_end:
            chunk = await anext(self._stream, None)
            if chunk is None:
                self._at_end = True
            else:
                self._buffer += chunk

    def _take(self, size: int, lines: int) -> None:
        del self._buffer[:size]
        self._offset += size
        self._line_number += lines


# Cuts off the records of data that start before `stop`: (data, stop, width, delimiter, at_end). The
# data reaches LOOKAHEAD_BYTES behind stop, or to the end of the file.
Cutter = Callable[[bytes, int, int, str, bool], Cut]


def cut_lines(data: bytes, stop: int, width: int, delimiter: str, at_end: bool) -> Cut:
    """The Cutter for rows.py: finds each record, where each line is not one."""
    found = _cut_plain(data, stop, at_end)
    return found or _cut_records(data, stop, width, delimiter, at_end)


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
    return Cut(text, None, lines, len(block))


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
            return cut_unfinished(data, position, lines, records)
        end, following, spanned, extent = found
        if end > position:
            records.append(position, end, lines, extent)
        position, lines = following, lines + spanned
    return Cut(data[:position], records, lines, position)


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


def cut_unfinished(data: bytes, start: int, lines: int, records: Records | None) -> Cut:
    """The cut of data whose last record is too long, its end not in sight."""
    end = start + MAX_RECORD_BYTES + 1
    if records is not None:
        records.append(start, end, lines, Extent.TOO_LONG)
    # The last byte may be the CR of a CRLF; leave it for the reader to skip with the line's rest.
    return Cut(data[:end], records, lines, len(data) - 1, unfinished=True)


def pieces(block: Block) -> Iterator[Block]:
    """The block's records in order, some at a time, so that their rows take little memory."""
    if block.records is None:
        return _pieces_of_lines(block)
    return (replace(block, records=some) for some in block.records.split(PIECE_RECORDS))


def _pieces_of_lines(block: Block) -> Iterator[Block]:
    start, line_number = 0, block.line_number
    while start < len(block.data):
        end = start + PIECE_BYTES
        end = block.data.rfind(b"\n", start, end) + 1 if end < len(block.data) else len(block.data)
        if block.data.count(b"\n", start, end) > PIECE_RECORDS:
            end = block.data.find(b"\n", start + DENSE_PIECE_BYTES, end) + 1 or end
        data = block.data[start:end]
        yield replace(block, data=data, line_number=line_number)
        start, line_number = end, line_number + data.count(b"\n")


def records_of(block: Block) -> Records:
    """The block's records one by one, also where each line is one."""
    if block.records is not None:
        return block.records
    records = Records()
    position = 0
    for line, text in enumerate(block.data.split(b"\n")):
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


def line_end_at(data: bytes, stop: int, at_end: bool) -> int | None:
    """Where the next line begins behind the line with the byte before stop; None: not in sight."""
    if stop >= len(data):
        return len(data) if at_end else None
    line = _physical_line(data, max(0, stop - 1), at_end)
    return line[1] if line else None


def count_lines(data: bytes) -> int:
    """How many physical lines there are, also where the last has no line end."""
    return _line_ends(data) + (data[-1:] not in (b"\n", b"\r", b""))


def _line_ends(data: bytes | bytearray) -> int:
    if len(data) < MAX_RECORD_BYTES:
        return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    text = np.frombuffer(data, np.uint8)  # counts several times as fast as bytes.count
    line_feeds = int(np.count_nonzero(text == LF))
    if b"\r" not in data:
        return line_feeds
    returns = text == CR
    pairs = int(np.count_nonzero(returns[:-1] & (text[1:] == LF)))
    return line_feeds + int(np.count_nonzero(returns)) - pairs


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
