"""Histogram and time series: bins of values and buckets of time on fixed ladders of widths.

Each width of a ladder divides the next, and bins and buckets are aligned to zero and the epoch. So
finer ones become coarser ones by adding them up, and the finest width that is good enough for all
readings is reached whatever the order in which they come.
"""

import math
from fractions import Fraction

import numpy as np

from aggsvc.engine.cells import COUNT, Cells, merge_cells

MAX_BINS = 64
# With more, the doubles nearest to neighbouring edges could be one.
HIGHEST_BIN = 10**15
LOWEST_POWER, HIGHEST_POWER = -300, 308
RUNGS = 2 * (HIGHEST_POWER - LOWEST_POWER + 1)

MAX_BUCKETS = 512
_SECOND = 1_000_000
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND
BUCKETS_US: tuple[int, ...] = (
    *(10**power for power in range(6)),
    *(_SECOND, 5 * _SECOND, 15 * _SECOND),
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY * 10**power for power in range(5)),
)


def _bin_width(rung: int) -> Fraction:
    """The width of that rung: 1 or 2 times a power of ten."""
    return (1 + rung % 2) * Fraction(10) ** (LOWEST_POWER + rung // 2)


def _edge(place: int, width: Fraction) -> float:
    try:
        return float(place * width)
    except OverflowError:
        return math.copysign(math.inf, place)


def _bin_of(value: float, width: Fraction) -> int:
    """The bin that the value is in: edges are doubles, so it may lie above the exact quotient."""
    place = math.floor(Fraction(value) / width)
    return place + (_edge(place + 1, width) <= value)


def _finest(low: float, high: float) -> int:
    """The finest rung with at most MAX_BINS bins from low to high, none beyond HIGHEST_BIN."""
    at_least = max(high / MAX_BINS - low / MAX_BINS, max(high, -low) / HIGHEST_BIN)
    power = math.floor(math.log10(at_least)) - 1 if at_least else LOWEST_POWER
    rung = max(0, 2 * (power - LOWEST_POWER))
    while not _fits(low, high, _bin_width(rung)):
        rung += 1
    return rung


def _fits(low: float, high: float, width: Fraction) -> bool:
    first, last = _bin_of(low, width), _bin_of(high, width)
    return last - first < MAX_BINS and first >= -HIGHEST_BIN and last <= HIGHEST_BIN


class Bins:
    """A histogram: `counts` of the bins from the lowest value's to the highest's.

    `edges` are their bounds, the last infinite; `bins_a_unit` is one by their width; `extremes` are
    the lowest and the highest value.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)
        self.edges = np.array([math.inf])
        self.bins_a_unit = 0.0
        self.extremes = (math.inf, -math.inf)
        self._rung = 0
        self._first = 0

    @property
    def width(self) -> float:
        """The width of a bin."""
        return float(_bin_width(self._rung))

    def reach(self, low: float, high: float) -> None:
        """Have bins from low to high."""
        low, high = min(low, self.extremes[0]), max(high, self.extremes[1])
        if low > high or (low, high) == self.extremes:
            return
        rung = _finest(low, high)
        width = _bin_width(rung)
        first, last = _bin_of(low, width), _bin_of(high, width)
        if (rung, first, last - first + 1) != (self._rung, self._first, len(self.counts)):
            self._move(rung, first, last - first + 1)
        self.extremes = (low, high)

    def _move(self, rung: int, first: int, count: int) -> None:
        ratio = int(_bin_width(rung) / _bin_width(self._rung)) if len(self.counts) else 1
        counts = np.zeros(count, np.int64)
        for place, rows in enumerate(self.counts.tolist(), self._first):
            counts[place // ratio - first] += rows
        width = _bin_width(rung)
        edges = [_edge(first + place, width) for place in range(count)]
        self.counts, self.edges = counts, np.array([*edges, math.inf])
        self.bins_a_unit = float(1 / width)
        self._rung, self._first = rung, first

    def merge(self, other: "Bins") -> None:
        """Take in another histogram."""
        self.reach(*other.extremes)
        if len(other.counts):
            other.reach(*self.extremes)
            self.counts += other.counts


class Buckets:
    """A time series: `cells` of the buckets from the first reading's to the last's.

    `first` is the number of the first bucket since the epoch. Sums of rare readings, in units of
    their own, are kept by bucket number.
    """

    def __init__(self) -> None:
        self.cells = Cells()
        self.first = 0
        self.rare: dict[int, int] = {}
        self._span: tuple[int, int] | None = None
        self._rung = 0

    @property
    def width_us(self) -> int:
        """The width of a bucket in microseconds."""
        return BUCKETS_US[self._rung]

    def reach(self, first: int, last: int) -> None:
        """Have buckets from the first to the last time, in microseconds since the epoch."""
        if self._span is not None:
            first, last = min(first, self._span[0]), max(last, self._span[1])
        if first > last or (first, last) == self._span:
            return
        self._span = first, last
        rung = self._rung
        while last // BUCKETS_US[rung] - first // BUCKETS_US[rung] >= MAX_BUCKETS:
            rung += 1
        low, high = first // BUCKETS_US[rung], last // BUCKETS_US[rung]
        if (rung, low) != (self._rung, self.first) or high - low >= len(self.cells):
            self._move(rung, low)

    def _move(self, rung: int, first: int) -> None:
        ratio = BUCKETS_US[rung] // self.width_us
        cells = Cells(MAX_BUCKETS)
        held = np.flatnonzero(self.cells.integers[:, COUNT])
        merge_cells((held + self.first) // ratio - first, self.cells.only(held), cells)
        rare: dict[int, int] = {}
        for bucket, units in self.rare.items():
            rare[bucket // ratio] = rare.get(bucket // ratio, 0) + units
        self.cells, self.first, self.rare, self._rung = cells, first, rare, rung

    def merge(self, other: "Buckets") -> None:
        """Take in another series."""
        if other._span is None:
            return
        self.reach(*other._span)
        other.reach(*(self._span or other._span))
        merge_cells(np.arange(len(other.cells)), other.cells, self.cells)
        for bucket, units in other.rare.items():
            self.rare[bucket] = self.rare.get(bucket, 0) + units
