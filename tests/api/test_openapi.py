"""GET /openapi.json: OpenAPI 3.1 of every call, true of what is answered."""

import asyncio
import copy
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from aggsvc.api import setup_api
from aggsvc.api.openapi import describe
from aggsvc.api.parameters import FILE_ID, SENSOR_SORT
from aggsvc.api.routes import ROUTES
from aggsvc.engine.sensors import SORTS
from aggsvc.http.operations import Operation
from aggsvc.http.options import MAY_READ
from aggsvc.http.routing import Call
from aggsvc.keys import ADMISSION, WORKERS
from aggsvc.tokens import Scope, TokenFile
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    assert_problem,
    body,
    json_of,
    part,
    post,
    processed,
    settled,
    upload,
)
from tests.conftest import BAD_ROW, GOOD_ROW, HEADER

DOCUMENT = describe(ROUTES)
# Of each call, with its status; and of what is no call, by its kind.
RESPONSES = [
    (status, response)
    for calls in DOCUMENT["paths"].values()
    for call in calls.values()
    for status, response in call["responses"].items()
]
NO_CALLS = DOCUMENT["components"]["responses"]
# What people look at, and what belongs to it, is no part of the API.
PAGES = re.compile("/|/(ui|static)(/.*)?|/docs|/redoc")
ENDLESS = ("/events",)


def closed(schema: Any) -> Any:
    """The schema, by which no object has a member that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False} | inner if "properties" in inner else inner


SCHEMAS = {"components": {"schemas": closed(copy.deepcopy(DOCUMENT["components"]["schemas"]))}}


def validate(value: Any, schema: Any) -> None:
    OAS31Validator(schema | SCHEMAS).validate(value)


async def assert_as_described(answer: ClientResponse, method: str, path: str) -> Any:
    """The answer is one that the document tells: status, fields, media type and content."""
    told = DOCUMENT["paths"][path][method.lower()]["responses"][str(answer.status)]
    return await assert_as_told(answer, told)


async def assert_as_told(answer: ClientResponse, told: Any) -> Any:
    for name, header in told.get("headers", {}).items():
        if header["required"] or name in answer.headers:
            validate(answer.headers[name], header["schema"])
    if "content" not in told:
        assert await answer.read() == b""
        return None
    schema = told["content"][answer.content_type]["schema"]
    is_json = answer.content_type in ("application/json", "application/problem+json")
    value = await json_of(answer) if is_json else (await answer.read()).decode()
    if answer.content_type == "text/event-stream":
        for event in value.strip().split("\r\n\r\n"):
            validate(dict(line.split(": ", 1) for line in event.splitlines()), schema)
    else:
        validate(value, schema)
    return value


def test_the_document_is_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


async def test_every_route_but_those_of_the_pages_is_described(client: Client) -> None:
    """Whoever adds a route adds its description."""
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
    }
    wanted = {(method, path) for method, path in routes if not PAGES.fullmatch(path)}
    paths: dict[str, Any] = DOCUMENT["paths"]
    assert {(method, path) for path, calls in paths.items() for method in calls} == wanted


def test_a_call_without_a_description_cannot_be_made() -> None:
    """The table's rows take it, so that none is forgotten."""
    with pytest.raises(TypeError, match="operation"):
        Call("GET", "/new", setup_api, "new", None)  # type: ignore[call-arg, arg-type]
    assert all(isinstance(call.operation, Operation) for call in ROUTES)


async def test_each_call_answers_as_it_is_described(client: Client) -> None:
    """No member of an answer is left undescribed, and none that is described is not there."""
    answer = await post(client, body(part(HEADER + GOOD_ROW + BAD_ROW)))
    file_id = (await assert_as_described(answer, "POST", "/files"))["file_id"]
    await settled(client, file_id)
    for data in (b"no header\n", HEADER, HEADER + BAD_ROW):
        await processed(client, data)
    reading = [call for call in ROUTES if call.method == "GET" and call.path not in ENDLESS]
    changing = [
        call for method in ("POST", "DELETE") for call in of_a_file() if call.method == method
    ]
    for call in (*reading, *changing):
        answer = await client.request(call.method, call.path.format(file_id=file_id, name="busy"))
        assert answer.ok, (call.name, await answer.text())
        await assert_as_described(answer, call.method, call.path)


def of_a_file() -> list[Call]:
    return [call for call in ROUTES if FILE_ID in call.operation.parameters]


async def test_each_row_error_is_as_it_is_described(client: Client) -> None:
    record = await processed(client, HEADER + BAD_ROW + b"a,b\n")
    text = await (await client.get(f"/files/{record['file_id']}/errors")).read()
    errors = [orjson.loads(line) for line in text.splitlines()]
    assert len(errors) == 2
    for error in errors:
        validate(error, {"$ref": "#/components/schemas/RowError"})


async def test_each_event_is_as_it_is_described(client: Client) -> None:
    async with client.get("/events") as answer:
        record = await upload(client, HEADER + GOOD_ROW)
        told = DOCUMENT["paths"]["/events"]["get"]["responses"]["200"]
        assert answer.content_type in told["content"]
        await answer.content.readuntil(b"data: ")
        event = orjson.loads(await answer.content.readline())
        assert event["file_id"] == record["file_id"]
        validate(event, {"$ref": "#/components/schemas/FileEvent"})


