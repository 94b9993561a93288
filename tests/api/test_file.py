"""One file: its record, errors, content, deletion and reprocessing."""

import asyncio
import contextlib
from typing import Any
from urllib.parse import unquote

import orjson
import pytest

from aggsvc.errors import StoreUnavailable
from aggsvc.model import MAX_HISTORY
from aggsvc.settings import Settings
from tests import oracle
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import Opened, assert_problem, json_of, processed, settled, upload
from tests.conftest import BAD_ROW, DEADLINE, GOOD_ROW, HEADER, Gated, stored_files
from tests.test_processor import BrokenStream

UNKNOWN = [
    "nobody",
    "0" * 32,
    "x" * 5_000,
    "%00",
    "%FF",
    "%ED%A0%80",
    "a%2Fb",
    "..%2F..%2Fetc%2Fpasswd",
    "%F0%9F%8E%89",
    "%0d%0aX-Evil:%201",
]
ROUTES = [
    ("GET", ""),
    ("GET", "/errors"),
    ("GET", "/sensors"),
    ("GET", "/series"),
    ("GET", "/content"),
    ("GET", "/events"),
    ("POST", "/reprocess"),
    ("DELETE", ""),
]


@pytest.mark.parametrize("file_id", UNKNOWN, ids=lambda text: text[:20])
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_an_unknown_file_is_a_404(
    method: str, path: str, file_id: str, client: Client
) -> None:
    url = client.make_url("/").joinpath("files") / ""
    answer = await client.session.request(method, type(url)(f"{url}{file_id}{path}", encoded=True))
    await assert_problem(answer, 404)
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/files/a/b", 404),
        ("PUT", "/files", 405),
        ("DELETE", "/files", 405),
        ("POST", "/health", 405),
    ],
)
async def test_what_does_not_exist_is_a_problem(
    method: str, path: str, status: int, client: Client
) -> None:
    answer = await client.request(method, path)
    await assert_problem(answer, status, path)
    if status == 405:
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /files/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /nothing\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files?status=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files?sort=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Type: \xff/x\r\nContent-Length: 0\r\n\r\n",
        b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/\xff; boundary=\xff\r\n"
        b"Content-Length: 0\r\n\r\n",
    ],
    ids=str,
)
async def test_bytes_that_are_no_utf_8_are_the_clients_doing(
    request_: bytes, client: Client
) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request_)
    status = int((await asyncio.wait_for(reader.readline(), DEADLINE)).split()[1])
    assert 400 <= status < 500
    writer.close()
    await writer.wait_closed()


async def test_a_thousand_row_errors_come_out_whole_as_ndjson_and_csv(client: Client) -> None:
    data = HEADER + GOOD_ROW + BAD_ROW * 1_000
    record = await processed(client, data)
    assert (record["status"], record["error_count"]) == ("partial", 1_000)
    assert record["error_summary"] == {"missing timestamp": 1_000}
    assert len(record["errors"]) == 100
    url = f"/files/{record['file_id']}/errors"
    answer = await client.get(url)
    assert answer.content_type == "application/x-ndjson"
    lines = [orjson.loads(line) for line in (await answer.read()).splitlines()]
    assert lines[:100] == record["errors"]
    assert [tuple(line.values()) for line in lines] == oracle.judge(data).errors
    assert await (await client.get(url + "?format=ndjson")).read() == await answer.read()
    as_csv = (await (await client.get(url + "?format=csv")).text()).splitlines()
    assert as_csv[0] == "row_number,line_number,column,reason,value"
    assert as_csv[1:] == [f"{n},{n + 1},timestamp,missing timestamp," for n in range(2, 1_002)]


async def test_the_errors_of_one_reason_come_out_alone(client: Client) -> None:
    """Whatever other rows have in their values."""
    spoof = b'a,"""reason"":""missing timestamp""",1\n'
    data = HEADER + (BAD_ROW + spoof + b"a,2025-10-01,x\n" + GOOD_ROW) * 2_000
    file_id = (await processed(client, data))["file_id"]
    url = f"/files/{file_id}/errors"
    for reason in ("missing timestamp", "invalid timestamp", "invalid value", "nul byte"):
        expected = [error for error in oracle.judge(data).errors if error[3] == reason]
        answer = await client.get(url, params={"reason": reason})
        lines = [orjson.loads(line) for line in (await answer.read()).splitlines()]
        assert [tuple(line.values()) for line in lines] == expected
        answer = await client.get(url, params={"reason": reason, "format": "csv"})
        assert len((await answer.text()).splitlines()) == 1 + len(expected)
    for reason in ("missing time", ""):
        answer = await client.get(url, params={"reason": reason})
        assert answer.status == 400
        detail = (await answer.json())["detail"]
        assert f"reason={reason!r}: it is one of record too long, unclosed quote" in detail


