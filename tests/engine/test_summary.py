"""Summaries are exact and merge to the summary of the whole."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine.batch import Batch
from aggsvc.engine.summary import UNIT_BITS, Summary, exact_sum

finite = st.floats(allow_nan=False, allow_infinity=False)
readings = st.lists(st.tuples(st.sampled_from("abc"), finite))


def summary_of(rows: list[tuple[str, float]]) -> Summary:
    summary = Summary()
    summary.fold(Batch([s for s, _ in rows], [0] * len(rows), [v for _, v in rows], [], len(rows)))
    return summary


@given(readings, readings)
def test_merging_two_parts_equals_the_summary_of_the_whole(
    first: list[tuple[str, float]], second: list[tuple[str, float]]
) -> None:
    merged = summary_of(first)
    merged.merge(summary_of(second))
    assert vars(merged) == vars(summary_of(first + second))


@given(st.lists(finite))
def test_the_sum_is_exact(values: list[float]) -> None:
    assert Fraction(exact_sum(values), 1 << UNIT_BITS) == sum(map(Fraction, values))


def test_minus_zero_is_shown_as_zero() -> None:
    aggregates = summary_of([("a", -0.0)]).aggregates()
    shown = (aggregates.min_value, aggregates.max_value, aggregates.mean_value)
    assert list(map(repr, shown)) == ["0.0", "0.0", "0.0"]


def test_no_readings_have_no_extremes() -> None:
    aggregates = summary_of([]).aggregates()
    assert (aggregates.min_value, aggregates.max_value, aggregates.mean_value) == (None,) * 3
