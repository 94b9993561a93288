"""A file's objects in the bucket: the upload, the reports of its row errors, a mark of deletion."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager

from aggsvc.model import FileRecord, object_key
from aggsvc.ports import ObjectInfo, ObjectStore, StoredObject

CSV = "text/csv"
NDJSON = "application/x-ndjson"


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

    def open(self, key: str) -> AbstractAsyncContextManager[StoredObject]:
        """Open an object; raises ObjectNotFound."""
        return self._store.get_object(self._bucket, key)

    async def mark_deleted(self, file_id: str) -> None:
        """Note that the file is about to go: if a crash cuts that short, the sweep finds it."""
        await self._store.put_object(self._bucket, _mark(file_id), _nothing())

    async def remove(self, file_id: str) -> int:
        """Remove all objects of a file, the mark last; returns how many there were."""
        page = await self._store.list_objects(self._bucket, prefix=f"{file_id}/")
        keys = sorted((info.key for info in page.items), key=lambda key: key == _mark(file_id))
        for key in keys:
            await self.remove_object(key)
        return len(keys)

    async def remove_reports(self, record: FileRecord) -> None:
        """Remove what attempts that came to no end left of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{record.file_id}/")
        for info in page.items:
            if info.key not in (record.object_key, record.errors_key):
                await self.remove_object(info.key)

    async def remove_object(self, key: str) -> None:
        """Remove an object; one that does not exist is no error."""
        await self._store.delete_object(self._bucket, key)

    async def written(self, since: str, before: str) -> AsyncIterator[ObjectInfo]:
        """The objects of the bucket last written in that time."""
        start_after = ""
        while True:
            page = await self._store.list_objects(self._bucket, start_after=start_after)
            for info in page.items:
                if since <= info.last_modified < before:
                    yield info
            if page.next_key is None:
                return
            start_after = page.next_key


def report_key(record: FileRecord) -> str:
    """The key for the report of the attempt that wrote this record: no two share one."""
    return f"{record.file_id}/errors-{record.version}.ndjson"


def _mark(file_id: str) -> str:
    return f"{file_id}/deleted"


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
