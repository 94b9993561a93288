"""The compiled lane: scan.py reads the plain records of a block, rows.py those that it leaves."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import NO_READING, Batch, Names
from aggsvc.engine.records import (
    MAX_RECORD_BYTES,
    Block,
    Cut,
    Extent,
    Records,
    count_lines,
    cut_unfinished,
    line_end_at,
    next_record,
)
from aggsvc.engine.rows import Header, read_rows
from aggsvc.engine.scan import DONE, EXTENT_NEEDED, NL, parse, skim

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

PADDING = 64


def _pad(data: bytes, buffer: Bytes) -> None:
    """Copy the data into the buffer, a line end behind it and room to read on."""
    size = len(data)
    buffer[:size] = np.frombuffer(data, np.uint8)
    buffer[size] = NL
    buffer[size + 1 : size + PADDING] = 0


def cut_block(data: bytes, stop: int, width: int, delimiter: str, at_end: bool) -> Cut:
    """The records.Cutter for the kernel, which finds the records itself as it parses them."""
    if b'"' not in data:
        end = line_end_at(data, stop, at_end)
        if end is not None:
            return Cut(data[:end], None, count_lines(data[:end]), end)
    padded = np.empty(len(data) + PADDING, np.uint8)
    _pad(data, padded)
    position, stop = 0, min(stop, len(data))
    state = np.zeros(1, np.int64)
    while position < stop:
        position, status = skim(padded, position, stop, ord(delimiter), state)
        if status == DONE and (position <= len(data) or at_end):
            break
        # What skim could not vouch for, or the padding's line end stood for one not in sight.
        found = next_record(data, min(position, len(data)), width, delimiter, at_end)
        if found is None:
            return cut_unfinished(data, position, int(state[0]), None)
        _, position, spanned, _ = found
        state[0] += spanned
    position = min(position, len(data))
    return Cut(data[:position], None, int(state[0]), position)


# What a batch may hold: more rows, odd records or sensors go into the block's next batch.
MAX_ROWS = 1 << 17
MAX_ODD = 1 << 13
MIN_SLOTS, MAX_SLOTS = 1 << 6, 1 << 18  # at most half of them in use, so that a probe ends


class Kernel:
    """A thread's buffers for parsing blocks of files with this header, as large as the blocks."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._data = np.empty(0, np.uint8)

    def _fit(self, size: int) -> None:
        """Make the buffers large enough for a block of that many bytes."""
        rows = size // 2 + 1
        slots = max(MIN_SLOTS, min(MAX_SLOTS, 1 << (size // 4).bit_length()))
        self._data = np.empty(size + PADDING, np.uint8)
        self._sensors = np.empty(min(MAX_ROWS, rows), np.int32)
        self._timestamps = np.empty(min(MAX_ROWS, rows), np.int64)
        self._values = np.empty(min(MAX_ROWS, rows), np.float64)
        self._odd = np.empty((min(MAX_ODD, rows), 4), np.int64)
        self._slots = np.empty(slots, np.int32)
        self._starts = np.empty(slots // 2 + 1, np.int64)
        self._lengths = np.empty(slots // 2 + 1, np.int64)
        self._hashes = np.empty(slots // 2 + 1, np.uint64)

    def batches(self, block: Block) -> Iterator[Batch]:
        """The block's rows; a batch's columns are good until the next is asked for."""
        if len(block.data) + PADDING > len(self._data):
            self._fit(len(block.data))
        _pad(block.data, self._data)
        position, lines = 0, 0
        while position < len(block.data):
            position, lines, batch = self._next_batch(block, position, lines)
            yield batch

    def _next_batch(self, block: Block, position: int, lines: int) -> tuple[int, int, Batch]:
        self._slots.fill(NO_READING)
        odd = Records()
        places: list[int] = []
        state = np.array([0, lines, 0, 0], np.int64)
        while True:
            position, status = self._parse(position, len(block.data), state)
            self._drain(state, odd, places)
            if status != EXTENT_NEEDED:
                break
            position = self._take_record(block, position, state, odd, places)
        return position, int(state[1]), self._batch(block, state, odd, places)

    def _parse(self, position: int, stop: int, state: Integers) -> tuple[int, int]:
        header = self._header
        found: tuple[int, int] = parse(
            self._data, position, stop, ord(header.delimiter), header.width,
            header.sensor_id, header.timestamp, header.value,
            self._sensors, self._timestamps, self._values, self._odd,
            self._slots, self._starts, self._lengths, self._hashes, state,
        )  # fmt: skip
        return found

    def _drain(self, state: Integers, odd: Records, places: list[int]) -> None:
        """Take over the odd records that the last parse has noted."""
        for start, end, row, line in self._odd[: state[2]].tolist():
            extent = Extent.TOO_LONG if end - start > MAX_RECORD_BYTES else Extent.WHOLE
            odd.append(start, end, line, extent)
            places.append(row)
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

    def _batch(self, block: Block, state: Integers, odd: Records, places: list[int]) -> Batch:
        rows, sensors = int(state[0]), int(state[3])
        names = [
            block.data[start : start + length]
            for start, length in zip(
                self._starts[:sensors].tolist(), self._lengths[:sensors].tolist(), strict=True
            )
        ]
        batch = Batch(
            Names.of(names), self._sensors[:rows], self._timestamps[:rows], self._values[:rows]
        )
        return self._with_odd(batch, names, block, odd, places) if places else batch

    def _with_odd(
        self, batch: Batch, names: list[bytes], block: Block, odd: Records, places: list[int]
    ) -> Batch:
        """The batch with its odd records judged and put in their places."""
        judged = read_rows(replace(block, records=odd), self._header)
        at = np.array(places)
        batch.sensors[at] = np.where(
            judged.sensors == NO_READING, NO_READING, judged.sensors + len(names)
        )
        batch.timestamps[at] = judged.timestamps
        batch.values[at] = judged.values
        errors = [
            replace(error, row_number=places[error.row_number - 1] + 1) for error in judged.errors
        ]
        all_names = Names.of(names + list(judged.names.encoded()))
        return replace(batch, names=all_names, errors=errors)
