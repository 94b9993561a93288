"""The oracle against answers worked out by hand, so that two readings of the design agree."""

import json
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csv_strategies import chunkings, cut, files
from tests.oracle import REQUIRED, Verdict, exact_mean, judge, judge_value, split_lines

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
