"""GET /files: order, filters, pages, and what is said to who asks for what there is not."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.helpers import assert_problem, json_of, processed, upload
from tests.conftest import BAD_ROW, GOOD_ROW, HEADER

SORTS = ("uploaded_at", "filename", "size_bytes", "error_count", "processing_ms", "status")


async def listing(client: Client, **query: Any) -> dict[str, Any]:
    answer = await client.get("/files", params=query)
    assert answer.status == 200, await answer.text()
    page: dict[str, Any] = await json_of(answer)
    assert page.keys() == {"items", "next_cursor"}
    return page


async def walk(client: Client, **query: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    items: list[dict[str, Any]] = []
    while True:
        page = await listing(client, **query)
        assert len(page["items"]) <= int(query.get("limit", 50))
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        query["cursor"] = page["next_cursor"]


@pytest.fixture
async def names(client: Client) -> list[str]:
    """Seven files, oldest first: two processed, three partial, two failed."""
    contents = [HEADER, GOOD_ROW, HEADER + GOOD_ROW, *[HEADER + GOOD_ROW + BAD_ROW] * 3, b"x"]
    found = []
    for number, content in enumerate(contents):
        name = f"{'abcABCx'[number]}-{number}.csv"
        await processed(client, content, name)
        found.append(name)
    return found


async def test_no_files_are_an_empty_page(client: Client) -> None:
    assert await listing(client) == {"items": [], "next_cursor": None}


async def test_the_newest_comes_first(client: Client, names: list[str]) -> None:
    assert [item["filename"] for item in await walk(client)] == names[::-1]


async def test_items_are_records_without_their_long_lists(client: Client, names: list[str]) -> None:
    item = (await listing(client, status="partial"))["items"][0]
    record = await json_of(await client.get(f"/files/{item['file_id']}"))
    del record["errors"], record["history"]
    for name in ("per_sensor_count", "histogram", "time_series"):
        del record["aggregates"][name]
    assert item == record


@pytest.mark.parametrize(
    ("status", "count"),
    [("processed", 2), ("partial", 3), ("failed", 2), ("uploaded", 0), ("processing", 0), ("", 7)],
)
async def test_only_files_of_the_status_asked_for(
    status: str, count: int, client: Client, names: list[str]
) -> None:
    items = await walk(client, status=status)
    assert len(items) == count
    assert {item["status"] for item in items} <= ({status} if status else {*"pfu"} | {
        "processed", "partial", "failed"
    })  # fmt: skip
    assert items == await walk(client, status=status, limit=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("b-", ["B-4.csv", "b-1.csv"]),
        ("B-4", ["B-4.csv"]),
        ("nobody", []),
        ("%", []),
        (".*", []),
        ("", None),
    ],
)
async def test_a_search_finds_text_in_the_name_whatever_its_case(
    text: str, found: list[str] | None, client: Client, names: list[str]
) -> None:
    items = await walk(client, q=text, limit=1)
    assert [item["filename"] for item in items] == (names[::-1] if found is None else found)


async def test_a_search_within_a_status(client: Client, names: list[str]) -> None:
    items = await walk(client, q="-4", status="partial")
    assert [item["filename"] for item in items] == ["B-4.csv"]


@pytest.mark.parametrize("limit", [1, 3, 200])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_each_sort_walks_every_file_exactly_once_in_order(
    sort: str, descending: bool, limit: int, client: Client, names: list[str]
) -> None:
    items = await walk(client, sort="-" + sort if descending else sort, limit=limit)
    assert sorted(item["filename"] for item in items) == sorted(names)
    values = [item[sort] for item in items]
    assert values == sorted(values, reverse=descending)


async def test_files_of_the_same_moment_and_name_are_each_seen_once(client: Client) -> None:
    sent = await asyncio.gather(*(upload(client, HEADER, "same.csv") for _ in range(25)))
    for sort in ("", "filename", "-filename", "size_bytes"):
        items = await walk(client, sort=sort, limit=7)
        assert sorted(i["file_id"] for i in items) == sorted(s["file_id"] for s in sent)


async def test_the_default_limit_is_fifty(client: Client) -> None:
    await asyncio.gather(*(upload(client, HEADER) for _ in range(51)))
    page = await listing(client)
    assert len(page["items"]) == 50
    assert len((await listing(client, cursor=page["next_cursor"]))["items"]) == 1


async def test_a_file_uploaded_meanwhile_disturbs_no_walk(client: Client, names: list[str]) -> None:
    first = await listing(client, limit=3)
    await upload(client, HEADER, "new.csv")
    rest = await walk(client, limit=3, cursor=first["next_cursor"])
    assert [item["filename"] for item in first["items"] + rest] == names[::-1]


@pytest.mark.parametrize(
    "limit", ["0", "201", "-1", "x", "1.5", "", "1e2", "0000001000", "٣", "9" * 5000]
)
async def test_a_bad_limit_is_told_the_bounds(limit: str, client: Client) -> None:
    await assert_problem(await client.get("/files", params={"limit": limit}), 400, "1 to 200")


@pytest.mark.parametrize("status", ["done", "PROCESSED", "partial ", "\ud7ff", "a\nb"])
async def test_a_bad_status_is_told_the_good_ones(status: str, client: Client) -> None:
    answer = await client.get("/files", params={"status": status})
    await assert_problem(answer, 400, "uploaded, processing, processed, partial, failed")


@pytest.mark.parametrize(
    "sort", ["-", "--filename", "file_id", "sha256", "filename,status", "a\nb"]
)
async def test_a_bad_sort_is_told_the_good_ones(sort: str, client: Client) -> None:
    await assert_problem(await client.get("/files", params={"sort": sort}), 400, *SORTS)


@pytest.mark.parametrize(
    "cursor", ["x", "%%%", "bnVsbA", "W10", "e30", "WzEsMl0", "é", "=", "A" * 4_000]
)
async def test_a_bad_cursor_is_told_to_begin_without(cursor: str, client: Client) -> None:
    await assert_problem(await client.get("/files", params={"cursor": cursor}), 400, "cursor")


async def test_a_cursor_of_another_listing_is_refused(client: Client, names: list[str]) -> None:
    cursor = (await listing(client, limit=2))["next_cursor"]
    for other in ({"sort": "filename"}, {"status": "partial"}, {"q": "a"}):
        answer = await client.get("/files", params={"cursor": cursor, **other})
        await assert_problem(answer, 400, "cursor")


async def test_a_cursor_of_chance_is_never_an_error_of_ours(
    client: Client, names: list[str]
) -> None:
    cursor = (await listing(client, limit=2))["next_cursor"]
    for at in range(0, len(cursor), 3):
        for char in "A_9":
            changed = cursor[:at] + char + cursor[at + 1 :]
            answer = await client.get("/files", params={"cursor": changed})
            assert answer.status in (200, 400)
