"""What the service asks of its stores and queue: three Protocols and the data they exchange.

Every implementation passes the same contract suite (tests/contracts). Adapters translate their
library's errors into those of aggsvc.errors: ObjectNotFound, ConditionFailed, ItemTooLarge,
InvalidRequest (a key, cursor or range that makes no sense) and StoreUnavailable, of which StoreFull
and StoreReadOnly are kinds.
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from aggsvc.model import Job

Item = dict[str, Any]

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object: size in bytes, entity tag (unquoted), RFC 3339 UTC time."""

    key: str
    size: int
    etag: str
    content_type: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """One page of a listing in key order; next_key is None on the last, else pass it on."""

    items: tuple[ObjectInfo, ...]
    next_key: str | None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An open object: its description and the bytes asked for, in chunks, readable once.

    Chunks that also have `readinto(buffer)` put the next bytes, as many as they can, into memory
    that they are given; it returns how many, and 0 at the end.
    """

    info: ObjectInfo
    chunks: AsyncIterator[bytes]


class ObjectStore(Protocol):
    """Objects in buckets, as S3 has them. Keys are 1 to 1,024 bytes of UTF-8, any characters."""

    async def put_object(
        self,
        bucket: str,
        key: str,
        data: AsyncIterable[bytes],
        *,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Store the object whole, durably, replacing any of that key; on any error, not at all."""

    def get_object(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: tuple[int, int] | None = None,
    ) -> AbstractAsyncContextManager[StoredObject]:
        """Open the object, or bytes first to last (inclusive, cut to the end) of it.

        They come in chunks of at most CHUNK_BYTES.

        Raises ObjectNotFound, and InvalidRequest for a range that starts behind the end.
        """

    async def head_object(self, bucket: str, key: str) -> ObjectInfo:
        """Describe the object; raises ObjectNotFound."""

    async def list_objects(
        self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000
    ) -> ObjectPage:
        """One page of at most `limit` (1 to 1,000) objects, in order of the keys' UTF-8 bytes."""

    async def delete_object(self, bucket: str, key: str) -> None:
        """Remove the object durably; one that does not exist is no error."""

    async def check(self, bucket: str) -> None:
        """Raise StoreUnavailable unless objects can be read from and put in the bucket."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """How a table is keyed, guarded and listed.

    `key`: the partition key. `order`: the attribute that orders the listing (ties by key).
    `status`: the attribute that `query` filters by. `search`: the text attribute it searches.
    `sorts`: further attributes it can sort by. Every item's `version` (an integer from 1) guards
    conditional writes.
    """

    key: str
    order: str
    status: str
    search: str
    sorts: tuple[str, ...]


FILES_SCHEMA = TableSchema(
    key="file_id",
    order="uploaded_at",
    status="status",
    search="filename",
    sorts=("filename", "size_bytes", "error_count", "processing_ms"),
)

STATE_SCHEMA = TableSchema(key="name", order="name", status="status", search="name", sorts=())

# Listed by file through the status, the only attribute that `query` compares for equality.
KEYS_SCHEMA = TableSchema(
    key="key", order="expires_at", status="file_id", search="file_id", sorts=()
)


@dataclass(frozen=True, slots=True)
class ItemPage:
    """One page of items; cursor is None on the last, else pass it on to get the next."""

    items: tuple[Item, ...]
    cursor: str | None


class MetadataTable(Protocol):
    """Items with a partition key, as DynamoDB has them. An item is a dict of JSON values."""

    async def put_item(
        self, table: str, item: Item, *, expected_version: int | None = None
    ) -> None:
        """Store the item whole and durably, replacing any of that key.

        With expected_version the item that is there must have that `version` (0: there must be
        none), else ConditionFailed. Over 400 KB by DynamoDB's rule: ItemTooLarge.
        """

    async def get_item(self, table: str, key: str) -> Item | None:
        """A copy of the item of that key, or None."""

    async def delete_item(
        self, table: str, key: str, *, expected_version: int | None = None
    ) -> None:
        """Remove the item durably; a missing one is no error unless a version was expected."""

    async def scan(self, table: str, *, limit: int = 1000, cursor: str | None = None) -> ItemPage:
        """One page of all items, each once, in no order that means anything."""

    async def query(
        self,
        table: str,
        *,
        status: str | None = None,
        search: str = "",
        sort: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> ItemPage:
        """One page of the listing.

        `status` keeps the items of that status, `search` those whose search attribute contains
        the text (case-folded). `sort` is an attribute of the schema, "-" before it for descending;
        "" means newest first by the schema's order. Items without the attribute come first when
        ascending; ties go by order, then key. Raises InvalidRequest for an unknown sort, or a
        cursor that is not one of this listing.
        """

    async def count_by_status(self, table: str) -> dict[str, int]:
        """How many items there are of each status that occurs."""

    async def check(self) -> None:
        """Raise StoreUnavailable unless the table can be read and written."""


class JobQueue(Protocol):
    """Jobs, each leased to one consumer at a time."""

    async def send(self, job: Job) -> None:
        """Put a job at the end."""

    def lease(self) -> AbstractAsyncContextManager[Job]:
        """Wait for a job; a clean exit acknowledges it, any other gives it back."""

    def depth(self) -> int:
        """How many jobs wait to be leased, as far as is known without asking."""
