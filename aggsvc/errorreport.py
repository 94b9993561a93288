"""The report of a file's row errors: an object beside the upload, written while they are found."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import structlog

from aggsvc.objects import FileObjects

if TYPE_CHECKING:
    from aggsvc.engine.row_errors import RowErrors

log = structlog.get_logger()


class ErrorReport:
    """The list of every row error as an object of JSON lines, written while it is found.

    There is no object until the first error, and none at all unless `finish` is reached.
    """

    def __init__(self, objects: FileObjects, key: str) -> None:
        self.count = 0
        self._objects = objects
        self.key = key
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._writing: asyncio.Task[object] | None = None

    async def add(self, errors: "RowErrors") -> None:
        """Write these errors next; raises what the store raises."""
        self.count += len(errors)
        if self._writing is None:
            put = self._objects.put_report(self.key, self._chunks())
            self._writing = asyncio.create_task(put)
        await self._hand_over(self._writing, await asyncio.to_thread(errors.json_lines))

    async def finish(self) -> str | None:
        """Make the report durable and return its key, or None if there was no error."""
        if self._writing is None:
            return None
        await self._hand_over(self._writing, None)
        await self._writing
        return self.key

    async def discard(self) -> None:
        """Leave nothing of the report behind."""
        if self._writing is not None:
            self._writing.cancel()
            (met,) = await asyncio.gather(self._writing, return_exceptions=True)
            if isinstance(met, Exception):  # maybe since the last `add`, and nobody knows of it
                log.warning("report not written", object_key=self.key, reason=str(met))
            await self._objects.remove_objects(self.key)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while (lines := await self._lines.get()) is not None:
            yield lines

    async def _hand_over(self, writing: asyncio.Task[object], lines: bytes | None) -> None:
        handing = asyncio.ensure_future(self._lines.put(lines))
        try:
            await asyncio.wait({handing, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()
        if writing.done():
            await writing
