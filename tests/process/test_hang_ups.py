"""Clients that hang up in the middle leave nothing: no object, temporary file or descriptor.

`make hang-up-test` runs 1,000 of each kind; HANG_UPS says how many.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

import aiohttp

from tests.api.helpers import body, part
from tests.conftest import stored_files, until
from tests.process.conftest import ServerProcess, listed, upload
from tests.process.test_process import file_of
from tests.raw import Raw, chunked, connected, head

HANG_UPS = int(os.environ.get("HANG_UPS", "3"))
MOST_LEFT = 32
# Half of it is more than the store gathers before it writes.
WHOLE = body(part(file_of(80_000)), part(b"a note", "note", None))
FRACTIONS = (0.0, 0.01, 0.5, 0.999)
FRAMINGS = (f"Content-Length: {len(WHOLE)}", "Transfer-Encoding: chunked")
PATHS = ("/files", "/ui")
ENDS = ("closes", "resets")
KINDS = list(itertools.product(FRACTIONS, FRAMINGS, PATHS, ENDS))


def objects_of(server: ServerProcess) -> str:
    return f"{server.folder}/s3/uploads/"


async def hang_up(
    server: ServerProcess, fraction: float, framing: str, path: str, end: str
) -> None:
    host, port = server.address
    async with connected(host, port) as connection:
        await connection.send(head(framing, path=path))
        await send_some(connection, WHOLE[: int(len(WHOLE) * fraction)], framing)
        await asyncio.sleep(random.random() / 50)  # somewhere in what the server does with it
        if end == "resets":
            connection.writer.transport.abort()


async def send_some(connection: Raw, data: bytes, framing: str) -> None:
    for at in range(0, len(data), 50_000):
        piece = data[at : at + 50_000]
        await connection.send(chunked(piece) if "chunked" in framing else piece)


async def test_clients_that_hang_up_leave_nothing(
    server: ServerProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await server.start(LOG_LEVEL="WARNING")
    sockets = server.descriptors("socket:")
    await hang_up_all(server, 1)  # all that is made once is made
    await until_settled(server, sockets)
    before = server.descriptors()
    await hang_up_all(server, HANG_UPS)
    await until_settled(server, sockets)
    await until(lambda: server.descriptors() <= before, "the closing of all")
    # A write that a thread had begun when its connection went makes and removes its file later.
    await until(lambda: not stored_files(tmp_path / "s3"), "the removal of half objects")
    assert await listed(http, server) == []
    await upload(http, server, file_of(10))
    assert "Traceback" not in server.log()


async def hang_up_all(server: ServerProcess, times: int) -> None:
    """Each kind so many times, all kinds at once, no faster than the server clears away."""
    for _ in range(times):
        await asyncio.gather(*(hang_up(server, *kind) for kind in KINDS))
        await until(lambda: server.descriptors(objects_of(server)) < MOST_LEFT, "the clearing")


async def until_settled(server: ServerProcess, sockets: int) -> None:
    """Until no connection and no object is open any more."""

    def settled() -> bool:
        objects = server.descriptors(objects_of(server))
        return server.descriptors("socket:") <= sockets and not objects

    await until(settled, "the end of the connections")
