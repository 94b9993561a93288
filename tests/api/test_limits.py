"""What is too large, too slow or too much is refused, with what would be right, and in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from aggsvc.http.connections import MAX_REFUSALS, Connections
from aggsvc.keys import ADMISSION, TRANSFERS
from aggsvc.settings import Settings
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    MULTIPART,
    Opened,
    assert_problem,
    body,
    json_of,
    part,
    post,
    upload,
)
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, Gated, stored_files, until
from tests.raw import HEAD, Raw, chunked, connected, head, hung_up

DATA = HEADER + GOOD_ROW * 3
WHOLE = body(part(DATA))


def raw(client: Client) -> AbstractAsyncContextManager[Raw]:
    return connected(client.host, client.port)


async def assert_nothing_left(client: Client, settings: Settings) -> None:
    await until(lambda: stored_files(settings.mock_s3_root_path) == [], "the clearing away")
    assert await json_of(await client.get("/files")) == {"items": [], "next_cursor": None}
    await until(lambda: len(client.app[TRANSFERS]) == 0, "the end of the transfer")
    assert client.app[ADMISSION].uploads == 0


# --- the largest upload ---


async def test_a_file_of_the_most_bytes_is_taken_and_one_more_is_413(
    make_client: MakeClient, settings: Settings
) -> None:
    client = await make_client(max_upload_bytes=len(DATA))
    await assert_problem(await post(client, body(part(DATA + b"\n"))), 413, f"{len(DATA):,} bytes")
    await assert_nothing_left(client, settings)
    assert (await upload(client, DATA))["size_bytes"] == len(DATA)


async def test_too_large_is_found_in_the_stream_where_no_length_is_given(
    make_client: MakeClient, settings: Settings
) -> None:
    client = await make_client(max_upload_bytes=1_000_000)
    async with raw(client) as connection:
        await connection.send(head("Transfer-Encoding: chunked"))
        await connection.send(chunked(WHOLE[: -len("\r\n--frontier--\r\n")]))
        sending = asyncio.create_task(endlessly(connection))
        fields = await connection.refusal(413, "1,000,000 bytes")
        assert fields["connection"] == "close"
        sending.cancel()
        await asyncio.wait({sending})
    await assert_nothing_left(client, settings)


async def endlessly(connection: Raw) -> None:
    while True:
        await connection.send(chunked(GOOD_ROW * 1_000))


@pytest.mark.parametrize("path", ["/files", "/files?"])
async def test_a_length_that_is_too_large_is_refused_before_the_body(
    path: str, make_client: MakeClient
) -> None:
    client = await make_client(max_upload_bytes=1_000_000)
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {10**12}", path=path))
        assert (await connection.refusal(413))["connection"] == "close"


# --- 100 Continue ---


async def test_continue_is_said_once_the_body_is_wanted(client: Client) -> None:
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {len(WHOLE)}", "Expect: 100-continue"))
        assert await connection.head() == (100, {})
        await connection.send(WHOLE)
        assert (await connection.head())[0] == 202


async def test_a_client_that_does_not_wait_for_continue_is_served(client: Client) -> None:
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {len(WHOLE)}", "Expect: 100-continue") + WHOLE)
        assert (await connection.head())[0] == 202


REFUSED_EARLY: dict[str, tuple[dict[str, Any], list[str], int]] = {
    "too large": ({"max_upload_bytes": 10}, [f"Content-Length: {10**9}"], 413),
    "stopping": ({}, ["Content-Length: 1000"], 503),
    "encoded": ({}, ["Content-Length: 1000", "Content-Encoding: gzip"], 415),
    "another kind": ({}, ["Content-Length: 1000", "Content-Type: text/csv"], 415),
}


@pytest.mark.parametrize("name", REFUSED_EARLY)
async def test_what_the_head_tells_is_refused_instead_of_continue(
    name: str, make_client: MakeClient
) -> None:
    """The first thing that the client reads is the final answer, and the connection ends."""
    changes, fields, status = REFUSED_EARLY[name]
    client = await make_client(**changes)
    if name == "stopping":
        client.app[ADMISSION].close()
    request = HEAD % b"/files"
    if name == "another kind":
        request = request.replace(b"Content-Type: multipart/form-data; boundary=frontier\r\n", b"")
    request += "".join(f"{field}\r\n" for field in [*fields, "Expect: 100-continue"]).encode()
    async with raw(client) as connection:
        await connection.send(request + b"\r\n")
        found, answered = await connection.head()
        assert found == status
        assert answered["connection"] == "close"
        assert ("retry-after" in answered) == (status == 503)


async def test_another_expectation_is_417(client: Client) -> None:
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {len(WHOLE)}", "Expect: the best"))
        await connection.refusal(417, "100-continue")


# --- encodings ---


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip", "x", ""])
@pytest.mark.parametrize("path", ["/files", "/ui", "/files/some/reprocess"])
async def test_an_encoded_body_is_415_and_told_what_is_taken(
    encoding: str, path: str, client: Client
) -> None:
    headers = MULTIPART | {"Content-Encoding": encoding}
    answer = await client.post(path, data=WHOLE, headers=headers)
    assert answer.headers["Accept-Encoding"] == "identity"
    await assert_problem(answer, 415, "Content-Encoding")


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
async def test_identity_is_no_encoding(encoding: str, client: Client) -> None:
    answer = await post(client, WHOLE, MULTIPART | {"Content-Encoding": encoding})
    assert answer.status == 202


# --- files that wait, uploads at once ---


async def test_uploads_are_refused_while_as_many_files_wait_as_may(
    make_client: MakeClient,
) -> None:
    """The file that is processed does not wait; those behind it do."""
    opened = Opened(Gated)
    client = await make_client(objects=opened, processor_worker_count=1, max_waiting_files=2)
    running = await upload(client, DATA)
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    for _ in range(2):
        await upload(client, DATA)
    for path in ("/files", f"/files/{running['file_id']}/reprocess"):
        answer = await client.post(path, data=WHOLE, headers=MULTIPART)
        assert answer.headers["Retry-After"].isdigit()
        await assert_problem(answer, 503, "files wait", "(2)", "try again")
    opened.store.go.set()

    async def taken() -> bool:
        return (await post(client, WHOLE)).status == 202

    await until(taken, "the next upload")


async def test_a_replay_is_answered_while_as_many_files_wait_as_may(
    make_client: MakeClient,
) -> None:
    """It makes no new job, so it takes nobody's place, not even while it is under way."""
    opened = Opened(Gated)
    client = await make_client(objects=opened, processor_worker_count=1, max_waiting_files=1)
    key = MULTIPART | {"Idempotency-Key": "k"}
    first = await json_of(await post(client, WHOLE, key))
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    async with raw(client) as replay:
        await replay.send(head("Content-Length: 100000\r\nIdempotency-Key: k") + WHOLE[:20])
        await until(lambda: client.app[ADMISSION].uploads == 1, "the replay")
        await upload(client, DATA)
    await assert_problem(await post(client, WHOLE), 503, "files wait")
    again = await post(client, WHOLE, key)
    assert (again.status, (await json_of(again))["file_id"]) == (202, first["file_id"])
    opened.store.go.set()


