"""The compiled lane judges bad rows itself, as the reference lane and the oracle do."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine import decimals, kernel, moments
from aggsvc.engine.aggregate import aggregate
from aggsvc.engine.batch import Batch
from aggsvc.engine.fields import FieldFailed, read_timestamp, read_value
from aggsvc.engine.lanes import lane_of
from aggsvc.engine.machine import WINDOW
from aggsvc.engine.row_errors import RowErrors
from aggsvc.model import REASONS
from bench.inputs import BAD_ROWS
from tests import csv_strategies, oracle
from tests.engine.conftest import run_sync

HEADER = b"sensor_id,timestamp,value,note\n"
GOOD = b"a,2025-10-01T00:00:00Z,1,"
# Not in the benchmarks: fields in quotes, quotes and text of other scripts where they do no harm.
BAD_LINES = (
    *(b'"a","yesterday","1",""', b'"a","","1",x', b'" ",2025-10-01,1,', b'"a","2025-10-01",""'),
    *(b'a"b,2025-10-01,x"y,', b'a,2025-10-01,-,"say ""x"""', b'a,2025-10-01,nil,"x"y'),
    *(b"caf\xc3\xa9,20251301,1,", b"a,2025-10-01,\xd9\xa1.5,", b"a,\xe6\xb8\xa9,1,"),
    *(b" \t,2025-10-01,1,", b"a,2025-10-01 ,\t-INFINITY ,", b"a,2025-10-01T12,1,", b",,,,,,,,"),
    *(b"\xc3\xa9" * 129 + b",2025-10-01,1,", b"a,2025-10-01,1e309,", b"a,00010101T00+23,1,"),
    *(b"\xff" * 999, b"\0" + b"\xf0\x9f\x8c\xa1" * 999, b"x" * 999, b"a,2025-10-01," + b"9" * 400),
)
# Readings that the fast path does not take.
GOOD_LINES = (
    *(b"a,20251001,1,", b"a,20251001t1230,1,", b"a,2025-10-01 12:30:59.123456789-05,1,"),
    *(b'a,2025-10-01,0.1234567890123456,"say ""x"""', b'a"b,2025-10-01,5e-324,"x"y'),
    *(b"a,2025-10-01,1.7976931348623157e308,", b"a,2025-10-01," + b"0" * 400 + b"1,"),
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled lane without the reference lane to help it."""

    def refused(*_: object) -> Batch:
        raise AssertionError("left to the reference lane")

    monkeypatch.setattr(kernel, "read_rows", refused)


def bad_lines() -> list[bytes]:
    made = [make for makers in BAD_ROWS.values() for make in makers]
    return [*(make(b"sensor-1", b"2025-10-01", b"1.5") + b"," for make in made), *BAD_LINES]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_leaves_no_common_bad_row_to_the_reference_lane(end: bytes) -> None:
    """Every reason but those of overlong records and unclosed quotes, each row told in full."""
    lines = [line for bad in bad_lines() for line in (GOOD, bad, b"")] + [*GOOD_LINES]
    data = HEADER + end.join(lines)
    run, verdict = run_sync([data], lane="kernel"), oracle.judge(data)
    assert [(e.row_number, e.line_number, e.column, e.reason, e.value) for e in run.errors] == (
        verdict.errors
    )
    assert {error.reason for error in run.errors} == set(REASONS[2:])
    assert run.outcome is not None
    assert run.outcome.error_summary == verdict.error_summary
    assert run.outcome.summary.row_count == len(bad_lines()) + len(GOOD_LINES)


@pytest.mark.usefixtures("alone")
def test_more_bad_rows_than_a_batch_holds_are_all_told() -> None:
    rows = kernel.MAX_ODD * 2 + 1
    run = run_sync([HEADER, b"a,x,1,\n" * rows], lane="kernel")
    assert [error.row_number for error in run.errors] == list(range(1, rows + 1))
    assert run.outcome is not None
    assert run.outcome.error_summary == {"invalid timestamp": rows}


def test_bad_rows_among_records_of_many_lines_end_a_batch_too() -> None:
    """Else those of a whole block would be held at a time."""
    pairs = kernel.MAX_ODD + 1
    pair = b'a,x,1\n"a\nb",2025-10-01,1\n'
    run = run_sync([b"sensor_id,timestamp,value\n", pair * pairs], lane="kernel")
    assert [error.row_number for error in run.errors] == list(range(1, 2 * pairs, 2))
    assert [error.line_number for error in run.errors] == list(range(2, 3 * pairs + 1, 3))
    assert run.outcome is not None
    assert run.outcome.summary.aggregates().per_sensor_count == {"a\nb": pairs}


def test_records_of_many_lines_that_are_all_bad_end_a_batch_too() -> None:
    rows = 2 * kernel.MAX_ODD + 1
    told: list[int] = []

    async def read() -> None:
        async def take(errors: RowErrors) -> None:
            told.append(len(errors))

        async def ignore(_: object) -> None:
            pass

        async def stream() -> AsyncIterator[bytes]:
            yield b"sensor_id,timestamp,value\n" + b'"a\nb",x,y\n' * rows

        lane = lane_of("auto", cores=2)
        await aggregate(stream(), lane=lane, on_errors=take, on_progress=ignore, max_sensors=9)

    asyncio.run(read())
    assert sum(told) == rows
    assert max(told) <= 2 * kernel.MAX_ODD


def told(read: Callable[[str], object], text: str) -> object:
    try:
        return read(text)
    except FieldFailed as failed:
        return str(failed)


def as_bytes(text: str) -> tuple[np.ndarray, int, int]:
    """The text behind and before digits, which are no part of it."""
    data = text.encode()
    return np.frombuffer(b"1" + data + b"1" * WINDOW, np.uint8), 1, len(data) + 1


@given(st.one_of(csv_strategies.timestamps(), csv_strategies.odd_timestamps))
def test_reads_every_timestamp_as_the_reference_does(text: str) -> None:
    reasons = {
        moments.INVALID: "invalid timestamp",
        moments.OUT_OF_RANGE: "timestamp out of range",
    }
    micros = moments.moment_of(*as_bytes(text))
    assert reasons.get(micros, micros) == told(read_timestamp, text)


@given(st.one_of(csv_strategies.values, csv_strategies.odd_values))
def test_reads_every_value_as_the_reference_does(text: str) -> None:
    """Or says that it is not sure, which it may only of numbers with more than 19 digits."""
    kind, value = decimals.value_of(*as_bytes(text))
    if kind == decimals.UNSURE:
        assert sum(map(str.isdigit, text)) > 19
        return
    reasons = {decimals.INVALID: "invalid value", decimals.NOT_FINITE: "value not finite"}
    assert repr(reasons.get(kind, value)) == repr(told(read_value, text))
