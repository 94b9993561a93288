"""Problems: each kind is documented, and what is not even HTTP is answered with one."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import orjson
import pytest
from aiohttp import web

from aggsvc.app import create_app
from aggsvc.http.connections import Connections
from aggsvc.http.kinds import KINDS, kind_of_status
from aggsvc.settings import Settings
from tests.api.conftest import Client
from tests.api.helpers import assert_problem, json_of, post, processed
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, until
from tests.raw import connected

GET = b"GET /health/live HTTP/1.1\r\n"
POST = b"POST /files HTTP/1.1\r\nHost: x\r\n"
# What is not HTTP, with the kind of its problem.
MALFORMED = {
    "no request line": b"secret-word\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "another version": b"GET /secret-word HTTP/9.9\r\nHost: x\r\n\r\n",
    "a method that is none": b"secret-word@ / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a URL that is none": b"GET http://[secret-word HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": GET + b"Host: x\r\nsecret-word\r\n\r\n",
    "a header with a space in its name": GET + b"Host: x\r\nsecret-word y: 1\r\n\r\n",
    "a NUL in a header": GET + b"Host: x\r\nX: secret-word\0\r\n\r\n",
    "a folded header": GET + b"Host: x\r\nX: a\r\n secret-word\r\n\r\n",
    "no Host": GET + b"X: secret-word\r\n\r\n",
    "two Hosts": GET + b"Host: a\r\nHost: secret-word\r\n\r\n",
    "too many headers": GET + b"Host: x\r\n" + b"X: 1\r\n" * 40_000 + b"\r\n",
    "a length that is none": POST + b"Content-Length: secret-word\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length and chunks": POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another transfer encoding": POST + b"Transfer-Encoding: secret-word\r\n\r\n",
    "a chunk that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nsecret-word\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
TOO_LONG = {
    "a long path": b"GET /" + b"secret-word" * 900 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": GET + b"Host: x\r\nX: " + b"secret-word" * 900 + b"\r\n\r\n",
}


@pytest.fixture
async def address(settings: Settings) -> AsyncIterator[tuple[str, int]]:
    """Of the server as aggsvc/server.py makes it."""
    app = await asyncio.to_thread(create_app, settings)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server
    connections = Connections(runner.server, 100)
    server = await asyncio.get_running_loop().create_server(connections.new, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await runner.cleanup()


async def answered(address: tuple[str, int], sent: bytes) -> tuple[bytes, Any]:
    """Head and problem of the one answer, after which the connection is closed."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
    body = await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    return head, orjson.loads(body)


async def test_what_is_not_http_is_a_problem_that_tells_nothing_of_its_input(
    address: tuple[str, int], logged: list[dict[str, Any]]
) -> None:
    """Nor does the log repeat it, or show a traceback; the server goes on."""
    for name, sent in (MALFORMED | TOO_LONG).items():
        head, problem = await answered(address, sent)
        kind = KINDS["head-too-large" if name in TOO_LONG else "malformed-http"]
        assert problem["type"] == kind.type, name
        assert problem["request_id"] is None, name
        assert head.startswith(b"HTTP/1.0 %d " % kind.status), name
        assert b"\r\nContent-Type: application/problem+json\r\n" in head, name
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head, name
        told = (head + orjson.dumps(problem)).lower()
        assert not [word for word in (b"secret", b"aiohttp", b"python", b"b'") if word in told]
    malformed = [line for line in logged if line["event"] == "malformed request"]
    assert len(malformed) == len(MALFORMED)
    assert "secret" not in str(logged)


async def test_an_unknown_expectation_is_a_problem_on_every_path(address: tuple[str, int]) -> None:
    """Also where there is nothing, and where the expectation is no text."""
    paths = (b"GET /files", b"GET /nowhere", b"PUT /files", b"GET /ui", b"GET /events")
    for line, expected in product(paths, (b"<secret>", b"\xff secret")):
        request = b"%s HTTP/1.1\r\nHost: x\r\nX-Request-ID: r7\r\nExpect: %s\r\n\r\n"
        head, problem = await answered(address, request % (line, expected))
        assert head.startswith(b"HTTP/1.1 417 "), line
        assert b"\r\nX-Request-ID: r7\r\n" in head, line
        assert b"secret" not in head + orjson.dumps(problem), line
        told = (problem["type"], problem["field"], problem["request_id"])
        assert told == ("/problems/unknown-expectation", "Expect", "r7")


@pytest.mark.parametrize("path", [b"/files", b"/nowhere", b"/ui"])
async def test_a_request_line_without_a_version_is_malformed(
    path: bytes, address: tuple[str, int]
) -> None:
    """It may be one that was cut in two, and its rest taken for fields."""
    head, problem = await answered(address, b"GET %s\r\nHost: x\r\n\r\n" % path)
    assert head.split()[1] == b"400"
    assert problem["type"] == "/problems/malformed-http"
    assert "HTTP/1.1" in problem["detail"]


async def test_who_hangs_up_before_being_told_to_go_on_breaks_nothing(
    address: tuple[str, int], logged: list[dict[str, Any]]
) -> None:
    """Of what breaks the log has the traceback, which no client is to fill it with."""
    for _ in range(20):
        async with connected(*address) as raw:
            await raw.send(b"GET /files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")
            raw.writer.close()
    await until(lambda: any(line["event"] == "client hung up" for line in logged), "a hang-up")


async def test_each_kind_of_problem_is_documented_where_its_type_leads(client: Client) -> None:
    for kind in KINDS.values():
        answer = await client.get(kind.type)
        assert answer.status == 200
        shown = await json_of(answer)
        assert (shown["type"], shown["status"]) == (kind.type, kind.status)
        assert all(shown[name] for name in ("title", "when", "cure"))
    await assert_problem(await client.get("/problems/nonesuch"), 404, "/problems/nonesuch")


async def test_a_refusal_names_the_field_that_is_at_fault(client: Client) -> None:
    file_id = (await processed(client, HEADER + GOOD_ROW))["file_id"]
    sensors = f"/files/{file_id}/sensors"
    for url, field in {
        "/files?limit=0": "limit",
        "/files?status=x": "status",
        "/files?sort=x": "sort",
        "/files?cursor=x": "cursor",
        "/files?nonesuch": "nonesuch",
        "/files/nonesuch": "file_id",
        f"{sensors}?sort=x": "sort",
        f"{sensors}?cursor=x": "cursor",
        f"/files/{file_id}/errors?format=x": "format",
        "/nonesuch": None,
    }.items():
        assert (await json_of(await client.get(url)))["field"] == field, url
    for headers, field in (
        ({"Content-Type": "text/csv"}, "Content-Type"),
        ({"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "br"},
         "Content-Encoding"),
        ({"Content-Type": "text/csv", "Idempotency-Key": ""}, "Idempotency-Key"),
    ):  # fmt: skip
        assert (await json_of(await post(client, b"x", headers)))["field"] == field


def test_a_status_that_no_kind_has_is_told_by_its_own_name() -> None:
    """As RFC 9457 has it for problems that need no more words."""
    kind = kind_of_status(418)
    assert (kind.type, kind.title) == ("about:blank", "I'm a Teapot")
    assert kind_of_status(417).name == "unknown-expectation"
