"""Multipart bodies as streams: the same parts however the bytes come, and forms of pages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from aggsvc.errors import InvalidRequest
from aggsvc.http.admission import Admission
from aggsvc.http.multipart import (
    MAX_BOUNDARY,
    MAX_FIELDS,
    MAX_LINE,
    MAX_LINES,
    MAX_SKIPPED_BYTES,
    Multipart,
)
from aggsvc.http.pace import Transfers
from aggsvc.http.uploads import FIELDS_BYTES, open_form
from aggsvc.keys import ADMISSION, SETTINGS, TRANSFERS
from aggsvc.settings import Settings
from tests.api.conftest import Client
from tests.api.helpers import (
    BOUNDARY,
    MULTIPART,
    assert_problem,
    body,
    json_of,
    part,
    post,
)
from tests.csv_strategies import chunkings, cut

DELIMITER = f"\r\n--{BOUNDARY}".encode()
# What is nearly a delimiter, begins one, or ends with what may begin one.
NEARLY = [DELIMITER[:size] for size in range(1, len(DELIMITER))] + [b"\n", b"\r\r\n", b"-", b"x"]
CONTENT = (
    st.lists(st.sampled_from(NEARLY), max_size=6)
    .map(b"".join)
    .filter(lambda content: DELIMITER not in b"\r\n" + content)
)


def receiving(chunks: list[bytes]) -> Callable[[], Awaitable[bytes]]:
    coming = iter([chunk for chunk in chunks if chunk])

    async def receive() -> bytes:
        return next(coming, b"")

    return receive


async def parts_of(chunks: list[bytes]) -> list[tuple[str, bytes]]:
    """The disposition and the content of each part."""
    found = []
    multipart = Multipart(MULTIPART["Content-Type"], receiving(chunks))
    while (header := await multipart.next_part()) is not None:
        content = b""
        while data := await multipart.read():
            content += data
        found.append((header["content-disposition"], content))
    return found


@given(st.data(), st.lists(CONTENT, max_size=4), CONTENT, CONTENT)
def test_the_parts_are_the_same_however_the_bytes_come(
    data: st.DataObject, contents: list[bytes], preamble: bytes, epilogue: bytes
) -> None:
    """Also of contents that hold nearly a boundary, wherever the chunks end."""
    sent = body(*[part(content, str(at)) for at, content in enumerate(contents)])
    sent = (preamble + b"\r\n" if preamble else b"") + sent + epilogue
    chunks = cut(sent, data.draw(chunkings(len(sent))))
    assert asyncio.run(parts_of(chunks)) == [
        (f'form-data; name="{at}"; filename="a.csv"', content)
        for at, content in enumerate(contents)
    ]


async def test_what_was_not_read_of_a_part_is_skipped_and_counted() -> None:
    sent = body(part(b"x" * 400_000, "a"), part(b"y", "b"), part(b"x" * MAX_SKIPPED_BYTES, "c"))
    chunks = [sent[at : at + 70_000] for at in range(0, len(sent), 70_000)]
    multipart = Multipart(MULTIPART["Content-Type"], receiving(chunks))
    await multipart.next_part()
    assert (await multipart.read()).startswith(b"x")
    await multipart.next_part()
    assert await multipart.skip(keep=10) == b"y"
    await multipart.next_part()
    with pytest.raises(InvalidRequest, match="too large"):
        await multipart.next_part()


def header_line(size: int) -> str:
    """A line of a part's header, of so many bytes with its line end."""
    return "X: ".ljust(size - 2, "x")


def many_lines(parts: int, *headers: str) -> bytes:
    """A body of so many parts; each takes three lines, the last boundary one."""
    empty = [part(b"", "other", None)] * (parts - 1)
    return body(*empty, part(b"x", "file", "a.csv", *headers))


