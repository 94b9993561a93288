"""How the reference lane cuts a file: into blocks by its lines, and blocks into pieces."""

from collections.abc import Iterator
from dataclasses import dataclass

from aggsvc.engine.blocks import Cut, Stretch
from aggsvc.engine.records import (
    MAX_RECORD_BYTES,
    Extent,
    Records,
    next_record,
    unfinished,
)

# What is judged at a time: room for a line of the greatest length, and few enough rows that a
# block in which every row is bad takes little memory.
PIECE_BYTES = 4 * MAX_RECORD_BYTES
PIECE_RECORDS = 8_192
DENSE_PIECE_BYTES = 2 * PIECE_RECORDS  # of lines with one character each
# A hop to another thread costs more than cutting this much where we are.
INLINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records of a block.

    `records` is None where every line of data that is not blank is a record: lines end in LF only,
    and there is no quote and no record too long. `line_number` is that of data's first line.
    """

    data: bytes | memoryview
    records: Records | None
    line_number: int


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
