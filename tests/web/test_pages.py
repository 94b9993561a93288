"""The pages without a browser: what they answer, what is served beside them, how large they are."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest

from aggsvc.errors import StoreUnavailable
from aggsvc.keys import SERVICE
from aggsvc.model import Status
from aggsvc.service import FILE_SORTS, Service
from tests.api.conftest import Client, client, make_client
from tests.api.helpers import settled, upload
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, stream
from web.assets import Assets
from web.render import (
    FOLDER,
    format_age,
    format_bytes,
    format_duration,
    format_left,
    format_number,
)

__all__ = ["client", "make_client"]

ROOT = Path(__file__).parents[2]
SAMPLE = HEADER + GOOD_ROW


async def post(client: Client, path: str, *file_ids: str, **fields: str) -> tuple[int, str, str]:
    """The status of the answer, where it leads, and its text."""
    form = [("file_id", file_id) for file_id in file_ids] + list(fields.items())
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with client.post(
        path, data=urlencode(form), headers=headers, allow_redirects=False
    ) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def test_deleting_asks_first_and_tells_what_was_gone(client: Client) -> None:
    one, other = (
        (await upload(client, SAMPLE))["file_id"],
        (await upload(client, SAMPLE))["file_id"],
    )
    status, _, page = await post(client, "/ui/delete", one, other, back="/ui?sort=filename")
    assert status == 200
    assert "Delete <data" in page
    assert f'value="{other}"' in page
    status, where, _ = await post(
        client, "/ui/delete", one, other, one, "none", confirmed="yes", back="/ui?sort=filename"
    )
    assert (status, where) == (303, "/ui?sort=filename&deleted=2&gone=1")
    assert "2 files deleted, 1 was gone already" in await (await client.get(where)).text()
    status, where, _ = await post(client, "/ui/delete", one)
    assert (status, where) == (303, "/ui?gone=1")


async def test_processing_again_tells_what_was_not_queued(client: Client) -> None:
    file_id = (await upload(client, SAMPLE))["file_id"]
    await settled(client, file_id)
    status, where, _ = await post(client, "/ui/reprocess", file_id, "none", back="/ui?gone=7")
    assert (status, where) == (303, "/ui?queued=1&gone=1")


async def test_a_store_that_fails_in_the_middle_leaves_the_rest_as_it_was(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is told and what was left; where nothing was done it is an error."""
    file_ids = [(await upload(client, SAMPLE))["file_id"] for _ in range(3)]
    delete, calls = Service.delete, []

    async def failing(self: Service, file_id: str) -> None:
        calls.append(file_id)
        if len(calls) > 1:
            raise StoreUnavailable("no disk")
        await delete(self, file_id)

    monkeypatch.setattr(Service, "delete", failing)
    status, where, _ = await post(client, "/ui/delete", *file_ids, confirmed="yes")
    assert (status, where) == (303, "/ui?deleted=1&left=2")
    status, _, page = await post(client, "/ui/delete", *file_ids, confirmed="yes")
    assert status == 503
    assert "Wait a few seconds" in page


@pytest.mark.parametrize(
    "back", ["https://example.com/ui", "//example.com/ui", "/uix", "/files", "javascript:alert(1)"]
)
async def test_no_form_leads_away_from_the_pages(client: Client, back: str) -> None:
    status, where, _ = await post(client, "/ui/delete", "none", confirmed="yes", back=back)
    assert (status, where) == (303, "/ui?gone=1")


@pytest.mark.parametrize("file_ids", [[], [str(number) for number in range(201)]])
async def test_none_and_too_many_are_refused(client: Client, file_ids: list[str]) -> None:
    status, _, page = await post(client, "/ui/delete", *file_ids)
    assert status == 400
    assert "select" in page.lower()


async def test_the_sample_of_the_empty_page_is_that_of_the_samples(client: Client) -> None:
    assert (FOLDER / "samples/readings.csv").read_bytes() == (
        ROOT / "samples/readings.csv"
    ).read_bytes()
    status, where, _ = await post(client, "/ui/sample")
    assert status == 303
    record = await settled(client, where.removeprefix("/ui/files/"))
    assert (record["status"], record["aggregates"]["row_count"]) == ("partial", 5)


SORTED = {
    "uploaded_at": "age, descending",
    "status": "status, ascending",
    "-status": "status, descending",
    "filename": "name, ascending",
    "-filename": "name, descending",
    "size_bytes": "size, ascending",
    "-size_bytes": "size, descending",
    "error_count": "errors, ascending",
    "-error_count": "errors, descending",
    "processing_ms": "duration, ascending",
    "-processing_ms": "duration, descending",
}


