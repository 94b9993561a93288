"""kill -9, at random moments and at every named step: what was promised is kept."""

import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import until
from tests.process.conftest import finished, listed, upload
from tests.process.crash_loop import GONE, CrashLoop, Server
from tests.process.failpoints import STEPS, Failpoint, Poison

MakeServer = Callable[..., Server]
ROWS = b"sensor_id,timestamp,value,note\na,2025-10-01,1,%s\n"
KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


@pytest.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[MakeServer]:
    """Servers that are killed at the end of the test, whatever came of it."""
    made = []

    def make(**settings: Any) -> Server:
        made.append(Server(tmp_path, "forkserver", **settings))
        return made[-1]

    yield make
    for server in made:
        await server.end()


def test_every_step_to_be_killed_at_is_there() -> None:
    assert [name for name, (owner, step) in STEPS.items() if not hasattr(owner, step)] == []


async def test_twenty_kills_lose_nothing_double_nothing_and_leave_nothing(tmp_path: Path) -> None:
    """The first of what `make crash-test` runs."""
    report = await CrashLoop(tmp_path, 20, "forkserver").run(20)
    print(report)
    assert report.faults == []
    assert report.kills.total() == 20
    assert report.accepted > 20


# --- the file that kills the process, and those that ran beside it ---


async def until_killed_no_more(server: Server, http: aiohttp.ClientSession) -> int:
    """Start again after each kill, until all files are done; how often it was killed."""
    for kills in itertools.count(1):
        await server.ended()
        with contextlib.suppress(*GONE):
            await server.start(Poison())
            for record in await listed(http, server):
                await finished(http, server, record["file_id"])
            return kills
    raise AssertionError


async def until_processing(http: aiohttp.ClientSession, server: Server, *file_ids: str) -> None:
    async def all_are() -> bool:
        running = await listed(http, server, "status=processing")
        return {record["file_id"] for record in running} == set(file_ids)

    await until(all_are, "the processing")


@pytest.mark.parametrize(("max_attempts", "kills"), [(3, 3), (2, 2), (1, 2)])
async def test_a_file_that_kills_the_process_fails_and_those_beside_it_are_processed(
    make_server: MakeServer,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    max_attempts: int,
    kills: int,
) -> None:
    """Where there is one attempt only, a kill amid several files is nobody's yet."""
    server = make_server(processor_max_attempts=max_attempts, processor_worker_count=4)
    await server.start(Poison(tmp_path / "go"))
    beside = [await upload(http, server, ROWS % b"slow") for _ in range(3)]
    poison = await upload(http, server, ROWS % b"poison")
    behind = [await upload(http, server, ROWS % b"-") for _ in range(3)]
    await until_processing(http, server, *beside, poison)
    (tmp_path / "go").touch()
    assert await until_killed_no_more(server, http) == kills
    failed = await finished(http, server, poison)
    assert failed["status"] == "failed"
    assert f"begun {max_attempts} times and never came to its end" in failed["message"]
    for file_id in beside + behind:
        assert (await finished(http, server, file_id))["status"] == "processed"
    assert await server.end(signal.SIGTERM) == 0


async def test_a_file_that_was_alone_when_it_killed_the_process_is_charged_at_once(
    make_server: MakeServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server = make_server(processor_max_attempts=1)
    await server.start(Poison(tmp_path / "go"))
    poison = await upload(http, server, ROWS % b"poison")
    (tmp_path / "go").touch()
    assert await until_killed_no_more(server, http) == 1
    assert (await finished(http, server, poison))["status"] == "failed"


# --- Idempotency-Key over a kill ---


async def send(http: aiohttp.ClientSession, server: Server, data: bytes) -> tuple[int, Any, bool]:
    """Status, answer, and whether it is a replay."""
    form = aiohttp.FormData()
    form.add_field("file", data, filename="a.csv")
    async with http.post(f"{server.url}/files", data=form, headers=KEY) as answer:
        replayed = "Idempotency-Replayed" in answer.headers
        return answer.status, await answer.json(content_type=None), replayed


@pytest.mark.parametrize(
    ("step", "when", "is_kept"),
    [
        ("upload.put", "before", False),
        ("upload.put", "after", False),
        ("key.keep", "before", False),
        ("key.keep", "after", False),
        ("record.create", "before", False),
        ("record.create", "after", True),
        ("job.send", "after", True),
    ],
)
async def test_a_key_gives_one_file_wherever_the_first_request_was_killed(
    make_server: MakeServer, http: aiohttp.ClientSession, step: str, when: Any, is_kept: bool
) -> None:
    server = make_server()
    await server.start(Failpoint(step, when, 1))
    with pytest.raises(GONE):
        await send(http, server, ROWS % b"-")
    await server.ended()
    await server.start()
    found = [record["file_id"] for record in await listed(http, server)]
    assert len(found) == is_kept
    status, record, is_replay = await send(http, server, ROWS % b"-")
    assert (status, is_replay) == (202, is_kept)
    assert found in ([], [record["file_id"]])
    assert len(await listed(http, server)) == 1
    assert (await finished(http, server, record["file_id"]))["status"] == "processed"
    status, problem, _ = await send(http, server, ROWS % b"other")
    assert (status, problem["type"]) == (422, "/problems/key-reused")
