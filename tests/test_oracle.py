"""The oracle against answers worked out by hand, so that two readings of the design agree."""

import json
import math
import statistics
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.csv_strategies import chunkings, cut, file_of, files, readings
from tests.oracle import (
    BIN_WIDTHS,
    BUCKET_WIDTHS,
    DAY_US,
    FIRST_US,
    LAST_US,
    REQUIRED,
    Verdict,
    edge,
    exact_mean,
    exact_stddev,
    histogram,
    judge,
    judge_value,
    split_lines,
    time_series,
)

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = Path(__file__).parent.parent / "samples"
HEADER = b"sensor_id,timestamp,value\n"
ROW = b"a,2024-05-01,1\n"
REJECTIONS = {
    "empty",
    "utf-16",
    "nul in header",
    "header not utf-8",
    "header unclosed",
    "header too long",
    "missing columns",
    "doubled columns",
}
REASONS = {
    "record too long",
    "unclosed quote",
    "invalid utf-8",
    "nul byte",
    "too few fields",
    "too many fields",
    "missing sensor_id",
    "missing timestamp",
    "missing value",
    "sensor_id too long",
    "invalid timestamp",
    "timestamp out of range",
    "invalid value",
    "value not finite",
}


def expected(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


NAMES = sorted(path.stem for path in GOLDEN.glob("*.csv"))


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict under the keys of a golden file."""
    keys = ("row_number", "line_number", "column", "reason", "value")
    return {
        "rows_read": verdict.rows_read,
        "row_count": verdict.row_count,
        "min_value": verdict.min_value,
        "max_value": verdict.max_value,
        "mean_value": verdict.mean_value,
        "per_sensor_count": verdict.per_sensor_count,
        "error_count": len(verdict.errors),
        "error_summary": verdict.error_summary,
        "errors": [dict(zip(keys, error, strict=True)) for error in verdict.errors],
        "timestamps": [rfc3339(moment) for _, moment, _ in verdict.readings],
        "values": verdict.values,
    }


def rfc3339(moment: int) -> str:
    """2024-05-01T00:00:00.000000Z; strftime would drop the zeros before a year below 1000."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("name", NAMES)
def test_golden_files(name: str) -> None:
    """Each small file means what a person read off the design."""
    answer = expected(name)
    verdict = judge((GOLDEN / f"{name}.csv").read_bytes())
    if "rejected" in answer:
        assert verdict == Verdict(answer["rejected"])
        return
    assert verdict.rejected is None
    told = {key: value for key, value in as_json(verdict).items() if key in answer}
    assert told == answer
    assert repr(told) == repr({key: answer[key] for key in told}), "the sign of a zero"


WORKED = sorted(
    path.name.removesuffix(".statistics.json") for path in GOLDEN.glob("*.statistics.*")
)


@pytest.mark.parametrize("name", WORKED)
def test_statistics_of_golden_files(name: str) -> None:
    """Some of the small files have their statistics beside them too."""
    verdict = judge((GOLDEN / f"{name}.csv").read_bytes())
    told = {
        **spread(verdict),
        **{f"p{percent}_value": verdict.percentile(percent) for percent in (50, 95, 99)},
        "sensor_count": verdict.sensor_count,
        "histogram": verdict.histogram,
        "time_series": verdict.time_series,
        "sensors": [
            {
                "sensor_id": sensor_id,
                "row_count": of_it.row_count,
                "min_value": of_it.min_value,
                "max_value": of_it.max_value,
                "mean_value": of_it.mean_value,
                **spread(of_it),
            }
            for sensor_id, of_it in verdict.sensors.items()
        ],
    }
    answer = expected(f"{name}.statistics")
    assert told == answer
    assert json.dumps(told, sort_keys=True) == json.dumps(answer, sort_keys=True), "a zero's sign"


def spread(verdict: Verdict) -> dict[str, Any]:
    return {
        "stddev_value": verdict.stddev_value,
        "first_timestamp": verdict.first_timestamp,
        "last_timestamp": verdict.last_timestamp,
    }


def test_golden_files_cover_every_reason_and_rejection() -> None:
    answers = [expected(name) for name in NAMES]
    assert {a["rejected"] for a in answers if "rejected" in a} == REJECTIONS
    assert {reason for a in answers for reason in a.get("error_summary", ())} == REASONS


def test_the_readings_sample_is_the_design_s_example() -> None:
    told = as_json(judge((SAMPLES / "readings.csv").read_bytes()))
    assert told["per_sensor_count"] == {"sensor-a": 2, "sensor-b": 2, "sensor-c": 1}
    assert (told["min_value"], told["max_value"], told["mean_value"]) == (19.87, 42.0, 25.02)
    error = {"row_number": 6, "line_number": 7, "column": "timestamp", "value": ""}
    assert told["errors"] == [{**error, "reason": "missing timestamp"}]


def test_the_samples_table_lists_every_sample() -> None:
    table = (SAMPLES / "README.md").read_text("utf-8")
    assert [p.name for p in SAMPLES.rglob("*.csv") if f"`{p.name}`" not in table] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_answer_is_consistent(name: str) -> None:
    """No row of a hand-worked answer is lost between its keys."""
    answer = expected(name)
    if "rejected" in answer:
        return
    assert answer["rows_read"] == answer["row_count"] + answer["error_count"]
    assert answer["row_count"] == sum(answer["per_sensor_count"].values())
    assert answer["error_count"] == sum(answer["error_summary"].values()) == len(answer["errors"])


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\r\nb\rc\n\rd", [b"a", b"b", b"c", b"", b"d"]),
        (b"a\r\r\n", [b"a", b""]),
    ],
)
def test_lines_end_in_lf_crlf_or_cr(data: bytes, lines: list[bytes]) -> None:
    assert [data[line.start : line.end] for line in split_lines(data)] == lines


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(delimiter: str) -> None:
    """The delimiter separates fields, ends quoted ones, and the comma is then text."""
    text = 'sensor_id,timestamp,value,n\n"a","2024-05-01","1","x\ny"\nb,2024-05-01,2,\n'
    data = text.replace(",", delimiter).encode() + b"c,d,e,f\n"
    verdict = judge(data, delimiter)
    assert verdict.per_sensor_count == {"a": 1, "b": 1}
    assert verdict.errors == [(3, 5, None, "too few fields", "c,d,e,f")]


