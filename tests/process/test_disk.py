"""The service as a process on a disk that is watched, fails, is full, or may not be written."""

import asyncio
import contextlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from aggsvc.errors import StoreFull
from tests.conftest import BUCKET, stored_files, until
from tests.contracts.metadata_table import record
from tests.machine import program
from tests.mocks.conftest import opened_table
from tests.process.conftest import DEADLINE, ServerProcess, upload

ROW = b"a,2025-10-01T08:00:00Z,1.5\n"
SMALL = b"sensor_id,timestamp,value\n" + ROW
LARGE = SMALL + ROW * 40_000
BAD_ROWS = 5_000  # that make a report of half a megabyte
LARGE_REPORT = b"sensor_id,timestamp,value\n" + ROW + b"x\n" * BAD_ROWS
UPLOADS = 200
AT_ONCE = 8
NOBODY = 65534
MAIN = "import sys; from aggsvc.__main__ import main; sys.exit(main())"
# Lets a process attach that is no ancestor, where the kernel's Yama forbids it otherwise.
TRACEABLE = "import ctypes; ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0); " + MAIN
# What is imported first could not be found later where only root may read this checkout.
BECOME_NOBODY = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
AS_NOBODY = (
    "import encodings.idna, encodings.unicode_escape, os, aggsvc.server, aggsvc.engine.lanes; "
    + BECOME_NOBODY
    + MAIN
)


