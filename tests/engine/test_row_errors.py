"""Row errors as columns: the objects and the JSON lines that are made of them."""

from dataclasses import asdict

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine import utf8
from aggsvc.engine.machine import WINDOW
from aggsvc.engine.row_errors import VALUE_CHARS, RowErrors
from aggsvc.model import COLUMN_OF_REASON, REASONS, RowError

TRICKY = ['"},{"row_number":', "\\", "\0\x1f\n", "\xe9\U0001f321", "x" * (VALUE_CHARS + 1), ""]
texts = st.one_of(st.sampled_from(TRICKY), st.text(max_size=9))
found = st.lists(
    st.tuples(st.integers(1, 2**53), st.integers(1, 2**53), st.sampled_from(REASONS), texts)
)


def objects(some: list[tuple[int, int, str, str]]) -> list[RowError]:
    return [
        RowError(row, line, COLUMN_OF_REASON[reason], reason, value[:VALUE_CHARS])
        for row, line, reason, value in some
    ]


@given(st.lists(found, max_size=3))
def test_are_those_that_went_in(parts: list[list[tuple[int, int, str, str]]]) -> None:
    """Also joined, moved, in order and the first of them."""
    errors = RowErrors.joined([RowErrors.of(part) for part in parts])
    expected = objects([error for part in parts for error in part])
    assert list(errors) == expected
    assert len(errors) == len(expected)
    assert [errors.first(count) for count in (-1, 0, 2)] == [[], [], expected[:2]]
    assert [e.row_number for e in errors.in_order()] == sorted(e.row_number for e in expected)
    assert [(e.row_number, e.line_number) for e in errors.moved(3, 5)] == [
        (e.row_number + 3, e.line_number + 5) for e in expected
    ]
    reasons = [error.reason for error in expected]
    assert errors.counts() == {reason: reasons.count(reason) for reason in set(reasons)}


@given(found.filter(bool))
def test_a_json_line_is_the_row_error(some: list[tuple[int, int, str, str]]) -> None:
    """Whatever its value holds, there is one line for each."""
    lines = RowErrors.of(some).json_lines()
    assert lines.endswith(b"\n")
    told = [orjson.loads(line) for line in lines.splitlines()]
    assert told == list(map(asdict, objects(some)))


pieces = st.sampled_from(
    [b"a", b"\x7f", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x8c\xa1", b"\xe2\x82", b"\xf0\x9f"]
)


@given(st.lists(st.one_of(pieces, st.binary(max_size=4)), max_size=300).map(b"".join))
def test_text_is_told_and_copied_as_decode_does(data: bytes) -> None:
    """What is no UTF-8 is replaced, and what is cut is cut between characters."""
    padded = np.frombuffer(data.ljust(len(data) + WINDOW, b"\x80"), np.uint8)
    text, ends = np.zeros(utf8.MAX_START, np.uint8), np.zeros(1, np.int64)
    utf8.copy_starts(padded, np.zeros(1, np.int64), np.array([len(data)]), text, ends)
    decoded = data.decode(errors="replace")
    assert text[: ends[0]].tobytes().decode() == decoded[:VALUE_CHARS]
    assert utf8.is_utf8(padded, 0, len(data)) == (decoded.encode() == data)
