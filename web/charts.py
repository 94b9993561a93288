"""Series and histograms as shapes of a unit-less box, which the page stretches to its width."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import orjson

from aggsvc.model import EPOCH, Histogram, SensorStatistics, TimeSeries

WIDTH, HEIGHT = 1000.0, 240.0
# Where readings are this many times farther apart than usual the line is broken.
BREAK = 10
MARGIN = 0.04
US = 1_000_000


def micros(moment: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time."""
    span = datetime.fromisoformat(moment).astimezone(UTC) - EPOCH
    return (span.days * 86_400 + span.seconds) * US + span.microseconds


@dataclass(frozen=True, slots=True)
class Scale:
    """From the lowest of some figures to the highest, with some room around them."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where the value is, from 0 to 1."""
        if self.low == self.high:
            return 0.5
        # Halves, for the whole span may be beyond a double.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return MARGIN + share * (1 - 2 * MARGIN)


@dataclass(frozen=True, slots=True)
class SeriesChart:
    """The mean as a line and the band from minimum to maximum, as paths of an SVG."""

    line: str
    band: str
    data: str

    @classmethod
    def of(cls, series: TimeSeries) -> "SeriesChart":
        """The chart of a series."""
        times = [micros(start) for start in series.starts]
        x, y = Scale(times[0], times[-1]), Scale(min(series.min_values), max(series.max_values))

        def points(places: Sequence[int], values: Sequence[float]) -> str:
            return "L".join(
                f"{x.place(times[n]) * WIDTH:.1f} {HEIGHT * (1 - y.place(values[n])):.1f}"
                for n in places
            )

        runs = list(_runs(times))
        # What is a point to itself is drawn as a dot by its round ends.
        line = "".join(f"M{points(run, series.mean_values)}h0" for run in runs)
        band = "".join(
            f"M{points(run, series.max_values)}L{points(run[::-1], series.min_values)}z"
            for run in runs
        )
        return cls(line, band, _json_of(series, times, runs))


def _runs(times: Sequence[int]) -> Iterator[range]:
    """The places of times between which there is no break."""
    steps = [later - earlier for earlier, later in pairwise(times)]
    longest = BREAK * median(steps) if steps else 0
    start = 0
    for place, step in enumerate(steps, 1):
        if step > longest:
            yield range(start, place)
            start = place
    yield range(start, len(times))


def _json_of(series: TimeSeries, times: Sequence[int], runs: Sequence[range]) -> str:
    """The columns as uPlot takes them, with a row of nulls in each break."""
    columns: dict[str, list[Any]] = {name: [] for name in ("x", "min", "max", "mean", "count")}
    figures = series.min_values, series.max_values, series.mean_values, series.row_counts
    for run in runs:
        if run.start:
            between = (times[run.start - 1] + times[run.start]) / 2 / US
            for column, value in zip(columns.values(), (between, *[None] * 4), strict=True):
                column.append(value)
        for place in run:
            row = times[place] / US, *(figure[place] for figure in figures)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    # Within a script element "</" would end it.
    return orjson.dumps(columns).decode().replace("<", "\\u003c")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: where its bar stands in the box, and what it counts."""

    x: float
    y: float
    width: float
    height: float
    lower: float
    upper: float
    count: int


def bars(histogram: Histogram) -> list[Bar]:
    """The bins as bars, the highest as high as the box."""
    most, width = max(histogram.row_counts), WIDTH / len(histogram.row_counts)
    lowers = histogram.lower_bounds
    uppers = (*lowers[1:], min(lowers[-1] + histogram.bin_width, sys.float_info.max))
    return [
        Bar(
            round(place * width, 1),
            round(HEIGHT * (1 - count / most), 1),
            round(max(width - 1.5, width / 2), 1),
            round(HEIGHT * count / most, 1),
            lower,
            upper,
            count,
        )
        for place, (lower, upper, count) in enumerate(
            zip(lowers, uppers, histogram.row_counts, strict=True)
        )
    ]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a sensor's values reach among those of the file, in percent."""

    start: float
    width: float
    mean: float
    share: float

    @classmethod
    def of(cls, sensor: SensorStatistics, low: float, high: float, most: int) -> "Reach":
        """Its reach between the file's extremes, and its readings beside the most of a sensor."""
        scale = Scale(low, high)
        start, end = (100 * scale.place(value) for value in (sensor.min_value, sensor.max_value))
        mean = 100 * scale.place(sensor.mean_value)
        share = 100 * sensor.row_count / most
        return cls(round(start, 1), round(max(end - start, 1), 1), round(mean, 1), round(share, 1))
