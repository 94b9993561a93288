"""The benchmarks' inputs and tables; nothing here measures time or needs a peer."""

import csv
import json
import math
import statistics
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest

from bench.engines import bin_width, bucket_us, differences, task_of
from bench.inputs import BAD_ROWS, BLOCK_ROWS, INPUTS, OFFSETS, Input, Truth, blocks, make
from bench.tables import keep, limit, table, verdict
from bench.task import Task
from tests.oracle import Verdict, judge

ROWS = 1_500
EVERY_INPUT = pytest.mark.parametrize("kind", INPUTS.values(), ids=INPUTS)


def written(kind: Input, rows: int = ROWS) -> tuple[bytes, Truth]:
    truth = Truth()
    return b"".join(blocks(kind, rows, truth)), truth


def judged(kind: Input) -> tuple[bytes, Truth, Verdict]:
    data, truth = written(kind)
    return data, truth, judge(data)


@EVERY_INPUT
def test_an_input_is_the_same_each_time_it_is_made(kind: Input) -> None:
    assert written(kind)[0] == written(kind)[0]


@EVERY_INPUT
def test_the_truth_of_an_input_is_what_the_oracle_reads(kind: Input) -> None:
    _, truth, verdict = judged(kind)
    values, answers = sorted(verdict.values), truth.answers()
    times = [time for _, time, _ in verdict.readings]
    assert verdict.rows_read == ROWS
    assert Counter(reason for *_, reason, _ in verdict.errors) == truth.errors
    assert answers["row_count"] == len(values)
    assert (answers["min_value"], answers["max_value"]) == (values[0], values[-1])
    assert answers["mean_value"] == pytest.approx(statistics.fmean(values), rel=1e-12)
    assert answers["stddev_value"] == pytest.approx(statistics.pstdev(values), rel=1e-12)
    assert (answers["first_us"], answers["last_us"]) == (min(times), max(times))
    assert answers["sensor_count"] == len({sensor for sensor, _, _ in verdict.readings})
    for percent in (50, 95, 99):
        rank = math.ceil(percent * len(values) / 100)
        assert answers[f"p{percent}_value"] == values[rank - 1]


def test_the_truth_counts_every_block_of_a_long_input() -> None:
    rows = BLOCK_ROWS + 10
    data, truth = written(INPUTS["clean"], rows)
    assert data.count(b"\n") == rows + 1
    assert truth.answers()["row_count"] == rows


def test_the_clean_input_has_the_bytes_per_row_that_the_issue_states() -> None:
    """Its figures are for 388 MB in 10 million rows."""
    data, _ = written(INPUTS["clean"], 20_000)
    assert len(data) / 20_000 == pytest.approx(38.8, abs=0.1)


def test_the_bad_input_has_about_1_percent_bad_rows_of_every_kind() -> None:
    _, truth = written(INPUTS["bad"], 20_000)
    assert set(truth.errors) == set(BAD_ROWS)
    assert max(truth.errors.values()) - min(truth.errors.values()) <= 1
    assert truth.errors.total() / 20_000 == pytest.approx(0.01, rel=0.2)


def test_the_inputs_have_the_shapes_that_they_are_named_for() -> None:
    data = {name: written(kind)[0] for name, kind in INPUTS.items()}
    quoted = list(csv.reader(StringIO(data["quoted"].decode()), quoting=csv.QUOTE_NONE))
    assert all(field[0] == field[-1] == '"' for row in quoted for field in row)
    assert data["crlf"].count(b"\r\n") == data["crlf"].count(b"\n") == ROWS + 1
    wide = list(csv.reader(StringIO(data["wide"].decode())))
    assert {len(row) for row in wide} == {11}
    assert {row.split(b",")[0] for row in data["one"].splitlines()[1:]} == {b"sensor-0"}
    sensors = {row.split(b",")[0] for row in data["many"].splitlines()[1:]}
    assert len(sensors) > 0.95 * ROWS
    times = [row.split(b",")[1].decode() for row in data["offsets"].splitlines()[1:]]
    assert {time[-6:] for time in times} == set(OFFSETS)
    assert all(len(time) == len("2025-01-01T00:00:00.000000+00:00") for time in times)


def test_a_file_that_is_there_is_used_again_unless_it_changed(tmp_path: Path) -> None:
    first = make(INPUTS["clean"], ROWS, tmp_path)
    made_at = first.path.stat().st_mtime_ns
    assert make(INPUTS["clean"], ROWS, tmp_path) == first
    assert first.path.stat().st_mtime_ns == made_at
    first.path.write_bytes(first.path.read_bytes()[:-1])
    assert make(INPUTS["clean"], ROWS, tmp_path) == first
    assert first.path.stat().st_size == first.size_bytes


def test_wrong_answers_are_told(tmp_path: Path) -> None:
    made = make(INPUTS["bad"], ROWS, tmp_path)
    right = made.answers | {"error_summary": made.error_summary}
    assert differences(right, made, set(made.answers)) == []
    wrong = right | {"row_count": 1, "mean_value": right["mean_value"] * (1 + 1e-8)}
    told = differences(wrong | {"error_summary": {}}, made, set(made.answers))
    assert [text.split()[0] for text in told] == ["mean_value", "row_count", "error_summary"]
    missing = [f"row_count None is not {right['row_count']}"]
    assert differences({}, made, {"row_count"}) == missing


def test_a_task_comes_through_the_command_line_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(INPUTS["wide"], make(INPUTS["wide"], 10, tmp_path))
    monkeypatch.setattr("sys.argv", ["peer", task.to_json()])
    assert json.loads(Task.given().to_json()) == json.loads(task.to_json())


def test_peers_are_told_the_widths_that_our_answers_have() -> None:
    assert bin_width(10.0, 98.999) == 2.0
    assert bin_width(0.0, 63.9) == 1.0
    assert bin_width(0.0, 64.0) == 2.0
    assert bucket_us(0, 511_999_999) == 1_000_000
    assert bucket_us(0, 512_000_000) == 5_000_000
    assert bucket_us(0, 10**13) == 21_600 * 10**6


def test_a_table_is_aligned_text_and_markdown() -> None:
    rows = [["clean", "1.23", "4"], ["a", "12.3", "456"]]
    assert table(("input", "s", "MiB"), rows).splitlines() == [
        "| input |    s | MiB |",
        "| ----- | ---: | --: |",
        "| clean | 1.23 |   4 |",
        "| a     | 12.3 | 456 |",
    ]


def test_goals_are_met_or_missed() -> None:
    assert verdict(3.0, 3.0) == "3.00 x, goal 3 x: met"
    assert verdict(2.99, 3.0) == "2.99 x, goal 3 x: MISSED"
    assert limit(20.0, 20.0, "ms") == "at most 20 ms: met"
    assert limit(20.1, 20.0, "ms") == "at most 20 ms: MISSED"


def test_a_page_keeps_the_last_table_and_all_around_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n")
    keep("x", "new", page)
    keep("x", "newer\n", page)
    assert page.read_text() == "before\n<!-- x: begin -->\nnewer\n<!-- x: end -->\nafter\n"
    with pytest.raises(ValueError, match="no part"):
        keep("y", "new", page)
