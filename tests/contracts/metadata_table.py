"""What every ports.MetadataTable does. The subclass has a fixture `table` with table TABLE."""

import asyncio
import math
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggsvc.errors import ConditionFailed, InvalidRequest, ItemTooLarge
from aggsvc.ports import Item, MetadataTable

TABLE = "files"
LIMIT = 400 * 1024


def record(key: str, **others: Any) -> Item:
    return {
        "file_id": key,
        "version": 1,
        "status": "uploaded",
        "uploaded_at": f"2025-10-01T00:00:00.{int(key[1:] or 0):06d}Z"
        if key[1:].isdigit()
        else "2025",
        "filename": f"{key}.csv",
        **others,
    }


async def put(table: MetadataTable, *items: Item) -> None:
    for item in items:
        await table.put_item(TABLE, item)


async def listing(table: MetadataTable, **how: Any) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = await table.query(TABLE, cursor=cursor, **how)
        keys += [item["file_id"] for item in page.items]
        if page.cursor is None:
            return keys
        cursor = page.cursor


async def scanned(table: MetadataTable, limit: int = 1000) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = await table.scan(TABLE, limit=limit, cursor=cursor)
        keys += [item["file_id"] for item in page.items]
        if page.cursor is None:
            return keys
        cursor = page.cursor


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('abc"é\n'), inner, max_size=4)
    ),
    max_leaves=20,
)


