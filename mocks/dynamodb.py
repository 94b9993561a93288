"""MockDynamoDB: the metadata table as a journal on disk and sorted indexes in memory.

An item is kept as its journal entry `{"table":...,"key":...,"item":{...}}`, packed
(mocks/packing.py); a removal is `{"table":...,"key":...}`. Writes are decided upon the newest
state, journalled, and seen by readers once they are on disk.
"""

import asyncio
import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from aggsvc.errors import InvalidParameter, InvalidRequest
from aggsvc.ports import Item, ItemPage, TableSchema
from mocks.files import Files
from mocks.item_size import check_size
from mocks.journal import Journal
from mocks.packing import SIZE, Packed, Packer
from mocks.table import Row, Table, Walk

MAX_LIMIT = 1000
MAX_PAGE = 1024 * 1024  # bytes of items, as DynamoDB ends a page
TURN = 128 * 1024  # bytes of items parsed before it has


class MockDynamoDB:
    """A ports.MetadataTable in one journal (mocks/journal.py).

    As strict as DynamoDB: items of 400 KB, keys of 2,048 bytes, 32 levels of nesting, pages of at
    most `limit` items and about 1 MiB. After a failed fsync every write is refused.
    """

    def __init__(self, journal: Journal, state: "_State") -> None:
        self._journal = journal
        self._tables = state.tables
        self._others = state.others
        self._packer = state.packer
        journal.compact_from(self._rows, self._packer.unpack)

    @classmethod
    async def open(
        cls, files: Files, path: Path, tables: Mapping[str, TableSchema]
    ) -> "MockDynamoDB":
        """Read the tables kept at path; items of tables not named here are kept unseen.

        Raises StartRefused: DamagedStore, DataLocked, or the files cannot be used.
        """
        state = _State(tables)
        journal = await Journal.open(files, path, state.take)
        await asyncio.to_thread(state.build)
        return cls(journal, state)

    async def close(self) -> None:
        """Finish what is under way and let the files go."""
        await self._journal.close()

    async def put_item(
        self, table: str, item: Item, *, expected_version: int | None = None
    ) -> None:
        """Store the item as in ports.MetadataTable.put_item."""
        target = self._table(table)
        key = target.key_of(item)
        check_size(item, key)
        entry = orjson.dumps({"table": table, "key": key, "item": item})
        row = target.row(self._packer.pack(entry), key, item)
        target.require(key, expected_version)
        await self._write(target, key, entry, row)

    async def get_item(self, table: str, key: str) -> Item | None:
        """A copy of the item of that key, or None."""
        row = self._table(table).rows.get(key)
        return self._item(row) if row else None

    async def delete_item(
        self, table: str, key: str, *, expected_version: int | None = None
    ) -> None:
        """Remove the item durably; a missing one is no error unless a version was expected."""
        target = self._table(table)
        target.require(key, expected_version)
        if target.exists(key):
            await self._write(target, key, orjson.dumps({"table": table, "key": key}), None)

    async def scan(self, table: str, *, limit: int = 1000, cursor: str | None = None) -> ItemPage:
        """One page of all items, in order of their keys."""
        target = self._table(table)
        _check_limit(limit)
        listing = ["scan", table]
        after = _open_cursor(cursor, listing, [str])[0] if cursor is not None else ""
        keys = list(islice(target.keys.irange(after, inclusive=(False, True)), limit + 1))
        page = list(_cut([target.rows[key] for key in keys[:limit]]))
        more = len(keys) > len(page)
        following = _cursor(listing, [keys[len(page) - 1]]) if more else None
        return ItemPage(await self._items(page), following)

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
        """One page of the listing, as in ports.MetadataTable.query; "-" reverses ties too.

        Sorts: the schema's order, status and sorts. Items changed between two pages may be missed
        or seen twice if that moved them across the cursor; all others are seen once.
        """
        target = self._table(table)
        _check_limit(limit)
        listing = ["query", table, status, search, sort]
        walk = Walk(target, status, search.casefold(), sort)
        if cursor is not None:
            walk.resume(*_open_cursor(cursor, listing, [object, object, str]))
        rows = await walk.collect(limit + 1)
        page = list(_cut(rows[:limit]))
        more = len(rows) > len(page)
        following = _cursor(listing, walk.mark(page[-1])) if more else None
        return ItemPage(await self._items(page), following)

    async def count_by_status(self, table: str) -> dict[str, int]:
        """How many items there are of each status that occurs."""
        return dict(self._table(table).statuses)

    async def check(self) -> None:
        """Raise StoreUnavailable unless the table can be read and written."""
        await self._journal.check()

    def _table(self, name: str) -> "Table":
        try:
            return self._tables[name]
        except KeyError:
            known = ", ".join(self._tables)
            raise InvalidRequest(f"there is no table {name!r}; there is {known}") from None

    async def _write(self, table: "Table", key: str, entry: bytes, row: Row | None) -> None:
        settle = partial(table.settle, key, row)
        done = self._journal.append(entry, settle, makes_room=row is None)
        table.expect(key, row)
        await done

    def _rows(self) -> list[Packed | Row]:
        """Every entry there is, packed."""
        found: list[Packed | Row] = list(self._others.values())
        for table in self._tables.values():
            found += table.rows.values()
        return found

    def _item(self, row: Row) -> Item:
        item: Item = orjson.loads(self._packer.unpack(row))["item"]
        return item

    async def _items(self, rows: Sequence[Row]) -> tuple[Item, ...]:
        """The rows' items; the loop has its turn between large ones."""
        found, parsed = [], 0
        for row in rows:
            found.append(self._item(row))
            parsed += row[SIZE]
            if parsed >= TURN:
                parsed = 0
                await asyncio.sleep(0)
        return tuple(found)


class _State:
    """What the entries that are taken, one after the other, come to."""

    def __init__(self, schemas: Mapping[str, TableSchema]) -> None:
        self.tables = {name: Table(schema) for name, schema in schemas.items()}
        self.others: dict[tuple[str, str], Packed] = {}  # of tables that are not known here
        self.packer = Packer()

    def take(self, entry: bytes) -> None:
        written = orjson.loads(entry)
        name, key, item = written["table"], written["key"], written.get("item")
        packed = self.packer.pack(entry) if item else None
        table = self.tables.get(name)
        if table:
            _keep(table.rows, key, packed and table.row(packed, key, item))
        else:
            _keep(self.others, (name, key), packed)

    def build(self) -> None:
        for table in self.tables.values():
            table.build()


def _keep(kept: dict[Any, Any], key: object, value: object) -> None:
    if value:
        kept[key] = value
    else:
        kept.pop(key, None)


def _cut(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of one page: at least one, and about MAX_PAGE bytes."""
    size = 0
    for row in rows:
        size += row[SIZE]
        if size > MAX_PAGE and size > row[SIZE]:
            return
        yield row


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be 1 to {MAX_LIMIT}, not {limit}")


def _cursor(listing: list[Any], mark: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([listing, mark])).decode().rstrip("=")


def _open_cursor(cursor: str, listing: list[Any], types: list[type]) -> list[Any]:
    """What the cursor marks; raises InvalidParameter if it is none of this listing."""
    try:
        of, mark = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        sound = of == listing and all(map(isinstance, mark, types)) and len(mark) == len(types)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise InvalidParameter("the cursor is not one of this listing; begin without one", "cursor")
    return list(mark)
