"""HTTP manners: tags, ranges, kinds, gzip, HEAD and OPTIONS, and scripts of other origins."""

import asyncio
import csv
import gzip
import io
from typing import Any

import orjson
import pytest

from aggsvc.keys import SERVICE
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import Opened, assert_problem, json_of, processed, settled, upload
from tests.api.test_file import raw
from tests.conftest import BAD_ROW, DEADLINE, GOOD_ROW, HEADER, MANY_SENSORS, Gated

DATA = HEADER + GOOD_ROW * 100
GZIP = {"Accept-Encoding": "gzip"}
NOT_ENCODED = {"Accept-Encoding": "identity"}


async def head_of(client: Client, path: str, **fields: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    async with client.get(path, headers=named) as answer:
        await answer.read()
        return answer.status, answer.headers


async def test_a_record_is_not_sent_again_to_who_has_it(client: Client) -> None:
    url = f"/files/{(await processed(client, DATA))['file_id']}"
    status, fields = await head_of(client, url)
    tag = fields["ETag"]
    assert (status, fields["Cache-Control"]) == (200, "private, no-cache")
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        async with client.get(url, headers={"If-None-Match": known}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (
                tag,
                "private, no-cache",
            )
            assert answer.headers["Vary"] == fields["Vary"]
    for other in ('"other"', "", tag.strip('"'), tag[:-3] + '"'):
        assert (await head_of(client, url, If_None_Match=other))[0] == 200


async def test_the_tag_of_a_record_moves_with_it(make_client: MakeClient) -> None:
    """Until its end it is not to be kept; reprocessed it has another tag each time."""
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    file_id = (await upload(client, DATA))["file_id"]
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    _, moving = await head_of(client, f"/files/{file_id}")
    assert moving["Cache-Control"] == "no-store"
    opened.store.go.set()
    await settled(client, file_id)
    status, done = await head_of(client, f"/files/{file_id}", If_None_Match=moving["ETag"])
    assert status == 200
    assert done["ETag"] != moving["ETag"]
    await client.post(f"/files/{file_id}/reprocess")
    await settled(client, file_id)
    assert (await head_of(client, f"/files/{file_id}", If_None_Match=done["ETag"]))[0] == 200


@pytest.fixture
async def content(client: Client) -> str:
    return f"/files/{(await processed(client, DATA))['file_id']}/content"


SIZE = len(DATA)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-9", 5, 9),
        ("Bytes=5-", 5, SIZE - 1),
        (f"bytes=5-{SIZE * 9}", 5, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE * 9}", 0, SIZE - 1),
        ("bytes= 5-9 ", 5, 9),
    ],
)
async def test_a_range_of_the_content_is_sent(
    asked: str, first: int, last: int, client: Client, content: str
) -> None:
    async with client.get(content, headers={"Range": asked} | GZIP) as answer:
        assert answer.status == 206
        assert await answer.read() == DATA[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
        assert answer.headers["Content-Length"] == str(last + 1 - first)
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "asked",
    ["bytes=9-5", "bytes=-", "bytes=", "bytes=a-b", "rows=1-2", "bytes=0-1,5-6", "bytes=1--2",
     "bytes=" + "9" * 25 + "-", "bytes=٣-٤"],
)  # fmt: skip
async def test_what_is_no_single_range_is_answered_whole(
    asked: str, client: Client, content: str
) -> None:
    async with client.get(content, headers={"Range": asked}) as answer:
        assert (answer.status, await answer.read()) == (200, DATA)
        assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
async def test_a_range_outside_is_told_the_size(asked: str, client: Client, content: str) -> None:
    answer = await client.get(content, headers={"Range": asked})
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    await assert_problem(answer, 416, f"{SIZE:,}")


async def test_a_download_goes_on_only_with_the_same_bytes(client: Client, content: str) -> None:
    """If-Range: with the content's tag the rest is sent, with any other all of it."""
    _, fields = await head_of(client, content)
    tag = fields["ETag"]
    for known, status in ((tag, 206), (f"W/{tag}", 200), ('"x"', 200), (fields["Date"], 200)):
        found, _ = await head_of(client, content, Range="bytes=5-9", If_Range=known)
        assert found == status
    assert (await head_of(client, content, If_None_Match=tag, Range="bytes=5-9"))[0] == 304
    assert tag == f'"{(await json_of(await client.get(content[:-8])))["sha256"]}"'