async def test_no_more_uploads_are_under_way_than_may(make_client: MakeClient) -> None:
    """One is given up, and the place is free; a reader is served all the while."""
    client = await make_client(max_concurrent_uploads=2)
    async with raw(client) as first, raw(client) as second:
        for connection in (first, second):
            await connection.send(head("Content-Length: 100000") + WHOLE[:20])
        await until(lambda: client.app[ADMISSION].uploads == 2, "the uploads")
        answer = await post(client, WHOLE)
        assert answer.headers["Retry-After"].isdigit()
        await assert_problem(answer, 503, "uploads", "(2)", "try again")
        assert (await client.get("/health")).status == 200
        second.writer.close()
        await until(lambda: client.app[ADMISSION].uploads == 1, "the free place")
        assert (await post(client, WHOLE)).status == 202


async def test_uploads_under_way_count_as_files_that_wait(make_client: MakeClient) -> None:
    client = await make_client(max_waiting_files=1)
    async with raw(client) as connection:
        await connection.send(head("Content-Length: 100000") + WHOLE[:20])
        await until(lambda: client.app[ADMISSION].uploads == 1, "the upload")
        await assert_problem(await post(client, WHOLE), 503, "files wait", "(1)")


async def test_refusing_is_logged_once_in_a_while(
    make_client: MakeClient, logged: list[dict[str, Any]]
) -> None:
    client = await make_client()
    client.app[ADMISSION].close()
    for _ in range(5):
        await assert_problem(await post(client, WHOLE), 503, "stopping")
    assert [line["event"] for line in logged].count("new work refused") == 1


# --- slow clients ---


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-Y: "], ids=str)
async def test_a_connection_without_a_whole_head_is_closed_in_time(
    sent: bytes, make_client: MakeClient
) -> None:
    client = await make_client(header_timeout=0.3)
    async with raw(client) as connection:
        await connection.send(sent)
        assert await connection.ended()


async def test_a_head_that_trickles_is_closed_in_time(make_client: MakeClient) -> None:
    client = await make_client(header_timeout=0.3)
    async with raw(client) as connection:
        await connection.send(b"GET / HTTP/1.1\r\n")
        ended = asyncio.create_task(connection.ended())
        for _ in range(500):
            await asyncio.sleep(0.02)
            if ended.done():
                break
            connection.writer.write(b"X-Y: z\r\n")
        assert await ended