async def test_a_file_without_row_errors_has_an_empty_list_of_them(client: Client) -> None:
    url = f"/files/{(await processed(client, HEADER))['file_id']}/errors"
    assert await (await client.get(url)).read() == b""
    assert (await (await client.get(url + "?format=csv")).text()).count("\n") == 1


@pytest.mark.parametrize("format_", ["", "json", "CSV"])
async def test_another_format_is_told_the_right_ones(format_: str, client: Client) -> None:
    record = await processed(client, HEADER)
    url = f"/files/{record['file_id']}/errors"
    await assert_problem(await client.get(url, params={"format": format_}), 400, "ndjson or csv")


async def test_errors_and_reprocessing_wait_for_the_end(make_client: MakeClient) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened)
    record = await upload(client, HEADER + GOOD_ROW)
    url = f"/files/{record['file_id']}"
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    await assert_problem(await client.get(url + "/errors"), 409, "processing")
    await assert_problem(await client.post(url + "/reprocess"), 409, "processing")
    opened.store.go.set()
    await settled(client, record["file_id"])
    assert (await client.get(url + "/errors")).status == 200


@pytest.mark.parametrize(
    "filename",
    ["a.csv", "Ümläut ☃.csv", "a;b=c.csv", "'single'.csv", "x" * 255, "100%.csv", "a,b.csv"],
)
async def test_content_is_an_attachment_byte_for_byte(filename: str, client: Client) -> None:
    data = HEADER + bytes(range(256)) * 3_000
    record = await upload(client, data, filename)
    answer = await client.get(f"/files/{record['file_id']}/content")
    assert await answer.read() == data
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.content_type == "text/csv"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.isascii()
    kind, _, name = disposition.partition("; filename*=UTF-8''")
    assert kind.startswith('attachment; filename="')
    assert unquote(name) == filename


@pytest.mark.parametrize(
    "path",
    ["", "/errors", "/errors?format=csv", "/sensors", "/content", "/events", "/../../events"],
)
async def test_a_head_has_no_body_and_ends(path: str, client: Client) -> None:
    record = await processed(client, HEADER + BAD_ROW)
    url = "/events" if path.startswith("/..") else f"/files/{record['file_id']}{path}"
    head, _, rest = await raw(client, b"HEAD", url)
    assert head.split()[1] in (b"200", b"405")
    assert rest == b""


@pytest.mark.parametrize("path", ["/content", "/errors", "/errors?format=csv"])
async def test_an_answer_that_breaks_off_is_never_taken_for_whole(
    path: str, make_client: MakeClient
) -> None:
    """Neither is it ended as if it were whole, nor is another answer written into it."""
    opened = Opened(lambda inner: BrokenStream(inner, StoreUnavailable("the disk is gone")))
    client = await make_client(objects=opened)
    opened.store._broken = lambda chunks: chunks
    record = await processed(client, HEADER + GOOD_ROW + BAD_ROW * 1_000)
    line = b'{"row_number":1,"line_number":2,"column":null,"reason":"nul byte","value":""}\n'
    opened.store._broken = lambda _chunks: broken_half(line)
    head, _, rest = await raw(client, b"GET", f"/files/{record['file_id']}{path}")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"HTTP/" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


