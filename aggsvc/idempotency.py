"""Idempotency keys: which file each of them made, so that a request sent again makes no other.

A key's item is written before the record of its file. So a crash between the two leaves an item
that leads to no record, which counts for nothing, and one after them loses neither.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from aggsvc.errors import ConditionFailed, Conflict
from aggsvc.model import TIME_FORMAT, utc_now
from aggsvc.ports import Item, MetadataTable

KEPT_FOR = timedelta(hours=24)
PAGE = 100


class IdempotencyKeys:
    """The keys of the last 24 hours and the files that they made, in a table of their own.

    One process decides about a key at a time; which keys it has in hand it knows in memory.
    """

    def __init__(self, table: MetadataTable, name: str, *, kept_for: timedelta = KEPT_FOR) -> None:
        self._table = table
        self._name = name
        self._kept_for = kept_for
        self._held: set[str] = set()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Keep others from the key meanwhile; raises Conflict if another has it."""
        if key in self._held:
            raise Conflict(
                "the upload with this Idempotency-Key is still being received; "
                "wait for its answer, or send this one again when it has ended",
                "Idempotency-Key",
            )
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)

    async def find(self, key: str) -> str | None:
        """The id of the file that the key made, or was to make; None if there is none."""
        item = await self._table.get_item(self._name, key)
        return item["file_id"] if item and item["expires_at"] > utc_now() else None

    async def keep(self, key: str, file_id: str) -> None:
        """Note durably that the key makes this file."""
        expires = datetime.now(UTC) + self._kept_for
        item = {
            "key": key,
            "file_id": file_id,
            "expires_at": expires.strftime(TIME_FORMAT),
            "version": 1 + secrets.randbits(53),  # no other item of this key has it
        }
        await self._table.put_item(self._name, item)

    async def forget(self, file_id: str) -> None:
        """Remove the keys that made this file."""
        page = await self._table.query(self._name, status=file_id)
        await self._remove(page.items)

    async def sweep(self) -> int:
        """Remove the keys that have expired; returns how many."""
        removed = 0
        while late := await self._expired():
            await self._remove(late)
            removed += len(late)
        return removed

    async def _expired(self) -> list[Item]:
        page = await self._table.query(self._name, sort="expires_at", limit=PAGE)
        now = utc_now()
        return [item for item in page.items if item["expires_at"] <= now]

    async def _remove(self, items: tuple[Item, ...] | list[Item]) -> None:
        await asyncio.gather(*map(self._remove_one, items))

    async def _remove_one(self, item: Item) -> None:
        with suppress(ConditionFailed):  # the key has made another file meanwhile
            await self._table.delete_item(self._name, item["key"], expected_version=item["version"])
