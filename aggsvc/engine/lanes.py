"""The lanes: how a block's rows are read. `auto` is the compiled one where it can be had."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import structlog

from aggsvc.engine.batch import Batch
from aggsvc.engine.blocks import Block, Cutter
from aggsvc.engine.jit import HAS_NUMBA
from aggsvc.engine.lines import LineCutter, pieces
from aggsvc.engine.rows import Header, read_rows
from aggsvc.engine.sensor_ids import SensorIds

log = structlog.get_logger()


class Reader(Protocol):
    """Reads blocks in one thread at a time; `lines` is how many lines the last one has."""

    lines: int

    def batches(self, block: Block, ids: SensorIds) -> Iterator[Batch]:
        """The block's rows; a batch's columns are good until the next is asked for."""


@dataclass(frozen=True, slots=True)
class Lane:
    """How to cut a file into blocks and to read them.

    So many `blocks` of a file are under way at a time, in as many threads as to_thread has.
    `trouble` is why it is not the lane that was asked for, if it is not.
    """

    name: Literal["compiled", "reference"]
    cutter: Cutter
    reader: Callable[[Header], Reader]
    blocks: int
    trouble: str | None = None


class RowReader:
    """The reference lane: aiocsv and Python, a piece of the block in a batch."""

    def __init__(self, header: Header) -> None:
        self.lines = 0
        self._header = header

    def batches(self, block: Block, ids: SensorIds) -> Iterator[Batch]:
        """The block's rows, in batches of its pieces."""
        self.lines = block.found.lines
        return (read_rows(piece, self._header, ids) for piece in pieces(block.found))


# Python's own work takes turns on one core, so a second thread would only get in the way.
ROWS = Lane("reference", LineCutter(), RowReader, blocks=1)
# Blocks that wait for a thread, so that no thread waits for a block.
BLOCKS_AHEAD = 2
NO_NUMBA = "numba cannot be imported, so files are read by the slow reference lane"


def lane_of(name: str, cores: int) -> Lane:
    """The lane for PROCESSOR_ENGINE, `auto` or `rows`; the first call compiles or loads it."""
    if name == "rows":
        return ROWS
    if not HAS_NUMBA:
        log.warning(NO_NUMBA)
        return replace(ROWS, trouble=NO_NUMBA)
    from aggsvc.engine.kernel import Kernel, SkimCutter  # noqa: PLC0415 - needs numba

    return Lane("compiled", SkimCutter(), Kernel, blocks=cores + BLOCKS_AHEAD)