async def test_each_call_refuses_wrong_tokens_as_it_is_described(make_client: MakeClient) -> None:
    """Those for which no token is asked too, so that it is noticed; and guessing is slowed."""
    client = await make_client(auth="on")
    refused = set()
    for _ in range(2):
        for call in ROUTES:
            path = call.path.format(file_id="nobody", name="busy")
            wrong = {"Authorization": "Bearer wrong"}
            answer = await client.request(call.method, path, headers=wrong)
            await assert_as_described(answer, call.method, call.path)
            refused.add((call.name, answer.status))
    assert {status for _name, status in refused} == {401, 429}
    assert {name for name, status in refused if status == 429} == {call.name for call in ROUTES}


async def test_each_call_refuses_as_it_is_described(client: Client) -> None:
    for call in ROUTES:
        path = call.path.format(file_id="nobody", name="busy")
        answer = await client.request(call.method, path, params={"nonsense": "1"})
        await assert_as_described(answer, call.method, call.path)
        await assert_problem(answer, 400, "'nonsense'")
    for call in of_a_file():
        answer = await client.request(call.method, call.path.format(file_id="nobody", name="busy"))
        await assert_as_described(answer, call.method, call.path)
        await assert_problem(answer, 404, "'nobody'")


# What an answer of the status has to say in its head, by RFC 9110; that of 403 by RFC 6750.
HEADERS = {
    "401": "WWW-Authenticate",
    "403": "WWW-Authenticate",
    "405": "Allow",
    "415": "Accept-Encoding",
    "416": "Content-Range",
    "429": "Retry-After",
    "503": "Retry-After",
}


def test_each_refusal_is_described_with_the_header_that_its_status_asks_for() -> None:
    """As the document says of each call; what is no call is among the components."""
    for status, told in RESPONSES:
        if status in HEADERS:
            assert told["headers"][HEADERS[status]]["required"] == (status != "403")
    assert HEADERS.keys() - {status for status, _told in RESPONSES} == {"405"}


def test_scripts_of_other_origins_may_read_each_header_that_is_described() -> None:
    """Where CORS lets them in at all."""
    responses = [*NO_CALLS.values(), *(response for _status, response in RESPONSES)]
    told = {name for response in responses for name in response.get("headers", {})}
    assert told <= set(MAY_READ.split(", "))


async def test_a_scope_that_is_too_narrow_is_refused_as_it_is_described(
    make_client: MakeClient, tmp_path: Path
) -> None:
    tokens = TokenFile(tmp_path / "auth")
    _, token = await asyncio.to_thread(tokens.create, "reader", Scope.READ, None)
    client = await make_client(auth="on", auth_path=tmp_path / "auth")
    too_narrow = await client.post("/files", headers={"Authorization": f"Bearer {token}"})
    await assert_as_described(too_narrow, "POST", "/files")
    assert 'scope="write"' in too_narrow.headers["WWW-Authenticate"]


async def test_what_is_refused_by_its_bytes_its_range_or_its_method_is_as_described(
    client: Client,
) -> None:
    file_id = (await processed(client, HEADER))["file_id"]
    content = "/files/{file_id}/content"
    of_this = content.format(file_id=file_id)
    beyond = await client.get(of_this, headers={"Range": "bytes=1000-"})
    await assert_as_described(beyond, "GET", content)
    assert beyond.headers["Content-Range"] == f"bytes */{len(HEADER)}"
    unknown = await client.post("/files", data=b"x", headers={"Content-Type": "text/csv"})
    await assert_as_described(unknown, "POST", "/files")
    assert unknown.headers["Accept-Encoding"] == "identity"
    client.app[ADMISSION].close()
    busy = await post(client, body(part(HEADER)))
    await assert_as_described(busy, "POST", "/files")
    await client.app[WORKERS].stop()
    await assert_as_described(await client.get("/health"), "GET", "/health")
    assert NO_CALLS["method-not-allowed"]["headers"]["Allow"]["required"]
    for call in ROUTES:
        path = call.path.format(file_id=file_id, name="busy")
        await assert_as_told(await client.patch(path), NO_CALLS["method-not-allowed"])
    await assert_as_told(await client.get("/nowhere"), NO_CALLS["nothing-here"])


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=1&limit=2", "limit is there more than once"),
        ("stauts=failed", "there is status, q, sort, limit, cursor"),
        ("q=a&q=a", "q is there more than once"),
    ],
)
async def test_a_parameter_that_is_not_known_or_there_twice_is_refused(
    query: str, says: str, client: Client
) -> None:
    """A slip in a name would otherwise list what was not asked for."""
    await assert_problem(await client.get(f"/files?{query}"), 400, says)


def test_sensors_can_be_sorted_by_all_that_the_engine_sorts_them_by() -> None:
    assert {word.lstrip("-") for word in SENSOR_SORT.kind.words} - {""} == set(SORTS)


async def test_the_document_is_sent_again_only_if_it_has_changed(client: Client) -> None:
    answer = await client.get("/openapi.json")
    assert orjson.loads(await answer.read()) == DOCUMENT
    assert answer.headers["Cache-Control"] == "private, no-cache"
    etag = answer.headers["ETag"]
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = await client.get("/openapi.json", headers={"If-None-Match": known})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == etag
    other = await client.get("/openapi.json", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_each_call_of_a_file_can_be_made_with_what_an_upload_is_answered() -> None:
    """Whoever generates calls gets from an upload to all that can be done with it."""
    links = DOCUMENT["paths"]["/files"]["post"]["responses"]["202"]["links"]
    assert {link["operationId"] for link in links.values()} == {call.name for call in of_a_file()}
