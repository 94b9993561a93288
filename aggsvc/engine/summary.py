"""The statistics: a Summary of any number of readings, mergeable and exact.

Nothing is ever rounded but the figures, once, when they are asked for: so the answers do not
depend on the order of the readings, nor on how they were parted and merged. Quantiles are those
of classes of values that agree in their 7 highest bits below the first.
"""

import math
import sys
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import Batch
from aggsvc.engine.cells import COUNT, FIRST, HIGH, LAST, LOW, SUM_BITS, Cells, merge_cells
from aggsvc.engine.fields import FIRST_US
from aggsvc.engine.figures import moments
from aggsvc.engine.fold import CLASS_SHIFT, CLASSES, extent, fold
from aggsvc.engine.grids import Bins, Buckets
from aggsvc.engine.sensor_ids import SensorIds
from aggsvc.engine.sensors import SensorTable
from aggsvc.model import NO_READINGS, Aggregates, Histogram, TimeSeries, rfc3339

LISTED_SENSORS = 1000
PERCENTS = (50, 95, 99)
NO_SPAN = np.iinfo(np.int64).max, np.iinfo(np.int64).min
NO_EXTREMES = math.inf, -math.inf

# Rare readings are summed as Python's integers in units of the smallest double.
UNIT_BITS = 1074

Integers = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Sums:
    """The exact sums of values and of their squares, in units of 2**-UNIT_BITS and its square."""

    total: int = 0
    squares: int = 0

    def add(self, total: int, squares: int) -> None:
        self.total += total
        self.squares += squares

    def mean(self, count: int) -> float:
        return self.total / (count << UNIT_BITS) + 0.0

    def deviation(self, count: int) -> float:
        spread = count * self.squares - self.total**2
        return _root_of(spread, count**2 << (2 * UNIT_BITS))


