"""A real server in a process of its own, which the tests may stop, kill and start again."""

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from tests import oracle
from tests.conftest import DEADLINE

# What keeps a stop waiting keeps it longer than anything can take on a slow machine.
NEVER_HELD_UP = """
import sys, aggsvc.server
from aggsvc.__main__ import main
aggsvc.server.ANSWER_SECONDS = 300
sys.exit(main())
"""


class Listening(Protocol):
    """A server that can be asked."""

    url: str


class ServerProcess:
    """`python -m aggsvc` on a free port with its data in a folder; can be started again."""

    command: tuple[str, ...] = (sys.executable, "-m", "aggsvc")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.settings = {
            "MOCK_S3_ROOT_PATH": str(folder / "s3"),
            "MOCK_DYNAMODB_PERSISTENCE_PATH": str(folder / "db.json"),
            "PORT": "0",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def launch(self, **settings: str) -> asyncio.subprocess.Process:
        """Start a process without waiting for it to listen."""
        with (self.folder / "log.txt").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.command,
                env=os.environ | self.settings | settings,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def start(self, **settings: str) -> None:
        """Start the server and wait until it listens."""
        self._process = await self.launch(**settings)
        assert self._process.stdout
        line = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE)
        assert b"aggsvc listens on" in line, self.log()
        self.url = line.decode().split()[3]

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal to the process started last, and return its exit status."""
        assert self._process
        self.signal(how)
        return await asyncio.wait_for(self._process.wait(), DEADLINE)

    def signal(self, how: signal.Signals) -> None:
        """Send the signal, unless the process has ended."""
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(how)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which it listens."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def pid(self) -> int:
        """The id of the process started last."""
        assert self._process
        return self._process.pid

    def descriptors(self, kind: str = "") -> int:
        """How many descriptors the process has open whose target begins with `kind`."""
        found = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += str(entry.readlink()).startswith(kind)
        return found

    def log(self) -> str:
        """What all its processes have logged."""
        return (self.folder / "log.txt").read_text()

    async def refusal(self, **settings: str) -> tuple[int, list[str]]:
        """Exit status and last lines of a start that is refused."""
        before = len(self.log()) if (self.folder / "log.txt").exists() else 0
        process = await self.launch(**settings)
        status = await asyncio.wait_for(process.wait(), DEADLINE)
        return status, self.log()[before:].splitlines()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    yield server
    if server.url:
        await server.stop(signal.SIGKILL)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def upload(http: aiohttp.ClientSession, server: Listening, data: bytes) -> str:
    """Upload the bytes and return the file's id; raises ClientError if there is no 202."""
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(data), filename="readings.csv")
    async with http.post(f"{server.url}/files", data=form) as answer:
        answer.raise_for_status()
        assert answer.status == 202
        file_id: str = (await answer.json())["file_id"]
        return file_id


async def finished(http: aiohttp.ClientSession, server: Listening, file_id: str) -> Any:
    """The record once it is final."""
    async with asyncio.timeout(DEADLINE):
        while True:
            async with http.get(f"{server.url}/files/{file_id}") as answer:
                answer.raise_for_status()
                record = await answer.json()
            if record["status"] not in ("uploaded", "processing"):
                return record
            await asyncio.sleep(0.02)


async def listed(http: aiohttp.ClientSession, server: Listening, query: str = "") -> list[Any]:
    """The records of the first page of the listing."""
    async with http.get(f"{server.url}/files?limit=200&{query}") as answer:
        answer.raise_for_status()
        items: list[Any] = (await answer.json())["items"]
        return items


def assert_right(record: Any, data: bytes) -> None:
    """The record says what the oracle says of the file."""
    verdict = oracle.judge(data)
    assert record["aggregates"]["row_count"] == verdict.row_count
    assert record["aggregates"]["mean_value"] == verdict.mean_value
    assert record["aggregates"]["per_sensor_count"] == verdict.per_sensor_count
    assert record["error_count"] == len(verdict.errors)
    assert record["progress"]["rows_read"] == verdict.rows_read
