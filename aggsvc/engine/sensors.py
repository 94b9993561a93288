"""The statistics of each sensor as columns: sorted, paged, and kept as bytes.

The bytes, numbers little-endian, every column aligned so that it is read where it lies:

    128 bytes   {"format": "aggsvc-sensors", "version": 1, "sensors": n, "text_bytes": m}, then
                spaces and LF
    8 columns   of n numbers of 8 bytes: the ids' ends, then COLUMNS in their order
    m bytes     the ids as UTF-8, one behind the other: id i is text[ends[i - 1]:ends[i]]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from aggsvc.engine.names import Names
from aggsvc.errors import InvalidRequest, StatisticsDamaged
from aggsvc.model import SensorStatistics, rfc3339

FORMAT = {"format": "aggsvc-sensors", "version": 1}
HEADER_BYTES = 128
NUMBER_BYTES = 8
# As SensorStatistics names them, in its order; a column's name has an "s" behind it.
COLUMNS = {
    "row_count": "<i8",
    "min_value": "<f8",
    "max_value": "<f8",
    "mean_value": "<f8",
    "stddev_value": "<f8",
    "first_timestamp": "<i8",
    "last_timestamp": "<i8",
}
BY_ID = "sensor_id"
SORTS = (BY_ID, *COLUMNS)
# Numbers, or bytes of text, encoded at a time: 256 KiB of numbers.
STEP = 32 * 1024

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class SensorTable:
    """The statistics of n sensors, each column of n; timestamps are microseconds since the epoch.

    The sensors are distinct, in order of their ids' UTF-8 bytes, each with at least one reading.
    """

    ids: Names
    row_counts: npt.NDArray[np.int64]
    min_values: npt.NDArray[np.float64]
    max_values: npt.NDArray[np.float64]
    mean_values: npt.NDArray[np.float64]
    stddev_values: npt.NDArray[np.float64]
    first_timestamps: npt.NDArray[np.int64]
    last_timestamps: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> "SensorTable":
        """The table of no sensors."""
        return cls(Names.of([]), *(np.zeros(0, dtype) for dtype in COLUMNS.values()))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def encoded_bytes(self) -> int:
        """How many bytes `encode` gives in all."""
        return _size(len(self), len(self.ids.text))

    def rows(self, sort: str = "", offset: int = 0, limit: int = 1000) -> list[SensorStatistics]:
        """At most `limit` sensors from the offset on, by a column of SORTS; "-" is descending.

        Ties, and all where there is no sort, go by sensor_id ascending. Raises InvalidRequest.
        """
        return self._at(self._places(sort, offset, min(offset + limit, len(self))))

    def find(self, sensor_id: str) -> int | None:
        """The place of that sensor, or None."""
        wanted, low, high = sensor_id.encode(errors="surrogatepass"), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._id_at(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._id_at(low) == wanted else None

    def matching(self, text: str) -> "SensorTable":
        """The sensors whose ids contain the text, whatever its case."""
        places = self.ids.containing(text)
        columns = (self._column(name)[places] for name in COLUMNS)
        return SensorTable(self.ids.only(places), *columns)

    def pages(self, size: int = 1000) -> Iterator[list[SensorStatistics]]:
        """All sensors by sensor_id, `size` at a time."""
        for offset in range(0, len(self), size):
            yield self.rows(offset=offset, limit=size)

    def encode(self) -> Iterator[bytes]:
        """The table as bytes, in chunks."""
        counts = {"sensors": len(self), "text_bytes": len(self.ids.text)}
        yield orjson.dumps(FORMAT | counts).ljust(HEADER_BYTES - 1) + b"\n"
        yield from _chunks(self.ids.ends, "<i8")
        for name, dtype in COLUMNS.items():
            yield from _chunks(self._column(name), dtype)
        yield from _chunks(self.ids.text, "u1")

    @classmethod
    def decode(cls, data: bytes | bytearray) -> "SensorTable":
        """The inverse of encode, in the memory of `data`; raises StatisticsDamaged for another."""
        sensors, text_bytes = _read_header(bytes(data[:HEADER_BYTES]))
        if len(data) != _size(sensors, text_bytes):
            raise _damaged(f"{len(data)} bytes instead of {_size(sensors, text_bytes)}")
        text = np.ndarray(text_bytes, np.uint8, data, len(data) - text_bytes)
        ends, *columns = (
            np.ndarray(sensors, dtype, data, HEADER_BYTES + place * sensors * NUMBER_BYTES)
            for place, dtype in enumerate(("<i8", *COLUMNS.values()))
        )
        if not _are_ends(ends, text_bytes):
            raise _damaged("the ids' ends are not in order")
        return cls(Names(text, ends), *columns)

    def _places(self, sort: str, start: int, end: int) -> Places:
        """Where the sensors from start to end of that order stand."""
        name, descending = sort.removeprefix("-") or BY_ID, sort.startswith("-")
        if name not in SORTS or sort == "-":
            known = ", ".join(SORTS)
            raise InvalidRequest(f"cannot sort by {sort[:40]!r}; there is {known}, or - before one")
        if start >= end:
            return np.zeros(0, np.intp)
        if name == BY_ID:
            places = np.arange(start, end)
            return len(self) - 1 - places if descending else places
        keys = self._column(name)
        return _ranked(-keys if descending else keys, start, end)

    def _at(self, places: Places) -> list[SensorStatistics]:
        *figures, first, last = (self._column(name)[places].tolist() for name in COLUMNS)
        columns = (self._ids_at(places), *figures, map(rfc3339, first), map(rfc3339, last))
        return [SensorStatistics(*row) for row in zip(*columns, strict=True)]

    def _ids_at(self, places: Places) -> Iterator[str]:
        ends, text = self.ids.ends, self.ids.text.data
        starts = np.where(places > 0, ends[places - 1], 0)
        for start, end in zip(starts.tolist(), ends[places].tolist(), strict=True):
            yield str(text[start:end], "utf-8")

    def _id_at(self, place: int) -> bytes:
        start = self.ids.ends[place - 1] if place else 0
        return self.ids.text[start : self.ids.ends[place]].tobytes()

    def _column(self, name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = getattr(self, f"{name}s")
        return column


def _ranked(keys: npt.NDArray[Any], start: int, end: int) -> Places:
    """Where the keys from rank start to end stand, equal ones in the order of their places.

    Only these are sorted: to sort 1,000,000 takes longer than all else that makes a page.
    """
    low, high = np.partition(keys, (start, end - 1))[[start, end - 1]]
    places = np.flatnonzero((low <= keys) & (keys <= high))
    before = start - np.count_nonzero(keys < low)
    return places[np.argsort(keys[places], kind="stable")][before : before + end - start]


def _chunks(column: npt.NDArray[Any], dtype: str) -> Iterator[bytes]:
    for start in range(0, len(column), STEP):
        yield column[start : start + STEP].astype(dtype).tobytes()


def _size(sensors: int, text_bytes: int) -> int:
    return HEADER_BYTES + (1 + len(COLUMNS)) * NUMBER_BYTES * sensors + text_bytes


def _read_header(header: bytes) -> tuple[int, int]:
    """How many sensors there are, and bytes of text."""
    try:
        told = orjson.loads(header)
        counts = told["sensors"], told["text_bytes"]
        sound = {name: told[name] for name in FORMAT} == FORMAT
    except (ValueError, KeyError, TypeError):
        raise _damaged("no header") from None
    if not (sound and all(type(count) is int and count >= 0 for count in counts)):
        raise _damaged("another header")
    return counts


def _are_ends(ends: npt.NDArray[np.int64], text_bytes: int) -> bool:
    """Whether these part that much text into names."""
    bounds = np.concatenate([[0], ends])
    return bool((bounds[1:] >= bounds[:-1]).all() and bounds[-1] == text_bytes)


def _damaged(how: str) -> StatisticsDamaged:
    return StatisticsDamaged(f"the statistics of the file's sensors are damaged: {how}")
