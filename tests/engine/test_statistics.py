"""The engine's statistics against the oracle's, for values and times of every scale."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from aggsvc.engine import blocks
from aggsvc.engine.summary import Summary
from aggsvc.model import SensorStatistics
from tests import oracle
from tests.csv_strategies import chunkings, cut, file_of, readings, timestamp_of
from tests.engine.conftest import run_sync

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.csv"))
WORKED = sorted(GOLDEN.glob("*.statistics.json"))
PERCENTS = {"p50_value": 50, "p95_value": 95, "p99_value": 99}
LARGEST_ERROR = Fraction(4, 1000)
LEAST_RELATIVE = 2.3e-308  # nearer to zero the error is bounded by a fixed amount
SUBNORMAL_ERROR = Fraction(1.8e-310)
ALL = 1_000_000

both_lanes = pytest.mark.parametrize("lane", ["rows", "kernel"])
statistics_settings = settings(
    max_examples=100,
    phases=set(Phase) - {Phase.explain},  # which takes longer than a test may
)


def summary_of(rows: list[bytes], lane: str) -> Summary:
    return summary_of_file(file_of(rows), lane)


def summary_of_file(data: bytes, lane: str) -> Summary:
    run = run_sync([data], lane=lane)
    assert run.outcome is not None
    return run.outcome.summary


def figures(summary: Summary) -> dict[str, Any]:
    """All that the summary tells, as JSON would: each double keeps its bits, tuples are lists."""
    aggregates = asdict(summary.aggregates())
    sensors = list(map(asdict, summary.sensors().rows("sensor_id", 0, ALL)))
    return json.loads(json.dumps(aggregates | {"sensors": sensors}))


def exact_figures(verdict: oracle.Verdict) -> dict[str, Any]:
    """The same from the oracle, but for the quantiles."""
    counts = sorted(verdict.per_sensor_count.items(), key=lambda item: (-item[1], item[0]))
    return {
        **readings_figures(verdict),
        "sensor_count": verdict.sensor_count,
        "per_sensor_count": dict(counts),
        "per_sensor_count_truncated": False,
        "histogram": verdict.histogram,
        "time_series": verdict.time_series,
        "sensors": [
            {"sensor_id": name, **readings_figures(of_it)}
            for name, of_it in verdict.sensors.items()
        ],
    }


def readings_figures(verdict: oracle.Verdict) -> dict[str, Any]:
    """What is told of the whole and of each sensor."""
    return {
        "row_count": verdict.row_count,
        "min_value": verdict.min_value,
        "max_value": verdict.max_value,
        "mean_value": verdict.mean_value,
        "stddev_value": verdict.stddev_value,
        "first_timestamp": verdict.first_timestamp,
        "last_timestamp": verdict.last_timestamp,
    }


def assert_statistics(summary: Summary, verdict: oracle.Verdict) -> None:
    shown = figures(summary)
    for name, percent in PERCENTS.items():
        assert_quantile(shown.pop(name), verdict.percentile(percent), verdict)
    assert told(shown) == told(exact_figures(verdict))


def told(shown: dict[str, Any]) -> dict[str, str]:
    """The figures as text, for == takes 0.0 and -0.0, 1 and 1.0 for the same."""
    return {
        name: json.dumps(value, sort_keys=name != "per_sensor_count")
        for name, value in shown.items()
    }


def assert_quantile(shown: float | None, true: float | None, verdict: oracle.Verdict) -> None:
    if true is None:
        assert shown is None
        return
    assert isinstance(shown, float)
    assert verdict.min_value <= shown <= verdict.max_value
    assert not shown < 0 < true
    assert not true < 0 < shown
    if true == 0:
        assert repr(shown) == "0.0"
        return
    bound = LARGEST_ERROR * abs(Fraction(true))
    if abs(true) < LEAST_RELATIVE:
        bound = SUBNORMAL_ERROR
    assert abs(Fraction(shown) - Fraction(true)) <= bound


@both_lanes
@statistics_settings
@given(rows=readings(), drawn=st.data())
@example(rows=[], drawn=None)
@example(rows=[b"a,0001-01-01,-1.7976931348623157e308", b"a,9999-12-31,1e308"], drawn=None)
@example(rows=[b"a,1969-12-31T23:59:59.999999Z,0.3", b"b,1970-01-01,-0.0"], drawn=None)
@example(rows=[b"a,2024-01-01,1e9", b"a,2024-01-01,1000000000.000001"], drawn=None)
@example(rows=[b"a,2024-01-01,5e-324", b"a,2024-01-01,0", b"a,2024-01-01,-5e-324"], drawn=None)
def test_each_statistic_is_the_oracle_s_however_the_stream_is_chunked(
    lane: str, rows: list[bytes], drawn: st.DataObject | None
) -> None:
    """Overall and of each sensor, to the bit, but for the quantiles, which keep their bound."""
    data = file_of(rows)
    sizes = drawn.draw(chunkings(len(data))) if drawn else [len(data)]
    run = run_sync(cut(data, sizes), lane=lane)
    assert run.outcome is not None
    assert_statistics(run.outcome.summary, oracle.judge(data))


@statistics_settings
@given(rows=readings())
def test_both_lanes_tell_the_same_quantiles(rows: list[bytes]) -> None:
    assert told(figures(summary_of(rows, "rows"))) == told(figures(summary_of(rows, "kernel")))


@both_lanes
@statistics_settings
@given(rows=readings(), drawn=st.data())
def test_the_order_of_the_readings_does_not_matter(
    lane: str, rows: list[bytes], drawn: st.DataObject
) -> None:
    other = drawn.draw(st.permutations(rows))
    assert told(figures(summary_of(rows, lane))) == told(figures(summary_of(other, lane)))


@both_lanes
@statistics_settings
@given(rows=readings(), grid=st.integers(1, 300))
def test_the_blocks_do_not_matter(lane: str, rows: list[bytes], grid: int) -> None:
    """A file in many blocks, read by two threads, has the figures of one read at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "GRID_BYTES", grid)
        found = summary_of(rows, lane)
    assert told(figures(found)) == told(figures(summary_of(rows, lane)))


