"""Where a record ends; nothing else decides it.

The rules are those of docs/format.md: a record is one physical line (ended by LF, CRLF, a lone CR
or the end of the file), or several where a quoted field runs over a line end. A quoted field that
is still open at the end of the file has run over it.
"""

import re
from array import array
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

MAX_RECORD_BYTES = 65_536
MAX_RECORD_LINES = 100

# Behind a record's start, what its extent can depend on: the longest record and its CRLF.
LOOKAHEAD_BYTES = MAX_RECORD_BYTES + 2

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


def next_record(
    data: bytes, start: int, width: int, delimiter: str, at_end: bool
) -> tuple[int, int, int, Extent] | None:
    """Where the record ends, where the next line begins, how many lines it has, and its extent.

    A blank line ends where it starts. None: the line is too long and its end not in sight.
    """
    line = physical_line(data, start, at_end)
    if line is None:
        return None
    end, following = line
    if end - start > MAX_RECORD_BYTES:
        return end, following, 1, Extent.TOO_LONG
    if data.find(b'"', start, end) < 0:
        return end, following, 1, Extent.WHOLE
    quoted_end = record_end(data, start, width, delimiter)
    if quoted_end is None:
        return end, following, 1, Extent.UNCLOSED
    _, following = physical_line(data, quoted_end, at_end=True)
    return quoted_end, following, count_line_ends(data[start:quoted_end]) + 1, Extent.WHOLE


def unfinished(data: bytes, start: int) -> tuple[int, int]:
    """Where to cut a last record that is too long, its line end not in sight, and what follows."""
    # The last byte may be the CR of a CRLF; leave it for the reader to skip with the line's rest.
    return start + MAX_RECORD_BYTES + 1, len(data) - 1


_LINE_END = re.compile(rb"\r\n?|\n")


@overload
def physical_line(data: bytes, start: int, at_end: Literal[True]) -> tuple[int, int]: ...
@overload
def physical_line(data: bytes, start: int, at_end: bool) -> tuple[int, int] | None: ...
def physical_line(data: bytes, start: int, at_end: bool) -> tuple[int, int] | None:
    """Where the line ends and where the next starts; None while its end is not in sight."""
    match = _LINE_END.search(data, start)
    if match is None:
        return (len(data), len(data)) if at_end else None
    if match.end() == len(data) and match[0] == b"\r" and not at_end:
        return None
    return match.span()


def count_line_ends(data: bytes) -> int:
    """How many lines end in the data."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


# An opening quote to its closing one: the first that is not doubled.
_QUOTED = re.compile(rb'"(?:[^"]++|"")*+"')


@lru_cache
def _unquoted(delimiter: str) -> re.Pattern[bytes]:
    return re.compile(rb"[^\r\n" + re.escape(delimiter.encode()) + rb"]*+")


def record_end(data: bytes, start: int, width: int | None, delimiter: str) -> int | None:
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
            if inside := count_line_ends(closed[0]):
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
