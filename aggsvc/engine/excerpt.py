"""The fields of a few records near the start of a file, as they stand there."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Set
from dataclasses import dataclass, field

from aggsvc.engine.blocks import Block, BlockReader
from aggsvc.engine.lines import LineCutter, pieces, records_of
from aggsvc.engine.records import LOOKAHEAD_BYTES, Extent
from aggsvc.engine.rows import Header, fields_of, read_header

# So much of a file is looked through at most.
EXCERPT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The header's names, and by line number the fields of those records that could be split."""

    columns: tuple[str, ...] = ()
    rows: dict[int, tuple[str, ...]] = field(default_factory=dict)


async def excerpt(stream: AsyncIterator[bytes], lines: Set[int], *, is_cut: bool) -> Excerpt:
    """What stands on these lines of a file that is no longer than EXCERPT_BYTES, or cut there.

    Of one that is cut, what its end might belong to is left out. Raises FileRejected.
    """
    reader = BlockReader(stream, LineCutter())
    text = await reader.header()
    header = read_header(text)
    columns = tuple(name.strip() for name in fields_of(text.decode(), header.delimiter))
    before = reader.line_number - 1
    rows: dict[int, tuple[str, ...]] = {}
    async for block in reader.blocks(header.width):
        stop = block.size - (LOOKAHEAD_BYTES if is_cut else 0)
        rows |= await asyncio.to_thread(_rows, block, stop, lines, before, header)
        block.release()
    return Excerpt(columns, rows)


def _rows(
    block: Block, stop: int, lines: Set[int], before: int, header: Header
) -> dict[int, tuple[str, ...]]:
    """The fields of the records on these lines of a file, of which so many are before the block."""
    records = _records(block, stop, {line - before for line in lines})
    rows = {line + before: tuple(fields_of(text, header.delimiter)) for line, text in records}
    return {line: row for line, row in rows.items() if len(row) == header.width}


def _records(block: Block, stop: int, lines: Set[int]) -> Iterator[tuple[int, str]]:
    """The whole records on these lines of a block, the first being 1, that end before a byte."""
    passed = 0
    for piece in pieces(block.found):
        for start, end, line, extent in records_of(piece):
            number = piece.line_number + line
            if number in lines and passed + end < stop and extent == Extent.WHOLE:
                yield number, bytes(piece.data[start:end]).decode(errors="replace")
        if piece.records is None:  # then its data is not all of the block's
            passed += len(piece.data)
