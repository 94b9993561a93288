"""Where the lanes meet: rows as columns, and those that are no readings as row errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aggsvc.model import RowError

NO_READING = -1


@dataclass(frozen=True, slots=True)
class Names:
    """Names as UTF-8, one behind the other: name i is text[ends[i - 1]:ends[i]].

    A name may stand there twice: once from each lane.
    """

    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[bytes]) -> "Names":
        """These names."""
        text = np.frombuffer(b"".join(names), np.uint8)
        return cls(text, np.cumsum([len(name) for name in names], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self) -> Iterator[bytes]:
        """The names in order."""
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end]
            start = end


@dataclass(frozen=True, slots=True)
class Batch:
    """A block's rows in order, or those of a piece of it.

    `sensors` are indexes into `names`, NO_READING where the row is a row error; then `timestamps`
    (microseconds since the epoch, UTC) and `values` mean nothing. All three have a place for each
    row read. The errors' row numbers count from 1 at the batch's first row, their line numbers
    are the file's.
    """

    names: Names
    sensors: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    errors: list[RowError] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """How many rows there are, readings and errors."""
        return len(self.sensors)

    def readings(self) -> Iterator[tuple[str, int, float]]:
        """The readings in order: sensor, timestamp, value."""
        names = [name.decode() for name in self.names.encoded()]
        columns = (self.sensors.tolist(), self.timestamps.tolist(), self.values.tolist())
        for sensor, timestamp, value in zip(*columns, strict=True):
            if sensor != NO_READING:
                yield names[sensor], timestamp, value