class Summary:
    """Readings by sensor, by value and by time."""

    def __init__(self) -> None:
        self.ids = SensorIds()
        self._cells = Cells()
        self._rare: defaultdict[int, _Sums] = defaultdict(_Sums)
        self._classes = np.zeros(CLASSES, np.int64)
        self._rare_places = np.empty(0, np.int64)
        self._bins = Bins()
        self._buckets = Buckets()

    @property
    def sensor_count(self) -> int:
        """How many distinct sensors there are."""
        return len(self.ids)

    @property
    def row_count(self) -> int:
        """How many readings there are."""
        return int(self._column(COUNT).sum())

    def fold(self, batch: Batch) -> None:
        """Take in the batch's readings, their sensors being ids of `ids`."""
        columns = batch.sensors, batch.timestamps, batch.values
        span, extremes = np.array(NO_SPAN), np.array(NO_EXTREMES)
        extent(*columns, span, extremes)
        self._cells.reach(self.sensor_count)
        self._bins.reach(*extremes.tolist())
        self._buckets.reach(*span.tolist())
        cells, bins, buckets = self._cells, self._bins, self._buckets
        if len(self._rare_places) < batch.rows_read:
            self._rare_places = np.empty(batch.rows_read, np.int64)
        found = fold(
            *columns,
            cells.words, self._classes,
            bins.edges, bins.counts, bins.bins_a_unit,
            buckets.cells.words, buckets.first, buckets.width_us,
            self._rare_places,
        )  # fmt: skip
        if found:
            self._fold_rare(batch, self._rare_places[:found])

    def _fold_rare(self, batch: Batch, places: Integers) -> None:
        buckets = batch.timestamps[places] // self._buckets.width_us
        rows = zip(
            batch.sensors[places].tolist(),
            buckets.tolist(),
            batch.values[places].tolist(),
            strict=True,
        )
        for sensor, bucket, value in rows:
            units = _in_units(value)
            self._rare[sensor].add(units, units**2)
            self._buckets.rare[bucket] = self._buckets.rare.get(bucket, 0) + units

    def merge(self, other: "Summary") -> None:
        """Take in another summary, which is used up; the result is that of all readings."""
        ids = self.ids.of(other.ids.names())
        self._cells.reach(self.sensor_count)
        merge_cells(ids, other._cells, self._cells)
        for sensor, sums in other._rare.items():
            self._rare[int(ids[sensor])].add(sums.total, sums.squares)
        for some in other._reached_classes():
            self._classes[some] += other._classes[some]
        self._bins.merge(other._bins)
        self._buckets.merge(other._buckets)

    def aggregates(self) -> Aggregates:
        """The figures over all readings."""
        count = self.row_count
        if not count:
            return NO_READINGS
        low, high = float(self._floats(LOW).min()), float(self._floats(HIGH).max())
        sums = self._sums()
        p50, p95, p99 = self._quantiles(count, low, high)
        return Aggregates(
            row_count=count,
            min_value=low,
            max_value=high,
            mean_value=sums.mean(count),
            stddev_value=sums.deviation(count),
            p50_value=p50,
            p95_value=p95,
            p99_value=p99,
            first_timestamp=rfc3339(int(self._column(FIRST).min())),
            last_timestamp=rfc3339(int(self._column(LAST).max())),
            sensor_count=self.sensor_count,
            per_sensor_count=self._most_read_sensors(),
            per_sensor_count_truncated=self.sensor_count > LISTED_SENSORS,
            histogram=self._histogram(),
            time_series=self._time_series(),
        )

    def sensors(self) -> SensorTable:
        """The figures of each sensor."""
        count = self.sensor_count
        means, deviations = moments(self._cells, count)
        for sensor in {*np.flatnonzero(np.isnan(deviations)).tolist(), *self._rare}:
            rows, sums = int(self._cells.integers[sensor, COUNT]), self._sums_of(sensor)
            means[sensor], deviations[sensor] = sums.mean(rows), sums.deviation(rows)
        names = self.ids.names()
        order = names.order()
        return SensorTable(
            names.only(order),
            *(self._column(COUNT)[order], self._floats(LOW)[order], self._floats(HIGH)[order]),
            *(means[order], deviations[order]),
            *(self._column(FIRST)[order], self._column(LAST)[order]),
        )

    def _column(self, word: int) -> Integers:
        return self._cells.integers[: self.sensor_count, word]

    def _floats(self, word: int) -> npt.NDArray[np.float64]:
        return self._cells.floats[: self.sensor_count, word]

    def _sums(self) -> _Sums:
        sums = _sums_in_units(*self._cells.totals())
        for rare in self._rare.values():
            sums.add(rare.total, rare.squares)
        return sums

    def _sums_of(self, sensor: int) -> _Sums:
        sums = _sums_in_units(self._cells.sum_of(sensor), self._cells.squares_of(sensor))
        if sensor in self._rare:
            sums.add(self._rare[sensor].total, self._rare[sensor].squares)
        return sums

    def _quantiles(self, count: int, low: float, high: float) -> list[float]:
        """For each of PERCENTS the middle of the class that holds the value of the nearest rank."""
        positive, negative = (
            some.start + np.flatnonzero(self._classes[some]) for some in self._reached_classes()
        )
        ascending = np.concatenate([negative[::-1], positive])
        reached = np.cumsum(self._classes[ascending])
        ranks = [-(-count * percent // 100) for percent in PERCENTS]
        names = ascending[np.searchsorted(reached, ranks)].tolist()
        return [min(max(_middle(name), low), high) for name in names]

    def _reached_classes(self) -> tuple[slice, slice]:
        """The classes that values may be in: those above zero, then those below, outwards."""
        low, high = self._bins.extremes
        above = slice(_class_of(max(0.0, low)), _class_of(max(0.0, high)) + 1)
        below = slice(_class_of(min(-0.0, high)), _class_of(min(-0.0, low)) + 1)
        return above, below

    def _most_read_sensors(self) -> dict[str, int]:
        """The sensors with the most readings, ties by name."""
        counts, names = self._column(COUNT), self.ids.names()
        listed = np.arange(len(counts))
        if len(counts) > LISTED_SENSORS:
            least = np.partition(counts, -LISTED_SENSORS)[-LISTED_SENSORS]
            more, ties = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
            # Those of all sensors, as there may be, are put in order without an object for each.
            first = names.only(ties).order()[: LISTED_SENSORS - len(more)]
            listed = np.concatenate([more, ties[first]])
        named = zip(counts[listed].tolist(), names.only(listed).encoded(), strict=True)
        most = sorted(named, key=lambda item: (-item[0], item[1]))
        return {name.decode(): rows for rows, name in most}

    def _histogram(self) -> Histogram:
        bins = self._bins
        return Histogram(
            bin_width=bins.width,
            lower_bounds=tuple(np.maximum(bins.edges[:-1], -sys.float_info.max).tolist()),
            row_counts=tuple(bins.counts.tolist()),
        )

    def _time_series(self) -> TimeSeries:
        buckets, cells = self._buckets, self._buckets.cells
        held = np.flatnonzero(cells.integers[:, COUNT])
        rows = cells.integers[held, COUNT].tolist()
        numbers = (held + buckets.first).tolist()
        means = []
        for place, number, count in zip(held.tolist(), numbers, rows, strict=True):
            sums = _sums_in_units(cells.sum_of(place), 0)
            sums.add(buckets.rare.get(number, 0), 0)
            means.append(sums.mean(count))
        return TimeSeries(
            bucket_seconds=buckets.width_us / 1_000_000,
            starts=tuple(rfc3339(max(number * buckets.width_us, FIRST_US)) for number in numbers),
            row_counts=tuple(rows),
            min_values=tuple(cells.floats[held, LOW].tolist()),
            max_values=tuple(cells.floats[held, HIGH].tolist()),
            mean_values=tuple(means),
        )


def _class_of(value: float) -> int:
    return int(np.float64(value).view(np.uint64)) >> CLASS_SHIFT


def _middle(name: int) -> float:
    """The middle of a class of values; next to zero, where it is of subnormals, zero itself."""
    if name in (0, CLASSES // 2):
        return 0.0
    return float(np.uint64((name << CLASS_SHIFT) + (1 << (CLASS_SHIFT - 1))).view(np.float64))


def _sums_in_units(total: int, squares: int) -> _Sums:
    """The sums that cells hold, in the units of rare ones."""
    finer = UNIT_BITS - SUM_BITS
    return _Sums(total << finer, squares << (2 * finer))


def _in_units(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_BITS + 1 - denominator.bit_length())


def _root_of(numerator: int, denominator: int) -> float:
    """The double nearest to the square root of a fraction.

    Where the root has 55 bits or more and its last is set if anything was cut off (rounding to
    odd, Boldo and Melquiond 2008), the division rounds as the root itself would.
    """
    if not numerator:
        return 0.0
    shift = (numerator.bit_length() - denominator.bit_length() - 109) // 2
    if shift >= 0:
        denominator <<= 2 * shift
    else:
        numerator <<= -2 * shift
    root = math.isqrt(numerator // denominator)
    root |= root * root * denominator != numerator
    return (root << shift) / 1 if shift >= 0 else root / (1 << -shift)
