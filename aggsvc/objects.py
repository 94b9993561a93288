"""A file's objects in the bucket: the upload, and beside it what processing wrote."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager

from aggsvc.model import FileRecord, object_key
from aggsvc.ports import CHUNK_BYTES, ObjectInfo, ObjectStore, StoredObject

CSV = "text/csv"
NDJSON = "application/x-ndjson"
COLUMNS = "application/octet-stream"
# While the engine keeps all cores busy each hop to the disk waits for one: so there are few.
ENGINE_CHUNK_BYTES = 2 * 1024 * 1024


class FileObjects:
    """The service's only way to its objects; each file's lie under its id."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    async def put_upload(self, file_id: str, data: AsyncIterable[bytes]) -> ObjectInfo:
        """Keep the raw upload durably."""
        return await self._store.put_object(
            self._bucket, object_key(file_id), data, content_type=CSV
        )

    async def put_report(self, key: str, lines: AsyncIterable[bytes]) -> ObjectInfo:
        """Keep a report of row errors durably."""
        return await self._store.put_object(self._bucket, key, lines, content_type=NDJSON)

    async def put_sensors(self, key: str, chunks: AsyncIterable[bytes]) -> ObjectInfo:
        """Keep the statistics of a file's sensors durably."""
        return await self._store.put_object(self._bucket, key, chunks, content_type=COLUMNS)

    async def read(self, key: str) -> bytearray:
        """An object whole, in one buffer; raises ObjectNotFound."""
        async with self.open(key) as stored:
            # Clearing 100 MB takes longer than the loop may be held.
            data, end = await asyncio.to_thread(bytearray, stored.info.size), 0
            async for chunk in stored.chunks:
                data[end : end + len(chunk)] = chunk
                end += len(chunk)
        return data

    def open(
        self, key: str, chunk_bytes: int = CHUNK_BYTES
    ) -> AbstractAsyncContextManager[StoredObject]:
        """Open an object, to be read in chunks of that size; raises ObjectNotFound."""
        return self._store.get_object(self._bucket, key, chunk_bytes=chunk_bytes)

    def open_start(self, key: str, size: int) -> AbstractAsyncContextManager[StoredObject]:
        """Open the first bytes of an object, at most so many; raises ObjectNotFound."""
        return self._store.get_object(self._bucket, key, byte_range=(0, size - 1))

    async def remove(self, file_id: str) -> None:
        """Remove all objects of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{file_id}/")
        for info in page.items:
            await self.remove_object(info.key)

    async def remove_reports(self, record: FileRecord) -> None:
        """Remove what attempts that came to no end left of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{record.file_id}/")
        for info in page.items:
            if info.key not in record.all_keys:
                await self.remove_object(info.key)

    async def remove_object(self, key: str) -> None:
        """Remove an object; one that does not exist is no error."""
        await self._store.delete_object(self._bucket, key)

    async def of_owner(self, owner: str) -> AsyncIterator[ObjectInfo]:
        """The objects of all files whose ids begin with the owner."""
        start_after = ""
        while True:
            page = await self._store.list_objects(
                self._bucket, prefix=owner, start_after=start_after
            )
            for info in page.items:
                yield info
            if page.next_key is None:
                return
            start_after = page.next_key


def report_key(record: FileRecord) -> str:
    """The key for the report of the attempt that wrote this record: no two share one."""
    return f"{record.file_id}/errors-{record.version}.ndjson"


def sensors_key(record: FileRecord) -> str:
    """The key for the sensors of the attempt that wrote this record: no two share one."""
    return f"{record.file_id}/sensors-{record.version}.bin"
