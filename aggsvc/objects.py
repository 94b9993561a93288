"""A file's objects in the bucket: the upload and the reports of its row errors."""

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

    async def remove(self, file_id: str) -> None:
        """Remove all objects of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{file_id}/")
        for info in page.items:
            await self.remove_object(info.key)

    async def remove_reports(self, record: FileRecord) -> None:
        """Remove what attempts that came to no end left of a file."""
        page = await self._store.list_objects(self._bucket, prefix=f"{record.file_id}/")
        for info in page.items:
            if info.key not in (record.object_key, record.errors_key):
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
