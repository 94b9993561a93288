"""What a crash left: unfinished files are queued again, objects to which no record leads removed.

While the service runs, an item of the state table says since when. One that is there at the start
is that of a run that crashed: what it had written, and only that, may lack a record. Objects from
before, or of another table, are never touched.
"""

import asyncio

import structlog

from aggsvc.filetable import FileTable
from aggsvc.model import UNFINISHED, FileRecord, Job, utc_now
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue, MetadataTable

RUN = "run"

log = structlog.get_logger()


class Recovery:
    """Recovers at the start: `begin`, `requeue`, then beside the first requests `sweep`; `end`."""

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        table: MetadataTable,
        state_table: str,
    ) -> None:
        self._objects = objects
        self._files = files
        self._queue = queue
        self._table = table
        self._state_table = state_table
        self._started = utc_now()
        self._crashed: str | None = None

    async def begin(self) -> None:
        """Note that a run has begun, and since when the last one ran if it crashed."""
        left = await self._table.get_item(self._state_table, RUN)
        if left is None:
            await self._note(self._started)
        else:
            self._crashed = left["started_at"]

    async def requeue(self) -> int:
        """Queue every file that waits or was being processed; returns how many there are."""
        found = 0
        for status in reversed(UNFINISHED):
            async for record in self._files.each(status):
                await self._objects.remove_reports(record)
                await self._queue.send(Job(record.file_id))
                found += 1
        return found

    async def sweep(self) -> int:
        """Remove what the crashed run wrote and no record leads to; returns how many objects."""
        if self._crashed is None:
            return 0
        removed = 0
        async for info in self._objects.written(self._crashed, self._started):
            await asyncio.sleep(0)  # a table in memory answers without giving way to others
            file_id = info.key.partition("/")[0]
            removed += await self._sweep_file(file_id, await self._files.find(file_id), info.key)
        await self._note(self._started)
        self._crashed = None
        return removed

    async def end(self) -> None:
        """Note that the run has ended well, unless there is still something to sweep."""
        if self._crashed is None:
            await self._table.delete_item(self._state_table, RUN)

    async def _sweep_file(self, file_id: str, record: FileRecord | None, key: str) -> int:
        if record is None:
            return await self._objects.remove(file_id)
        if key in (record.object_key, record.errors_key):
            return 0
        await self._objects.remove_object(key)
        return 1

    async def _note(self, started_at: str) -> None:
        await self._table.put_item(self._state_table, {"name": RUN, "started_at": started_at})
