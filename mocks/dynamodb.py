"""MockDynamoDB: the metadata table as a journal on disk and sorted indexes in memory.

An item is kept as its journal entry `{"table":...,"key":...,"item":{...}}`, packed
(mocks/packing.py); a removal is `{"table":...,"key":...}`. Writes are decided upon the newest
state, journalled, and seen by readers once they are on disk.
"""

import asyncio
import base64
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from sortedcontainers import SortedList

from aggsvc.errors import ConditionFailed, InvalidParameter, InvalidRequest, ItemTooLarge
from aggsvc.ports import Item, ItemPage, TableSchema
from mocks.files import Files
from mocks.journal import Journal
from mocks.packing import SIZE, Packed, Packer

MAX_ITEM = 400 * 1024
MAX_KEY = 2048
MAX_DEPTH = 32
MAX_LIMIT = 1000
MAX_PAGE = 1024 * 1024  # bytes of items, as DynamoDB ends a page
RANKS = {int: 1, float: 1, str: 2}
STEP = 1000  # index entries walked before the loop has its turn
TURN = 128 * 1024  # bytes of items parsed before it has

# Tuples of atoms, and tuples of these: the garbage collector stops tracking them, so that
# 100,000 items cost it nothing.
Position = tuple[Any, ...]  # rank and value of the attribute, those of the order, the key
# A Packed entry, and what is looked for without unpacking it.
Row = tuple[bytes, int, int, int | None, str | None, str, tuple[Position, ...]]
VERSION: Final = 3
STATUS: Final = 4
SEARCHED: Final = 5
POSITIONS: Final = 6


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
        _check_size(item, key)
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
        walk = _Walk(target, status, search.casefold(), sort)
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

    def _table(self, name: str) -> "_Table":
        try:
            return self._tables[name]
        except KeyError:
            known = ", ".join(self._tables)
            raise InvalidRequest(f"there is no table {name!r}; there is {known}") from None

    async def _write(self, table: "_Table", key: str, entry: bytes, row: Row | None) -> None:
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