async def test_a_head_says_what_a_get_would(client: Client, content: str) -> None:
    """Every field but the request's own; compressed or not; and nothing more."""
    url = content.removesuffix("/content")
    for path in (url, content, f"{url}/errors", f"{url}/sensors?format=csv", "/files", "/health"):
        for coding in (GZIP, NOT_ENCODED):
            async with client.get(path, headers=coding) as got:
                await got.read()
            async with client.head(path, headers=coding) as head:
                own = ("Date", "X-Request-ID", "Transfer-Encoding")
                assert head.status == got.status
                assert {k: v for k, v in head.headers.items() if k not in own} == {
                    k: v for k, v in got.headers.items() if k not in own
                }
    for path in (f"{url}/errors?format=csv", content, url):
        _, _, rest = await raw(client, b"HEAD", path, b"Accept-Encoding: gzip\r\n")
        assert rest == b""


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/x-ndjson"),
        ("", "application/x-ndjson"),
        (" , ", "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV;charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/x-ndjson;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.5, */*;q=0.1", "text/csv"),
        ("*/*, application/x-ndjson;q=0", "text/csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/x-ndjson"),
        ("text/csv;q=2, application/*", "application/x-ndjson"),
    ],
)
async def test_errors_come_as_the_client_likes_them(
    accept: str | None, kind: str, client: Client
) -> None:
    file_id = (await processed(client, HEADER + BAD_ROW))["file_id"]
    headers = {} if accept is None else {"Accept": accept}
    async with client.get(f"/files/{file_id}/errors", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, kind)
        assert "Accept" in answer.headers["Vary"]
        assert kind.rpartition("-")[2].rpartition("/")[2] in answer.headers["Content-Disposition"]


