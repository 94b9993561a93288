"""The engine against the independent oracle and the golden files."""

import asyncio
import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from aggsvc.engine import blocks, lines, records
from aggsvc.engine.names import Names
from tests import csv_strategies, oracle
from tests.engine.conftest import LANES, Run, readings_of, run_engine, run_sync

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.csv"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

both_lanes = pytest.mark.parametrize("lane", LANES)
engine_settings = settings(max_examples=400)


def each_lane() -> Iterator[str]:
    """Both lanes, for a test whose oracle takes longer than they do; a failure tells which."""
    for lane in LANES:
        note(f"lane: {lane}")
        yield lane


def assert_same(run: Run, verdict: oracle.Verdict) -> None:
    if verdict.rejected is not None:
        assert run.rejected is not None
        assert oracle.REJECTED_SAYS[verdict.rejected] in run.rejected
        return
    assert run.rejected is None
    assert run.outcome is not None
    assert [astuple(error) for error in run.errors] == verdict.errors
    assert run.outcome.rows_read == verdict.rows_read
    assert run.outcome.error_count == len(verdict.errors)
    assert run.outcome.error_summary == verdict.error_summary
    aggregates = run.outcome.summary.aggregates()
    assert aggregates.row_count == verdict.row_count
    assert repr(aggregates.min_value) == repr(verdict.min_value)
    assert repr(aggregates.max_value) == repr(verdict.max_value)
    assert repr(aggregates.mean_value) == repr(verdict.mean_value)
    assert aggregates.per_sensor_count == verdict.per_sensor_count


@engine_settings
@given(data=csv_strategies.files(), drawn=st.data())
def test_agrees_with_the_oracle_however_the_stream_is_chunked(
    data: bytes, drawn: st.DataObject
) -> None:
    """Sensor, microseconds and value of each row, to the bit, and what comes of them."""
    verdict = oracle.judge(data)
    sizes = drawn.draw(csv_strategies.chunkings(len(data)))
    for lane in each_lane():
        assert_same(run_sync(csv_strategies.cut(data, sizes), lane=lane), verdict)
        if verdict.rejected is None:
            assert list(map(repr, readings_of(data, lane))) == list(map(repr, verdict.readings))


@engine_settings
@given(data=csv_strategies.files(), grid=st.integers(1, 200), piece=st.integers(1, 64))
def test_answers_do_not_depend_on_where_the_grid_lies(data: bytes, grid: int, piece: int) -> None:
    """A line of the grid may fall anywhere: in quotes, between CR and LF, in a UTF-8 sequence."""
    verdict = oracle.judge(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "GRID_BYTES", grid)
        patch.setattr(lines, "PIECE_RECORDS", piece)
        patch.setattr(lines, "INLINE_BYTES", 0)
        for lane in each_lane():
            assert_same(run_sync([data], lane=lane), verdict)


@given(delimiter=st.sampled_from(";\t|"), data=csv_strategies.valid_files())
def test_reads_any_delimiter_that_it_is_told(delimiter: str, data: bytes) -> None:
    told = data.replace(b",", delimiter.encode())
    verdict = oracle.judge(told, delimiter)
    for lane in each_lane():
        assert_same(run_sync([told], lane=lane, delimiter=delimiter), verdict)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@both_lanes
def test_golden_file(path: Path, lane: str) -> None:
    """Each rule of the format has a hand-written file with its expected result beside it."""
    expected = json.loads(path.with_suffix(".json").read_text())
    run = run_sync([path.read_bytes()], lane=lane)
    if "rejected" in expected:
        said = run.rejected or ""
        assert oracle.REJECTED_SAYS[expected["rejected"]] in said
        assert [word for word in expected["message_contains"] if word not in said] == []
        return
    shown = as_json(run) | columns_as_json(path.read_bytes(), lane)
    assert {name: shown[name] for name in expected} == expected


def as_json(run: Run) -> dict[str, object]:
    assert run.outcome is not None
    aggregates = run.outcome.summary.aggregates()
    return {
        "rows_read": run.outcome.rows_read,
        "row_count": aggregates.row_count,
        "min_value": aggregates.min_value,
        "max_value": aggregates.max_value,
        "mean_value": aggregates.mean_value,
        "per_sensor_count": aggregates.per_sensor_count,
        "error_count": run.outcome.error_count,
        "error_summary": dict(run.outcome.error_summary),
        "errors": [asdict(error) for error in run.errors],
    }


