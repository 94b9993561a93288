"""Where the statistics of a finished file's sensors are kept.

The engine, which reads and writes them, takes as long to import as all else together: so that is
done off the loop, when it is first needed.
"""

import asyncio
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from aggsvc.model import FileRecord, SensorStatistics
from aggsvc.objects import FileObjects

if TYPE_CHECKING:
    from aggsvc.engine.sensors import SensorTable

# Far less than an item's 400 KB: the table keeps its items in memory and reads all at each start.
SENSORS_INLINE_BYTES = 32 * 1024
ENGINE = "aggsvc.engine.sensors"


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
        self._is_engine_loaded = False

    async def keep(self, record: FileRecord, table: "SensorTable", key: str) -> FileRecord:
        """The record as it leads to the table; an object, if need be one, is durable at the key."""
        if _base64_bytes(table) <= SENSORS_INLINE_BYTES:
            return replace(record, sensors=_packed(table))
        await self._objects.put_sensors(key, _chunks(table))
        return replace(record, sensors_key=key)

    async def rows(self, record: FileRecord, sort: str, offset: int, limit: int) -> SensorRows:
        """As SensorTable.rows; none where the file came to no aggregates."""
        if not self._is_engine_loaded:
            await asyncio.to_thread(import_module, ENGINE)
            self._is_engine_loaded = True
        if record.sensors_key is None:
            return _rows(_unpacked(record.sensors), sort, offset, limit)
        async with self._turn:
            data = await self._objects.read(record.sensors_key)
            return await asyncio.to_thread(_rows, data, sort, offset, limit)


def _packed(table: "SensorTable") -> str:
    return b64encode(zlib.compress(b"".join(table.encode()), level=1)).decode()


def _unpacked(sensors: str | None) -> bytes:
    if sensors is None:
        return b"".join(_engine().empty().encode())
    return zlib.decompress(b64decode(sensors))


def _engine() -> "type[SensorTable]":
    from aggsvc.engine.sensors import SensorTable  # noqa: PLC0415 - see above

    return SensorTable


def _rows(data: bytes | bytearray, sort: str, offset: int, limit: int) -> SensorRows:
    table = _engine().decode(data)
    return SensorRows(table.rows(sort, offset, limit), len(table))


def _base64_bytes(table: "SensorTable") -> int:
    return -(-table.encoded_bytes // 3) * 4


async def _chunks(table: "SensorTable") -> AsyncIterator[bytes]:
    for chunk in table.encode():
        yield chunk
