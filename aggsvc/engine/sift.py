"""Some of a file's readings read again: those of one sensor, or of a stretch of time, or both."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from aggsvc.engine.batch import NO_READING, Batch
from aggsvc.engine.blocks import Block
from aggsvc.engine.choice import Choice
from aggsvc.engine.lanes import Lane, Reader
from aggsvc.engine.names import Names
from aggsvc.engine.row_errors import NO_ERRORS
from aggsvc.engine.sensor_ids import SensorIds

# Names met while one is looked for are forgotten after so many, which bounds the memory.
MAX_NAMES = 1 << 16
WANTED = 0


def sifting(lane: Lane, choice: Choice) -> Lane:
    """The lane, reading only what is chosen: to it no other row is a reading, nor a row error.

    All that is chosen has one id, as if it were of one sensor.
    """
    return replace(lane, reader=lambda header: _Sieve(lane.reader(header), choice))


class _Sieve:
    """A Reader of the chosen readings of another's."""

    def __init__(self, reader: Reader, choice: Choice) -> None:
        self.lines = 0
        self._reader = reader
        self._choice = choice
        self._wanted = Names.of([(choice.sensor_id or "*").encode()])
        self._ids = SensorIds()

    def batches(self, block: Block, ids: SensorIds) -> Iterator[Batch]:
        """The block's rows, those that are not chosen being no readings."""
        ids.of(self._wanted)
        if len(self._ids) > MAX_NAMES:
            self._ids = SensorIds()
        self._ids.of(self._wanted)
        for batch in self._reader.batches(block, self._ids):
            yield self._sifted(batch)
        self.lines = self._reader.lines

    def _sifted(self, batch: Batch) -> Batch:
        choice, times = self._choice, batch.timestamps
        chosen = (batch.sensors != NO_READING) & (times >= choice.first_us)
        chosen &= times < choice.end_us
        if choice.sensor_id is not None:
            chosen &= batch.sensors == WANTED
        return replace(batch, sensors=np.where(chosen, WANTED, NO_READING), errors=NO_ERRORS)
