"""The records of files in the metadata table: read, written by version, and told as events."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace

from aggsvc.errors import NotFound
from aggsvc.events import EventHub, FileDeleted, FileEvent
from aggsvc.model import FileRecord, Status
from aggsvc.ports import MetadataTable


@dataclass(frozen=True, slots=True)
class RecordPage:
    """One page of records; cursor is None on the last."""

    items: tuple[FileRecord, ...]
    cursor: str | None


class FileTable:
    """The service's only way to its records; each durable change is published when it is made."""

    def __init__(self, table: MetadataTable, name: str, events: EventHub) -> None:
        self._table = table
        self._name = name
        self._events = events

    async def get(self, file_id: str) -> FileRecord:
        """The record; raises NotFound."""
        item = await self._table.get_item(self._name, file_id)
        if item is None:
            raise NotFound(f"there is no file with the id {file_id[:80]!r}", "file_id")
        return FileRecord.from_item(item)

    async def find(self, file_id: str) -> FileRecord | None:
        """The record, or None."""
        item = await self._table.get_item(self._name, file_id)
        return None if item is None else FileRecord.from_item(item)

    async def create(self, record: FileRecord) -> None:
        """Add a record; raises ConditionFailed if its id is taken."""
        await self._put(record, FileEvent.of(record), expected_version=0)

    async def save(self, record: FileRecord, event: str = "status") -> FileRecord:
        """Write what changed since the record was read, and return it with its new version.

        Raises ConditionFailed if it was written or deleted by another since.
        """
        saved = replace(record, version=record.version + 1)
        await self._put(saved, FileEvent.of(saved, event), expected_version=record.version)
        return saved

    async def delete(self, record: FileRecord) -> None:
        """Remove the record, whatever its version."""
        deletion = self._table.delete_item(self._name, record.file_id)
        await settled(self._told(deletion, FileDeleted(record.file_id)))

    async def list(
        self,
        *,
        status: Status | None = None,
        search: str = "",
        sort: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> RecordPage:
        """One page, as MetadataTable.query has it, of records as FileRecord.listed has them.

        Large records end the table's pages early, but not this one.
        """
        found: list[FileRecord] = []
        while True:
            page = await self._table.query(
                self._name,
                status=status,
                search=search,
                sort=sort,
                limit=limit - len(found),
                cursor=cursor,
            )
            found += map(FileRecord.listed, page.items)
            cursor = page.cursor
            if cursor is None or len(found) == limit:
                return RecordPage(tuple(found), cursor)

    async def each(self, status: Status) -> AsyncIterator[FileRecord]:
        """All records of a status, oldest first."""
        cursor = None
        while True:
            page = await self.list(status=status, sort="uploaded_at", limit=100, cursor=cursor)
            for record in page.items:
                yield record
            cursor = page.cursor
            if cursor is None:
                return

    async def check(self) -> None:
        """Raise StoreUnavailable unless records can be read and written."""
        await self._table.check()

    async def count_by_status(self) -> dict[str, int]:
        """How many files there are of each status."""
        return await self._table.count_by_status(self._name)

    async def _put(self, record: FileRecord, event: FileEvent, *, expected_version: int) -> None:
        write = self._table.put_item(
            self._name, record.to_item(), expected_version=expected_version
        )
        await settled(self._told(write, event))

    async def _told(
        self, write: Coroutine[None, None, None], event: FileEvent | FileDeleted
    ) -> None:
        await write
        self._events.publish(event)


async def settled(write: Coroutine[None, None, None]) -> None:
    """Do what writes to its end; if cancelled meanwhile, be so only once it has landed or not."""
    writing = asyncio.ensure_future(write)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        writing.cancelled() or writing.exception()
        raise
