"""The compiled lane: scan.py reads the plain records of a block, rows.py those that it leaves."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import NO_READING, Batch
from aggsvc.engine.blocks import Block, Cut, Stretch
from aggsvc.engine.judge import judge_all
from aggsvc.engine.lines import Piece
from aggsvc.engine.names import Names
from aggsvc.engine.records import MAX_RECORD_BYTES, Extent, Records, next_record, unfinished
from aggsvc.engine.row_errors import NO_ERRORS, RowErrors
from aggsvc.engine.rows import Header, read_rows
from aggsvc.engine.scan import DONE, EXTENT_NEEDED, parse, skim
from aggsvc.engine.sensor_ids import SensorIds
from aggsvc.engine.utf8 import MAX_GROWTH, MAX_START, copy_starts

Integers = npt.NDArray[np.int64]


class SkimCutter:
    """The records.Cutter for the kernel, which finds the records itself as it parses them."""

    def at_once(self, stretch: Stretch, _width: int, delimiter: str) -> Cut | None:
        """The cut where each quoted field is plain, which takes a millisecond at most."""
        stop = min(stretch.stop, stretch.size)
        position, status = skim(stretch.buffer.bytes, 0, stop, ord(delimiter))
        return _cut_at(position, stretch) if _is_found(position, status, stretch) else None

    def in_full(self, stretch: Stretch, width: int, delimiter: str) -> Cut:
        """The cut, whatever it takes."""
        data = stretch.buffer.bytes[: stretch.size].tobytes()
        position, stop = 0, min(stretch.stop, stretch.size)
        while position < stop:
            position, status = skim(stretch.buffer.bytes, position, stop, ord(delimiter))
            if _is_found(position, status, stretch):
                break
            # What skim could not vouch for, or the padding's line end stood for one not in sight.
            start = min(position, stretch.size)
            found = next_record(data, start, width, delimiter, stretch.at_end)
            if found is None:
                return Cut(*unfinished(data, position), unfinished=True)
            position = found[1]
        return _cut_at(position, stretch)


def _is_found(position: int, status: int, stretch: Stretch) -> bool:
    return status == DONE and (position <= stretch.size or stretch.at_end)


def _cut_at(position: int, stretch: Stretch) -> Cut:
    size = min(position, stretch.size)
    return Cut(size, size)


# What a batch may hold: more rows or odd records go into the block's next batch. There are so many
# that a block is mostly one batch, for between batches threads wait for each other.
MAX_ROWS = 1 << 17
MAX_ODD = 1 << 13


class Kernel:
    """A thread's columns for the rows of files with this header."""

    def __init__(self, header: Header) -> None:
        self.lines = 0
        self._header = header
        self._columns = np.array([header.sensor_id, header.timestamp, header.value])
        self._stops = np.empty(header.width, np.int64)
        self._sensors = np.empty(MAX_ROWS, np.int64)
        self._timestamps = np.empty(MAX_ROWS, np.int64)
        self._values = np.empty(MAX_ROWS, np.float64)
        self._odd = np.empty((MAX_ODD, 4), np.int64)
        self._faults = np.empty((2 * MAX_ODD, 5), np.int64)

    def batches(self, block: Block, ids: SensorIds) -> Iterator[Batch]:
        """The block's rows; a batch's columns are good until the next is asked for."""
        position, self.lines = 0, 0
        while position < block.size:
            position, batch = self._next_batch(block, position, ids)
            yield batch

    def _next_batch(self, block: Block, position: int, ids: SensorIds) -> tuple[int, Batch]:
        odd = Records()
        places: list[int] = []
        state = np.array([0, self.lines, 0, 0], np.int64)
        while True:
            position, status = self._parse(block, position, state)
            self._drain(block, state, odd, places)
            if status != EXTENT_NEEDED or state[3] + len(places) >= MAX_ODD:
                break
            position = self._take_record(block, position, state, odd, places)
        self.lines = int(state[1])
        rows = int(state[0])
        ids.replace(block.buffer.bytes, self._sensors[:rows])
        columns = self._sensors[:rows], self._timestamps[:rows], self._values[:rows]
        errors = self._errors(block, self._faults[: state[3]])
        if places:
            errors = RowErrors.joined([errors, self._judged(block, odd, places, ids)]).in_order()
        return position, Batch(*columns, errors)

    def _errors(self, block: Block, faults: Integers) -> RowErrors:
        """The row errors that were found."""
        if not len(faults):
            return NO_ERRORS
        rows, lines, reasons, starts, stops = faults.T.copy()
        room = np.minimum((stops - starts) * MAX_GROWTH, MAX_START).sum()
        text, ends = np.empty(room, np.uint8), np.empty(len(faults), np.int64)
        copy_starts(block.buffer.bytes, starts, stops, text, ends)
        return RowErrors(rows + 1, lines + 1, reasons, Names(text[: ends[-1]], ends))

    def _parse(self, block: Block, position: int, state: Integers) -> tuple[int, int]:
        found: tuple[int, int] = parse(
            block.buffer.bytes, position, block.size, ord(self._header.delimiter),
            self._columns, self._stops,
            self._sensors, self._timestamps, self._values, self._odd, state,
        )  # fmt: skip
        return found

    def _drain(self, block: Block, state: Integers, odd: Records, places: list[int]) -> None:
        """Judge the odd records that parse has noted, and take over those that are left."""
        if not state[2]:
            return
        judge_all(
            block.buffer.bytes, ord(self._header.delimiter), self._columns, self._stops,
            self._sensors, self._timestamps, self._values, self._odd, self._faults, state,
        )  # fmt: skip
        starts, ends, rows, lines = self._odd[: state[2]].T
        is_long = ends - starts > MAX_RECORD_BYTES
        odd.extend(starts, ends, lines, np.where(is_long, Extent.TOO_LONG, Extent.WHOLE))
        places += rows.tolist()
        state[2] = 0

    def _take_record(
        self, block: Block, position: int, state: Integers, odd: Records, places: list[int]
    ) -> int:
        """Take over a record that only records.py can delimit; returns where the next line is."""
        header = self._header
        found = next_record(block.data, position, header.width, header.delimiter, at_end=True)
        assert found is not None  # noqa: S101 - at the end each line ends
        end, following, spanned, extent = found
        odd.append(position, end, int(state[1]), extent)
        places.append(int(state[0]))
        self._sensors[state[0]] = NO_READING
        state[0] += 1
        state[1] += spanned
        return following

    def _judged(self, block: Block, odd: Records, places: list[int], ids: SensorIds) -> RowErrors:
        """Have odd records judged and put in their places; returns which are row errors."""
        judged = read_rows(Piece(block.buffer.bytes.data, odd, 1), self._header, ids)
        at = np.array(places)
        self._sensors[at] = judged.sensors
        self._timestamps[at] = judged.timestamps
        self._values[at] = judged.values
        return replace(judged.errors, row_numbers=at[judged.errors.row_numbers - 1] + 1)