def test_missing_is_reported_before_doubled() -> None:
    assert judge(b"sensor_id,sensor_id,value\n").rejected == "missing columns"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_a_line_over_the_limit_is_too_long_whatever_its_quotes(size: int) -> None:
    line = b'"' + b"x" * (size - 1)
    reason = "unclosed quote" if size <= 65_536 else "record too long"
    verdict = judge(HEADER + line + b"\r\n" + ROW)
    assert verdict.errors == [(1, 2, None, reason, '"' + "x" * 199)]
    assert verdict.row_count == 1


def test_the_bom_does_not_count_towards_the_header() -> None:
    header = HEADER.rstrip() + b","
    header += b"x" * (65_536 - len(header))
    assert judge(b"\xef\xbb\xbf" + header + b"\n").rejected is None
    assert judge(b"\xef\xbb\xbf" + header + b"x\n").rejected == "header too long"


def test_a_later_line_over_the_limit_leaves_the_first_an_unclosed_quote() -> None:
    verdict = judge(HEADER + b'a,2024-05-01,"1\n' + b"x" * 65_537 + b'"\n' + ROW)
    reasons = [(line, reason) for _, line, _, reason, _ in verdict.errors]
    assert reasons == [(2, "unclosed quote"), (3, "record too long")]
    assert verdict.row_count == 1


def test_a_field_over_the_csv_module_s_limit_is_not_special() -> None:
    """A quoted field may take the whole record."""
    field = b'"' + b"x" * 65_000 + b'"'
    verdict = judge(HEADER.replace(b"\n", b",note\n") + b"a,2024-05-01,1," + field)
    assert verdict.row_count == 1


@given(st.integers(-(10**25), 10**25), st.integers(-340, 40))
def test_values_are_read_to_the_nearest_double(digits: int, exponent: int) -> None:
    exact = Fraction(digits) * Fraction(10) ** exponent
    assert judge_value(f"{digits}e{exponent}") == float(exact)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_no_neighbour_is_nearer_to_the_exact_mean(values: list[float]) -> None:
    exact = sum(map(Fraction, values)) / len(values)
    mean = exact_mean(values)
    assert mean is not None
    for direction in (float("inf"), float("-inf")):
        neighbour = math.nextafter(mean, direction)
        if math.isfinite(neighbour):
            assert abs(Fraction(mean) - exact) <= abs(Fraction(neighbour) - exact)


