"""A file's objects in the bucket: the upload, and beside it what processing wrote."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager

import structlog

from aggsvc.errors import StoreUnavailable
from aggsvc.model import FileRecord, object_key
from aggsvc.ports import ObjectInfo, ObjectStore, StoredObject

CSV = "text/csv"
NDJSON = "application/x-ndjson"
COLUMNS = "application/octet-stream"

log = structlog.get_logger()


class FileObjects:
    """The service's only way to its objects; each file's lie under its id.

    What a removal could not remove is left over: known here until `remove_leftovers` succeeds, and
    found by the sweep of the next start if it never does.
    """

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket
        self._leftovers: set[str] = set()

    @property
    def has_leftovers(self) -> bool:
        """Whether there is something that is still to be removed."""
        return bool(self._leftovers)

    async def check(self) -> None:
        """Raise StoreUnavailable unless objects can be read and written."""
        await self._store.check(self._bucket)

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
        self, key: str, byte_range: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[StoredObject]:
        """Open an object, or these bytes of it; raises ObjectNotFound."""
        return self._store.get_object(self._bucket, key, byte_range=byte_range)

    def open_start(self, key: str, size: int) -> AbstractAsyncContextManager[StoredObject]:
        """Open the first bytes of an object, at most so many; raises ObjectNotFound."""
        return self._store.get_object(self._bucket, key, byte_range=(0, size - 1))

    async def remove(self, file_id: str) -> None:
        """Remove all objects of a file that has no record."""
        await self._remove_all([f"{file_id}/"])

    async def remove_objects(self, *keys: str) -> None:
        """Remove objects to which no record leads; those that do not exist are no error."""
        await self._remove_all(keys)

    async def remove_reports(self, record: FileRecord) -> None:
        """Remove what attempts that came to no end left of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{record.file_id}/")
        await self._remove_all({info.key for info in page.items} - {*record.all_keys})

    async def remove_leftovers(self) -> None:
        """Try again to remove what could not be removed."""
        await self._remove_all(list(self._leftovers))

    async def _remove_all(self, names: Collection[str]) -> None:
        self._leftovers.update(names)  # first, for this may be cancelled
        for name in names:
            try:
                await self._remove(name)
                self._leftovers.discard(name)
            except StoreUnavailable as error:
                log.warning("not removed yet", objects=name, reason=str(error))

    async def _remove(self, name: str) -> None:
        """Remove the object of that key, or those behind a prefix that ends with a slash."""
        keys = [name]
        if name.endswith("/"):
            page = await self._store.list_objects(self._bucket, prefix=name)
            keys = [info.key for info in page.items]
        for key in keys:
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
