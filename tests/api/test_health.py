"""Health: each part's state, and whether the process lives."""

import threading
from typing import Any

import pytest

from aggsvc.engine.lanes import NO_NUMBA
from aggsvc.errors import StoreFull, StoreUnavailable
from aggsvc.health import NOT_LOADED
from aggsvc.keys import ENGINE, SERVICE, WORKERS
from aggsvc.model import Status
from aggsvc.settings import Settings
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import Opened, assert_problem, body, json_of, part, post, settled, upload
from tests.conftest import BUCKET, DEADLINE, HEADER, Through, opened_parts


class Ill(Through):
    """A store whose check fails."""

    async def check(self, *_bucket: str) -> None:
        raise StoreUnavailable("the disk is gone")


async def test_all_is_well(client: Client) -> None:
    await client.app[ENGINE]
    answer = await client.get("/health")
    assert answer.status == 200
    state = await json_of(answer)
    assert state == {
        "status": "ok",
        "objects": {"status": "ok"},
        "table": {"status": "ok"},
        "engine": {"status": "ok", "lane": "compiled", "detail": None},
        "workers": {"status": "ok", "alive": 4, "busy": 0, "waiting": 0},
    }


@pytest.mark.parametrize("part", ["objects", "table"])
async def test_a_store_that_fails_its_check_makes_the_service_unavailable(
    part: str, make_client: MakeClient
) -> None:
    wraps: dict[str, Any] = {part: Ill}
    client = await make_client(**wraps)
    answer = await client.get("/health")
    assert answer.status == 503
    state = await json_of(answer)
    assert state["status"] == "unavailable"
    assert state[part] == {"status": "unavailable", "detail": StoreUnavailable.public}
    others = {"objects", "table", "workers", "engine"} - {part}
    assert all(state[other]["status"] in ("ok", "loading") for other in others)
    assert (await client.get("/health/live")).status == 200


async def test_a_pool_that_stops_makes_the_service_unavailable(client: Client) -> None:
    await client.app[WORKERS].stop()
    answer = await client.get("/health")
    assert answer.status == 503
    assert (await json_of(answer))["workers"]["status"] == "unavailable"


async def test_who_asks_is_told_that_files_are_read_slowly_and_why(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is well all the same."""
    monkeypatch.setattr("aggsvc.engine.lanes.HAS_NUMBA", False)
    client = await make_client()
    await client.app[ENGINE]
    state = await json_of(await client.get("/health"))
    assert state["status"] == "ok"
    assert state["engine"] == {"status": "ok", "lane": "reference", "detail": NO_NUMBA}


async def test_an_engine_that_cannot_be_loaded_makes_the_service_unavailable(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, breaks: None
) -> None:
    """While it is loading all is well. What is uploaded is kept, and waits for another start."""
    given_up = threading.Event()

    def fail(*_: object) -> None:
        given_up.wait(DEADLINE)
        raise ImportError("/srv/secret/numba.so: file too short")

    with monkeypatch.context() as patched:
        patched.setattr("aggsvc.app.load_engine", fail)
        client = await make_client()
    answer = await client.get("/health")
    engine = (await json_of(answer))["engine"]
    assert (answer.status, engine) == (200, {"status": "loading", "lane": None, "detail": None})
    given_up.set()
    file_id = (await upload(client, HEADER))["file_id"]
    with pytest.raises(ImportError):
        await client.app[ENGINE]
    answer = await client.get("/health")
    state = await json_of(answer)
    assert (answer.status, state["status"]) == (503, "unavailable")
    assert state["engine"] == {"status": "unavailable", "detail": NOT_LOADED}
    assert state["workers"]["status"] == "ok"
    assert (await client.get("/health/live")).status == 200
    record = await client.app[SERVICE].get(file_id)
    assert (record.status, record.attempts) == (Status.UPLOADED, 0)


async def test_the_process_lives(client: Client) -> None:
    answer = await client.get("/health/live")
    assert (answer.status, await json_of(answer)) == (200, {"status": "ok"})


async def test_a_bucket_that_cannot_be_written_makes_the_service_unavailable(
    client: Client, settings: Settings
) -> None:
    """It is looked at where uploads go, not in the folder above it."""
    await upload(client, HEADER)
    assert (await client.get("/health")).status == 200
    bucket = settings.mock_s3_root_path / BUCKET
    bucket.rename(bucket.with_name("moved"))
    answer = await client.get("/health")
    assert (answer.status, (await json_of(answer))["objects"]["status"]) == (503, "unavailable")


class FullAtFirst(Through):
    """A table that can be read only, until there is `room`."""

    room = False

    async def put_item(self, *args: Any, **options: Any) -> None:
        if not self.room:
            raise StoreFull("no space left")
        await self.inner.put_item(*args, **options)


async def test_a_start_on_a_full_disk_serves_readers_and_recovers_without_another(
    make_client: MakeClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggsvc.app.RECOVERY_SECONDS", 0.01)
    async with opened_parts(settings) as parts:
        waiting = await parts.submit(HEADER)
    table = Opened(FullAtFirst)
    client = await make_client(table=table)
    answer = await client.get(f"/files/{waiting.file_id}")
    assert (answer.status, (await json_of(answer))["status"]) == (200, "uploaded")
    await assert_problem(await post(client, body(part(HEADER))), 507, "no room")
    await assert_problem(await client.post("/files/x/reprocess"), 507, "no room")
    table.store.room = True
    await settled(client, waiting.file_id)
    await upload(client, HEADER)
