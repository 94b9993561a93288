"""SIGTERM amid everything: what moves ends well, what stalls is cut off, nothing is lost."""

import asyncio
import hashlib
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import orjson

from aggsvc.workers import DRAIN_SECONDS
from tests.api.helpers import MULTIPART, body, part
from tests.conftest import DEADLINE, until
from tests.machine import within
from tests.process.conftest import (
    NEVER_HELD_UP,
    ServerProcess,
    finished,
    listed,
    upload,
)
from tests.process.test_process import SAMPLE, file_of
from tests.raw import Raw, connected, head

# More than the store gathers before it writes, also without its end.
FILE = file_of(20_000)
LARGE = body(part(FILE))
BEGIN, END = LARGE[:-150_000], LARGE[-150_000:]
LENGTH = head(f"Content-Length: {len(LARGE)}")


async def test_sigterm_amid_everything_drains_and_loses_nothing(
    server: ServerProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """4 jobs and 3 waiting ones, 50 uploads (live, just sent, stalled), streams, half heads."""
    await server.start(PROCESSOR_WORKER_COUNT="4", PROCESSOR_ENGINE="rows")
    long = file_of(60_000)
    accepted = {await upload(http, server, long): long for _ in range(4)}
    accepted |= {await upload(http, server, SAMPLE): SAMPLE for _ in range(3)}
    async with AsyncExitStack() as stack:

        async def opened(count: int, sent: bytes) -> list[Raw]:
            connections = (connected(*server.address) for _ in range(count))
            found = [await stack.enter_async_context(one) for one in connections]
            for connection in found:
                await connection.send(sent)
            return found

        streams = await opened(10, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await opened(10, b"GET /fi")
        live = await opened(25, LENGTH + BEGIN)
        stalled = await opened(15, LENGTH + BEGIN)
        await until_under_way(server)
        sent = await opened(10, LENGTH + LARGE)
        going_on = asyncio.gather(*(slowly(connection, END) for connection in live))
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await until_not_ready(http, server)
        await assert_refused(http, server)
        refused = [await connection.refusal(503, "send the file again") for connection in stalled]
        assert time.monotonic() - began < DRAIN_SECONDS
        assert all(fields["retry-after"].isdigit() for fields in refused)
        await going_on
        for connection in live:
            file_id = await taken(connection)
            assert file_id
            accepted[file_id] = FILE
        for connection in sent:  # may have come a moment too late, but none is left unanswered
            if file_id := await taken(connection):
                accepted[file_id] = FILE
        for connection in streams:
            assert (await connection.head())[0] == 200
            await asyncio.wait_for(connection.reader.read(), DEADLINE)
        assert await server.stop() == 0
        assert within(time.monotonic() - began, DRAIN_SECONDS)
    assert "Traceback" not in server.log()
    await server.start()
    for file_id, data in accepted.items():
        record = await finished(http, server, file_id)
        assert record["sha256"] == hashlib.sha256(data).hexdigest()
        assert record["progress"]["rows_read"] == data.count(b"\n") - 1
        assert record["status"] == "partial"
    assert {record["file_id"] for record in await listed(http, server)} == set(accepted)
    names = {path.name for path in (tmp_path / "s3" / "uploads").iterdir()}
    assert {name.partition("%2F")[0] for name in names} == set(accepted)


async def until_under_way(server: ServerProcess) -> None:
    """Until the uploads sent so far have each begun their temporary file."""
    folder = str(server.folder / "s3" / "uploads")
    await until(lambda: server.descriptors(folder) >= 40, "the beginning")


async def until_not_ready(http: aiohttp.ClientSession, server: ServerProcess) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            async with http.get(f"{server.url}/health") as answer:
                if answer.status == 503:
                    return
            await asyncio.sleep(0.01)


async def assert_refused(http: aiohttp.ClientSession, server: ServerProcess) -> None:
    for path in ("/files", "/ui"):
        async with http.post(
            f"{server.url}{path}", data=body(part(SAMPLE)), headers=MULTIPART
        ) as answer:
            assert answer.status == 503
            assert "stopping" in await answer.text()
            assert answer.headers["Retry-After"].isdigit()


async def slowly(connection: Raw, data: bytes) -> None:
    """Send the data in pieces, for longer than one that stalls is waited for."""
    step = len(data) // 12 + 1
    for at in range(0, len(data), step):
        await connection.send(data[at : at + step])
        await asyncio.sleep(0.3)


async def taken(connection: Raw) -> str | None:
    """The id of the file for which the connection reads 202, or None if that is 503."""
    status, fields = await connection.head()
    answer = orjson.loads(await connection.reader.readexactly(int(fields["content-length"])))
    assert status in (202, 503), answer
    return answer["file_id"] if status == 202 else None


async def test_a_listener_that_never_reads_does_not_hold_up_the_stop(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """Its buffers are full when the signal comes."""
    server.command = (sys.executable, "-c", NEVER_HELD_UP)
    await server.start()
    async with connected(*server.address) as connection:
        connection.writer.transport.pause_reading()
        await connection.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.gather(*(upload(http, server, SAMPLE) for _ in range(200)))
        assert await server.stop() == 0


async def test_a_download_that_nobody_reads_does_not_hold_up_the_stop(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    server.command = (sys.executable, "-c", NEVER_HELD_UP)
    await server.start()
    file_id = await upload(http, server, file_of(300_000))
    async with connected(*server.address) as connection:
        connection.writer.transport.pause_reading()
        await connection.send(f"GET /files/{file_id}/content HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.sleep(0.5)
        assert await server.stop() == 0


async def test_a_stop_with_nothing_to_do_waits_for_nobody(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """Idle connections and half a request head included."""
    server.command = (sys.executable, "-c", NEVER_HELD_UP)
    await server.start()
    await finished(http, server, await upload(http, server, SAMPLE))  # the engine is there
    async with connected(*server.address) as connection:
        await connection.send(b"GET /hea")
        assert await server.stop() == 0
