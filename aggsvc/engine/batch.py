"""Where the lanes meet: rows as columns, and those that are no readings as row errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

NO_READING = -1

# A row error before it is known where in the file its block lies: the fields of a RowError.
Fault = tuple[int, int, str | None, str, str]

WORD = 8


@dataclass(frozen=True, slots=True)
class Names:
    """Names as UTF-8, one behind the other: name i is text[ends[i - 1]:ends[i]]."""

    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[bytes]) -> "Names":
        """These names."""
        text = np.frombuffer(b"".join(names), np.uint8)
        return cls(text, np.cumsum([len(name) for name in names], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def order(self) -> npt.NDArray[np.intp]:
        """The places of the names in the order of their bytes, none of which is NUL."""
        starts = self._starts()
        longest = int((self.ends - starts).max(initial=1))
        text = np.concatenate([self.text, np.zeros(longest, np.uint8)])
        keys = []
        for first in range(0, longest, WORD):
            key = np.zeros(len(self), np.uint64)
            for place in range(first, first + WORD):
                byte = text[np.minimum(starts + place, self.ends)]
                key = (key << np.uint64(8)) | np.where(starts + place < self.ends, byte, 0)
            keys.append(key)
        return np.lexsort(keys[::-1])

    def only(self, places: npt.NDArray[np.intp]) -> "Names":
        """The names in these places, in their order."""
        starts = self._starts()[places]
        lengths = self.ends[places] - starts
        ends = np.cumsum(lengths)
        at = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        return Names(self.text[at], ends)

    def _starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]

    def encoded(self) -> Iterator[bytes]:
        """The names in order."""
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end]
            start = end


@dataclass(frozen=True, slots=True)
class Batch:
    """A block's rows in order, or those of a piece of it.

    `sensors` are ids of a SensorIds, NO_READING where the row is a row error; then `timestamps`
    (microseconds since the epoch, UTC) and `values` mean nothing. All three have a place for each
    row read. The faults' row numbers count from 1 at the batch's first row, their line numbers
    from 1 at the block's first line.
    """

    sensors: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    faults: list[Fault] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """How many rows there are, readings and errors."""
        return len(self.sensors)