@both_lanes
@statistics_settings
@given(rows=readings(), drawn=st.data())
def test_merging_parts_in_any_split_equals_the_whole(
    lane: str, rows: list[bytes], drawn: st.DataObject
) -> None:
    """Any rows may be in any part, some parts empty; parts differ in their widths and sensors."""
    count = drawn.draw(st.integers(2, 4))
    sides = drawn.draw(st.lists(st.integers(0, count - 1), min_size=len(rows), max_size=len(rows)))
    merged, *others = [
        summary_of([row for row, side in zip(rows, sides, strict=True) if side == part], lane)
        for part in range(count)
    ]
    for other in others:
        merged.merge(other)
    assert told(figures(merged)) == told(figures(summary_of(rows, lane)))
    assert_statistics(merged, oracle.judge(file_of(rows)))


@both_lanes
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_statistics_of_a_golden_file(path: Path, lane: str) -> None:
    """Rows that are no readings change nothing."""
    verdict = oracle.judge(path.read_bytes())
    if verdict.rejected is None:
        assert_statistics(summary_of_file(path.read_bytes(), lane), verdict)


@both_lanes
@pytest.mark.parametrize("path", WORKED, ids=lambda path: path.name.partition(".")[0])
def test_statistics_worked_out_by_hand(path: Path, lane: str) -> None:
    """Quantiles stand there as they truly are; the engine's need only be near."""
    worked = json.loads(path.read_text("utf-8"))
    data = (GOLDEN / path.name.replace(".statistics.json", ".csv")).read_bytes()
    shown = figures(summary_of_file(data, lane))
    for name in PERCENTS:
        assert_quantile(shown.pop(name), worked.pop(name), oracle.judge(data))
    assert told({name: shown[name] for name in worked}) == told(worked)


# -- edges -------------------------------------------------------------------------------------


@both_lanes
@pytest.mark.parametrize("base", [0, -7, 1_700_000_000_123_456])
def test_time_series_at_the_edges_of_its_ladder(base: int, lane: str) -> None:
    """512 buckets of a width are shown, 513 are not, on either side of the epoch."""
    for width in oracle.BUCKET_WIDTHS[:-2]:
        first = base // width * width
        for last in (first + 512 * width - 1, first + 512 * width):
            moments = [first, last] if last <= oracle.LAST_US else [first]
            rows = [f"a,{timestamp_of(moment)},{moment % 7}".encode() for moment in moments]
            assert_statistics(summary_of(rows, lane), oracle.judge(file_of(rows)))


@both_lanes
@pytest.mark.parametrize("first", [0, -1, -32, -64, 7])
def test_histogram_at_the_edges_of_its_ladder(first: int, lane: str) -> None:
    """64 bins of a width are shown, 65 are not; an edge is in the bin above it."""
    for width in (Fraction(10) ** power * digit for power in range(-9, 7) for digit in (1, 2)):
        low = oracle.edge(first, width)
        for high in (
            math.nextafter(oracle.edge(first + 64, width), -math.inf),
            oracle.edge(first + 64, width),
        ):
            rows = [f"a,2024-01-01,{value!r}".encode() for value in (low, high)]
            assert_statistics(summary_of(rows, lane), oracle.judge(file_of(rows)))


@both_lanes
@pytest.mark.parametrize("power", [-307, -300, -299, -15, -6, 0, 9, 15, 300, 306, 307, 308])
def test_histogram_of_a_constant_keeps_to_the_largest_index(power: int, lane: str) -> None:
    """There the finest width is as far from the value as indexes go."""
    for digits in ("0.1", "1", "-1", "1.7", "0.99999999999999999"):
        rows = [f"a,2024-01-01,{digits}e{power}".encode()] * 3
        assert_statistics(summary_of(rows, lane), oracle.judge(file_of(rows)))


# -- many readings -----------------------------------------------------------------------------

