"""The lanes: how a block's rows are read. `auto` is the compiled one where it can be had."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import structlog

from aggsvc.engine.batch import Batch
from aggsvc.engine.jit import HAS_NUMBA
from aggsvc.engine.records import Block, Cutter, cut_lines, pieces
from aggsvc.engine.rows import Header, read_header, read_rows
from aggsvc.engine.summary import Summary

log = structlog.get_logger()


class Reader(Protocol):
    """Reads blocks in one thread at a time."""

    def batches(self, block: Block) -> Iterator[Batch]:
        """The block's rows; a batch's columns are good until the next is asked for."""


@dataclass(frozen=True, slots=True)
class Lane:
    """How to cut a file into blocks and to read them, how many at a time."""

    name: str
    cut: Cutter
    reader: Callable[[Header], Reader]
    threads: int


class RowReader:
    """The reference lane: aiocsv and Python, a piece of the block in a batch."""

    def __init__(self, header: Header) -> None:
        self._header = header

    def batches(self, block: Block) -> Iterator[Batch]:
        """The block's rows, in batches of its pieces."""
        return (read_rows(piece, self._header) for piece in pieces(block))


# Python's own work takes turns on one core, so a second thread would only get in the way.
ROWS = Lane("rows", cut_lines, RowReader, threads=1)


def lane_of(name: str, cores: int) -> Lane:
    """The lane for PROCESSOR_ENGINE, `auto` or `rows`; the first call compiles or loads it."""
    if name == "rows":
        return ROWS
    if not HAS_NUMBA:
        log.warning("numba cannot be imported: files are read by the slow reference lane")
        return ROWS
    from aggsvc.engine.kernel import Kernel, cut_block  # noqa: PLC0415 - needs numba

    return Lane("kernel", cut_block, Kernel, threads=cores)


def warm_up(lane: Lane) -> None:
    """Read a file of each kind of record once, so that all there is to compile is compiled."""
    header = read_header(b"sensor_id,timestamp,value")
    data = b'a,2025-10-01T00:00:00Z,1\n"a",2025-10-01,1e300\n"a\nb",x,y\n'
    found = lane.cut(data, len(data), header.width, header.delimiter, True)
    block = Block(found.data, found.records, 1, len(data))
    for batch in lane.reader(header).batches(block):
        Summary().fold(batch)