def bits(value: Any) -> Any:
    """A value in which floats differ by their bits and 1 is not 1.0 or True."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, list):
        return [bits(part) for part in value]
    if isinstance(value, dict):
        return {name: bits(part) for name, part in value.items()}
    return (type(value), value)


class MetadataTableContract:
    async def test_an_item_comes_back_as_a_copy(self, table: MetadataTable) -> None:
        item = record("a", nested={"list": [1, 2.5, None, True, "é"]})
        await put(table, item)
        item["nested"]["list"].append("later")
        found = await table.get_item(TABLE, "a")
        assert found == record("a", nested={"list": [1, 2.5, None, True, "é"]})
        found["nested"] = "changed"
        assert await table.get_item(TABLE, "a") != found

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(value=JSON)
    def test_every_json_value_comes_back_bit_for_bit(self, make_table, value: Any) -> None:
        async def round_trip() -> None:
            async with make_table() as table:
                await put(table, record("a", value=value))
                found = await table.get_item(TABLE, "a")
                assert bits(found["value"]) == bits(value)

        asyncio.run(round_trip())

    async def test_what_is_not_there_is_none(self, table: MetadataTable) -> None:
        assert await table.get_item(TABLE, "missing") is None
        await table.delete_item(TABLE, "missing")

    async def test_a_deleted_item_is_gone_from_everywhere(self, table: MetadataTable) -> None:
        await put(table, record("a"), record("b"))
        await table.delete_item(TABLE, "a")
        assert await table.get_item(TABLE, "a") is None
        assert await scanned(table) == ["b"]
        assert await listing(table) == ["b"]
        assert await table.count_by_status(TABLE) == {"uploaded": 1}

    async def test_a_conditional_put_needs_the_version(self, table: MetadataTable) -> None:
        await table.put_item(TABLE, record("a"), expected_version=0)
        for wrong in (0, 2):
            with pytest.raises(ConditionFailed):
                await table.put_item(TABLE, record("a", version=9), expected_version=wrong)
        await table.put_item(TABLE, record("a", version=2), expected_version=1)
        assert (await table.get_item(TABLE, "a"))["version"] == 2
        with pytest.raises(ConditionFailed):
            await table.put_item(TABLE, record("b"), expected_version=1)

    async def test_a_conditional_delete_needs_the_version(self, table: MetadataTable) -> None:
        await put(table, record("a", version=3))
        for key in ("a", "missing"):
            with pytest.raises(ConditionFailed):
                await table.delete_item(TABLE, key, expected_version=2)
        await table.delete_item(TABLE, "a", expected_version=3)
        assert await table.get_item(TABLE, "a") is None

    async def test_of_conditional_puts_at_once_one_wins(self, table: MetadataTable) -> None:
        await put(table, record("a"))
        writes = [
            table.put_item(TABLE, record("a", version=2, by=i), expected_version=1)
            for i in range(8)
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(result) for result in results].count(ConditionFailed) == 7
        winner = next(i for i, result in enumerate(results) if result is None)
        assert (await table.get_item(TABLE, "a"))["by"] == winner

    async def test_an_item_of_400_kb_is_kept_and_one_byte_more_refused(
        self, table: MetadataTable
    ) -> None:
        item = {"file_id": "a", "version": 1, "text": ""}
        room = LIMIT - len("file_idaversiontext") - 2
        await table.put_item(TABLE, item | {"text": "x" * room})
        with pytest.raises(ItemTooLarge, match=str(LIMIT + 1)):
            await table.put_item(TABLE, item | {"text": "x" * (room + 1)})
        with pytest.raises(ItemTooLarge):
            await table.put_item(TABLE, item | {"text": "é" * (room // 2 + 1)})

    @pytest.mark.parametrize("key", ["", None, 7, "k" * 2049], ids=str)
    async def test_what_is_no_key_is_refused(self, table: MetadataTable, key: Any) -> None:
        with pytest.raises(InvalidRequest):
            await table.put_item(TABLE, {"file_id": key, "version": 1})

    @pytest.mark.parametrize(
        "value",
        [math.nan, math.inf, 2**64, -(2**63) - 1, {1: 2}, {"a": {1}}, "\ud800", b"x"],
        ids=ascii,
    )
    async def test_what_is_no_json_value_is_refused(self, table: MetadataTable, value: Any) -> None:
        with pytest.raises(InvalidRequest):
            await put(table, record("a", value=value))
        assert await table.get_item(TABLE, "a") is None

    async def test_an_unknown_table_is_refused(self, table: MetadataTable) -> None:
        with pytest.raises(InvalidRequest):
            await table.get_item("unknown", "a")

    async def test_a_scan_gives_each_item_once(self, table: MetadataTable) -> None:
        await put(table, *(record(f"k{i}") for i in range(25)))
        assert sorted(await scanned(table, limit=4)) == sorted(f"k{i}" for i in range(25))

    async def test_a_scan_stays_right_while_items_come_and_go(self, table: MetadataTable) -> None:
        await put(table, *(record(f"k{i:02d}") for i in range(0, 20, 2)))
        page = await table.scan(TABLE, limit=5)
        seen = [item["file_id"] for item in page.items]
        await table.delete_item(TABLE, seen[-1])
        await put(table, *(record(f"k{i:02d}") for i in range(1, 20, 2)))
        while page.cursor:
            page = await table.scan(TABLE, limit=5, cursor=page.cursor)
            seen += [item["file_id"] for item in page.items]
        assert {f"k{i:02d}" for i in range(0, 20, 2)} <= set(seen)
        assert len(seen) == len(set(seen))

    async def test_the_listing_is_newest_first(self, table: MetadataTable) -> None:
        await put(table, *(record(f"k{i}") for i in (3, 1, 2)))
        assert await listing(table) == ["k3", "k2", "k1"]
        assert await listing(table, sort="uploaded_at", limit=1) == ["k1", "k2", "k3"]

    async def test_ties_go_by_order_then_key(self, table: MetadataTable) -> None:
        await put(
            table,
            record("b", size_bytes=1, uploaded_at="2"),
            record("a", size_bytes=1, uploaded_at="2"),
            record("c", size_bytes=1, uploaded_at="1"),
        )
        assert await listing(table, sort="size_bytes", limit=1) == ["c", "a", "b"]

    async def test_items_without_the_attribute_come_first(self, table: MetadataTable) -> None:
        await put(
            table,
            record("k1", processing_ms=5),
            record("k2", processing_ms=None),
            record("k3"),
            record("k4", processing_ms=-2.5),
        )
        for limit in (1, 50):
            assert await listing(table, sort="processing_ms", limit=limit) == [
                "k2",
                "k3",
                "k4",
                "k1",
            ]
            assert await listing(table, sort="-processing_ms", limit=limit) == [
                "k1",
                "k4",
                "k3",
                "k2",
            ]

    @pytest.mark.parametrize("sort", ["", "uploaded_at", "-filename", "filename", "size_bytes"])
    async def test_filters_keep_what_matches(self, table: MetadataTable, sort: str) -> None:
        items = [
            record(
                f"k{i:02d}",
                status="failed" if i % 3 else "partial",
                filename=f"{'AB'[i % 2]}-{i}.CSV",
            )
            for i in range(30)
        ]
        await put(table, *items)
        for limit in (1, 4, 50):
            found = await listing(table, status="failed", search="a-", sort=sort, limit=limit)
            assert sorted(found) == [f"k{i:02d}" for i in range(30) if i % 3 and not i % 2]
        assert await listing(table, status="unknown", sort=sort) == []

    async def test_a_write_moves_the_item_in_the_listing(self, table: MetadataTable) -> None:
        await put(table, record("k1", size_bytes=1), record("k2", size_bytes=2))
        await put(table, record("k1", size_bytes=3, status="processed"))
        assert await listing(table, sort="size_bytes") == ["k2", "k1"]
        assert await listing(table, status="uploaded") == ["k2"]
        assert await table.count_by_status(TABLE) == {"processed": 1, "uploaded": 1}

    @pytest.mark.parametrize("how", [{}, {"status": "uploaded"}, {"sort": "filename"}], ids=str)
    async def test_pages_stay_right_while_items_come_and_go(
        self, table: MetadataTable, how: dict[str, Any]
    ) -> None:
        await put(table, *(record(f"k{i:02d}") for i in range(0, 20, 2)))
        page = await table.query(TABLE, limit=5, **how)
        seen = [item["file_id"] for item in page.items]
        await table.delete_item(TABLE, seen[-1])
        await put(table, *(record(f"k{i:02d}") for i in range(1, 20, 2)))
        while page.cursor:
            page = await table.query(TABLE, limit=5, cursor=page.cursor, **how)
            seen += [item["file_id"] for item in page.items]
        assert {f"k{i:02d}" for i in range(0, 20, 2)} <= set(seen)
        assert len(seen) == len(set(seen))

    async def test_a_cursor_of_another_listing_is_refused(self, table: MetadataTable) -> None:
        await put(table, *(record(f"k{i}") for i in range(4)))
        cursor = (await table.query(TABLE, limit=2)).cursor
        assert cursor
        for how in ({"sort": "filename"}, {"status": "uploaded"}, {"search": "k"}):
            with pytest.raises(InvalidRequest):
                await table.query(TABLE, cursor=cursor, **how)
        for wrong in ("", "x", "é", "W10", cursor[:-3], "bnVsbA"):
            with pytest.raises(InvalidRequest):
                await table.query(TABLE, cursor=wrong)
            with pytest.raises(InvalidRequest):
                await table.scan(TABLE, cursor=wrong)

    @pytest.mark.parametrize("sort", ["unknown", "-", "--filename", "errors"])
    async def test_an_unknown_sort_is_refused(self, table: MetadataTable, sort: str) -> None:
        with pytest.raises(InvalidRequest):
            await table.query(TABLE, sort=sort)

    @pytest.mark.parametrize("limit", [0, 1001])
    async def test_a_limit_out_of_range_is_refused(self, table: MetadataTable, limit: int) -> None:
        with pytest.raises(InvalidRequest):
            await table.query(TABLE, limit=limit)
        with pytest.raises(InvalidRequest):
            await table.scan(TABLE, limit=limit)

    async def test_pages_end_before_they_are_huge(self, table: MetadataTable) -> None:
        await put(table, *(record(f"k{i}", text="x" * 300_000) for i in range(8)))
        page = await table.query(TABLE)
        assert 1 <= len(page.items) < 8
        assert await listing(table) == [f"k{i}" for i in range(7, -1, -1)]
        assert len(await scanned(table)) == 8

    async def test_a_healthy_table_says_so(self, table: MetadataTable) -> None:
        await table.check()
