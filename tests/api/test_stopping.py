"""What a stop, or a request that is cancelled, does with the uploads that are under way."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from aggsvc.keys import ADMISSION, TRANSFERS
from aggsvc.settings import Settings
from tests.api.conftest import Client
from tests.api.helpers import assert_problem, body, json_of, part, post
from tests.api.test_limits import assert_nothing_left, raw
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, stored_files, until
from tests.raw import Raw, head

LARGE = body(part(HEADER + GOOD_ROW * 60_000))
LENGTH = head(f"Content-Length: {len(LARGE)}")


async def trickle(connection: Raw) -> None:
    """Bytes without end, faster than any floor."""
    with_pauses = 0.01
    while True:
        await connection.send(b"x" * 1_000)
        await asyncio.sleep(with_pauses)


async def under_way(client: Client, count: int = 1) -> None:
    await until(lambda: len(client.app[TRANSFERS]) == count, "the beginning")


async def test_an_upload_that_moves_is_broken_off_at_the_end_of_the_time(
    client: Client, settings: Settings
) -> None:
    async with raw(client) as connection:
        await connection.send(head("Content-Length: 100000000") + LARGE[:1000])
        await under_way(client)
        sending = asyncio.create_task(trickle(connection))
        began = time.monotonic()
        await client.app[TRANSFERS].finish(0.5)
        assert time.monotonic() - began >= 0.5
        fields = await connection.refusal(503, "the service stops", "send the file again")
        assert fields["retry-after"].isdigit()
        assert fields["connection"] == "close"
        sending.cancel()
        await asyncio.wait({sending})
    await assert_nothing_left(client, settings)


async def test_an_upload_that_ends_in_time_is_accepted(client: Client) -> None:
    async with raw(client) as connection:
        await connection.send(LENGTH + LARGE[:1000])
        await under_way(client)
        finishing = asyncio.create_task(client.app[TRANSFERS].finish(DEADLINE))
        await asyncio.sleep(0.1)
        await connection.send(LARGE[1000:])
        assert (await connection.head())[0] == 202
        await finishing


async def test_a_stop_does_not_wait_for_what_begins_later(client: Client) -> None:
    """Someone who downloads again and again cannot keep the service alive."""
    async with raw(client) as first, raw(client) as second:
        await first.send(LENGTH + LARGE[:1000])
        await under_way(client)
        finishing = asyncio.create_task(client.app[TRANSFERS].finish(2 * DEADLINE))
        await asyncio.sleep(0)
        await second.send(LENGTH + LARGE[:1000])
        await under_way(client, 2)
        await first.send(LARGE[1000:])
        assert (await first.head())[0] == 202
        await asyncio.wait_for(finishing, DEADLINE)


async def test_no_work_is_taken_any_more_and_reading_goes_on(client: Client) -> None:
    client.app[ADMISSION].close()
    await assert_problem(await post(client, LARGE), 503, "stopping")
    await assert_problem(await client.post("/files/any/reprocess"), 503, "stopping")
    assert await json_of(await client.get("/files")) == {"items": [], "next_cursor": None}


class Held:
    """A function of os that waits for `go`, in a thread of the stores while something `moves`."""

    def __init__(self, function: Callable[..., Any], moves: Callable[[], bool]) -> None:
        self.function = function
        self.moves = moves
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and self.moves():
            self.reached.set()
            assert self.go.wait(DEADLINE)
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
async def test_a_cancelled_request_whose_thread_goes_on_leaves_no_file_later(
    name: str, client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while a thread is about to write, rename, or sync the folder of its file."""
    # What the start of the service writes is not meant.
    held = Held(getattr(os, name), lambda: len(client.app[TRANSFERS]) > 0)
    async with raw(client) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(os, name, held)
            await connection.send(LENGTH + LARGE)
            await until(held.reached.is_set, name)
            (request,) = client.app[TRANSFERS]._open
            request.cancel()
            await asyncio.sleep(0.05)
            held.go.set()
            await asyncio.wait({request})
    await assert_nothing_left(client, settings)
    await asyncio.sleep(0.2)
    assert stored_files(settings.mock_s3_root_path) == []
