"""What a crash left: unfinished files are queued again, objects to which no record leads removed.

A file that was being processed when the process died is a suspect. Suspects are processed before
all others and alone, so that one that kills the process again is the only one that is charged.

The state table holds one item: the owner, which begins the id of every file of this table, and
whether the service runs. One that says so at the start was left by a run that crashed, or could not
remove all that it was to remove; only then are this owner's objects looked through. Those of
another table in the same bucket are never touched.
"""

import asyncio
import secrets

import structlog

from aggsvc.errors import ConditionFailed
from aggsvc.filetable import FileTable
from aggsvc.model import Job, Status, utc_now
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue, MetadataTable

STATE = "state"
CRASHED = "the service ended while the file was processed, which begins anew"
ID_BYTES = 16
OWNER_BYTES = 4

log = structlog.get_logger()


class Recovery:
    """At the start `begin` and `requeue`, from then on `sweep` now and then, at the end `end`.

    Whichever raises StoreUnavailable can be called again. There is no id for a new file before the
    run has begun.
    """

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        table: MetadataTable,
        state_table: str,
        *,
        max_attempts: int,
    ) -> None:
        self._objects = objects
        self._files = files
        self._queue = queue
        self._table = table
        self._state_table = state_table
        self._max_attempts = max_attempts
        self._started = utc_now()
        self._owner = ""
        self._has_crashed = False

    async def begin(self) -> None:
        """Note that a run has begun; the first one for this table makes up the owner."""
        left = await self._table.get_item(self._state_table, STATE)
        owner = left["owner"] if left else secrets.token_hex(OWNER_BYTES)
        await self._note(owner, is_running=True)
        self._has_crashed = bool(left and left["is_running"])
        self._owner = owner

    def new_file_id(self) -> str:
        """An id for a new file: 32 hexadecimal digits, the first of them the owner's."""
        return self._owner + secrets.token_hex(ID_BYTES - OWNER_BYTES)

    async def recover(self) -> int:
        """Begin, then queue what waits; returns how many files that is."""
        if not self._owner:
            await self.begin()
        return await self.requeue()

    async def requeue(self) -> int:
        """Queue every file that waits or was being processed; returns how many there are."""
        interrupted = await self._interrupt()
        jobs = []
        async for record in self._files.each(Status.UPLOADED):
            await self._objects.remove_reports(record)
            is_suspect = record.attempts > 0 or record.file_id in interrupted
            jobs.append(Job(record.file_id, alone=is_suspect))
        for job in sorted(jobs, key=lambda job: not job.alone):
            await self._queue.send(job)
        return len(jobs)

    async def sweep(self) -> int:
        """Remove what the last run left that no record leads to; returns how many objects.

        What this run could not remove yet is tried again.
        """
        await self._objects.remove_leftovers()
        removed = 0
        if self._has_crashed:
            async for info in self._objects.of_owner(self._owner):
                await asyncio.sleep(0)  # a table in memory answers without giving way to others
                if info.last_modified < self._started:  # newer ones are on their way to a record
                    removed += await self._sweep_object(info.key)
            self._has_crashed = False
        return removed

    async def end(self) -> None:
        """Note that the run has ended well, unless there is still something to sweep."""
        await self._objects.remove_leftovers()
        if self._owner and not self._has_crashed and not self._objects.has_leftovers:
            await self._note(self._owner, is_running=False)

    async def _interrupt(self) -> set[str]:
        """Let what was being processed wait again, its attempts kept; returns the ids.

        Of several none is at its end yet: only one that ran alone is known to be the cause.
        """
        found = [record async for record in self._files.each(Status.PROCESSING)]
        most = self._max_attempts - (len(found) > 1)
        waiting = [one.waiting(CRASHED, min(one.attempts, most)) for one in found]
        saved = await asyncio.gather(*map(self._files.save, waiting), return_exceptions=True)
        for error in saved:
            # One that was deleted meanwhile, as it may be while this is tried again, is no loss.
            if isinstance(error, BaseException) and not isinstance(error, ConditionFailed):
                raise error
        return {one.file_id for one in waiting}

    async def _sweep_object(self, key: str) -> int:
        record = await self._files.find(key.partition("/")[0])
        if record is not None and key in record.all_keys:
            return 0
        await self._objects.remove_objects(key)
        return 1

    async def _note(self, owner: str, *, is_running: bool) -> None:
        item = {"name": STATE, "owner": owner, "is_running": is_running}
        await self._table.put_item(self._state_table, item)
