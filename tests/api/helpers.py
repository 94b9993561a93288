"""What the API's tests do again and again: build bodies, upload, wait, look for leftovers."""

import asyncio
import io
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientResponse

from aggsvc.http.kinds import KINDS
from tests.api.conftest import Client, MakeClient
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, Gated, until

BOUNDARY = "frontier"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SAMPLES = Path(__file__).parents[2] / "samples"


class Opened:
    """Keeps the wrapper that an app was given, to tell it what to do."""

    def __init__(self, wrap: Any) -> None:
        self.wrap = wrap
        self.store: Any = None

    def __call__(self, inner: Any) -> Any:
        self.store = self.wrap(inner)
        return self.store


def part(data: bytes, name: str = "file", filename: str | None = "a.csv", *headers: str) -> bytes:
    """One part of a multipart body."""
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = [f"Content-Disposition: {disposition}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def body(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """A whole multipart body."""
    mark = f"--{boundary}".encode()
    return b"".join(mark + b"\r\n" + one + b"\r\n" for one in parts) + mark + b"--\r\n"


async def post(client: Client, data: bytes, headers: dict[str, str] = MULTIPART) -> ClientResponse:
    return await client.post("/files", data=io.BytesIO(data), headers=headers)


async def upload(client: Client, data: bytes, filename: str = "a.csv") -> dict[str, Any]:
    """Upload a file; returns the record as accepted."""
    answer = await post(client, body(part(data, "file", filename)))
    assert answer.status == 202, await answer.text()
    return await json_of(answer)


async def processed(client: Client, data: bytes, filename: str = "a.csv") -> dict[str, Any]:
    """Upload a file and wait for its end; returns the record."""
    return await settled(client, (await upload(client, data, filename))["file_id"])


async def settled(client: Client, file_id: str) -> dict[str, Any]:
    record: dict[str, Any] = {}

    async def done() -> bool:
        nonlocal record
        answer = await client.get(f"/files/{file_id}")
        assert answer.status == 200, await answer.text()
        record = await json_of(answer)
        return record["status"] in ("processed", "partial", "failed")

    await until(done, "the end of processing")
    return record


async def json_of(answer: ClientResponse) -> Any:
    return orjson.loads(await answer.read())


async def assert_problem(answer: ClientResponse, status: int, *says: str) -> None:
    """The answer is RFC 9457 problem details of one sentence that says these words."""
    text = await answer.text()
    assert answer.status == status, text
    assert answer.content_type == "application/problem+json"
    problem = orjson.loads(text)
    assert problem.keys() == {"type", "title", "status", "detail", "field", "request_id"}
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    kind = KINDS[problem["type"].removeprefix("/problems/")]
    assert (problem["status"], problem["title"]) == (status, kind.title)
    assert kind.status == status
    assert "\n" not in problem["detail"]
    assert len(problem["detail"]) < 400
    for word in says:
        assert word in problem["detail"]


async def assert_refuses(client: Client, what: str, query: dict[str, str], *says: str) -> None:
    """What belongs to a file refuses the query."""
    file_id = (await processed(client, HEADER + GOOD_ROW))["file_id"]
    answer = await client.get(f"/files/{file_id}/{what}", params=query)
    await assert_problem(answer, 400, *says)


async def refused_at_first(make_client: MakeClient, what: str) -> tuple[Client, str]:
    """A client and a file that was processed; until then, what belongs to it was refused."""
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    file_id = (await upload(client, HEADER + GOOD_ROW))["file_id"]
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    await assert_problem(await client.get(f"/files/{file_id}/{what}"), 409, "processing")
    opened.store.go.set()
    await settled(client, file_id)
    return client, file_id


async def requests_ended() -> None:
    """Wait until the server has nothing more to do for clients that are gone."""

    def idle() -> bool:
        running = [task for task in asyncio.all_tasks() if "RequestHandler.start" in repr(task)]
        return not running

    await until(idle, "the end of the requests")