async def test_a_trickling_second_head_is_closed_in_time(make_client: MakeClient) -> None:
    client = await make_client(header_timeout=0.3)
    async with raw(client) as connection:
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields = await connection.head()
        assert status == 200
        await connection.reader.readexactly(int(fields["content-length"]))
        await connection.send(b"GET / HT")
        assert await connection.ended()


@pytest.mark.parametrize("sent", [0, 20, len(WHOLE) - 30])
async def test_a_body_that_stalls_is_408(
    sent: int, make_client: MakeClient, settings: Settings
) -> None:
    client = await make_client(body_timeout=0.2)
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {len(WHOLE)}") + WHOLE[:sent])
        status, fields = await connection.head()
        assert status == 408
        assert fields["connection"] == "close"
    await assert_nothing_left(client, settings)


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_body_below_the_floor_is_408(
    framing: str, make_client: MakeClient, settings: Settings
) -> None:
    """However evenly it comes."""
    client = await make_client(body_timeout=0.3, min_upload_rate=10_000)
    frame = chunked if "chunked" in framing else bytes
    async with raw(client) as connection:
        await connection.send(head(framing) + frame(WHOLE[:100]))
        refusal = asyncio.create_task(connection.refusal(408, "10,000 bytes a second"))
        for _ in range(500):
            await asyncio.sleep(0.01)
            if refusal.done():
                break
            connection.writer.write(frame(b"1"))
        await refusal
    await assert_nothing_left(client, settings)


async def test_a_body_above_the_floor_is_taken_however_long_it_lasts(
    make_client: MakeClient,
) -> None:
    """Longer than a client that sends nothing is waited for."""
    client = await make_client(body_timeout=1, min_upload_rate=1_000)
    data = body(part(HEADER + GOOD_ROW * 200))
    async with raw(client) as connection:
        await connection.send(head(f"Content-Length: {len(data)}"))
        step = len(data) // 24 + 1
        for at in range(0, len(data), step):
            await connection.send(data[at : at + step])
            await asyncio.sleep(0.05)
        assert (await connection.head())[0] == 202


async def test_a_slow_disk_is_not_held_against_the_client(make_client: MakeClient) -> None:
    class SlowDisk:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def put_object(self, bucket: str, key: str, data: Any, **options: Any) -> Any:
            async def slowly() -> AsyncIterator[bytes]:
                async for chunk in data:
                    await asyncio.sleep(0.4)
                    yield chunk

            return await self.inner.put_object(bucket, key, slowly(), **options)

    client = await make_client(objects=SlowDisk, body_timeout=0.2)
    assert await upload(client, HEADER + GOOD_ROW * 30_000)


async def test_slow_clients_do_not_hold_up_others(make_client: MakeClient) -> None:
    """50 half heads and 50 bodies of a few bytes, while another's uploads are taken."""
    client = await make_client(body_timeout=600, max_concurrent_uploads=60)
    openings = [asyncio.open_connection(client.host, client.port) for _ in range(100)]
    slow = await asyncio.gather(*openings)
    for number, (_, writer) in enumerate(slow):
        writer.write(b"GET /he" if number % 2 else head("Content-Length: 999999"))
    await until(lambda: client.app[ADMISSION].uploads == 50, "the uploads")
    async with asyncio.timeout(DEADLINE):
        for _ in range(20):
            await upload(client, DATA)
    assert client.app[ADMISSION].uploads == 50
    for _, writer in slow:
        await hung_up(writer)


# --- connections ---


@asynccontextmanager
async def limited(client: Client, most: int) -> AsyncIterator[int]:
    """The port of a listener that lets in so many connections to the client's app."""
    connections = Connections(client.server.handler, most)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections.new, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_one_connection_too_many_is_told_so(client: Client) -> None:
    before = len(client.server.handler.connections)
    async with limited(client, before + 2) as port:
        first, second, third = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await until(lambda: len(client.server.handler.connections) == before + 2)
        refused = Raw(*third)
        await refused.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        fields = await refused.refusal(503, "connections", "(2)")
        assert fields["retry-after"].isdigit()
        assert fields["connection"] == "close"
        assert fields["x-content-type-options"] == "nosniff"
        assert await refused.ended()
        await hung_up(first[1])
        await until(lambda: len(client.server.handler.connections) == before + 1)
        taken = Raw(*await asyncio.open_connection("127.0.0.1", port))
        await taken.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await taken.head())[0] == 200
        for writer in (second[1], third[1], taken.writer):
            await hung_up(writer)


async def test_refused_connections_are_bounded_too(client: Client) -> None:
    async with limited(client, 0) as port:
        openings = [asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_REFUSALS + 5)]
        opened = [Raw(*streams) for streams in await asyncio.gather(*openings)]
        for connection in opened[MAX_REFUSALS:]:
            assert await connection.ended()
        for connection in opened:
            await hung_up(connection.writer)