GREATEST = 1.7976931348623157e308
LEAST = 5e-324
finite = st.floats(allow_nan=False, allow_infinity=False)
MOMENT = 1_700_000_000_000_000


def verdict_of(values: list[float], moments: list[int] | None = None) -> Verdict:
    """What there is to say of these readings of one sensor."""
    times = moments or [MOMENT] * len(values)
    return Verdict(readings=[("a", *row) for row in zip(times, values, strict=True)])


# -- standard deviation ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "stddev"),
    [
        ([7.25], 0.0),
        ([2, 4, 4, 4, 5, 5, 7, 9], 2.0),
        ([1, 2], 0.5),
        ([0, 1, 1], 0.4714045207910317),  # the root of 2/9
        ([1e9, 1e9 + 1, 1e9 + 2], 0.816496580927726),  # the root of 2/3, whatever the offset
        ([0.1] * 10, 0.0),
        ([-3.5, 3.5], 3.5),
        ([GREATEST, -GREATEST], GREATEST),  # though its square is no double
        ([2**-1000, 3 * 2**-1000], 2**-1000),  # though its square is no double either
        ([0, 4 * LEAST], 2 * LEAST),
        ([0, LEAST], 0.0),  # half-way: to the even one
        ([0, 3 * LEAST], 2 * LEAST),  # half-way: to the even one
        ([0, 2**-1050, 2**-1050], 0.4714045207910317 * 2**-1050),
        ([1 - 2**-53, 1 + 2**-52], 3 * 2**-54),
    ],
)
def test_standard_deviations_worked_out_by_hand(values: list[float], stddev: float) -> None:
    assert exact_stddev(list(map(float, values))) == stddev


@given(st.lists(finite, min_size=1, max_size=8))
@example([0.0, LEAST, LEAST])
@example([GREATEST, -GREATEST, GREATEST])
@example([1e300, 1e-300])
def test_no_neighbour_is_nearer_to_the_exact_standard_deviation(values: list[float]) -> None:
    """The exact one lies between the middles of the gaps on either side, on one if it is even."""
    mean = sum(map(Fraction, values)) / len(values)
    variance = sum((Fraction(value) - mean) ** 2 for value in values) / len(values)
    stddev = exact_stddev(values)
    assert stddev is not None
    assert stddev >= 0
    is_even = int(Fraction(stddev) / Fraction(math.ulp(stddev))) % 2 == 0
    above = Fraction(stddev) + Fraction(math.ulp(stddev)) / 2
    assert variance < above**2 or (is_even and variance == above**2)
    below = (Fraction(stddev) + Fraction(math.nextafter(stddev, -math.inf))) / 2
    assert below < 0 or variance > below**2 or (is_even and variance == below**2)


@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=20))
def test_standard_deviations_are_those_of_the_standard_library(values: list[float]) -> None:
    """Which rounds correctly too, but for subnormal results."""
    stddev = exact_stddev(values)
    assert stddev is not None
    if stddev == 0 or stddev > 1e-300:
        assert stddev == statistics.pstdev(values)


# -- quantiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "p50", "p95", "p99"),
    [
        (1, 1, 1, 1),
        (2, 1, 2, 2),
        (3, 2, 3, 3),
        (19, 10, 19, 19),  # 18.05 is over 18
        (20, 10, 19, 20),  # 19 is 19
        (21, 11, 20, 21),
        (99, 50, 95, 99),
        (100, 50, 95, 99),
        (101, 51, 96, 100),
        (1_000, 500, 950, 990),
    ],
)
def test_quantiles_are_by_nearest_rank(count: int, p50: float, p95: float, p99: float) -> None:
    verdict = verdict_of([float(rank) for rank in range(count, 0, -1)])
    assert [verdict.percentile(percent) for percent in (50, 95, 99)] == [p50, p95, p99]


