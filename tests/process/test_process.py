"""The service as a process: how it starts, refuses to start, stops, and comes back from a crash."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import DEADLINE
from tests.machine import within
from tests.process.conftest import (
    NEVER_HELD_UP,
    ServerProcess,
    assert_right,
    finished,
    listed,
    upload,
)

SAMPLE = (Path(__file__).parents[2] / "samples" / "readings.csv").read_bytes()

# Says when it has come to what it does about Ctrl-C: Python itself takes a moment too.
STARTING = """
import signal, aggsvc.__main__
handle = signal.signal
def handle_and_tell(*args):
    signal.signal = handle
    handle(*args)
    print("up", flush=True)
signal.signal = handle_and_tell
aggsvc.__main__.main()
"""


def file_of(rows: int, seed: int = 0) -> bytes:
    """Rows of which every tenth is bad."""
    generator = random.Random(seed)
    lines = [b"sensor_id,timestamp,value"]
    for row in range(rows):
        value = b"bad" if row % 10 == 9 else b"%.3f" % generator.uniform(-50, 50)
        lines.append(b"s%d,2025-10-01T00:00:%02dZ,%s" % (row % 7, row % 60, value))
    return b"\n".join(lines) + b"\n"


@pytest.mark.alone
async def test_starts_within_two_seconds_and_answers(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    started = time.monotonic()
    await server.start()
    assert within(time.monotonic() - started, 2)
    assert_right(await finished(http, server, await upload(http, server, SAMPLE)), SAMPLE)


def test_the_engine_is_not_imported_before_the_service_listens() -> None:
    """It takes as long as all else together."""
    found = subprocess.run(
        [sys.executable, "-c", "import sys, aggsvc.server; print('numba' in sys.modules)"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert found.stdout == "False\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_stop_ends_it_with_status_0_and_loses_nothing(
    server: ServerProcess, http: aiohttp.ClientSession, how: signal.Signals
) -> None:
    await server.start()
    file_id = await upload(http, server, SAMPLE)
    before = await finished(http, server, file_id)
    assert await server.stop(how) == 0
    assert '"event":"stopping"' in server.log()
    await server.start()
    assert await finished(http, server, file_id) == before
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.5, 0.8])
async def test_ctrl_c_while_it_starts_is_quiet(server: ServerProcess, seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTING,
        env=os.environ | server.settings,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    await process.stdout.readline()
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode in (0, 130)
    assert b"Traceback" not in errors
    assert b"KeyboardInterrupt" not in errors


async def test_ctrl_c_while_the_engine_is_compiled_ends_it_at_once_and_loses_nothing(
    server: ServerProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await server.start(NUMBA_CACHE_DIR=str(tmp_path / "empty"))
    file_id = await upload(http, server, SAMPLE)
    began = time.monotonic()
    assert await server.stop(signal.SIGINT) == 0
    assert within(time.monotonic() - began, 5)
    assert "Traceback" not in server.log()
    await server.start()
    assert_right(await finished(http, server, file_id), SAMPLE)


async def test_stopping_lets_the_running_job_finish_and_takes_no_other(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    await server.start(PROCESSOR_WORKER_COUNT="1", PROCESSOR_ENGINE="rows")
    long = file_of(200_000)
    running = await upload(http, server, long)
    waiting = await upload(http, server, SAMPLE)
    async with asyncio.timeout(DEADLINE):
        while not await listed(http, server, "status=processing"):
            await asyncio.sleep(0.01)
    assert await server.stop() == 0
    await server.start()
    record = await finished(http, server, running)
    assert record["status"] == "partial"
    assert server.log().count('"file_id":"' + running + '"') >= 2
    assert_right(await finished(http, server, waiting), SAMPLE)
    ended = [line for line in server.log().splitlines() if "processing ended" in line]
    assert [running in line for line in ended] == [True, False]


async def test_open_event_streams_do_not_hold_up_the_stop(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    server.command = (sys.executable, "-c", NEVER_HELD_UP)
    await server.start()
    async with http.get(f"{server.url}/events") as stream:
        assert stream.status == 200
        assert await server.stop() == 0


async def test_a_taken_port_is_one_line_and_status_1(server: ServerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, lines = await server.refusal(PORT=port)
    assert status == 1
    (line,) = lines
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "PORT" in line


async def test_a_second_process_on_the_same_data_names_the_first(server: ServerProcess) -> None:
    await server.start()
    status, lines = await server.refusal()
    assert status == 1
    (line,) = lines
    assert "is in use by process" in line


@pytest.mark.parametrize("name", ["MOCK_S3_ROOT_PATH", "MOCK_DYNAMODB_PERSISTENCE_PATH"])
async def test_a_folder_that_cannot_be_written_is_one_line(
    server: ServerProcess, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    status, lines = await server.refusal(**{name: str(tmp_path / "file" / "inside")})
    assert status == 1
    (line,) = lines
    assert str(tmp_path / "file") in line
    assert "Not a directory" in line


async def test_each_bad_setting_is_one_line(server: ServerProcess) -> None:
    status, lines = await server.refusal(PROCESSOR_WORKER_COUNT="many", LOG_LEVEL="LOUD")
    assert status == 1
    assert [line.split("=")[0] for line in sorted(lines)] == [
        "aggsvc: LOG_LEVEL",
        "aggsvc: PROCESSOR_WORKER_COUNT",
    ]


async def test_a_damaged_journal_stops_the_start_and_is_named(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    await server.start()
    for _ in range(3):
        await finished(http, server, await upload(http, server, SAMPLE))
    await server.stop()
    (journal,) = server.folder.glob("db.json.journal.*")
    damaged = bytearray(journal.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    journal.write_bytes(damaged)
    status, lines = await server.refusal()
    assert status == 1
    (line,) = lines
    assert str(journal) in line
    assert "byte" in line or "offset" in line


async def test_a_misspelt_variable_is_warned_about(server: ServerProcess) -> None:
    await server.start(PROCESSOR_WORKERS="2")
    assert "PROCESSOR_WORKER_COUNT" in server.log()