# Each limit: a body that just keeps it, one that does not, and what its refusal says.
AT_THE_EDGE = {
    "the bytes of a line": (
        body(part(b"x", "file", "a.csv", header_line(MAX_LINE))),
        body(part(b"x", "file", "a.csv", header_line(MAX_LINE + 1))),
        "a line of more than 8,190 bytes",
    ),
    "the header fields of a part": (
        body(part(b"x", "file", "a.csv", *["X: y"] * (MAX_FIELDS - 1))),
        body(part(b"x", "file", "a.csv", *["X: y"] * MAX_FIELDS)),
        "a part has more than 128 header fields",
    ),
    "the lines of a body": (
        many_lines(MAX_LINES // 3),
        many_lines(MAX_LINES // 3, "X: y"),
        "more than 10,000 lines outside of its parts' content",
    ),
    "the bytes that are skipped": (
        body(part(b"x" * MAX_SKIPPED_BYTES, "other"), part(b"x")),
        body(part(b"x" * (MAX_SKIPPED_BYTES + 1), "other"), part(b"x")),
        "what comes beside the field 'file' is too large",
    ),
}


@pytest.mark.parametrize("limit", AT_THE_EDGE)
async def test_what_just_keeps_a_limit_is_taken_and_one_more_is_refused(
    limit: str, client: Client
) -> None:
    kept, broken, says = AT_THE_EDGE[limit]
    assert (await post(client, kept)).status == 202
    refused = await post(client, broken)
    await assert_problem(refused, 400, says)
    assert (await json_of(refused))["type"] == "/problems/invalid-upload"


async def test_a_boundary_has_at_most_70_characters(client: Client) -> None:
    for size, status in ((1, 202), (MAX_BOUNDARY, 202), (MAX_BOUNDARY + 1, 400)):
        boundary = "b" * size
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = await post(client, body(part(b"x"), boundary=boundary), headers)
        assert answer.status == status
    await assert_problem(answer, 400, "no boundary of 1 to 70 characters")


@pytest.mark.parametrize("chunk_bytes", [1, 4096, MAX_LINE, MAX_LINE + 1])
async def test_a_line_has_its_limit_however_its_bytes_come(chunk_bytes: int) -> None:
    """The last boundary's too, which need not end; and what never ends is not kept for long."""
    for size in (MAX_LINE, MAX_LINE + 1):
        for sent in (
            body(part(b"", "a", None, header_line(size))),
            body(part(b"", "a", None))[:-2] + b" " * (size - 4) + b"\r\n",
            body(part(b"", "a", None))[:-2] + b" " * (size - 2),
        ):
            chunks = [sent[at : at + chunk_bytes] for at in range(0, len(sent), chunk_bytes)]
            if size <= MAX_LINE:
                assert len(await parts_of(chunks)) == 1
            else:
                with pytest.raises(InvalidRequest, match="a line of more than 8,190 bytes"):
                    await parts_of(chunks)


async def form_of(aiohttp_client: Any, settings: Settings, sent: bytes) -> dict[str, Any]:
    """The fields and the files' names that a handler gets of a form."""

    async def handler(request: web.Request) -> web.Response:
        async with open_form(request) as form:
            fields = dict(form.fields)
            files = [
                [upload.filename, sum([len(chunk) async for chunk in upload.chunks])]
                async for upload in form.uploads
            ]
        return web.Response(body=orjson.dumps({"fields": fields, "files": files}))

    app = web.Application()
    app[SETTINGS], app[TRANSFERS] = settings, Transfers()
    app[ADMISSION] = Admission(1, 1, lambda: 0)
    app.router.add_post("/", handler)
    client = await aiohttp_client(app)
    answer = await client.post("/", data=sent, headers=MULTIPART)
    found: dict[str, Any] = orjson.loads(await answer.read())
    return found


async def test_fields_before_the_first_file_are_known_before_it_is_read(
    aiohttp_client: Any, settings: Settings
) -> None:
    """The first of a name counts; what comes behind a file, or is too large, is read past."""
    sent = body(
        part("t\N{SNOWMAN}".encode(), "token", None),
        part(b"second", "token", None),
        part(b"x" * FIELDS_BYTES, "large", None),
        part(b"", "empty", None),
        part(b"1", "file", "one.csv"),
        part(b"late", "late", None),
        part(b"22", "file", "two.csv"),
    )
    assert await form_of(aiohttp_client, settings, sent) == {
        "fields": {"token": "t\N{SNOWMAN}", "empty": ""},
        "files": [["one.csv", 1], ["two.csv", 2]],
    }


async def test_a_form_without_a_file_has_its_fields(
    aiohttp_client: Any, settings: Settings
) -> None:
    sent = body(part(b"a", "token", None))
    assert await form_of(aiohttp_client, settings, sent) == {"fields": {"token": "a"}, "files": []}
