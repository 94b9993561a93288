"""Connections of bytes, for what no client would send."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from tests.conftest import DEADLINE

HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=frontier\r\n"


class Raw:
    """A connection of bytes, for what no client would send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and fields (names in lower case) of the next answer."""
        async with asyncio.timeout(DEADLINE):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.partition(": ") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in fields}

    async def refusal(self, status: int, *says: str) -> dict[str, str]:
        """The fields of the next answer, which is a problem of that status that says the words."""
        found, fields = await self.head()
        text = await self.reader.readexactly(int(fields["content-length"]))
        assert found == status, text
        assert fields["content-type"] == "application/problem+json"
        for word in says:
            assert word in orjson.loads(text)["detail"]
        return fields

    async def ended(self) -> bool:
        """Whether the server closes the connection, and sends nothing before."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Raw(reader, writer)
    finally:
        await hung_up(writer)


async def hung_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def head(*fields: str, path: str = "/files") -> bytes:
    return HEAD % path.encode() + "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