def columns_as_json(data: bytes, lane: str) -> dict[str, object]:
    readings = readings_of(data, lane)
    times = (EPOCH + timedelta(microseconds=micros) for _, micros, _ in readings)
    return {
        "timestamps": [
            time.isoformat(timespec="microseconds").replace("+00:00", "Z") for time in times
        ],
        "values": [value for _, _, value in readings],
    }


def test_every_reason_has_a_golden_file() -> None:
    reasons = set()
    for path in GOLDEN:
        expected = json.loads(path.with_suffix(".json").read_text())
        reasons |= set(expected.get("error_summary", {})) | {expected.get("rejected")}
    assert reasons - {None} == set(oracle.REJECTED_SAYS) | {
        "record too long", "unclosed quote", "invalid utf-8", "nul byte", "too few fields",
        "too many fields", "missing sensor_id", "missing timestamp", "missing value",
        "sensor_id too long", "invalid timestamp", "timestamp out of range", "invalid value",
        "value not finite",
    }  # fmt: skip


def large_file(rows: int, every: dict[int, bytes]) -> bytes:
    """A file of several blocks with a chosen line put in at every n-th row."""
    generator = random.Random(7)
    lines = [b"sensor_id,timestamp,value\n"]
    for row in range(rows):
        for step, line in every.items():
            if row % step == step - 1:
                lines.append(line)
        value = generator.uniform(-1e3, 1e3)
        lines.append(b"sensor-%0130d,2025-10-01T08:00:00Z,%r\n" % (row % 97, value))
    return b"".join(lines)


LARGE = {
    "plain": {},
    "blank lines": {1000: b"\n"},
    "stray quotes": {1250: b'"stray,2025-10-01,1\n'},
    "lines in quotes": {777: b'"a\nb",2025-10-01T00:00:00Z,1e3\n'},
    "a bad byte": {15000: b"\xff,2025-10-01,1\n"},
    "CRLF": {3: b"crlf,2025-10-01T00:00:00Z,1.5\r\n"},
    "lone CR": {2499: b"cr,2025-10-01,1\rcr,2025-10-01,2\n"},
    "overlong": {12500: b"x" * 70_000 + b"\n"},
}


@pytest.mark.parametrize("kind", LARGE)
async def test_files_of_several_blocks_agree_with_the_oracle(kind: str) -> None:
    data = large_file(30_000, LARGE[kind])
    assert len(data) > blocks.GRID_BYTES
    chunks = [data[at : at + 99_991] for at in range(0, len(data), 99_991)]
    verdict = oracle.judge(data)
    for lane in LANES:
        assert_same(await run_engine(chunks, lane=lane), verdict)


