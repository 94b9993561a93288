"""Summaries are exact and merge to the summary of the whole."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine.batch import Batch
from aggsvc.engine.names import Names
from aggsvc.engine.summary import Summary

finite = st.floats(allow_nan=False, allow_infinity=False)
readings = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-(10**9), 10**15), finite))


def summary_of(rows: Sequence[tuple[str, int, float]]) -> Summary:
    found = Summary()
    found.fold(
        Batch(
            found.ids.of(Names.of([sensor.encode() for sensor, _, _ in rows])),
            np.array([time for _, time, _ in rows], np.int64),
            np.array([value for _, _, value in rows], np.float64) + 0.0,
        )
    )
    return found


def shown(of: Summary) -> tuple[object, ...]:
    """All that a summary can be asked for."""
    return (of.aggregates(), of.sensors().rows())


@given(readings, readings)
def test_merging_two_parts_equals_the_summary_of_the_whole(
    first: list[tuple[str, int, float]], second: list[tuple[str, int, float]]
) -> None:
    merged = summary_of(first)
    merged.merge(summary_of(second))
    assert shown(merged) == shown(summary_of(first + second))


@given(st.lists(finite, min_size=1))
def test_the_sums_are_exact(values: list[float]) -> None:
    found = summary_of([("a", 0, value) for value in values]).aggregates()
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    assert found.mean_value == float(mean)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    deviation = found.stddev_value
    assert deviation is not None
    assert Fraction(max(0.0, math.nextafter(deviation, -1.0))) ** 2 <= variance
    assert Fraction(math.nextafter(deviation, math.inf)) ** 2 >= variance


def test_minus_zero_is_shown_as_zero() -> None:
    aggregates = summary_of([("a", 0, -0.0)]).aggregates()
    figures = (aggregates.min_value, aggregates.max_value, aggregates.mean_value)
    assert list(map(repr, figures)) == ["0.0", "0.0", "0.0"]


def test_no_readings_have_no_extremes() -> None:
    aggregates = summary_of([]).aggregates()
    assert (aggregates.min_value, aggregates.max_value, aggregates.mean_value) == (None,) * 3


def test_a_deviation_between_two_doubles_is_rounded_to_even() -> None:
    """Where the digits of the variance begin with a small one."""
    found = summary_of([("a", 0, -1.67e-06), ("a", 0, -7e-07)])
    assert found.sensors().rows()[0].stddev_value == found.aggregates().stddev_value == 4.85e-07
