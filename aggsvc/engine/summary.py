"""The statistics: a Summary of any number of readings, mergeable and exact.

The sum is kept as an integer in units of 2**-1074, the spacing of the smallest doubles, of which
every double is a multiple. Nothing is ever rounded but the mean, once, when it is asked for.
"""

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import neg

from aggsvc.engine.batch import Batch
from aggsvc.model import Aggregates

UNIT_BITS = 1074
LISTED_SENSORS = 1000


class Summary:
    """Counts, extremes and the exact sum of readings, and how many each sensor has."""

    def __init__(self) -> None:
        self.row_count = 0
        self.min_value = math.inf
        self.max_value = -math.inf
        self.total = 0
        self.sensor_counts: Counter[str] = Counter()

    def fold(self, batch: Batch) -> None:
        """Take in the batch's readings."""
        if not batch.values:
            return
        low, high = min(batch.values), max(batch.values)
        self.row_count += len(batch.values)
        self.min_value = min(self.min_value, low)
        self.max_value = max(self.max_value, high)
        self.total += exact_sum(batch.values)
        self.sensor_counts.update(batch.sensors)

    def merge(self, other: "Summary") -> None:
        """Take in another summary; the result is that of all readings together."""
        self.row_count += other.row_count
        self.min_value = min(self.min_value, other.min_value)
        self.max_value = max(self.max_value, other.max_value)
        self.total += other.total
        self.sensor_counts.update(other.sensor_counts)

    def aggregates(self) -> Aggregates:
        """The figures as the record shows them; -0.0 is shown as 0.0."""
        some = self.row_count > 0
        return Aggregates(
            row_count=self.row_count,
            min_value=self.min_value + 0.0 if some else None,
            max_value=self.max_value + 0.0 if some else None,
            mean_value=self.total / (self.row_count << UNIT_BITS) + 0.0 if some else None,
            per_sensor_count=self._most_read_sensors(),
            per_sensor_count_truncated=len(self.sensor_counts) > LISTED_SENSORS,
        )

    def _most_read_sensors(self) -> dict[str, int]:
        return dict(
            heapq.nsmallest(
                LISTED_SENSORS, self.sensor_counts.items(), key=lambda item: (-item[1], item[0])
            )
        )


def exact_sum(values: Sequence[float]) -> int:
    """The sum of finite doubles in units of 2**-1074, exactly.

    math.fsum rounds the exact sum once. What it rounded away is found by summing again with the
    result taken off, until nothing is left: the parts are Shewchuk's non-overlapping expansion.
    """
    parts: list[float] = []
    try:
        while part := math.fsum(chain(values, map(neg, parts))):
            parts.append(part)
    except OverflowError:  # a partial sum left the doubles' range
        return sum(map(_in_units, values))
    return sum(map(_in_units, parts))


def _in_units(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_BITS + 1 - denominator.bit_length())
