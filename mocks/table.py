"""A table in memory: its rows, sorted indexes, and walks along them."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedList

from aggsvc.errors import ConditionFailed, InvalidRequest
from aggsvc.ports import Item, TableSchema
from mocks.item_size import text_size
from mocks.packing import Packed

MAX_KEY = 2048
RANKS = {int: 1, float: 1, str: 2}
STEP = 1000  # index entries walked before the loop has its turn

# Tuples of atoms, and tuples of these: the garbage collector stops tracking them, so that
# 100,000 items cost it nothing.
Position = tuple[Any, ...]  # rank and value of the attribute, those of the order, the key
# A Packed entry, and what is looked for without unpacking it.
Row = tuple[bytes, int, int, int | None, str | None, str, tuple[Position, ...]]
VERSION: Final = 3
STATUS: Final = 4
SEARCHED: Final = 5
POSITIONS: Final = 6


class Table:
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
        """The key of the item; raises InvalidRequest."""
        name = self.schema.key
        key = item.get(name) if isinstance(item, dict) else None
        if not isinstance(key, str) or not key or text_size(key) > MAX_KEY:
            raise InvalidRequest(f"{name} must be text of 1 to {MAX_KEY} bytes of UTF-8")
        return key

    def row(self, entry: Packed, key: str, item: Item) -> Row:
        """The row of an item; raises InvalidRequest where it cannot be put in order."""
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


class Walk:
    """A walk along one index, from a position on, past the rows that do not match."""

    def __init__(self, table: Table, status: str | None, search: str, sort: str) -> None:
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