class _Table:
    """One table's rows and indexes, and the writes that are not on disk yet."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.rows: dict[str, Row] = {}
        self.keys = SortedList()
        self.statuses: Counter[str] = Counter()
        attributes = dict.fromkeys((schema.order, schema.status, *schema.sorts))
        self.indexes = {attribute: SortedList() for attribute in attributes}
        self._pending: dict[str, tuple[int, Row | None]] = {}

    def build(self) -> None:
        """Index the rows that were loaded."""
        self.keys = SortedList(self.rows)
        self.statuses = Counter(row[STATUS] for row in self.rows.values() if row[STATUS])
        columns = zip(*(row[POSITIONS] for row in self.rows.values()), strict=True)
        self.indexes.update(zip(self.indexes, map(SortedList, columns), strict=False))

    def key_of(self, item: Item) -> str:
        name = self.schema.key
        key = item.get(name) if isinstance(item, dict) else None
        if not isinstance(key, str) or not key or _text_size(key) > MAX_KEY:
            raise InvalidRequest(f"{name} must be text of 1 to {MAX_KEY} bytes of UTF-8")
        return key

    def row(self, entry: Packed, key: str, item: Item) -> Row:
        schema = self.schema
        order = _ranked(schema.order, item.get(schema.order))
        positions = tuple(
            [(*_ranked(attribute, item.get(attribute)), *order, key) for attribute in self.indexes]
        )
        status, searched = item.get(schema.status), item.get(schema.search)
        return (
            *entry,
            item.get("version"),
            str(status) if isinstance(status, str) else None,
            searched.casefold() if isinstance(searched, str) else "",
            positions,
        )

    def exists(self, key: str) -> bool:
        """Whether there is a row of the key, or may be once what is pending has settled."""
        return key in self.rows or key in self._pending

    def require(self, key: str, expected: int | None) -> None:
        """Raise ConditionFailed unless the newest state, pending writes included, is expected."""
        if expected is None:
            return
        newest = self._pending[key][1] if key in self._pending else self.rows.get(key)
        if (newest[VERSION] if newest else 0) != expected:
            found = f"version {newest[VERSION]}" if newest else "no item"
            raise ConditionFailed(f"{key}: expected version {expected}, there is {found}")

    def expect(self, key: str, row: Row | None) -> None:
        """Note a write that is to be settled."""
        count = self._pending.get(key, (0, None))[0]
        self._pending[key] = (count + 1, row)

    def settle(self, key: str, row: Row | None, kept: bool) -> None:
        """Show a write that is on disk, or forget one that failed, with all that wait on it."""
        count, newest = self._pending.pop(key)
        if count > 1:
            self._pending[key] = (count - 1, newest)
        if kept:
            self._replace(key, row)

    def _replace(self, key: str, row: Row | None) -> None:
        old = self.rows.pop(key, None)
        if row:
            self.rows[key] = row
        self._move(self.keys, key if old else None, key if row else None)
        self._count(old, -1)
        self._count(row, 1)
        before = old[POSITIONS] if old else [None] * len(self.indexes)
        after = row[POSITIONS] if row else [None] * len(self.indexes)
        for index, was, now in zip(self.indexes.values(), before, after, strict=True):
            self._move(index, was, now)

    def _move(self, index: SortedList, was: object, now: object) -> None:
        if was == now:
            return
        if was is not None:
            index.remove(was)
        if now is not None:
            index.add(now)

    def _count(self, row: Row | None, change: int) -> None:
        if row and row[STATUS]:
            self.statuses[row[STATUS]] += change
            if not self.statuses[row[STATUS]]:
                del self.statuses[row[STATUS]]


class _Walk:
    """A walk along one index, from a position on, past the rows that do not match."""

    def __init__(self, table: _Table, status: str | None, search: str, sort: str) -> None:
        schema = table.schema
        self._table = table
        self._status = status
        self._search = search
        self._attribute = sort.removeprefix("-") or schema.order
        self._descending = sort.startswith("-") or not sort
        if self._attribute not in table.indexes or sort == "-":
            known = ", ".join(table.indexes)
            raise InvalidRequest(f"cannot sort by {sort!r}; there is {known}, or - before one")
        self._low: Position | None = None
        self._high: Position | None = None
        if status is not None and self._attribute == schema.order:
            self._attribute = schema.status  # within one status, its index is in the same order
            self._low, self._high = (*_rank(status),), (*_rank(status), math.inf)
        self._column = list(table.indexes).index(self._attribute)

    def resume(self, value: Any, order: Any, key: str) -> None:
        """Go on behind the position that mark() gave."""
        order_name = self._table.schema.order
        position = (*_ranked(self._attribute, value), *_ranked(order_name, order), key)
        self._pass(position)

    def mark(self, row: Row) -> list[Any]:
        """The position of the row, as a cursor keeps it."""
        rank, value, order_rank, order, key = row[POSITIONS][self._column]
        return [value if rank else None, order if order_rank else None, key]

    async def collect(self, count: int) -> list[Row]:
        """The next rows that match, at most `count`; the loop has its turn between steps."""
        found: list[Row] = []
        if self._status is not None and not self._table.statuses[self._status]:
            return found
        while len(found) < count:
            step = list(islice(self._ahead(), STEP))
            found += islice(self._matching(step), count - len(found))
            if len(step) < STEP:
                break
            self._pass(step[-1])
            await asyncio.sleep(0)
        return found

    def _matching(self, positions: list[Position]) -> Iterator[Row]:
        rows, search, status = self._table.rows, self._search, self._status
        for position in positions:
            row = rows[position[-1]]
            if search in row[SEARCHED] and status in (None, row[STATUS]):
                yield row

    def _pass(self, position: Position) -> None:
        if self._descending:
            self._high = position
        else:
            self._low = position

    def _ahead(self) -> Iterator[Position]:
        # Both bounds are behind us or no row's position, so neither is included.
        index = self._table.indexes[self._attribute]
        positions: Iterator[Position] = index.irange(
            self._low, self._high, inclusive=(False, False), reverse=self._descending
        )
        return positions


class _State:
    """What the entries that are taken, one after the other, come to."""

    def __init__(self, schemas: Mapping[str, TableSchema]) -> None:
        self.tables = {name: _Table(schema) for name, schema in schemas.items()}
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


def _ranked(attribute: str, value: Any) -> tuple[int, Any]:
    rank = RANKS.get(type(value))
    if rank is not None:  # as nearly always, and loading asks for it a million times
        return rank, value
    try:
        return _rank(value)
    except TypeError:
        raise InvalidRequest(
            f"{attribute} must be text, a number or null: it is listed by"
        ) from None


def _rank(value: Any) -> tuple[int, Any]:
    """What makes values of different types comparable: null, then numbers, then text."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value
    raise TypeError(value)


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


def _check_size(item: Item, key: str) -> None:
    size = sum(_text_size(name) + _size(value, 1) for name, value in item.items())
    if size > MAX_ITEM:
        raise ItemTooLarge(f"the item {key} has {size} bytes; at most {MAX_ITEM} are allowed")


def _size(value: Any, depth: int) -> int:
    """The value's bytes by DynamoDB's rule; raises InvalidRequest for one that is not JSON."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"an item may nest {MAX_DEPTH} levels deep, not more")
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, str):
        return _text_size(value)
    if isinstance(value, int | float):
        return _number_size(value)
    if isinstance(value, list):
        return 3 + sum(1 + _size(element, depth + 1) for element in value)
    if isinstance(value, dict):
        parts = value.items()
        return 3 + sum(1 + _text_size(name) + _size(part, depth + 1) for name, part in parts)
    raise InvalidRequest(f"an item has JSON values only, not {type(value).__name__}")


def _text_size(text: Any) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("text with a lone surrogate is no UTF-8") from None
    except AttributeError:
        raise InvalidRequest(f"names in an item must be text, not {text!r}") from None


def _number_size(number: float) -> int:
    if isinstance(number, int):
        if not -(2**63) <= number < 2**64:
            raise InvalidRequest("an integer in an item must fit 64 bits")
    elif not math.isfinite(number):
        raise InvalidRequest(f"A number in an item must be finite, not {number}")
    digits = repr(abs(number)).split("e")[0].replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + (number < 0)
