"""Health: each part's state, and whether the process lives."""

from typing import Any

import pytest

from aggsvc.errors import StoreUnavailable
from aggsvc.keys import WORKERS
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import json_of
from tests.conftest import Through


class Ill(Through):
    """A store whose check fails."""

    async def check(self) -> None:
        raise StoreUnavailable("the disk is gone")


async def test_all_is_well(client: Client) -> None:
    answer = await client.get("/health")
    assert answer.status == 200
    state = await json_of(answer)
    assert state == {
        "status": "ok",
        "objects": {"status": "ok"},
        "table": {"status": "ok"},
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
    others = {"objects", "table", "workers"} - {part}
    assert all(state[other]["status"] == "ok" for other in others)
    assert (await client.get("/health/live")).status == 200


async def test_a_pool_that_stops_makes_the_service_unavailable(client: Client) -> None:
    await client.app[WORKERS].stop()
    answer = await client.get("/health")
    assert answer.status == 503
    assert (await json_of(answer))["workers"]["status"] == "unavailable"


async def test_the_process_lives(client: Client) -> None:
    answer = await client.get("/health/live")
    assert (answer.status, await json_of(answer)) == (200, {"status": "ok"})