@given(st.lists(finite, min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_quantiles_are_numpy_s_inverted_cdf(values: list[float], percent: int) -> None:
    quantile = np.quantile(values, percent / 100, method="inverted_cdf")
    assert verdict_of(values).percentile(percent) == quantile


# -- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-1_000_000, "1969-12-31T23:59:59Z"),
        (500, "1970-01-01T00:00:00.000500Z"),
        (250_000, "1970-01-01T00:00:00.250000Z"),
        (1_759_306_330_000_000, "2025-10-01T08:12:10Z"),
        (FIRST_US, "0001-01-01T00:00:00Z"),
        (LAST_US, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_the_first_and_the_last_timestamp(moment: int, text: str) -> None:
    """Microseconds stand there only if there are some, and years have four digits."""
    verdict = verdict_of([1.0, 2.0, 3.0], [moment, FIRST_US, LAST_US])
    assert verdict.first_timestamp == "0001-01-01T00:00:00Z"
    assert verdict.last_timestamp == "9999-12-31T23:59:59.999999Z"
    alone = verdict_of([1.0, 2.0], [moment, moment])
    assert (alone.first_timestamp, alone.last_timestamp) == (text, text)


def test_each_sensor_has_its_own_statistics() -> None:
    rows = [b"b,2024-01-02,1", b"a,2024-01-01,5", b"b,2024-01-01,4", b"\xc3\xa9,2024-01-03,-1"]
    verdict = judge(file_of(rows))
    assert verdict.sensor_count == 3
    assert list(verdict.sensors) == ["a", "b", "\xe9"]
    of_b = verdict.sensors["b"]
    assert (of_b.row_count, of_b.min_value, of_b.max_value) == (2, 1.0, 4.0)
    assert (of_b.mean_value, of_b.stddev_value) == (2.5, 1.5)
    assert of_b.first_timestamp == "2024-01-01T00:00:00Z"
    assert of_b.last_timestamp == "2024-01-02T00:00:00Z"


def test_without_readings_there_is_nothing_to_tell() -> None:
    verdict = judge(HEADER + b"a,,1\n")
    assert (verdict.row_count, verdict.sensor_count, verdict.sensors) == (0, 0, {})
    assert verdict.min_value is verdict.max_value is verdict.mean_value is None
    assert verdict.stddev_value is verdict.percentile(50) is None
    assert verdict.first_timestamp is verdict.last_timestamp is None
    assert verdict.histogram is verdict.time_series is None


# -- histogram ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "width", "lower_bounds", "row_counts"),
    [
        # 0.3 is on the edge of a bin, though it is below 3 * Fraction(0.1).
        ([0.3, 6.6], 0.1, [*(float(f"{n}e-1") for n in range(3, 67))], [1, *[0] * 62, 1]),
        (
            [0.3, 0.4, 6.7],
            0.2,
            [*(float(f"{n}e-1") for n in range(2, 68, 2))],
            [1, 1, *[0] * 30, 1],
        ),
        ([1, 64], 1.0, [*range(1, 65)], [1, *[0] * 62, 1]),
        ([1, 65], 2.0, [*range(0, 65, 2)], [1, *[0] * 31, 1]),
        ([0, 63.99], 1.0, [*range(64)], [1, *[0] * 62, 1]),
        ([0, 64], 2.0, [*range(0, 65, 2)], [1, *[0] * 31, 1]),
        ([-0.5, 0, 0.5], 0.02, [n / 50 for n in range(-25, 26)], [1, *[0] * 24, 1, *[0] * 24, 1]),
        ([-64, -1], 1.0, [*range(-64, 0)], [1, *[0] * 62, 1]),
        ([-64, -0.5], 1.0, [*range(-64, 0)], [1, *[0] * 62, 1]),
        ([-64, 0], 2.0, [*range(-64, 1, 2)], [1, *[0] * 31, 1]),
        ([0, 640], 20.0, [*range(0, 641, 20)], [1, *[0] * 31, 1]),
        ([0, 1280], 100.0, [*range(0, 1201, 100)], [1, *[0] * 11, 1]),  # 65 bins of 20
        # Constants: as fine as an index of 10**15 allows, and no finer than 1e-300.
        ([0.0], 1e-300, [0.0], [1]),
        ([5e-324, 0.0], 1e-300, [0.0], [2]),
        ([-5e-324, 5e-324], 1e-300, [-1e-300, 0.0], [1, 1]),
        ([1.0, 1.0], 1e-15, [1.0], [2]),
        ([-1.0], 1e-15, [-1.0], [1]),
        ([0.1], 1e-16, [0.1], [1]),
        ([0.3], 1e-15, [0.3], [1]),
        ([2.0], 2e-15, [2.0], [1]),
        ([1e9], 1e-6, [1e9], [1]),
        ([math.nextafter(1e9, 0)], 1e-6, [999999999.999999], [1]),
        ([1e9, 1000000000.000001], 2e-6, [1e9], [2]),  # the second would be bin 10**15 + 1
        ([-1e9, math.nextafter(-1e9, -2e9)], 2e-6, [-1000000000.000002, -1e9], [1, 1]),
        # A range as wide as can be; an edge below the least double is shown as that.
        (
            [-GREATEST, GREATEST],
            1e307,
            [-GREATEST, *(float(f"{n}e307") for n in range(-17, 18))],
            [1, *[0] * 34, 1],
        ),
        ([GREATEST], 2e293, [1.797693134862314e308], [1]),
        ([-GREATEST], 2e293, [-GREATEST], [1]),
        ([0, GREATEST], 1e307, [float(f"{n}e307") for n in range(18)], [1, *[0] * 16, 1]),
    ],
)
def test_histograms_worked_out_by_hand(
    values: list[float], width: float, lower_bounds: list[float], row_counts: list[int]
) -> None:
    assert histogram(list(map(float, values))) == {
        "bin_width": width,
        "lower_bounds": list(map(float, lower_bounds)),
        "row_counts": row_counts,
    }


@pytest.mark.parametrize("first", [0, 1, -1, -32, -64, -65])
@pytest.mark.parametrize("rung", range(500, 1_200, 37))
def test_histograms_have_64_bins_at_most(first: int, rung: int) -> None:
    width, coarser = BIN_WIDTHS[rung : rung + 2]
    low, above = edge(first, width), edge(first + 64, width)
    full = histogram([low, math.nextafter(above, -math.inf)])
    assert (full["bin_width"], len(full["row_counts"])) == (float(width), 64)
    assert histogram([low, above])["bin_width"] == float(coarser)


@given(st.lists(finite, min_size=1, max_size=20))
@example([-GREATEST, 1.0])
@example([0.1 * n for n in range(64)])
def test_every_value_is_in_a_bin_of_the_finest_width(values: list[float]) -> None:
    """Counted anew by the bounds alone; the next finer width does not fit."""
    told = histogram(values)
    bounds = [*told["lower_bounds"], math.inf]
    assert told["row_counts"] == [
        sum(low <= value < high for value in values) for low, high in pairwise(bounds)
    ]
    assert sum(told["row_counts"]) == len(values)
    assert len(told["row_counts"]) <= 64
    assert told["row_counts"][0] > 0 < told["row_counts"][-1]
    rung = list(map(float, BIN_WIDTHS[:-1])).index(told["bin_width"])
    finer = BIN_WIDTHS[max(rung - 1, 0)]
    low, high = Fraction(min(values)), Fraction(max(values))
    # One to spare, for the edges of bins are rounded.
    assert rung == 0 or high // finer - low // finer >= 63 or max(-low, high) >= 10**15 * finer


# -- time series -------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 1, -1, -(10**13), MOMENT])
@pytest.mark.parametrize("rung", range(len(BUCKET_WIDTHS) - 2))
def test_time_series_span_512_buckets_at_most(base: int, rung: int) -> None:
    width, coarser = BUCKET_WIDTHS[rung : rung + 2]
    first = base // width * width
    last = first + 512 * width - 1
    if last <= LAST_US:
        assert seconds_between(first, last) == width / 1e6
    if last < LAST_US:
        assert seconds_between(first, last + 1) == coarser / 1e6


def seconds_between(first: int, last: int) -> float:
    return time_series([("a", first, 1.0), ("a", last, 1.0)])["bucket_seconds"]


def test_each_width_of_buckets_divides_the_next() -> None:
    assert [wide % narrow for narrow, wide in pairwise(BUCKET_WIDTHS)] == [0] * 20
    seconds = [width / 1_000_000 for width in BUCKET_WIDTHS]
    assert seconds[:7] == [1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0]
    assert seconds[7:16] == [5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 43_200]
    assert seconds[16:] == [86_400, 864_000, 8_640_000, 86_400_000, 864_000_000]


@pytest.mark.parametrize(
    ("moments", "seconds", "starts"),
    [
        ([0], 1e-06, ["1970-01-01T00:00:00Z"]),
        ([-1, 0], 1e-06, ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z"]),
        ([-1, 511], 1e-05, ["1969-12-31T23:59:59.999990Z", "1970-01-01T00:00:00.000510Z"]),
        # Buckets lie on the epoch's grid, not on the first reading.
        ([7, 7 + 512], 1e-05, ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000510Z"]),
        ([-1, 511_000_000], 5.0, ["1969-12-31T23:59:55Z", "1970-01-01T00:08:30Z"]),
        # All years there are; the first bucket begins before them.
        ([FIRST_US, LAST_US], 864e6, ["0001-01-01T00:00:00Z", "9992-01-26T00:00:00Z"]),
        (
            [FIRST_US, FIRST_US + 511 * DAY_US],
            86_400.0,
            ["0001-01-01T00:00:00Z", "0002-05-27T00:00:00Z"],
        ),
        (
            [FIRST_US, FIRST_US + 512 * DAY_US],
            864e3,
            ["0001-01-01T00:00:00Z", "0002-05-28T00:00:00Z"],
        ),
    ],
)
def test_time_series_worked_out_by_hand(
    moments: list[int], seconds: float, starts: list[str]
) -> None:
    told = time_series([("a", moment, 1.0) for moment in moments])
    assert (told["bucket_seconds"], told["starts"]) == (seconds, starts)


def test_a_bucket_has_the_figures_of_its_readings() -> None:
    """Those without readings are left out; means are exact."""
    hour = 3_600_000_000
    moments = [0, hour - 1, 2 * hour, 500 * hour]
    told = verdict_of([0.25, -0.75, 4.0, 1e16], moments).time_series
    assert told == {
        "bucket_seconds": 3600.0,
        "starts": ["1970-01-01T00:00:00Z", "1970-01-01T02:00:00Z", "1970-01-21T20:00:00Z"],
        "row_counts": [2, 1, 1],
        "min_values": [-0.75, 4.0, 1e16],
        "max_values": [0.25, 4.0, 1e16],
        "mean_values": [-0.25, 4.0, 1e16],
    }


@given(readings())
def test_the_parts_of_a_file_s_statistics_add_up(rows: list[bytes]) -> None:
    """Sensors, bins and buckets each have every reading once, and none is out of the range."""
    verdict = judge(file_of(rows))
    assert verdict.row_count == len(rows)
    if not rows:
        return
    low, high = verdict.min_value, verdict.max_value
    bins, series = verdict.histogram, verdict.time_series
    assert bins is not None
    assert series is not None
    parts = [sensor.row_count for sensor in verdict.sensors.values()]
    assert sum(parts) == sum(bins["row_counts"]) == sum(series["row_counts"]) == len(rows)
    assert (min(series["min_values"]), max(series["max_values"])) == (low, high)
    for part in [verdict, *verdict.sensors.values()]:
        assert part.stddev_value is not None
        assert part.mean_value is not None
        assert low <= part.mean_value <= high
        assert 0 <= part.stddev_value <= max(abs(low), abs(high))
    assert series["starts"] == sorted(set(series["starts"]), key=moment_of)
    assert moment_of(series["starts"][0]) <= min(verdict.moments)
    assert len(series["starts"]) <= 512
    json.dumps([bins, series], allow_nan=False)


def moment_of(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


# -- files of every kind -----------------------------------------------------------------------


@given(files())
def test_no_row_is_dropped(data: bytes) -> None:
    """Every record is a reading or an error, in order, with a reason of the design."""
    verdict = judge(data)
    if verdict.rejected:
        assert verdict == Verdict(verdict.rejected)
        assert verdict.rejected in REJECTIONS
        return
    assert verdict.rows_read == verdict.row_count + len(verdict.errors)
    assert set(verdict.error_summary) <= REASONS
    places = [error[:2] for error in verdict.errors]
    assert places == sorted(set(places))
    assert all(1 <= row <= verdict.rows_read and row < line for row, line in places)
    assert all(len(value) <= 200 for *_, value in verdict.errors)
    assert all(column in (None, *REQUIRED) for _, _, column, _, _ in verdict.errors)


@given(st.data(), st.binary(max_size=50))
def test_a_chunking_gives_the_bytes_back(data: st.DataObject, content: bytes) -> None:
    assert b"".join(cut(content, data.draw(chunkings(len(content))))) == content
