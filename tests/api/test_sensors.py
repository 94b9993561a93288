"""GET /files/{file_id}/sensors: figures, orders, pages, and what is said to who asks too soon."""

import csv
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aggsvc.errors import Busy
from aggsvc.sensorstore import MAX_LISTS
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    assert_problem,
    assert_refuses,
    json_of,
    processed,
    refused_at_first,
    settled,
)
from tests.conftest import BAD_ROW, GOOD_ROW, HEADER, Parts

SORTS = (
    "sensor_id",
    "row_count",
    "min_value",
    "max_value",
    "mean_value",
    "stddev_value",
    "first_timestamp",
    "last_timestamp",
)
# Kept within the record, and as an object of their own.
SIZES = [30, 1_500]


def rows(sensors: int) -> Iterator[bytes]:
    """One to three readings of each sensor, with ties in every column."""
    for number in range(sensors):
        for reading in range(number % 3 + 1):
            value = (number * 7 + reading) % 11 / 8
            time = f"2025-10-{number % 28 + 1:02}T08:00:{reading:02}Z"
            yield f"s-{number:04},{time},{value}\n".encode()


async def page(client: Client, file_id: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/files/{file_id}/sensors", params=query)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await json_of(answer)
    assert found.keys() == {"items", "next_cursor"}
    return found


async def walk(client: Client, file_id: str, **query: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    items: list[dict[str, Any]] = []
    while True:
        found = await page(client, file_id, **query)
        items += found["items"]
        if found["next_cursor"] is None:
            return items
        assert len(found["items"]) == int(query.get("limit", 50))
        query["cursor"] = found["next_cursor"]


async def test_each_sensor_has_its_exact_figures(client: Client) -> None:
    values = [21.35, 19.87, -3.2, 1e16]
    times = ["2025-10-01T08:00:00Z", "2025-10-01", "9999-12-31T23:59:59.000500Z", "0001-01-01"]
    readings = zip(times, values, strict=True)
    data = HEADER + b"".join(f"b,{t},{v}\n".encode() for t, v in readings) + GOOD_ROW
    file_id = (await processed(client, data))["file_id"]
    assert (await page(client, file_id))["items"] == [
        {
            "sensor_id": "a",
            "row_count": 1,
            "min_value": 1.5,
            "max_value": 1.5,
            "mean_value": 1.5,
            "stddev_value": 0.0,
            "first_timestamp": "2025-10-01T08:00:00Z",
            "last_timestamp": "2025-10-01T08:00:00Z",
        },
        {
            "sensor_id": "b",
            "row_count": 4,
            "min_value": -3.2,
            "max_value": 1e16,
            "mean_value": statistics.mean(values),
            "stddev_value": statistics.pstdev(values),
            "first_timestamp": "0001-01-01T00:00:00Z",
            "last_timestamp": "9999-12-31T23:59:59.000500Z",
        },
    ]


@pytest.mark.parametrize("sensors", SIZES)
async def test_each_order_walks_every_sensor_exactly_once(sensors: int, client: Client) -> None:
    """However many there are; ties go by name, also where the order is descending."""
    file_id = (await processed(client, HEADER + b"".join(rows(sensors))))["file_id"]
    by_id = await walk(client, file_id)
    assert [item["sensor_id"] for item in by_id] == [f"s-{n:04}" for n in range(sensors)]
    assert sum(item["row_count"] for item in by_id) == len(list(rows(sensors)))
    for sort in SORTS:
        for descending in (False, True):
            items = await walk(client, file_id, sort="-" * descending + sort, limit=700)
            expected = sorted(by_id, key=lambda item: item[sort], reverse=descending)
            assert items == expected  # a reversed sort of Python leaves ties as they were


@pytest.mark.parametrize("sensors", SIZES)
@pytest.mark.parametrize(
    "search", ["s-0", "S-00", "7", "-", "s-0029", "nothing", "s-00290", "\udcff"]
)
async def test_a_search_keeps_the_ids_that_contain_the_text(
    search: str, sensors: int, client: Client
) -> None:
    """In each order, page by page, and never over the end of an id into the next."""
    file_id = (await processed(client, HEADER + b"".join(rows(sensors))))["file_id"]
    every = await walk(client, file_id, limit=1_000)
    wanted = [item for item in every if search.casefold() in item["sensor_id"]]
    query = {"q": "%FF"} if search == "\udcff" else {"q": search}
    assert await walk(client, file_id, limit=300, **query) == wanted
    expected = sorted(wanted, key=lambda item: item["mean_value"], reverse=True)
    assert await walk(client, file_id, limit=300, sort="-mean_value", **query) == expected


async def test_case_is_no_difference_in_any_script(client: Client) -> None:
    names = ["Straße-1", "STRASSE-2", "Ärmel", "ärmel", "kelvin", "\u212aelvin", "İ", "x"]
    data = HEADER + "".join(f"{name},2025-10-01,1\n" for name in names).encode()
    file_id = (await processed(client, data))["file_id"]
    for search in ("strasse", "STRAßE", "ÄRMEL", "rm", "KELVIN", "i", "X", "e-"):
        found = {item["sensor_id"] for item in await walk(client, file_id, q=search)}
        assert found == {name for name in names if search.casefold() in name.casefold()}


@pytest.mark.parametrize("sensors", [*SIZES, 5_000])
async def test_all_sensors_come_as_csv_in_the_order_asked_for(sensors: int, client: Client) -> None:
    file_id = (await processed(client, HEADER + b"".join(rows(sensors))))["file_id"]
    for query in ({}, {"sort": "-mean_value"}, {"q": "9", "sort": "row_count"}):
        expected = await walk(client, file_id, limit=1_000, **query)
        answer = await client.get(f"/files/{file_id}/sensors", params={"format": "csv", **query})
        assert answer.content_type == "text/csv"
        assert "a.csv.sensors.csv" in answer.headers["Content-Disposition"]
        told = list(csv.DictReader((await answer.text()).splitlines()))
        assert told == [{name: str(value) for name, value in one.items()} for one in expected]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"format": "xml"}, "json, csv or ndjson"),
        ({"format": "csv", "limit": "3"}, "limit and cursor"),
        ({"format": "csv", "sort": "size"}, "sensor_id"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(
    query: dict[str, str], says: str, client: Client
) -> None:
    await assert_refuses(client, "sensors", query, says)


async def test_few_lists_are_sent_at_a_time(parts: Parts) -> None:
    """Each holds its table in memory; one that was broken off makes room."""
    sent = await parts.submit(HEADER + GOOD_ROW)
    record = await parts.process(sent.file_id)
    async with AsyncExitStack() as stack:
        for _ in range(MAX_LISTS):
            await stack.enter_async_context(parts.service.open_sensors(record))
        with pytest.raises(Busy):
            await stack.enter_async_context(parts.service.open_sensors(record))
    async with parts.service.open_sensors(record) as pages:
        assert [len(page) async for page in pages] == [1]


async def test_the_default_limit_is_fifty_and_the_most_a_thousand(client: Client) -> None:
    file_id = (await processed(client, HEADER + b"".join(rows(1_001))))["file_id"]
    assert len((await page(client, file_id))["items"]) == 50
    most = await page(client, file_id, limit=1_000)
    assert len(most["items"]) == 1_000
    assert len((await page(client, file_id, cursor=most["next_cursor"]))["items"]) == 1
    for limit in ("0", "1001", "-1", "x", ""):
        answer = await client.get(f"/files/{file_id}/sensors", params={"limit": limit})
        await assert_problem(answer, 400, "1 to 1000")


@pytest.mark.parametrize("data", [HEADER, HEADER + BAD_ROW, b"x\n"])
async def test_a_file_without_readings_has_no_sensors(data: bytes, client: Client) -> None:
    """Whether it failed or is only empty."""
    file_id = (await processed(client, data))["file_id"]
    assert await page(client, file_id) == {"items": [], "next_cursor": None}


async def test_the_sensors_wait_for_the_end(make_client: MakeClient) -> None:
    client, file_id = await refused_at_first(make_client, "sensors")
    assert len((await page(client, file_id))["items"]) == 1


@pytest.mark.parametrize("sort", ["-", "--row_count", "name", "p50_value", "a\nb", "x" * 3_000])
async def test_a_bad_sort_is_told_the_good_ones(sort: str, client: Client) -> None:
    await assert_refuses(client, "sensors", {"sort": sort}, *SORTS)


@pytest.mark.parametrize(
    "cursor", ["x", "%%%", "bnVsbA", "W10", "e30", "WzEsMl0", "é", "=", "A" * 4_000]
)
async def test_a_bad_cursor_is_told_to_begin_without(cursor: str, client: Client) -> None:
    await assert_refuses(client, "sensors", {"cursor": cursor}, "cursor")


async def test_a_cursor_of_another_listing_is_refused(client: Client) -> None:
    data = HEADER + b"".join(rows(3))
    ours, theirs = [(await processed(client, data))["file_id"] for _ in range(2)]
    cursor = (await page(client, ours, limit=1))["next_cursor"]
    for file_id, sort, search in (
        (ours, "row_count", ""),
        (ours, "-sensor_id", ""),
        (theirs, "", ""),
        (ours, "", "s"),
    ):
        answer = await client.get(
            f"/files/{file_id}/sensors", params={"cursor": cursor, "sort": sort, "q": search}
        )
        await assert_problem(answer, 400, "cursor")


async def test_a_cursor_of_an_older_result_is_refused(client: Client) -> None:
    """Two pages are never of two results."""
    file_id = (await processed(client, HEADER + b"".join(rows(3))))["file_id"]
    cursor = (await page(client, file_id, limit=1))["next_cursor"]
    assert (await client.post(f"/files/{file_id}/reprocess")).status == 202
    await settled(client, file_id)
    answer = await client.get(f"/files/{file_id}/sensors", params={"cursor": cursor})
    await assert_problem(answer, 409, "processed again", "without a cursor")


async def test_a_cursor_of_chance_is_never_an_error_of_ours(client: Client) -> None:
    file_id = (await processed(client, HEADER + b"".join(rows(3))))["file_id"]
    cursor = (await page(client, file_id, limit=1))["next_cursor"]
    for at in range(len(cursor)):
        for char in "A_9":
            changed = cursor[:at] + char + cursor[at + 1 :]
            answer = await client.get(f"/files/{file_id}/sensors", params={"cursor": changed})
            assert answer.status in (200, 400, 409)
