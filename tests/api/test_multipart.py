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
from aggsvc.http.multipart import MAX_SKIPPED_BYTES, Multipart
from aggsvc.http.pace import Transfers
from aggsvc.http.uploads import FIELDS_BYTES, open_form
from aggsvc.keys import ADMISSION, SETTINGS, TRANSFERS
from aggsvc.settings import Settings
from tests.api.helpers import BOUNDARY, MULTIPART, body, part
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
