"""Request ids: taken, made, told, and in each line that is logged for a request."""

import re
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.helpers import MULTIPART, body, json_of, part
from tests.conftest import BAD_ROW, GOOD_ROW, HEADER, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NEW_ID = re.compile("[0-9a-f]{32}")


async def told(client: Client, **headers: str) -> tuple[str, str | None]:
    """The request's id and the traceparent that the answer names."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get("/health/live", headers=fields) as answer:
        return answer.headers["X-Request-ID"], answer.headers.get("traceparent")


async def test_the_clients_id_is_told_again(client: Client) -> None:
    for given in ("a", "!~", "x" * 128, "01J-ZK/é"[:6]):
        assert await told(client, X_Request_ID=given) == (given, None)


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "tab\tbed", "é"])
async def test_an_id_that_could_harm_a_log_is_replaced(given: str, client: Client) -> None:
    assert NEW_ID.fullmatch((await told(client, X_Request_ID=given))[0])


async def test_each_request_without_id_gets_its_own(client: Client) -> None:
    ids = {(await told(client))[0] for _ in range(20)}
    assert len(ids) == 20
    assert all(map(NEW_ID.fullmatch, ids))


@pytest.mark.parametrize("flags", ["00", "01", "03"])
async def test_a_trace_goes_on_with_a_part_of_ours(flags: str, client: Client) -> None:
    """The trace's id stays and names the request; the parent is new; whether it is recorded too."""
    request_id, answered = await told(client, traceparent=f"00-{TRACE}-{PARENT}-{flags}")
    assert request_id == TRACE
    version, trace, parent, told_flags = (answered or "").split("-")
    assert (version, trace, told_flags) == ("00", TRACE, "00" if flags == "00" else "01")
    assert re.fullmatch("[0-9a-f]{16}", parent)
    assert parent != PARENT


async def test_an_own_id_comes_before_that_of_the_trace(client: Client) -> None:
    parent = f"00-{TRACE}-{PARENT}-01"
    request_id, answered = await told(client, X_Request_ID="mine", traceparent=parent)
    assert request_id == "mine"
    assert TRACE in (answered or "")


async def test_a_later_version_may_say_more(client: Client) -> None:
    assert (await told(client, traceparent=f"cc-{TRACE}-{PARENT}-01-more"))[0] == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01x",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"cc-{TRACE}-{PARENT}-01.more",
    ],
)
async def test_a_traceparent_that_is_none_is_left_alone(given: str, client: Client) -> None:
    request_id, answered = await told(client, traceparent=given)
    assert NEW_ID.fullmatch(request_id)
    assert request_id != TRACE
    assert answered is None


async def test_refusals_and_unknown_paths_tell_the_id_too(client: Client) -> None:
    for method, path in (("GET", "/nowhere"), ("PUT", "/files"), ("POST", "/files")):
        async with client.request(method, path, headers={"X-Request-ID": "mine"}) as answer:
            assert answer.status >= 400
            assert answer.headers["X-Request-ID"] == "mine"


async def test_what_is_logged_for_a_request_and_its_job_has_the_id(
    client: Client, logged: list[dict[str, Any]]
) -> None:
    """From the upload's acceptance to the last bad row; another request's id is another."""
    data = body(part(HEADER + GOOD_ROW + BAD_ROW))
    fields = MULTIPART | {"X-Request-ID": "mine", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with client.post("/files", data=data, headers=fields) as answer:
        file_id = (await json_of(answer))["file_id"]

    def ends() -> list[str]:
        return [line["request_id"] for line in logged if line["event"] == "processing ended"]

    await until(lambda: len(ends()) == 1)
    about = {line["event"]: line for line in logged if line.get("file_id") == file_id}
    assert about.keys() == {"file accepted", "row failed", "processing ended"}
    assert {line["request_id"] for line in about.values()} == {"mine"}
    assert about["file accepted"]["trace_id"] == TRACE
    async with client.post(f"/files/{file_id}/reprocess", headers={"X-Request-ID": "2"}):
        await until(lambda: ends() == ["mine", "2"])