async def test_the_table_says_how_it_is_sorted(client: Client) -> None:
    """By whatever the service can sort, in the words of the table's heads."""
    expected = {sort: f"sorted by {said}" for sort, said in SORTED.items()}
    expected |= {"": "newest first", "-uploaded_at": "newest first"}
    assert expected.keys() == {"", *FILE_SORTS, *(f"-{name}" for name in FILE_SORTS)}
    await upload(client, SAMPLE)
    for sort, said in expected.items():
        async with client.get("/ui", params={"sort": sort}) as answer:
            assert f'<caption id="found">Files, {said}</caption>' in await answer.text()


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/ui/files/none", 404, "There is no file with the id"),
        ("/ui/nowhere", 404, "There is no page /ui/nowhere"),
        ("/ui?sort=colour", 400, "Cannot sort by"),
        ("/ui?cursor=no", 400, "The cursor is not one of this listing"),
    ],
)
async def test_a_page_that_failed_says_what_happened_and_what_to_do(
    client: Client, path: str, status: int, says: str
) -> None:
    async with client.get(path) as answer:
        page = await answer.text()
        assert answer.status == status
    assert says in page
    assert 'href="/ui">All files' in page
    assert "start again" in page or "may have been deleted" in page


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/ui", "GET, HEAD, OPTIONS, POST"), ("/ui/files/none", "GET, HEAD, OPTIONS")],
)
async def test_a_page_tells_the_methods_that_it_takes(
    client: Client, path: str, allowed: str
) -> None:
    async with client.put(path) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == allowed
        assert answer.content_type == "text/html"


async def test_static_files_are_kept_by_browsers_and_named_by_their_contents(
    client: Client, tmp_path: Path
) -> None:
    page = await (await client.get("/ui")).text()
    addresses = re.findall(r'(?:src|href)="(/static/[^"#]+)', page)
    assert len(addresses) > 6
    for address in addresses:
        async with client.get(address) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    async with client.get("/static/000000000000/base.css") as answer:
        assert answer.status == 404
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).url("a.js")
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).url("a.js") != before
    with pytest.raises(KeyError):
        Assets(tmp_path).url("b.js")


async def test_static_files_come_packed_to_who_takes_it(client: Client) -> None:
    (address,) = re.findall(
        r'href="(/static/[^"]+base.css)"', await (await client.get("/ui")).text()
    )
    async with client.get(address, headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        plain = await answer.read()
    async with client.get(address, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == plain


async def test_the_largest_listing_is_below_300_kb(client: Client) -> None:
    """100 files whose names are as long as they may be, of which each has a message."""
    service = client.app[SERVICE]
    for _ in range(101):
        await service.submit("n" * 251 + ".csv", stream(b"no header\n"))
    async with asyncio.timeout(DEADLINE):
        while (await service.count_by_status()).get(Status.FAILED) != 101:
            await asyncio.sleep(0.02)
    page = await (await client.get("/ui?limit=100")).read()
    assert page.count(b"<tr id=") == 100
    assert len(page) < 300_000


def test_figures_are_grouped_and_lose_no_digit() -> None:
    assert format_number(1234567) == "1,234,567"
    assert format_number(19.87) == "19.87"
    assert format_number(42.0) == "42"
    assert format_number(1e300) == "1e+300"
    assert format_bytes(1536) == "1.5 KiB"
    assert [format_duration(ms) for ms in (835, 12_345, 245_000, 7_440_000)] == [
        "835 ms",
        "12.3 s",
        "4 min 5 s",
        "2 h 4 min",
    ]


def test_an_estimate_is_told_to_the_second() -> None:
    assert [format_left(ms) for ms in (853, 3_600, 59_700, 245_100)] == [
        "less than a second left",
        "about 4 s left",
        "about 1 min 0 s left",
        "about 4 min 5 s left",
    ]


def test_an_age_is_told_in_its_largest_unit() -> None:
    now = datetime(2025, 10, 2, 8, 0, 0, tzinfo=UTC)
    moments = ("2025-10-02T08:00:09Z", "2025-10-02T07:59:01Z", "2025-10-02T07:00:01Z")
    assert [format_age(moment, now) for moment in moments] == ["0 s ago", "59 s ago", "59 min ago"]
    assert format_age("2025-09-30T07:00:00Z", now) == "2 d ago"


def test_screenshots_are_there_in_each_look_and_small() -> None:
    """`make screenshots` writes them; the README shows them."""
    images = ROOT / "docs/images"
    pages = ("dashboard", "file", "failed", "processing", "empty", "sign-in")
    looks = ("light", "dark", "360px")
    wanted = {f"{page}-{look}.png" for page in pages for look in looks}
    assert {path.name for path in images.glob("*.png")} == wanted
    assert set(re.findall(r"\(docs/images/([^)]+)\)", (ROOT / "README.md").read_text())) == wanted
    assert max((images / name).stat().st_size for name in wanted) < 150_000
