"""Where the lanes meet: rows as columns, and those that are no readings as row errors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggsvc.engine.row_errors import NO_ERRORS, RowErrors

NO_READING = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """A block's rows in order, or those of a piece of it.

    `sensors` are ids of a SensorIds, NO_READING where the row is a row error; then `timestamps`
    (microseconds since the epoch, UTC) and `values` mean nothing. All three have a place for each
    row read. The errors' row numbers count from 1 at the batch's first row, their line numbers
    from 1 at the block's first line.
    """

    sensors: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    errors: RowErrors = NO_ERRORS

    @property
    def rows_read(self) -> int:
        """How many rows there are, readings and errors."""
        return len(self.sensors)
