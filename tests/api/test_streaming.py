"""Uploads are streamed to the store: the server's memory does not grow with them."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.api.helpers import BOUNDARY, MULTIPART
from tests.conftest import GOOD_ROW, HEADER
from tests.test_logs import running, send

MIB = 1024 * 1024
SIZE = 300
ALLOWED = 64


def peak_mib(pid: int) -> float:
    """The most memory that the process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


async def test_a_large_upload_and_download_take_little_memory(tmp_path: Path) -> None:
    sent = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        disposition = 'Content-Disposition: form-data; name="file"; filename="large.csv"'
        yield f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
        for number in range(SIZE):
            chunk = bytes([number % 26 + 65]) * MIB  # no line end: the file is rejected at once
            sent.update(chunk)
            yield chunk
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    async with running(tmp_path) as service, aiohttp.ClientSession() as session:
        await send(session, service.url, HEADER + GOOD_ROW)
        before = peak_mib(service.process.pid)
        async with session.post(service.url + "/files", data=body(), headers=MULTIPART) as answer:
            assert answer.status == 202
            record = await answer.json()
        assert (record["size_bytes"], record["sha256"]) == (SIZE * MIB, sent.hexdigest())
        received = hashlib.sha256()
        async with session.get(f"{service.url}/files/{record['file_id']}/content") as answer:
            async for chunk in answer.content.iter_chunked(MIB):
                received.update(chunk)
        assert received.hexdigest() == sent.hexdigest()
        assert peak_mib(service.process.pid) - before < ALLOWED


async def test_a_large_other_field_is_not_kept(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=note\r\n\r\n".encode()
        for _ in range(100):
            yield b"x" * MIB

    async with running(tmp_path) as service, aiohttp.ClientSession() as session:
        await send(session, service.url, HEADER)
        before = peak_mib(service.process.pid)
        try:
            async with session.post(
                service.url + "/files", data=body(), headers=MULTIPART
            ) as answer:
                assert answer.status == 400
        except aiohttp.ClientConnectionError:
            pass  # the server need not read all of it
        assert peak_mib(service.process.pid) - before < ALLOWED