class Server(ServerProcess):
    """A server that leaves its data where the test says."""

    @property
    def objects(self) -> Path:
        return Path(self.settings["MOCK_S3_ROOT_PATH"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    server.settings["PROCESSOR_ENGINE"] = "rows"
    yield server
    if server.url:
        await server.stop(signal.SIGKILL)


async def health(http: aiohttp.ClientSession, server: Server) -> int:
    async with http.get(f"{server.url}/health") as answer:
        await assert_nothing_told(answer, server)
        return answer.status


async def refused(http: aiohttp.ClientSession, server: Server, data: bytes) -> int:
    """The status that refuses an upload, of which nothing is left."""
    before = stored_files(server.objects)
    async with http.post(f"{server.url}/files", data={"file": io.BytesIO(data)}) as answer:
        assert answer.content_type == "application/problem+json"
        await assert_nothing_told(answer, server)
    assert stored_files(server.objects) == before
    return answer.status


async def assert_nothing_told(answer: aiohttp.ClientResponse, server: Server) -> None:
    """No path of the server's is in the answer."""
    text = await answer.text()
    assert "/s3" not in text
    assert "db.json" not in text
    assert str(server.objects) not in text


async def content(http: aiohttp.ClientSession, server: Server, file_id: str) -> bytes:
    async with http.get(f"{server.url}/files/{file_id}/content") as answer:
        answer.raise_for_status()
        return await answer.read()


class Call(NamedTuple):
    """A system call, and the lines of the trace on which it began and ended."""

    name: str
    text: str
    begun: int
    ended: int


def calls(trace: str) -> list[Call]:
    """The calls of a trace by `strace -f -o`, in the order of their beginnings."""
    open_calls: dict[str, tuple[str, int]] = {}
    found = []
    for number, line in enumerate(trace.splitlines()):
        thread, _, text = line.partition(" ")
        text = text.lstrip()
        if text.endswith("<unfinished ...>"):
            open_calls[thread] = text, number
        elif text[0].isalpha() or (text.startswith("<... ") and thread in open_calls):
            begun_text, begun = open_calls.pop(thread, ("", number))
            whole = begun_text + text
            found.append(Call(whole.partition("(")[0], whole, begun, number))
    return sorted(found, key=lambda call: call.begun)


def missing_before_answer(found: list[Call], file_id: str) -> str | None:
    """The first step that was not done before the next began, of those that a 202 promises."""
    rename = next(c for c in found if c.name == "rename" and f"{file_id}%2Fupload.csv" in c.text)
    temporary = re.search(r"\.tmp-[0-9a-f]{32}", rename.text)
    assert temporary
    written = [c for c in found if c.name == "write" and temporary[0] in c.text]
    steps: dict[str, Callable[[Call], bool]] = {
        "fsync of the object": lambda c: c.name == "fdatasync" and temporary[0] in c.text,
        "rename": lambda c: c is rename,
        "fsync of the folder": lambda c: c.name == "fsync" and f"/{BUCKET}>" in c.text,
        "journal": lambda c: c.name == "write" and ".journal." in c.text and file_id in c.text,
        "fsync of the journal": lambda c: c.name == "fdatasync" and ".journal." in c.text,
        "answer": lambda c: c.name == "sendto" and " 202 " in c.text and file_id in c.text,
    }
    now = max(call.ended for call in written)
    for name, is_step in steps.items():
        ends = [call.ended for call in found if call.begun > now and is_step(call)]
        if not ends:
            return name
        now = ends[0]
    return None


async def traced(server: Server, count: int, main: str) -> list[str | None]:
    """What each of so many uploads lacks in the order of its system calls."""
    trace = server.folder / "trace.txt"
    watched = "write,rename,fsync,fdatasync,sendto"
    options = ("-D", "-f", "-y", "-s", "100000", "--seccomp-bpf", "-o", str(trace))
    server.command = (program("strace"), *options, "-e", watched, sys.executable, "-c", main)
    await server.start()
    waiting = iter(range(count))

    async def client(http: aiohttp.ClientSession) -> list[str]:
        return [await upload(http, server, SMALL + ROW * number) for number in waiting]

    async with aiohttp.ClientSession() as http:
        accepted = await asyncio.gather(*(client(http) for _ in range(AT_ONCE)))
    await server.stop()
    await until(lambda: "+++ exited" in trace.read_text().splitlines()[-1], "the trace's end")
    found = calls(trace.read_text())
    return [missing_before_answer(found, file_id) for file_id in chain(*accepted)]


async def test_all_is_on_disk_in_order_before_a_client_reads_202(server: Server) -> None:
    """Of 200 uploads each: object, its name, the folder, the journal, each synced in its turn."""
    assert await traced(server, UPLOADS, MAIN) == [None] * UPLOADS


@pytest.mark.parametrize(
    ("without", "missing"),
    [("fdatasync", "fsync of the object"), ("fsync", "fsync of the folder")],
)
async def test_a_service_that_leaves_out_an_fsync_is_found_out(
    server: Server, without: str, missing: str
) -> None:
    """The test above can fail."""
    main = f"import os; os.{without} = lambda fd: None; {MAIN}"
    assert await traced(server, 3, main) == [missing] * 3


@contextlib.asynccontextmanager
async def failing(server: Server, call: str, path: str) -> AsyncIterator[None]:
    """Each such system call of the running server fails with EIO."""
    where = ("-P", str(server.folder / path)) if path else ()
    inject = (f"inject={call}:error=EIO", "-o", str(server.folder / "injected.txt"))
    strace = await asyncio.create_subprocess_exec(
        program("strace"), "-f", "-p", str(server.pid), *where, "-e", *inject,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert strace.stderr
    attached = await asyncio.wait_for(strace.stderr.readline(), DEADLINE)
    assert b"attached" in attached, attached
    try:
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        await asyncio.wait_for(strace.wait(), DEADLINE)


@pytest.mark.parametrize(
    ("call", "path"),
    [("fdatasync", ""), ("fsync", f"s3/{BUCKET}"), ("fdatasync", "db.json.journal.0")],
    ids=["object", "folder", "journal"],
)
async def test_a_failed_fsync_gives_no_202_and_a_store_that_is_read_only(
    server: Server, http: aiohttp.ClientSession, call: str, path: str
) -> None:
    server.command = (sys.executable, "-c", TRACEABLE)
    await server.start()
    kept = await upload(http, server, SMALL)
    assert await health(http, server) == 200
    async with failing(server, call, path):
        async with http.post(f"{server.url}/files", data={"file": io.BytesIO(SMALL)}) as answer:
            assert answer.status == 503
            await assert_nothing_told(answer, server)
        assert await health(http, server) == 503  # the next answer tells, no second later
    assert await refused(http, server, SMALL) == 503
    async with http.post(f"{server.url}/ui", data={"file": io.BytesIO(SMALL)}) as answer:
        assert answer.status == 503
        await assert_nothing_told(answer, server)
    assert await health(http, server) == 503
    assert await content(http, server, kept) == SMALL
    await server.stop(signal.SIGKILL)
    await server.start()
    async with http.get(f"{server.url}/files") as answer:
        assert [item["file_id"] for item in (await answer.json())["items"]] == [kept]
    assert await health(http, server) == 200
    await upload(http, server, SMALL)


@contextlib.contextmanager
def largest_file(server: Server, size: int) -> Iterator[None]:
    """No file that the server writes may become larger."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


async def test_an_upload_over_the_file_size_limit_is_507_and_leaves_nothing(
    server: Server, http: aiohttp.ClientSession
) -> None:
    await server.start()
    kept = await upload(http, server, SMALL)
    with largest_file(server, 500_000):
        assert await refused(http, server, LARGE) == 507
        assert await content(http, server, kept) == SMALL
        await upload(http, server, SMALL)
    assert await content(http, server, await upload(http, server, LARGE)) == LARGE
    assert "Traceback" not in server.log()


async def test_a_journal_that_cannot_grow_is_507_and_the_object_goes_again(
    server: Server, http: aiohttp.ClientSession
) -> None:
    await server.start()
    kept = [await upload(http, server, SMALL) for _ in range(5)]
    await settled(http, server)
    (journal,) = server.folder.glob("db.json.journal.*")
    with largest_file(server, journal.stat().st_size + 10):
        for _ in range(3):
            assert await refused(http, server, SMALL) == 507
        async with http.post(f"{server.url}/files/{kept[0]}/reprocess") as answer:
            assert answer.status == 507
        async with http.delete(f"{server.url}/files/{kept[0]}") as answer:
            assert answer.status == 507
        assert await content(http, server, kept[0]) == SMALL
    kept.append(await upload(http, server, SMALL))
    await settled(http, server)
    await server.stop(signal.SIGKILL)
    await server.start()
    for file_id in kept:
        assert await content(http, server, file_id) == SMALL


async def settled(http: aiohttp.ClientSession, server: Server) -> None:
    """Wait until no file is waiting or running."""
    async with asyncio.timeout(DEADLINE):
        for status in ("uploaded", "processing"):
            while True:
                async with http.get(f"{server.url}/files?status={status}") as answer:
                    if not (await answer.json())["items"]:
                        break
                await asyncio.sleep(0.02)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here; the limits above are tried all the same")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """A file that takes all the room but so many bytes."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


async def test_a_full_disk_is_507_until_there_is_room(
    server: Server, http: aiohttp.ClientSession, small_disk: Path
) -> None:
    """Reads and deletions go on, nothing is left of what was refused, and no restart is needed."""
    server.settings["MOCK_S3_ROOT_PATH"] = str(small_disk / "s3")
    server.settings["MOCK_DYNAMODB_PERSISTENCE_PATH"] = str(small_disk / "db.json")
    await server.start()
    kept = [await upload(http, server, SMALL) for _ in range(3)]
    await settled(http, server)
    for _ in range(2):
        assert await refused(http, server, LARGE) == 507
    filler = fill(small_disk)
    assert await refused(http, server, SMALL) == 507
    assert await health(http, server) == 503
    gone = kept.pop()
    async with http.delete(f"{server.url}/files/{gone}") as answer:
        assert answer.status == 204
    assert await refused(http, server, LARGE) == 507
    for file_id in kept:
        assert await content(http, server, file_id) == SMALL
    filler.unlink()
    kept.append(await upload(http, server, SMALL))
    assert await health(http, server) == 200
    await settled(http, server)
    assert all(".tmp-" not in name for name in os.listdir(small_disk))
    await server.stop(signal.SIGKILL)
    await server.start()
    for file_id in kept:
        assert await content(http, server, file_id) == SMALL
    async with http.get(f"{server.url}/files/{gone}") as answer:
        assert answer.status == 404


async def test_a_table_on_a_full_disk_takes_removals_and_nothing_else(small_disk: Path) -> None:
    """More of them than fit in the block that the journal has begun; also after a restart."""
    path, keys = small_disk / "db.json", [f"k{number:03}" for number in range(300)]
    async with opened_table(path) as table:
        for key in keys:
            await table.put_item("files", record(key))
        fill(small_disk)
    for some in (keys[:150], keys[150:]):
        async with opened_table(path) as table:
            for key in some:
                await table.delete_item("files", key)
            with pytest.raises(StoreFull):
                await table.put_item("files", record("k", text="x" * 4096))
    async with opened_table(path) as table:
        assert (await table.scan("files")).items == ()


async def test_a_disk_that_is_full_at_the_start_is_for_reading_until_there_is_room(
    server: Server, http: aiohttp.ClientSession, small_disk: Path
) -> None:
    """A file for whose row errors there is no room waits, says so, and loses no attempt by it."""
    server.settings["MOCK_S3_ROOT_PATH"] = str(small_disk / "s3")
    server.settings["MOCK_DYNAMODB_PERSISTENCE_PATH"] = str(small_disk / "db.json")
    server.settings["PROCESSOR_MAX_ATTEMPTS"] = "1"
    await server.start()
    kept = await upload(http, server, SMALL)
    await settled(http, server)
    fill(small_disk, leave=200_000)
    large = await upload(http, server, LARGE_REPORT)

    async def is_put_off() -> bool:
        async with http.get(f"{server.url}/files/{large}") as answer:
            return "no room" in ((await answer.json())["message"] or "")

    await until(is_put_off, "the message")
    filler = fill(small_disk)
    for how in (signal.SIGTERM, signal.SIGKILL):
        await server.stop(how)
        await server.start()
        assert await health(http, server) == 503
        assert await content(http, server, kept) == SMALL
        assert await refused(http, server, SMALL) == 507
    filler.unlink()
    await settled(http, server)
    async with http.get(f"{server.url}/files/{large}") as answer:
        assert (await answer.json())["error_count"] == BAD_ROWS
    await upload(http, server, SMALL)
    assert await health(http, server) == 200
    assert "Traceback" not in server.log()


@pytest.fixture
def others_folder(server: Server) -> Iterator[Path]:
    """A folder for the data of a server that runs as a user who is not root."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            server.command = (sys.executable, "-c", AS_NOBODY)
            os.chown(name, NOBODY, NOBODY)
        server.settings["MOCK_S3_ROOT_PATH"] = f"{name}/s3"
        server.settings["MOCK_DYNAMODB_PERSISTENCE_PATH"] = f"{name}/db.json"
        yield Path(name)


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(mode)


async def test_a_folder_that_this_user_cannot_write_refuses_the_start(
    server: Server, others_folder: Path
) -> None:
    with unwritable(others_folder):
        status, lines = await server.refusal()
    assert status == 1
    (line,) = lines
    assert f"{others_folder}/s3" in line
    assert "Permission denied" in line
    assert "let this user read and write there" in line


async def test_a_folder_that_cannot_be_written_any_more_is_503_until_it_can(
    server: Server, http: aiohttp.ClientSession, others_folder: Path
) -> None:
    await server.start()
    kept = await upload(http, server, SMALL)
    with unwritable(others_folder / "s3" / BUCKET):
        assert await refused(http, server, SMALL) == 503
        assert await health(http, server) == 503
        assert await content(http, server, kept) == SMALL
    await upload(http, server, SMALL)
    assert await health(http, server) == 200
    assert "Permission denied" in server.log()
