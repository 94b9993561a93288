"""What the head of every answer has, whoever makes it."""

import pytest

from tests.api.conftest import Client
from tests.api.helpers import processed
from tests.conftest import GOOD_ROW, HEADER
from web.assets import Assets
from web.render import FOLDER

STYLE = Assets(FOLDER / "static").urls()[0]
ANSWERS = [
    ("GET", "/", 302),
    ("GET", "/ui", 200),
    ("GET", "/ui/files/nonesuch", 404),
    ("GET", "/ui/files/{file_id}", 200),
    ("GET", STYLE, 200),
    ("GET", "/static/nonesuch.css", 404),
    ("GET", "/files", 200),
    ("GET", "/files?limit=x", 400),
    ("GET", "/files/{file_id}", 200),
    ("HEAD", "/files/{file_id}", 200),
    ("GET", "/files/{file_id}/errors", 200),
    ("GET", "/files/{file_id}/sensors", 200),
    ("GET", "/files/{file_id}/content", 200),
    ("GET", "/files/{file_id}/events", 200),
    ("POST", "/files", 415),
    ("PUT", "/files", 405),
    ("GET", "/nowhere", 404),
    ("GET", "/health", 200),
]


@pytest.fixture(autouse=True)
def _never_blocks() -> None:
    """A page's template is read from the disk the first time that it is shown."""


@pytest.fixture
async def file_id(client: Client) -> str:
    found: str = (await processed(client, HEADER + GOOD_ROW))["file_id"]
    return found


async def test_every_answer_has_the_fields_that_keep_a_browser_safe(
    client: Client, file_id: str
) -> None:
    for method, path, status in ANSWERS:
        url = path.format(file_id=file_id)
        async with client.request(method, url, allow_redirects=False) as answer:
            assert (answer.status, url) == (status, url)
            fields = answer.headers
            assert "frame-ancestors 'none'" in fields["Content-Security-Policy"]
            assert "unsafe" not in fields["Content-Security-Policy"]
            assert fields["X-Content-Type-Options"] == "nosniff"
            assert fields["Referrer-Policy"] == "same-origin"
            assert fields["Cross-Origin-Resource-Policy"] == "same-origin"
            assert len(fields.getall("Content-Security-Policy")) == 1


async def test_no_answer_names_what_it_was_made_with(client: Client, file_id: str) -> None:
    for method, path, _ in ANSWERS:
        url = path.format(file_id=file_id)
        async with client.request(method, url, allow_redirects=False) as answer:
            assert answer.headers.getall("Server") == ["aggsvc"]
            told = str(answer.headers).lower()
            assert "python" not in told
            assert "aiohttp" not in told


async def test_what_does_not_say_otherwise_is_not_kept(client: Client, file_id: str) -> None:
    async with client.get(STYLE) as answer:
        assert "immutable" in answer.headers["Cache-Control"]
    for path in ("/files", "/health", "/ui", "/nowhere"):
        async with client.get(path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
