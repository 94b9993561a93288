"""Server-sent events: the state now, each change, and an end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import ClientResponse

from aggsvc.keys import EVENT_STREAMS, SERVICE
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import Opened, assert_problem, processed, upload
from tests.conftest import BAD_ROW, DEADLINE, GOOD_ROW, HEADER, Gated, until


async def events_of(answer: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Each event's data; its name must be the data's type."""
    name = ""
    async for line in answer.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        if field == "data":
            data = orjson.loads(value)
            assert data["type"] == name
            yield data


async def all_of(answer: ClientResponse) -> list[dict[str, Any]]:
    """The events until the stream ends by itself."""
    async with asyncio.timeout(DEADLINE):
        return [event async for event in events_of(answer)]


async def test_the_stream_of_a_finished_file_is_its_state_and_ends(client: Client) -> None:
    record = await processed(client, HEADER + GOOD_ROW + BAD_ROW)
    answer = await client.get(f"/files/{record['file_id']}/events")
    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    (event,) = await all_of(answer)
    assert (event["type"], event["status"], event["file_id"]) == (
        "status",
        "partial",
        record["file_id"],
    )
    assert (event["row_count"], event["error_count"]) == (1, 1)
    assert event["progress"] == record["progress"]


async def test_the_stream_of_a_running_file_ends_after_its_end(make_client: MakeClient) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    record = await upload(client, HEADER + GOOD_ROW)
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    answer = await client.get(f"/files/{record['file_id']}/events")
    found = [await anext(events_of(answer))]
    opened.store.go.set()
    found += await all_of(answer)
    assert [event["status"] for event in found] == ["processing", "processed"]
    assert found[-1]["row_count"] == 1


async def test_the_stream_of_a_file_ends_when_it_is_deleted(make_client: MakeClient) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    record = await upload(client, HEADER)
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    answer = await client.get(f"/files/{record['file_id']}/events")
    assert (await anext(events_of(answer)))["status"] == "processing"
    await client.delete(f"/files/{record['file_id']}")
    assert await all_of(answer) == [{"file_id": record["file_id"], "type": "deleted"}]
    opened.store.go.set()


async def test_an_unknown_file_has_no_stream(client: Client) -> None:
    await assert_problem(await client.get("/files/nobody/events"), 404, "nobody")


async def test_the_stream_of_all_shows_each_change_and_deletion(client: Client) -> None:
    answer = await client.get("/events")
    record = await processed(client, HEADER + GOOD_ROW)
    await client.delete(f"/files/{record['file_id']}")
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE):
        async for event in events_of(answer):
            assert event["file_id"] == record["file_id"]
            found.append(event)
            if event["type"] == "deleted":
                break
    states = [event["status"] for event in found[:-1]]
    assert states[-1] == "processed"
    assert [s for s in ("uploaded", "processing", "processed") if s in states] == states
    answer.close()


async def test_two_listeners_hear_the_same(client: Client) -> None:
    answers = [await client.get("/events") for _ in range(2)]
    record = await upload(client, HEADER)
    for answer in answers:
        async with asyncio.timeout(DEADLINE):
            async for event in events_of(answer):
                assert event["file_id"] == record["file_id"]
                if event["status"] == "processed":
                    break
        answer.close()


async def test_a_listener_that_left_is_forgotten(client: Client) -> None:
    """At the next event, if not before."""
    hub = client.app[SERVICE]._events
    own = len(hub._subscriptions)  # of the service itself
    answer = await client.get("/events")
    assert len(hub._subscriptions) == own + 1
    answer.close()

    async def forgotten() -> bool:
        await upload(client, HEADER)
        return len(hub._subscriptions) == own

    await until(forgotten)


async def test_open_streams_do_not_hold_up_the_shutdown(client: Client) -> None:
    answers = [await client.get("/events") for _ in range(3)]
    async with asyncio.timeout(DEADLINE):
        await client.server.close()
        for answer in answers:
            assert await all_of(answer) == []
    assert client.app[EVENT_STREAMS]._open == set()