DAY_US = 86_400_000_000
SCALES: dict[str, Callable[[random.Random], str]] = {
    "tenths": lambda r: f"{r.gauss(20, 5):.1f}",
    "uniform": lambda r: repr(r.uniform(-1e3, 1e3)),
    "lognormal": lambda r: repr(r.lognormvariate(0, 8)),
    "counts": lambda r: str(int(r.expovariate(0.1))),
    "far from zero": lambda r: repr(1e9 + r.random()),
    "any exponent": lambda r: repr(math.ldexp(r.uniform(-1, 1), r.randint(-1073, 1024))),
    "subnormal": lambda r: repr(r.getrandbits(40) * 5e-324),
    "greatest": lambda r: repr(r.uniform(-1, 1) * 1.7976931348623157e308),
    "mostly zero": lambda r: repr(r.choice([0.0, 0.0, -0.0, 1e-9, -3.5])),
    "two far apart": lambda r: r.choice(["1e-300", "1e300"]),
}


def many_rows(scale: str, count: int) -> list[bytes]:
    """So many readings of that scale of a few sensors, in no order, over a year."""
    chance = random.Random(f"{scale} {count}")
    return [
        f"s{chance.randrange(7)},{timestamp_of(chance.randrange(365 * DAY_US))},"
        f"{SCALES[scale](chance)}".encode()
        for _ in range(count)
    ]


@both_lanes
@pytest.mark.parametrize("scale", SCALES)
def test_statistics_of_some_thousand_readings_in_several_blocks(
    scale: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "GRID_BYTES", 1 << 14)
    for count in (1, 19, 20, 21, 100, 101, 2_000):
        rows = many_rows(scale, count)
        assert_statistics(summary_of(rows, lane), oracle.judge(file_of(rows)))


# -- the table of sensors ----------------------------------------------------------------------

SORTS = (
    *("sensor_id", "row_count", "min_value", "max_value", "mean_value", "stddev_value"),
    *("first_timestamp", "last_timestamp"),
)
NAMES = ("a", "B", "a0", "10", "9", "\xe9", "e\u0301", "\uffee", "\U0001f321", "Z")


def sensors_of(summary: Summary, sort: str) -> list[SensorStatistics]:
    return list(summary.sensors().rows(sort, 0, ALL))


def sort_key(verdict: oracle.Verdict, sort: str) -> Any:
    if sort == "first_timestamp":
        return min(verdict.moments)
    return max(verdict.moments) if sort == "last_timestamp" else getattr(verdict, sort)


def sorted_names(verdict: oracle.Verdict, sort: str) -> list[str]:
    """The sensors in that order; Python's sort leaves those that tie in the order of their ids."""
    sensors, field = verdict.sensors, sort.removeprefix("-")
    descending = sort.startswith("-")
    if field == "sensor_id":
        return list(reversed(sensors)) if descending else list(sensors)
    return sorted(sensors, key=lambda name: sort_key(sensors[name], field), reverse=descending)


@st.composite
def rows_of_many_sensors(draw: st.DrawFn) -> list[bytes]:
    """Readings of several sensors, many of them with figures in common."""
    few = st.sampled_from([-2.5, -1.0, 0.0, 1.0, 1e300, 5e-324])
    moments = st.sampled_from([-DAY_US, -1, 0, 1, 500_000, 1_000_000, DAY_US])
    row = st.tuples(st.sampled_from(NAMES), moments.map(timestamp_of), few.map(repr))
    return draw(st.lists(row.map(lambda row: ",".join(row).encode()), max_size=30))


@both_lanes
@statistics_settings
@given(rows=rows_of_many_sensors())
def test_sensors_are_sorted_by_any_figure_and_then_by_id(lane: str, rows: list[bytes]) -> None:
    """Ids by UTF-8 bytes, times as moments; `-` turns the figures' order, not that of ties."""
    verdict = oracle.judge(file_of(rows))
    summary = summary_of(rows, lane)
    for sort in (prefix + name for name in SORTS for prefix in ("", "-")):
        names = [sensor.sensor_id for sensor in sensors_of(summary, sort)]
        assert (sort, names) == (sort, sorted_names(verdict, sort))


@both_lanes
def test_sensors_are_sorted_by_time_not_by_its_text(lane: str) -> None:
    """As text, 00:00:00.5Z would come before 00:00:00Z."""
    rows = [b"late,2024-01-01T00:00:00.5Z,1", b"soon,2024-01-01T00:00:00Z,1"]
    for sort in ("first_timestamp", "last_timestamp"):
        names = [sensor.sensor_id for sensor in sensors_of(summary_of(rows, lane), sort)]
        assert names == ["soon", "late"]


@both_lanes
@statistics_settings
@given(rows=rows_of_many_sensors(), sort=st.sampled_from(SORTS), limit=st.integers(1, 4))
def test_pages_of_sensors_make_the_whole_table(
    lane: str, rows: list[bytes], sort: str, limit: int
) -> None:
    table = summary_of(rows, lane).sensors()
    whole = list(table.rows(sort, 0, ALL))
    pages = [list(table.rows(sort, at, limit)) for at in range(0, len(whole) + limit, limit)]
    assert [sensor for page in pages for sensor in page] == whole
    assert pages[-1] == []


@both_lanes
def test_an_empty_file_has_no_sensors(lane: str) -> None:
    assert sensors_of(summary_of([], lane), "sensor_id") == []
