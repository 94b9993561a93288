"""Hostile requests on raw connections, and hostile text in what is shown; docs/security.md."""

import asyncio
import re
from pathlib import Path

import pytest

from aggsvc.settings import Settings
from tests.api.conftest import Client
from tests.api.helpers import processed
from tests.conftest import DEADLINE, GOOD_ROW, HEADER
from tests.raw import connected
from web.assets import Assets

POST = b"POST /files HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# What an attacker wants to be taken for a request of its own: the answer would show its id.
HIDDEN = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: hidden\r\n\r\n"
SETTLE_SECONDS = 0.05


@pytest.fixture(autouse=True)
def _never_blocks() -> None:
    """A page's template is read from the disk the first time that it is shown."""


async def said(client: Client, sent: bytes, *, ends: bool = True) -> bytes:
    """All that is answered until the server closes; it must, where `ends`."""
    async with connected(client.host, client.port) as raw:
        await raw.send(sent)
        if not ends:
            head = await raw.reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(SETTLE_SECONDS)  # whatever else would come
            return head + bytes(raw.reader._buffer)  # type: ignore[attr-defined]
        async with asyncio.timeout(DEADLINE):
            return await raw.reader.read()


async def assert_refused(client: Client, sent: bytes) -> None:
    """400, once; then the connection ends, and nothing behind the request was taken for one."""
    answered = await said(client, sent)
    assert re.findall(rb"HTTP/1\.[01] (\d+)", answered) == [b"400"]
    assert b"hidden" not in answered


LENGTHS = {
    "both lengths": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "the other way round": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list": POST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a sign": POST + b"Content-Length: +4\r\n\r\nabcd",
    "below zero": POST + b"Content-Length: -1\r\n\r\nabcd",
    "hexadecimal": POST + b"Content-Length: 0x4\r\n\r\nabcd",
    "an underscore": POST + b"Content-Length: 1_0\r\n\r\nabcd",
}
CODINGS = {
    "unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "not the last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a control before it": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
}
CHUNKS = {
    "0x": b"0x0\r\n\r\n",
    "a sign": b"+0\r\n\r\n",
    "below zero": b"-1\r\n\r\n",
    "a space": b" 0\r\n\r\n",
    "too large to count": b"fffffffffffffffff\r\n\r\n",
    "LF only": b"0\n\n",
    "LF in an extension": b"0;a\nb\r\n\r\n",
    "longer than told": b"1\r\nab\r\n0\r\n\r\n",
}
LINES = {
    "obs-fold": GET + b"X-A: b\r\n c\r\n\r\n",
    "a line that begins with a space": b"GET /health/live HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n",
    "LF only": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "LF in the head": b"GET /health/live HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "CR only": b"GET /health/live HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
    "NUL": GET + b"X-A: a\0b\r\n\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "no name": GET + b": y\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "an escape in the path": b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
}
LARGE_HEADS = {
    "a long path": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long field": GET + b"X-A: " + b"a" * 9_000 + b"\r\n\r\n",
    "a long name": GET + b"X" * 9_000 + b": a\r\n\r\n",
    "many fields": GET + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n",
}


@pytest.mark.parametrize("name", LENGTHS)
async def test_a_body_of_two_lengths_is_refused(name: str, client: Client) -> None:
    """So that no proxy in front can take another part of it for the body."""
    await assert_refused(client, LENGTHS[name] + HIDDEN)


@pytest.mark.parametrize("name", CODINGS)
async def test_a_transfer_coding_in_disguise_is_refused(name: str, client: Client) -> None:
    await assert_refused(client, CODINGS[name] + HIDDEN)


@pytest.mark.parametrize("name", CHUNKS)
async def test_a_chunk_size_that_is_none_is_refused(name: str, client: Client) -> None:
    await assert_refused(client, CHUNKED + CHUNKS[name] + HIDDEN)


@pytest.mark.parametrize("name", LINES)
async def test_a_head_with_other_line_ends_is_refused(name: str, client: Client) -> None:
    await assert_refused(client, LINES[name])


@pytest.mark.parametrize("name", LARGE_HEADS)
async def test_a_head_that_is_too_large_is_refused(name: str, client: Client) -> None:
    """A line of over 8,190 bytes, or over 128 fields."""
    answered = await said(client, LARGE_HEADS[name])
    assert re.findall(rb"HTTP/1\.[01] (\d+)", answered)[0] in (b"400", b"431")
    assert len(answered) < 2_000


