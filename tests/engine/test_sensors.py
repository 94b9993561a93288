"""The table of sensors: its order whatever the sort, its pages, and its bytes."""

import time
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.engine.names import Names
from aggsvc.engine.sensors import COLUMNS, HEADER_BYTES, SORTS, SensorTable
from aggsvc.errors import InvalidRequest, StoreUnavailable
from aggsvc.model import SensorStatistics, rfc3339
from tests.machine import within

FIRST_MICROS = -62_135_596_800_000_000
LAST_MICROS = 253_402_300_799_999_999

# Few distinct ones, so that there are ties; and the ends of what there is.
counts = st.integers(1, 3) | st.integers(1, 2**62)
values = st.sampled_from([0.0, 1.5, -1.5]) | st.floats(allow_nan=False, allow_infinity=False)
micros = st.sampled_from([0, FIRST_MICROS, LAST_MICROS]) | st.integers(FIRST_MICROS, LAST_MICROS)
figures = st.tuples(counts, values, values, values, values, micros, micros)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
sensors = st.dictionaries(names, figures, max_size=12)


def table_of(found: dict[str, tuple[Any, ...]]) -> SensorTable:
    ids = sorted(name.encode() for name in found)
    columns = list(zip(*(found[name.decode()] for name in ids), strict=True)) or [()] * 7
    arrays = (np.array(c, t) for c, t in zip(columns, COLUMNS.values(), strict=True))
    return SensorTable(Names.of(ids), *arrays)


def table_of_many(count: int) -> SensorTable:
    ids = [b"sensor-%07d" % number for number in range(count)]
    chance = np.random.default_rng(1)
    floats = (chance.normal(size=count) for _ in range(4))
    times = (chance.integers(FIRST_MICROS, LAST_MICROS, count) for _ in range(2))
    return SensorTable(Names.of(ids), chance.integers(1, 20, count), *floats, *times)


def sorted_rows(found: dict[str, tuple[Any, ...]], sort: str) -> list[SensorStatistics]:
    """All rows in order, told a second time in plain Python."""
    name = sort.removeprefix("-") or "sensor_id"
    sign = -1 if sort.startswith("-") else 1
    ordered = sorted(found.items(), key=lambda item: item[0].encode(), reverse=sort == "-sensor_id")
    if name != "sensor_id":
        place = list(COLUMNS).index(name)
        ordered.sort(key=lambda item: sign * item[1][place])
    return [
        SensorStatistics(name, *figures[:5], rfc3339(figures[5]), rfc3339(figures[6]))
        for name, figures in ordered
    ]


def shown(rows: list[SensorStatistics]) -> list[str]:
    """The rows to the bit."""
    return [repr(astuple(row)) for row in rows]


@given(sensors, st.sampled_from(["", *SORTS, *(f"-{name}" for name in SORTS)]), st.data())
def test_a_page_is_a_part_of_all_sensors_in_order(
    found: dict[str, tuple[Any, ...]], sort: str, data: st.DataObject
) -> None:
    """Whatever the sort, ties go by the id's bytes ascending."""
    offset, limit = data.draw(st.integers(0, 14)), data.draw(st.integers(1, 14))
    page = table_of(found).rows(sort, offset, limit)
    assert shown(page) == shown(sorted_rows(found, sort)[offset : offset + limit])


@given(sensors)
def test_what_was_encoded_is_decoded_to_the_bit(found: dict[str, tuple[Any, ...]]) -> None:
    table = table_of(found)
    data = b"".join(table.encode())
    assert len(data) == table.encoded_bytes
    again = SensorTable.decode(bytearray(data))
    assert len(again) == len(found)
    assert shown(again.rows()) == shown(table.rows()) == shown(sorted_rows(found, ""))
    assert b"".join(again.encode()) == data


def test_an_empty_table_has_no_rows() -> None:
    assert SensorTable.empty().rows("-row_count") == []
    assert list(SensorTable.empty().pages()) == []
    assert len(SensorTable.decode(b"".join(SensorTable.empty().encode()))) == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_pages_are_all_sensors_each_once(size: int) -> None:
    table = table_of_many(100)
    pages = list(table.pages(size))
    assert all(len(page) <= size for page in pages)
    assert shown([row for page in pages for row in page]) == shown(table.rows())


@pytest.mark.parametrize("sort", ["-", "--row_count", "name", "row_counts", "-\n", "x" * 9_999])
def test_another_sort_is_told_the_right_ones(sort: str) -> None:
    with pytest.raises(InvalidRequest, match="stddev_value") as refused:
        SensorTable.empty().rows(sort)
    assert len(str(refused.value)) < 300


def header(**changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        told = orjson.loads(data[:HEADER_BYTES]) | changes
        return orjson.dumps(told).ljust(HEADER_BYTES - 1) + b"\n" + data[HEADER_BYTES:]

    return change


def end(place: int, value: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = HEADER_BYTES + 8 * place
        return data[:at] + value.to_bytes(8, "little", signed=True) + data[at + 8 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"x" * 1_000,
        lambda _: b"[]".ljust(200),
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:HEADER_BYTES],
        header(format="other"),
        header(version=2),
        header(sensors=-1),
        header(sensors=2**62),
        header(sensors=1.0),
        header(sensors=True),
        header(sensors=None),
        header(text_bytes="9"),
        header(sensors=2, text_bytes=77),
        end(0, -1),
        end(0, 99),
        end(1, 2**62),
        end(2, 8),
    ],
)
def test_bytes_of_another_make_are_refused(change: Callable[[bytes], bytes]) -> None:
    figures = (1, 1.0, 1.0, 1.0, 0.0, 0, 0)
    table = table_of({"one": figures, "two": figures, "six": figures})
    with pytest.raises(StoreUnavailable, match="damaged"):
        SensorTable.decode(change(b"".join(table.encode())))


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        SensorTable.decode(data)


@pytest.mark.alone
def test_a_page_of_a_million_sensors_is_there_within_half_a_second() -> None:
    data = b"".join(table_of_many(1_000_000).encode())
    for sort in ("", "mean_value", "-mean_value", "row_count"):
        for offset in (0, 500_000):
            began = time.process_time()
            page = SensorTable.decode(data).rows(sort, offset, 1_000)
            assert within(time.process_time() - began, 0.5), (sort, offset)
            assert len(page) == 1_000


@given(micros)
def test_a_timestamp_is_shown_as_rfc_3339(micros: int) -> None:
    text = rfc3339(micros)
    whole, point, fraction = text.removesuffix("Z").partition(".")
    assert (len(whole), len(fraction)) == (19, 6 if micros % 1_000_000 else 0)
    assert bool(point) == bool(fraction)
    read = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert (read - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_759_306_330_000_000, "2025-10-01T08:12:10Z"),
        (1_759_306_330_000_500, "2025-10-01T08:12:10.000500Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (FIRST_MICROS, "0001-01-01T00:00:00Z"),
        (LAST_MICROS, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_timestamps_as_they_are_shown(micros: int, text: str) -> None:
    assert rfc3339(micros) == text