class Filling:
    """A stream that puts its bytes where they are wanted, at most so many at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self._left = memoryview(data)
        self._most = most

    def __aiter__(self) -> Any:
        raise AssertionError("it is read in chunks")

    async def readinto(self, buffer: memoryview) -> int:
        await asyncio.sleep(0)
        size = min(len(buffer), len(self._left), self._most)
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


async def test_a_stream_that_can_fill_the_blocks_itself_does() -> None:
    """However little comes at a time, it is as if it had come in chunks."""
    lines = [b"s%d,2025-10-01T08:00:%02dZ,%d\n" % (n % 7, n % 60, n) for n in range(1_000)]
    data = b"sensor_id,timestamp,value\n" + b"".join([*lines, b'a,"b\nc"\n']) * 200
    assert len(data) > blocks.GRID_BYTES
    whole = await run_engine([data], lane="kernel")
    assert whole.outcome is not None
    for most in (65_537, len(data)):
        run = await run_engine(Filling(data, most), lane="kernel")
        assert run.outcome is not None
        assert run.outcome.summary.aggregates() == whole.outcome.summary.aggregates()
        assert run.errors == whole.errors


@both_lanes
async def test_an_endless_line_is_one_row_error_and_takes_little_memory(lane: str) -> None:
    """A line that is longer than a block is skipped as it comes, never held."""
    head = b"sensor_id,timestamp,value\na,2025-10-01,1\n"
    endless = [b"x" * 1_000_000] * 30
    run = await run_engine([head, *endless, b"\r", b"\nb,2025-10-01,2\n"], lane=lane)
    assert [(e.reason, e.row_number, e.line_number) for e in run.errors] == [
        ("record too long", 2, 3)
    ]
    assert run.outcome is not None
    assert run.outcome.summary.aggregates().per_sensor_count == {"a": 1, "b": 1}


ROW = b"a,2025-10-01,1\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" * 10_000_000 + b"sensor_id,timestamp,value\n" + ROW,
        b"sensor_id,timestamp,value\n" + ROW + b"x" * 20_000_000,
    ],
    ids=["blank lines", "endless line"],
)
async def test_what_is_skipped_holds_the_loop_for_a_moment_only(
    data: bytes, stall: Callable[[], float]
) -> None:
    stream = Filling(data, len(data))
    stall()
    run = await run_engine(stream, lane="rows")
    assert stall() < 0.01
    assert run.outcome is not None
    assert run.outcome.summary.row_count == 1


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r", b""])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n\n\r"])
async def test_the_longest_header_is_read(start: bytes, ending: bytes) -> None:
    """What comes before it does not count."""
    header = b"sensor_id,timestamp,value,"
    longest = header + b"x" * (records.MAX_RECORD_BYTES - len(header))
    data = start + longest + ending
    run = await run_engine([data[:70], data[70:65_540], data[65_540:]])
    assert run.rejected is None
    run = await run_engine([start + longest + b"x" + ending])
    assert run.rejected is not None


async def test_progress_reaches_the_end_of_the_file() -> None:
    data = large_file(50_000, {})
    run = await run_engine([data])
    assert run.progress[-1].bytes_read == len(data)
    assert run.progress[-1].rows_read == 50_000
    assert [p.rows_read for p in run.progress] == sorted(p.rows_read for p in run.progress)


async def test_too_many_sensors_reject_the_file() -> None:
    rows = b"".join(b"s%d,2025-10-01,1\n" % n for n in range(11))
    run = await run_engine([b"sensor_id,timestamp,value\n" + rows], max_sensors=10)
    assert run.rejected == "the file has more than 10 distinct sensors"


def test_lists_the_most_read_sensors_first_then_by_name() -> None:
    rows = "".join(f"s{n % 1500:04d},2025-10-01,1\n" for n in range(1500 + 700))
    run = run_sync([("sensor_id,timestamp,value\n" + rows).encode()], max_sensors=2000)
    assert run.outcome is not None
    aggregates = run.outcome.summary.aggregates()
    listed = list(aggregates.per_sensor_count.items())
    assert aggregates.per_sensor_count_truncated
    assert len(listed) == 1000
    assert listed[:700] == [(f"s{n:04d}", 2) for n in range(700)]
    assert listed[700:] == [(f"s{n:04d}", 1) for n in range(700, 1000)]


def test_of_sensors_that_are_read_alike_no_more_become_objects_than_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list of all, of which there may be millions, would hold every thread while it is made."""
    rows = "".join(f"s{n:04d},2025-10-01,1\n" for n in reversed(range(3_000)))
    run = run_sync([("sensor_id,timestamp,value\n" + rows).encode()], max_sensors=3_000)
    assert run.outcome is not None
    made, encoded = 0, Names.encoded

    def counted(names: Names) -> Iterator[bytes]:
        nonlocal made
        for name in encoded(names):
            made += 1
            yield name

    monkeypatch.setattr(Names, "encoded", counted)
    listed = run.outcome.summary.aggregates().per_sensor_count
    assert list(listed) == [f"s{n:04d}" for n in range(1000)]
    assert made == 1000


finite = st.floats(allow_nan=False, allow_infinity=False)


@engine_settings
@given(st.lists(finite, min_size=1))
@example([1e308, 1e308, -1e308])
@example([5e-324, -5e-324, 5e-324])
@example([1e16, 1.0, -1e16])
@example([1.7976931348623157e308] * 4)
def test_the_mean_is_the_double_nearest_to_the_exact_one(values: list[float]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["sensor_id", "timestamp", "value"])
    writer.writerows(["a", "2025-10-01", repr(value)] for value in values)
    run = run_sync([buffer.getvalue().encode()])
    assert run.outcome is not None
    exact = sum(map(Fraction, values)) / len(values)
    assert run.outcome.summary.aggregates().mean_value == float(exact)


@both_lanes
@pytest.mark.timeout(60)  # it was many minutes when each line was read 10,000 times
def test_quotes_that_reopen_on_every_line_take_time_in_proportion(lane: str) -> None:
    data = b'a",b,"\n' * 40_000
    run = run_sync([b"sensor_id,timestamp,value\n" + data], lane=lane)
    assert run.outcome is not None
    assert run.outcome.error_summary == {"unclosed quote": 40_000}


def test_no_piece_of_a_block_has_more_rows_than_memory_is_meant_for() -> None:
    found = blocks.Cut(400_000, 400_000, text=b"x\n" * 200_000, lines=200_000)
    rows = [bytes(piece.data).count(b"\n") for piece in lines.pieces(found)]
    assert sum(rows) == 200_000
    assert max(rows) <= lines.PIECE_RECORDS + 1