async def test_what_fits_no_wish_is_refused_with_what_there_is(client: Client) -> None:
    url = f"/files/{(await processed(client, HEADER + BAD_ROW))['file_id']}"
    for accept in ("text/html", "text/csv;q=0", "*/*;q=0", "nonsense"):
        answer = await client.get(f"{url}/errors", headers={"Accept": accept})
        await assert_problem(answer, 406, "text/csv", "application/x-ndjson")
    answer = await client.get(f"{url}/sensors", headers={"Accept": "text/html"})
    await assert_problem(answer, 406, "application/json", "text/csv", "application/x-ndjson")
    async with client.get(f"{url}/errors?format=csv", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 200  # a link says what it wants


@pytest.mark.parametrize("sensors", [GOOD_ROW, MANY_SENSORS, b""], ids=["one", "1,000", "none"])
async def test_all_sensors_come_as_csv_or_json_lines(sensors: bytes, client: Client) -> None:
    """The same figures as the pages have, to the bit; in the order that is asked for."""
    url = f"/files/{(await processed(client, HEADER + sensors))['file_id']}/sensors"
    page = (await json_of(await client.get(f"{url}?limit=1000&sort=-sensor_id")))["items"]
    async with client.get(f"{url}?format=ndjson&sort=-sensor_id") as answer:
        assert [orjson.loads(line) for line in (await answer.read()).splitlines()] == page
    async with client.get(f"{url}?sort=-sensor_id", headers={"Accept": "text/csv"}) as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [row["sensor_id"] for row in rows] == [item["sensor_id"] for item in page]
    for row, item in zip(rows, page, strict=True):
        assert {name: str(value) for name, value in item.items()} == row
    for query in ("format=csv&limit=5", "format=ndjson&cursor=x"):
        await assert_problem(await client.get(f"{url}?{query}"), 400, "limit and cursor")
    await assert_problem(await client.get(f"{url}?format=csv&sort=x"), 400, "sensor_id")


async def test_sensors_that_do_not_fit_one_turn_come_whole_and_of_one_result(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many turns make one answer, all of one result, also of what is deleted meanwhile."""
    monkeypatch.setattr("aggsvc.service.LISTED_AT_A_TIME", 7)
    file_id = (await processed(client, HEADER + MANY_SENSORS))["file_id"]
    async with client.get(f"/files/{file_id}/sensors?format=ndjson&sort=-sensor_id") as answer:
        ids = [orjson.loads(line)["sensor_id"] for line in (await answer.read()).splitlines()]
    assert ids == sorted((f"s{number}" for number in range(1_000)), reverse=True)
    service = client.app[SERVICE]
    async with service.open_sensors(await service.get(file_id)) as pages:
        assert len(await anext(pages)) == 7
        await service.delete(file_id)
        assert len([sensor async for page in pages for sensor in page]) == 993


async def test_all_sensors_wait_for_the_end(make_client: MakeClient) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    file_id = (await upload(client, DATA))["file_id"]
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    await assert_problem(await client.get(f"/files/{file_id}/sensors?format=csv"), 409)
    opened.store.go.set()


FORMULAS = ["=1+1", "+1", "-1", "@sum(a)", "=cmd|' /C calc'!A0"]


async def test_a_spreadsheet_computes_nothing_that_was_uploaded(client: Client) -> None:
    """An apostrophe before what looks like a formula; numbers, also below zero, are untouched."""
    good = b"".join(f'"{text}",2025-10-01,-2.5\n'.encode() for text in FORMULAS)
    bad = b"".join(f'a,2025-10-01,"{text}x"\n'.encode() for text in FORMULAS)
    url = f"/files/{(await processed(client, HEADER + good + bad))['file_id']}"
    sensors = await (await client.get(f"{url}/sensors?format=csv")).text()
    errors = await (await client.get(f"{url}/errors?format=csv")).text()
    rows = list(csv.DictReader(io.StringIO(sensors)))
    assert sorted(row["sensor_id"] for row in rows) == sorted(f"'{text}" for text in FORMULAS)
    assert {row["mean_value"] for row in rows} == {"-2.5"}
    values = [row["value"] for row in csv.DictReader(io.StringIO(errors))]
    assert values == [f"'{text}x" for text in FORMULAS]


@pytest.mark.parametrize("path", ["", "/errors", "/errors?format=csv", "/sensors?format=csv"])
async def test_a_large_answer_is_gzipped_for_who_asks(path: str, client: Client) -> None:
    url = f"/files/{(await processed(client, HEADER + MANY_SENSORS + BAD_ROW * 3_000))['file_id']}"
    async with client.get(url + path, headers=NOT_ENCODED) as answer:
        plain = await answer.read()
        assert "Content-Encoding" not in answer.headers
        assert "Accept-Encoding" in answer.headers["Vary"]
    accepted = b"Accept-Encoding: gzip;q=0.5, br, identity;q=0.1\r\n"
    head, _, packed = await raw(client, b"GET", url + path, accepted)
    assert b"Content-Encoding: gzip" in head
    if b"chunked" in head:
        packed = unchunked(packed)
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 3


def unchunked(data: bytes) -> bytes:
    whole = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return whole
        whole += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


@pytest.mark.parametrize(
    "accepted", ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=0.5, identity", "gzip;q=x"]
)
async def test_who_does_not_ask_for_gzip_gets_none(accepted: str, client: Client) -> None:
    file_id = (await processed(client, HEADER + MANY_SENSORS))["file_id"]
    _, fields = await head_of(client, f"/files/{file_id}", Accept_Encoding=accepted)
    assert "Content-Encoding" not in fields


async def test_small_answers_the_content_and_events_are_sent_as_they_are(client: Client) -> None:
    url = f"/files/{(await processed(client, DATA))['file_id']}"
    for path in ("/health/live", f"{url}/content", f"{url}/events"):
        _, fields = await head_of(client, path, **{"Accept_Encoding": "gzip"})
        assert "Content-Encoding" not in fields


async def test_a_gzipped_answer_has_a_weak_tag_which_is_known_again(client: Client) -> None:
    """Its bytes are not those that others get under the tag."""
    _, plain = await head_of(client, "/openapi.json", Accept_Encoding="identity")
    _, packed = await head_of(client, "/openapi.json", Accept_Encoding="gzip")
    assert packed["ETag"].removeprefix("W/") == plain["ETag"].removeprefix("W/")
    assert packed["ETag"].startswith("W/")
    for tag in (plain["ETag"], packed["ETag"]):
        status, _ = await head_of(client, "/openapi.json", If_None_Match=tag)
        assert status == 304


async def test_options_names_the_methods_of_each_path(client: Client) -> None:
    for path, methods in {
        "/files": "GET, HEAD, OPTIONS, POST",
        "/files/x": "DELETE, GET, HEAD, OPTIONS",
        "/files/x/reprocess": "OPTIONS, POST",
        "/health": "GET, HEAD, OPTIONS",
        "/static/x/style.css": "GET, HEAD, OPTIONS",
        "/ui": "GET, HEAD, OPTIONS, POST",
    }.items():
        async with client.options(path) as answer:
            assert (answer.status, await answer.read()) == (204, b"")
            assert answer.headers["Allow"] == methods
            assert "Access-Control-Allow-Origin" not in answer.headers
    await assert_problem(await client.options("/nowhere"), 404)
    answer = await client.put("/files")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


THEIRS = {"Origin": "https://example.org"}
PREFLIGHT = THEIRS | {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


async def test_scripts_of_other_origins_read_nothing_by_default(client: Client) -> None:
    for method, fields in (("GET", THEIRS), ("OPTIONS", PREFLIGHT)):
        async with client.request(method, "/files", headers=fields) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_scripts_of_an_allowed_origin_may_read_and_send(make_client: MakeClient) -> None:
    client = await make_client(cors_origins="https://example.org http://localhost:3000")
    async with client.options("/files", headers=PREFLIGHT) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    for path, status in (("/files", 200), ("/nowhere", 404), ("/files?limit=x", 400)):
        async with client.get(path, headers=THEIRS) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
            assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Origin" in answer.headers["Vary"]
    for origin in ("https://example.org.evil.test", "null", "http://example.org", ""):
        async with client.get("/files", headers={"Origin": origin}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Origin" in answer.headers["Vary"]


async def test_any_origin_may_read_but_never_with_credentials(make_client: MakeClient) -> None:
    client = await make_client(cors_origins="*")
    async with client.get("/files", headers=THEIRS) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "filename", ['a"b.csv', "a%22b.csv", "ä\u202e.csv", "x;y=z.csv", "a'b.csv"]
)
async def test_an_attachment_has_a_plain_name_and_the_whole_one(
    filename: str, client: Client
) -> None:
    url = f"/files/{(await processed(client, DATA, filename))['file_id']}/content"
    _, fields = await head_of(client, url)
    disposition = fields["Content-Disposition"]
    assert disposition.isascii()
    plain = disposition.partition('filename="')[2].partition('"; ')[0]
    assert plain
    assert not set(plain) & set('"%\\')
    assert "filename*=UTF-8''" in disposition
    assert fields["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
