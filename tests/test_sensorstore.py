"""Where sensors are kept: in the record up to a size, else in an object that is read in turn."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aggsvc.engine.names import Names
from aggsvc.engine.sensors import COLUMNS, SensorTable
from aggsvc.errors import Busy, InvalidRequest, StoreUnavailable
from aggsvc.model import FileRecord
from aggsvc.objects import FileObjects
from aggsvc.sensorstore import SENSORS_INLINE_BYTES, SensorStore
from aggsvc.settings import Settings
from tests.conftest import BUCKET, Parts, Through, opened_parts
from tests.engine.test_sensors import table_of_many
from tests.machine import within
from tests.test_filetable import HELD_SECONDS

RECORD = FileRecord("f", "a.csv", 1, "", "2025-10-01T08:00:00.000000Z")
KEY = "f/sensors-2.bin"


def table_of_bytes(count: int) -> SensorTable:
    """A table of one sensor that is encoded in so many bytes."""
    table = table_of_many(1)
    name = b"x" * (count - table.encoded_bytes + len(table.ids.text))
    return SensorTable(Names.of([name]), *(getattr(table, f"{column}s") for column in COLUMNS))


@pytest.mark.parametrize("over", [0, 1])
async def test_a_table_is_in_the_record_as_long_as_it_fits(over: int, parts: Parts) -> None:
    store = SensorStore(FileObjects(parts.objects, BUCKET))
    table = table_of_bytes(SENSORS_INLINE_BYTES // 4 * 3 + over)
    record = await store.keep(RECORD, table, KEY)
    assert await parts.keys() == [KEY] * over
    assert (record.sensors is None) == bool(over)
    assert len(record.sensors or "") <= SENSORS_INLINE_BYTES
    assert record.sensors_key == (KEY if over else None)
    assert (await store.rows(record, "", "", 0, 9)).rows == table.rows()


async def test_a_record_of_no_sensors_has_none_but_knows_its_sorts(parts: Parts) -> None:
    store = SensorStore(FileObjects(parts.objects, BUCKET))
    found = await store.rows(RECORD, "", "-row_count", 0, 9)
    assert (found.rows, found.sensor_count) == ([], 0)
    with pytest.raises(InvalidRequest):
        await store.rows(RECORD, "", "name", 0, 9)


class Counting(Through):
    """An object store that knows how many of its objects were open at a time."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.open = self.most = 0

    @asynccontextmanager
    async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
        async with self.inner.get_object(bucket, key, **options) as found:
            self.open += 1
            self.most = max(self.most, self.open)
            await asyncio.sleep(0.01)
            yield found
            self.open -= 1


async def test_however_many_ask_one_object_is_read_at_a_time(settings: Settings) -> None:
    async with opened_parts(settings, objects=Counting) as parts:
        store = SensorStore(FileObjects(parts.objects, BUCKET))
        record = await store.keep(RECORD, table_of_many(1_000), KEY)
        pages = await asyncio.gather(*(store.rows(record, "", "", n, 1) for n in range(8)))
        assert [page.rows[0].sensor_id for page in pages] == [f"sensor-{n:07}" for n in range(8)]
        assert parts.objects.most == 1


async def test_an_object_that_is_damaged_is_told(parts: Parts) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"".join(table_of_many(1_000).encode())[:10_000]

    objects = FileObjects(parts.objects, BUCKET)
    record = await SensorStore(objects).keep(RECORD, table_of_many(1_000), KEY)
    await objects.put_sensors(KEY, half())
    with pytest.raises(StoreUnavailable, match="damaged"):
        await SensorStore(objects).rows(record, "", "", 0, 9)


async def test_where_the_engine_cannot_be_imported_sensors_are_refused(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it was ever needed: with a broken installation."""
    record = await SensorStore(FileObjects(parts.objects, BUCKET)).keep(
        RECORD, table_of_many(3), KEY
    )
    monkeypatch.setitem(sys.modules, "aggsvc.engine.sensors", None)
    store = SensorStore(FileObjects(parts.objects, BUCKET))
    for asking in (store.rows(record, "", "", 0, 9), store.rows(record, "s", "", 0, 9)):
        with pytest.raises(Busy, match="could not be loaded"):
            await asking
    with pytest.raises(Busy, match="could not be loaded"):
        await store.has(record, "a")
    with pytest.raises(Busy, match="could not be loaded"):
        async with store.open_pages(record, "", "", 9):
            pass


@pytest.mark.alone
async def test_a_million_sensors_are_kept_and_paged_without_holding_the_loop(
    parts: Parts, stall: Callable[[], float]
) -> None:
    store, table = SensorStore(FileObjects(parts.objects, BUCKET)), table_of_many(1_000_000)
    held = []
    for _ in range(3):  # the same work; what else the machine does only adds to it
        stall()
        record = await store.keep(RECORD, table, KEY)
        began = time.process_time()
        found = await store.rows(record, "", "-mean_value", 500_000, 1_000)
        searched = await store.rows(record, "OR-00000", "-mean_value", 50, 1_000)
        took = time.process_time() - began
        held.append(stall())
    assert found.sensor_count == 1_000_000
    assert found.rows == table.rows("-mean_value", 500_000, 1_000)
    assert searched.sensor_count == 100
    assert len(searched.rows) == 50
    assert await store.has(record, "sensor-0999999")
    assert within(min(held), HELD_SECONDS)
    assert within(took, 2)
