"""The statistics: a Summary of any number of readings, mergeable and exact.

The sum is kept exactly, as an integer in digits of 32 bits with room for carries
(a superaccumulator, as in Neal 2015, "Fast exact summation using small and large
superaccumulators"). Nothing is ever rounded but the figures, once, when they are asked for: so
the answers do not depend on the order of the readings, nor on how they were parted and merged.
"""

import heapq
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import NO_READING, Batch, Names
from aggsvc.engine.jit import compiled, inlined
from aggsvc.model import Aggregates

LISTED_SENSORS = 1000

# The digits hold multiples of 2**-128 below 2**96. Readings beyond, which are rare, are summed as
# Python's integers in units of the smallest double.
SUM_BITS = 128
SUM_DIGITS = 9
HIGHEST_EXPONENT = 43
UNIT_BITS = 1074
# Each reading adds less than 2**33 to a digit, so this many leave room in 63 bits.
CARRY_EVERY = 1 << 28

LOW_32 = (1 << 32) - 1


@inlined
def _add(digits: Any, piece: int, offset: int, sign: int) -> None:
    """Add sign * piece * 2**offset, piece below 2**53, to the digits."""
    digit = offset >> 5
    shift = offset & 31
    low = (piece & LOW_32) << shift
    high = ((piece >> 32) << shift) + (low >> 32)
    digits[digit] += sign * (low & LOW_32)
    digits[digit + 1] += sign * (high & LOW_32)
    digits[digit + 2] += sign * (high >> 32)


@compiled
def _fold(  # noqa: PLR0917 - numba takes arguments by position
    sensors: Any, ids: Any, values: Any, bits: Any,
    counts: Any, extremes: Any, digits: Any, rare: Any,
) -> int:  # fmt: skip
    """Take in a batch's readings; the places of those that are rare come back in `rare`."""
    found = 0
    low, high = extremes[0], extremes[1]
    for place in range(len(sensors)):
        if sensors[place] == NO_READING:
            continue
        counts[ids[sensors[place]]] += 1
        value = values[place]
        low = min(low, value)
        high = max(high, value)
        word = bits[place]
        exponent = ((word >> 52) & 2047) - 1075
        if value == 0.0:
            continue
        if exponent < -SUM_BITS or exponent > HIGHEST_EXPONENT:
            rare[found] = place
            found += 1
            continue
        mantissa = (word & ((1 << 52) - 1)) | (1 << 52)
        _add(digits, mantissa, exponent + SUM_BITS, -1 if word < 0 else 1)
    extremes[0], extremes[1] = low, high
    return found


class Summary:
    """Count, extremes and exact sum of readings, and how many each sensor has."""

    def __init__(self) -> None:
        self.row_count = 0
        self._ids: dict[bytes, int] = {}
        self._counts = np.zeros(0, np.int64)
        self._extremes = np.array([math.inf, -math.inf])
        self._digits = np.zeros(SUM_DIGITS, np.int64)
        self._rare = 0
        self._uncarried = 0

    @property
    def sensor_count(self) -> int:
        """How many distinct sensors there are."""
        return len(self._ids)

    @property
    def total(self) -> int:
        """The exact sum of all values in units of 2**-1074, of which every double is a multiple."""
        self._carry(CARRY_EVERY)
        digits = enumerate(self._digits.tolist())
        held: int = sum(digit << (32 * place) for place, digit in digits)
        return (held << (UNIT_BITS - SUM_BITS)) + self._rare

    def sensor_counts(self) -> Iterator[tuple[str, int]]:
        """Each sensor with its number of readings."""
        for name, count in zip(self._ids, self._counts.tolist(), strict=False):
            yield name.decode(), count

    def fold(self, batch: Batch) -> None:
        """Take in the batch's readings."""
        rare = np.empty(batch.rows_read, np.int64)
        found = _fold(
            batch.sensors, self._ids_of(batch.names), batch.values, batch.values.view(np.int64),
            self._counts, self._extremes, self._digits, rare,
        )  # fmt: skip
        self._rare += sum(map(_in_units, batch.values[rare[:found]].tolist()))
        self.row_count += batch.rows_read - len(batch.errors)
        self._carry(batch.rows_read)

    def merge(self, other: "Summary") -> None:
        """Take in another summary; the result is that of all readings together."""
        ids = self._ids_of(Names.of(list(other._ids)))
        self._counts[ids] += other._counts[: other.sensor_count]
        self._extremes[0] = min(self._extremes[0], other._extremes[0])
        self._extremes[1] = max(self._extremes[1], other._extremes[1])
        self._carry(CARRY_EVERY)
        other._carry(CARRY_EVERY)
        self._digits += other._digits
        self._rare += other._rare
        self.row_count += other.row_count

    def aggregates(self) -> Aggregates:
        """The figures as the record shows them; -0.0 is shown as 0.0."""
        some = self.row_count > 0
        low, high = self._extremes.tolist()
        return Aggregates(
            row_count=self.row_count,
            min_value=low + 0.0 if some else None,
            max_value=high + 0.0 if some else None,
            mean_value=self.total / (self.row_count << UNIT_BITS) + 0.0 if some else None,
            per_sensor_count=self._most_read_sensors(),
            per_sensor_count_truncated=self.sensor_count > LISTED_SENSORS,
        )

    def _most_read_sensors(self) -> dict[str, int]:
        most = heapq.nsmallest(
            LISTED_SENSORS, self.sensor_counts(), key=lambda item: (-item[1], item[0])
        )
        return dict(most)

    def _ids_of(self, names: Names) -> npt.NDArray[np.int32]:
        """The place of each of the names in our columns; new ones are given one."""
        ids, known = self._ids, self._ids.setdefault
        found = np.array([known(name, len(ids)) for name in names.encoded()], np.int32)
        if len(ids) > len(self._counts):
            more = np.zeros(max(len(ids), 2 * len(self._counts)) - len(self._counts), np.int64)
            self._counts = np.concatenate([self._counts, more])
        return found

    def _carry(self, rows: int) -> None:
        """Count rows towards the digits' room, and carry when it may be used up."""
        self._uncarried += rows
        if self._uncarried < CARRY_EVERY:
            return
        self._uncarried = 0
        for place in range(SUM_DIGITS - 1):
            self._digits[place + 1] += self._digits[place] >> 32
            self._digits[place] &= LOW_32


def _in_units(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_BITS + 1 - denominator.bit_length())
