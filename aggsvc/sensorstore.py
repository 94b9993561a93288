"""Where the statistics of a finished file's sensors are kept.

The engine, which reads and writes them, takes as long to import as all else together: so that is
done off the loop, when it is first needed.
"""

import asyncio
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from aggsvc.engine import import_part
from aggsvc.errors import Busy
from aggsvc.model import FileRecord, SensorStatistics
from aggsvc.objects import FileObjects

if TYPE_CHECKING:
    from aggsvc.engine.sensors import SensorTable

T = TypeVar("T")

# Far less than an item's 400 KB: the table keeps its items in memory and reads all at each start.
SENSORS_INLINE_BYTES = 32 * 1024
MAX_LISTS = 4


@dataclass(frozen=True, slots=True)
class SensorRows:
    """Some of a file's sensors in the order asked for, and how many there are in all."""

    rows: list[SensorStatistics]
    sensor_count: int


class SensorStore:
    """Within the record while they are few, else as an object beside the upload.

    In the record they are the same bytes, deflated, as base64 text, so that whoever lists records
    need not take them apart.
    """

    def __init__(self, objects: FileObjects) -> None:
        self._objects = objects
        # An object of 2,000,000 sensors is 150 MB and more as long as its rows are looked for: one
        # reader at a time bounds the memory, however many ask.
        self._turn = asyncio.Semaphore(1)
        self._lists = 0
        self._is_engine_loaded = False

    async def keep(self, record: FileRecord, table: "SensorTable", key: str) -> FileRecord:
        """The record as it leads to the table; an object, if need be one, is durable at the key."""
        if _base64_bytes(table) <= SENSORS_INLINE_BYTES:
            return replace(record, sensors=_packed(table))
        await self._objects.put_sensors(key, _chunks(table))
        return replace(record, sensors_key=key)

    async def rows(
        self, record: FileRecord, search: str, sort: str, offset: int, limit: int
    ) -> SensorRows:
        """As SensorTable.rows of those found; none where the file came to no aggregates.

        Raises Busy, as all that read sensors do, where the engine cannot be loaded.
        """

        def rows(table: "SensorTable") -> SensorRows:
            found = table.matching(search) if search else table
            return SensorRows(found.rows(sort, offset, limit), len(found))

        if search and record.sensors_key is None:  # which machine code does, that may have to load
            await self._load_engine()
            return await asyncio.to_thread(lambda: rows(_table(record.sensors)))
        return await self._ask(record, rows)

    @asynccontextmanager
    async def open_pages(
        self, record: FileRecord, search: str, sort: str, size: int
    ) -> AsyncIterator[AsyncIterator[list[SensorStatistics]]]:
        """All that are found, in order, `size` at a time; raises InvalidRequest and Busy.

        Their table stays in memory as long as they are taken, so few may take some at a time.
        """

        def table() -> "SensorTable":
            every = _engine().decode(data) if data is not None else _table(record.sensors)
            found = every.matching(search) if search else every
            found.rows(sort, limit=0)
            return found

        async def pages() -> AsyncIterator[list[SensorStatistics]]:
            for offset in range(0, len(found), size):
                yield await asyncio.to_thread(found.rows, sort, offset, size)

        if self._lists >= MAX_LISTS:
            raise Busy(f"as many lists of sensors are sent as may ({MAX_LISTS}); try again later")
        self._lists += 1
        try:
            await self._load_engine()
            async with self._turn:
                key = record.sensors_key
                data = None if key is None else await self._objects.read(key)
                found = await asyncio.to_thread(table)
            yield pages()
        finally:
            self._lists -= 1

    async def has(self, record: FileRecord, sensor_id: str) -> bool:
        """Whether the file has readings of that sensor."""
        return await self._ask(record, lambda table: table.find(sensor_id) is not None)

    async def _load_engine(self) -> None:
        if not self._is_engine_loaded:
            await import_part("sensors")
            self._is_engine_loaded = True

    async def _ask(self, record: FileRecord, question: "Callable[[SensorTable], T]") -> T:
        await self._load_engine()
        if record.sensors_key is None:
            return question(_table(record.sensors))
        async with self._turn:
            data = await self._objects.read(record.sensors_key)
            return await asyncio.to_thread(lambda: question(_engine().decode(data)))


def _packed(table: "SensorTable") -> str:
    return b64encode(zlib.compress(b"".join(table.encode()), level=1)).decode()


def _table(sensors: str | None) -> "SensorTable":
    """The table that a record holds itself."""
    if sensors is None:
        return _engine().empty()
    return _engine().decode(bytearray(zlib.decompress(b64decode(sensors))))


def _engine() -> "type[SensorTable]":
    from aggsvc.engine.sensors import SensorTable  # noqa: PLC0415 - see above

    return SensorTable


def _base64_bytes(table: "SensorTable") -> int:
    return -(-table.encoded_bytes // 3) * 4


async def _chunks(table: "SensorTable") -> AsyncIterator[bytes]:
    for chunk in table.encode():
        yield chunk
