"""Summaries are exact and merge to the summary of the whole."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine import summary
from aggsvc.engine.batch import Batch, Names
from aggsvc.engine.summary import UNIT_BITS, Summary

finite = st.floats(allow_nan=False, allow_infinity=False)
readings = st.lists(st.tuples(st.sampled_from("abc"), finite))


def summary_of(rows: list[tuple[str, float]]) -> Summary:
    found = Summary()
    found.fold(
        Batch(
            Names.of([b"a", b"b", b"c"]),
            np.array(["abc".index(sensor) for sensor, _ in rows], np.int32),
            np.zeros(len(rows), np.int64),
            np.array([value for _, value in rows], np.float64),
        )
    )
    return found


def shown(of: Summary) -> tuple[object, ...]:
    """All that a summary can be asked for."""
    return (of.aggregates(), of.total, dict(of.sensor_counts()))


@given(readings, readings)
def test_merging_two_parts_equals_the_summary_of_the_whole(
    first: list[tuple[str, float]], second: list[tuple[str, float]]
) -> None:
    merged = summary_of(first)
    merged.merge(summary_of(second))
    assert shown(merged) == shown(summary_of(first + second))


@given(st.lists(finite))
def test_the_sum_is_exact(values: list[float]) -> None:
    total = summary_of([("a", value) for value in values]).total
    assert Fraction(total, 1 << UNIT_BITS) == sum(map(Fraction, values))


def test_carries_leave_the_sum_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "CARRY_EVERY", 3)
    values = [1e9, -0.1, 123.456, -1e9, 5e-5] * 20
    found = Summary()
    for value in values:
        found.merge(summary_of([("a", value)]))
    assert Fraction(found.total, 1 << UNIT_BITS) == sum(map(Fraction, values))


def test_minus_zero_is_shown_as_zero() -> None:
    aggregates = summary_of([("a", -0.0)]).aggregates()
    figures = (aggregates.min_value, aggregates.max_value, aggregates.mean_value)
    assert list(map(repr, figures)) == ["0.0", "0.0", "0.0"]


def test_no_readings_have_no_extremes() -> None:
    aggregates = summary_of([]).aggregates()
    assert (aggregates.min_value, aggregates.max_value, aggregates.mean_value) == (None,) * 3