async def raw(
    client: Client, method: bytes, url: str, fields: bytes = b""
) -> tuple[bytes, bytes, bytes]:
    """All that the server says to a request, until it closes the connection."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    line = method + b" " + url.encode() + b" HTTP/1.1\r\n"
    writer.write(line + b"Host: x\r\nConnection: close\r\n" + fields + b"\r\n")
    received = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(DEADLINE):
            while chunk := await reader.read(65_536):
                received += chunk
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return received.partition(b"\r\n\r\n")


async def broken_half(data: bytes) -> Any:
    yield data
    raise StoreUnavailable("the disk is gone")


async def test_a_deleted_file_is_gone_whole(client: Client, settings: Settings) -> None:
    record = await processed(client, HEADER + GOOD_ROW + BAD_ROW)
    url = f"/files/{record['file_id']}"
    assert len(stored_files(settings.mock_s3_root_path)) == 2
    answer = await client.delete(url)
    assert (answer.status, await answer.read()) == (204, b"")
    for method, path in ROUTES:
        await assert_problem(await client.request(method, url + path), 404, record["file_id"])
    assert stored_files(settings.mock_s3_root_path) == []


async def test_a_file_deleted_while_it_is_processed_stays_gone(
    make_client: MakeClient, settings: Settings
) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened, processor_worker_count=1)
    record = await upload(client, HEADER + GOOD_ROW + BAD_ROW)
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    assert (await client.delete(f"/files/{record['file_id']}")).status == 204
    opened.store.go.set()
    await processed(client, HEADER)  # the one consumer has done with the first file
    assert (await client.get(f"/files/{record['file_id']}")).status == 404
    assert len(stored_files(settings.mock_s3_root_path)) == 1


async def test_a_file_deleted_while_it_waits_is_skipped(make_client: MakeClient) -> None:
    opened = Opened(Gated)
    client = await make_client(objects=opened, processor_worker_count=1)
    await upload(client, HEADER)
    await asyncio.wait_for(opened.store.reached.wait(), DEADLINE)
    waiting = await upload(client, HEADER)
    assert (await client.delete(f"/files/{waiting['file_id']}")).status == 204
    opened.store.go.set()
    await processed(client, HEADER)
    assert (await client.get(f"/files/{waiting['file_id']}")).status == 404


async def test_reprocessing_gives_the_same_result_again(client: Client, settings: Settings) -> None:
    first = await processed(client, HEADER + GOOD_ROW + BAD_ROW * 200)
    url = f"/files/{first['file_id']}"
    errors = await (await client.get(url + "/errors")).read()
    answer = await client.post(url + "/reprocess")
    assert answer.status == 202
    waiting = await json_of(answer)
    assert (waiting["status"], waiting["aggregates"], waiting["errors"]) == ("uploaded", None, [])
    second = await settled(client, first["file_id"])
    moved = {"started_at", "processed_at", "processing_ms", "history"}
    assert {k: v for k, v in second.items() if k not in moved} == {
        k: v for k, v in first.items() if k not in moved
    }
    assert await (await client.get(url + "/errors")).read() == errors
    assert len(stored_files(settings.mock_s3_root_path)) == 2


async def test_the_history_tells_each_state_since_the_upload(client: Client) -> None:
    record = await processed(client, HEADER + BAD_ROW)
    url = f"/files/{record['file_id']}"
    first = [
        {"time": record["uploaded_at"], "status": "uploaded", "message": None},
        {"time": record["started_at"], "status": "processing", "message": None},
        {"time": record["processed_at"], "status": "failed", "message": "no valid rows"},
    ]
    assert record["history"] == first
    again = await json_of(await client.post(url + "/reprocess"))
    assert again["history"][:3] == first
    assert again["history"][3]["status"] == "uploaded"
    assert again["history"][3]["message"] == "to be processed again"
    second = await settled(client, record["file_id"])
    assert [change["status"] for change in second["history"]] == [
        *("uploaded", "processing", "failed"),
        *("uploaded", "processing", "failed"),
    ]
    assert second["history"] == sorted(second["history"], key=lambda change: change["time"])


async def test_of_a_long_history_the_last_is_kept(client: Client) -> None:
    record = await processed(client, HEADER)
    for _ in range(8):
        assert (await client.post(f"/files/{record['file_id']}/reprocess")).status == 202
        record = await settled(client, record["file_id"])
    assert len(record["history"]) == MAX_HISTORY
    assert record["history"][-1]["time"] == record["processed_at"]
    listed = (await json_of(await client.get("/files")))["items"][0]
    assert "history" not in listed


async def test_of_many_who_reprocess_at_once_one_is_accepted(client: Client) -> None:
    record = await processed(client, HEADER)
    url = f"/files/{record['file_id']}/reprocess"
    answers = await asyncio.gather(*(client.post(url) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7
    for answer in answers:
        if answer.status == 409:
            await assert_problem(answer, 409)


async def test_many_at_once_end_each_with_its_own_result(client: Client) -> None:
    async def one(number: int) -> None:
        data = HEADER + b"s%d,2025-10-01,%d\n" % (number, number) * (number + 1)
        record = await processed(client, data, f"{number}.csv")
        assert record["aggregates"]["mean_value"] == number
        assert record["aggregates"]["per_sensor_count"] == {f"s{number}": number + 1}

    await asyncio.gather(*map(one, range(40)))


async def test_a_client_that_leaves_in_the_middle_of_content_is_no_error(client: Client) -> None:
    record = await upload(client, HEADER + GOOD_ROW * 400_000)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /files/%b/content HTTP/1.1\r\nHost: x\r\n\r\n" % record["file_id"].encode())
    await reader.readexactly(1_000)
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert (await client.get("/health/live")).status == 200


@pytest.mark.parametrize("wanted", ["csv", "ndjson"])
async def test_errors_are_saved_under_a_name_of_their_own(client: Client, wanted: str) -> None:
    file_id = (await processed(client, HEADER + BAD_ROW + GOOD_ROW))["file_id"]
    async with client.get(f"/files/{file_id}/errors?format={wanted}") as answer:
        saved_as = answer.headers["Content-Disposition"].rpartition("''")[2]
    assert unquote(saved_as).endswith(f".errors.{wanted}")