async def test_a_body_is_never_taken_for_a_request(client: Client) -> None:
    """Neither where the path takes none, nor where it is refused before it was read."""
    for start in (GET, b"DELETE /files/x HTTP/1.1\r\nHost: x\r\n", POST):
        length = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
        assert b"hidden" not in await said(client, start + length + HIDDEN, ends=False)


TRAVERSALS = [
    "/static/x/../../../pyproject.toml",
    "/static/../pyproject.toml",
    "/static/x/%2e%2e/%2e%2e/pyproject.toml",
    "/static/x/%2e%2e%2f%2e%2e%2fpyproject.toml",
    "/static/x/..%5c..%5cpyproject.toml",
    "/static/x/..%252f..%252fpyproject.toml",
    "/static/x//etc/passwd",
    "/static/x/%00",
    "/files/..%2f..%2fdb.json/content",
    "/files/%2e%2e/content",
    "/files/..%5cdb.json/content",
    "/files/%00/content",
    "/ui/files/..%2f..%2fdb.json",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_no_path_leads_out_of_a_folder(path: str, client: Client, settings: Settings) -> None:
    assert settings.mock_s3_root_path.is_dir()
    answered = await said(client, GET.replace(b"/health/live", path.encode()) + b"\r\n", ends=False)
    assert answered.startswith(b"HTTP/1.1 404")
    assert b"[project]" not in answered
    assert b"root:" not in answered


def test_a_link_in_the_static_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "own.css").write_text("a{}")
    (tmp_path / "secret.css").write_text("secret")
    (folder / "link.css").symlink_to(tmp_path / "secret.css")
    (folder / "up").symlink_to(tmp_path)
    (url,) = Assets(folder).urls()
    assert url.endswith("/own.css")


@pytest.mark.parametrize(
    "path", ["/files/a%0d%0aX-Evil:%20y", "/ui/files/a%0d%0aX-Evil:%20y", "/a%0d%0aX-Evil:%20y"]
)
async def test_no_text_of_a_request_becomes_a_header(path: str, client: Client) -> None:
    head = GET.replace(b"/health/live", path.encode()) + b"\r\n"
    answered = (await said(client, head, ends=False)).partition(b"\r\n\r\n")[0]
    assert b"\r\nX-Evil" not in answered
    request_id = GET + b"X-Request-ID: a b\r\nX-Request-ID: c\r\n\r\n"
    answered = (await said(client, request_id, ends=False)).partition(b"\r\n\r\n")[0]
    assert re.search(rb"X-Request-ID: [0-9a-f]{32}\r\n", answered + b"\r\n")


EVIL = "<script>alert(1)</script>\"'>{{7*7}}"


async def test_no_text_that_was_uploaded_becomes_markup(client: Client) -> None:
    """The file's name, sensor ids, bad values and searches, on every page that shows them."""
    cell = EVIL.replace('"', '""').encode()
    data = HEADER + GOOD_ROW + b'"%b",2025-10-01,1\n' % cell + b'a,2025-10-01,"%b"\n' % cell
    name = EVIL.replace('"', "").replace("/", "")
    file_id = (await processed(client, data, name))["file_id"]
    for path in (f"/ui/files/{file_id}", "/ui", f"/ui?q={EVIL}", f"/ui/files/{EVIL[:8]}"):
        async with client.get(path) as answer:
            text = await answer.text()
            assert answer.content_type == "text/html"
            assert "<script>alert" not in text
            assert ("{{7*7}}" in text) == ("alert(1)" in text)
            assert " style=" not in text
            assert not re.search(r"<script(?![^>]*(\bsrc=|application/json))", text)


async def test_what_was_uploaded_is_no_page_of_ours(client: Client) -> None:
    """Markup in an upload is saved, not shown; and nothing in it may run."""
    data = HEADER + b"<html><script>alert(1)</script>,2025-10-01,1\n"
    file_id = (await processed(client, data, "evil.html"))["file_id"]
    for path in ("content", "errors", "sensors?format=csv"):
        async with client.get(f"/files/{file_id}/{path}") as answer:
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.content_type in ("text/csv", "application/x-ndjson")
