"""POST /files: what is accepted, and what then comes out."""

import csv
import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from aggsvc.processor import KEPT_ERRORS
from tests import oracle
from tests.api.conftest import Client
from tests.api.helpers import (
    BOUNDARY,
    SAMPLES,
    assert_problem,
    body,
    json_of,
    part,
    post,
    processed,
    settled,
    upload,
)
from tests.conftest import GOOD_ROW, HEADER

RECORD_KEYS = [
    "file_id",
    "filename",
    "size_bytes",
    "sha256",
    "status",
    "uploaded_at",
    "started_at",
    "processed_at",
    "processing_ms",
    "progress",
    "aggregates",
    "error_count",
    "error_summary",
    "errors",
    "message",
    "history",
]
AGGREGATES_KEYS = {
    "row_count",
    "min_value",
    "max_value",
    "mean_value",
    "stddev_value",
    "p50_value",
    "p95_value",
    "p99_value",
    "first_timestamp",
    "last_timestamp",
    "sensor_count",
    "per_sensor_count",
    "per_sensor_count_truncated",
    "histogram",
    "time_series",
}
ACCEPTED_SAMPLES = [path for path in sorted(SAMPLES.glob("**/*.csv")) if path.name != "empty.csv"]


async def test_an_upload_is_accepted_with_its_record_and_its_place(client: Client) -> None:
    data = (SAMPLES / "readings.csv").read_bytes()
    answer = await post(client, body(part(data, "file", "readings.csv")))
    assert answer.status == 202
    assert answer.content_type == "application/json"
    record = await json_of(answer)
    assert answer.headers["Location"] == f"/files/{record['file_id']}"
    assert sorted(record) == sorted(RECORD_KEYS)
    assert (record["filename"], record["status"]) == ("readings.csv", "uploaded")
    assert record["size_bytes"] == len(data)
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["aggregates"] is None
    assert record["uploaded_at"].endswith("Z")
    assert (await client.get(answer.headers["Location"])).status == 200


async def test_the_example_of_the_design(client: Client) -> None:
    record = await processed(client, (SAMPLES / "readings.csv").read_bytes(), "readings.csv")
    assert sorted(record) == sorted(RECORD_KEYS)
    assert record["aggregates"].keys() == AGGREGATES_KEYS
    assert record["status"] == "partial"
    expected = {
        "row_count": 5,
        "min_value": 19.87,
        "max_value": 42.0,
        "mean_value": 25.02,
        "sensor_count": 3,
        "per_sensor_count": {"sensor-a": 2, "sensor-b": 2, "sensor-c": 1},
        "per_sensor_count_truncated": False,
    }
    assert expected.items() <= record["aggregates"].items()
    assert record["error_count"] == 1
    assert record["error_summary"] == {"missing timestamp": 1}
    assert record["errors"] == [
        {
            "row_number": 6,
            "line_number": 7,
            "column": "timestamp",
            "reason": "missing timestamp",
            "value": "",
        }
    ]
    assert record["message"] is None
    assert record["progress"] == {"bytes_read": record["size_bytes"], "rows_read": 6}


@pytest.mark.parametrize("path", ACCEPTED_SAMPLES, ids=lambda path: path.stem)
async def test_each_sample_ends_as_the_oracle_says(path: Path, client: Client) -> None:
    data = path.read_bytes()
    verdict = oracle.judge(data)
    record = await processed(client, data, path.name)
    if verdict.rejected is not None:
        assert (record["status"], record["aggregates"]) == ("failed", None)
        assert oracle.REJECTED_SAYS[verdict.rejected] in record["message"]
        return
    assert_agrees(record, verdict)
    answer = await client.get(f"/files/{record['file_id']}/errors")
    lines = [orjson.loads(line) for line in (await answer.read()).splitlines()]
    assert [tuple(line.values()) for line in lines] == verdict.errors


def assert_agrees(record: dict[str, Any], verdict: oracle.Verdict) -> None:
    aggregates = record["aggregates"]
    assert record["status"] == status_of(verdict)
    assert aggregates["row_count"] == verdict.row_count
    assert repr(aggregates["min_value"]) == repr(verdict.min_value)
    assert repr(aggregates["max_value"]) == repr(verdict.max_value)
    assert repr(aggregates["mean_value"]) == repr(verdict.mean_value)
    assert aggregates["per_sensor_count"] == verdict.per_sensor_count
    counts = list(aggregates["per_sensor_count"].items())
    assert counts == sorted(counts, key=lambda item: (-item[1], item[0]))
    assert record["error_count"] == len(verdict.errors)
    assert record["error_summary"] == verdict.error_summary
    assert [tuple(error.values()) for error in record["errors"]] == verdict.errors[:KEPT_ERRORS]
    assert record["progress"]["rows_read"] == verdict.rows_read
    assert record["message"] == ("no valid rows" if record["status"] == "failed" else None)


def status_of(verdict: oracle.Verdict) -> str:
    if not verdict.errors:
        return "processed"
    return "partial" if verdict.readings else "failed"


async def test_the_empty_sample_is_refused(client: Client) -> None:
    data = (SAMPLES / "broken" / "empty.csv").read_bytes()
    await assert_problem(await post(client, body(part(data))), 400, "empty")


async def test_a_rejected_file_names_the_columns_found(client: Client) -> None:
    record = await processed(client, (SAMPLES / "broken" / "missing-column.csv").read_bytes())
    assert "timestamp" in record["message"]
    assert "time" in record["message"].replace("timestamp", "")


async def test_other_fields_and_empty_parts_beside_the_file_are_read_past(client: Client) -> None:
    sent = body(
        part(b"about the file", "note", None),
        part(HEADER + GOOD_ROW),
        part(b"x" * 100_000, "other", "b.csv"),
    )
    answer = await post(client, sent)
    assert answer.status == 202
    record = await settled(client, (await json_of(answer))["file_id"])
    assert record["size_bytes"] == len(HEADER + GOOD_ROW)
    assert record["status"] == "processed"


async def test_a_preamble_an_epilogue_and_a_quoted_boundary_are_no_harm(client: Client) -> None:
    sent = b"preamble\r\n" + body(part(HEADER)) + b"epilogue\r\n"
    headers = {"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'}
    assert (await post(client, sent, headers)).status == 202


async def test_content_that_looks_like_a_boundary_is_content(client: Client) -> None:
    data = HEADER + b"--frontie,x,y\r\n--\r\n--frontier-not,,\n"
    record = await processed(client, data.replace(b"--frontier-not", b" --frontier-not"))
    assert record["size_bytes"] == len(data) + 1


@pytest.mark.parametrize("size", [1, 255 * 1024, 256 * 1024, 256 * 1024 + 1, 700_000])
async def test_uploads_of_any_size_arrive_whole(size: int, client: Client) -> None:
    data = (HEADER + GOOD_ROW * (size // len(GOOD_ROW) + 1))[:size]
    record = await upload(client, data)
    assert (record["size_bytes"], record["sha256"]) == (size, hashlib.sha256(data).hexdigest())


async def test_a_chunked_upload_is_taken(client: Client) -> None:
    async def chunks() -> Any:
        sent = body(part(HEADER + GOOD_ROW))
        for at in range(0, len(sent), 7):
            yield sent[at : at + 7]

    answer = await client.post(
        "/files",
        data=chunks(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert answer.status == 202
    record = await settled(client, (await json_of(answer))["file_id"])
    assert record["status"] == "processed"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("readings.csv", "readings.csv"),
        ("/etc/passwd", "passwd"),
        ("../../up.csv", "up.csv"),
        ("C:\\\\Users\\\\me\\\\data.csv", "data.csv"),
        ("Ümläut ☃ 🎉.csv", "Ümläut ☃ 🎉.csv"),
        ("tab\there.csv", "tabhere.csv"),
        ("\u202egnp.csv", "gnp.csv"),
        ("dir/", "unnamed.csv"),
        ("   ", "unnamed.csv"),
        ("", "unnamed.csv"),
        (None, "unnamed.csv"),
        ("a;b=c.csv", "a;b=c.csv"),
        ('say \\"hi\\".csv', 'say "hi".csv'),
        ("<script>alert(1)</script>.csv", "script>.csv"),
        ("..", ".."),
    ],
)
async def test_odd_file_names_come_back_sane(given: str | None, kept: str, client: Client) -> None:
    answer = await post(client, body(part(HEADER, "file", given)))
    assert answer.status == 202, await answer.text()
    record = await json_of(answer)
    assert record["filename"] == kept
    assert (await json_of(await client.get(f"/files/{record['file_id']}")))["filename"] == kept


async def test_a_file_name_without_end_is_cut(client: Client) -> None:
    """Of 10,000 characters the first 255 stay, or the part's header is refused."""
    answer = await post(client, body(part(HEADER, "file", "x" * 10_000)))
    if answer.status == 202:
        assert (await json_of(answer))["filename"] == "x" * 255
    else:
        await assert_problem(answer, 400)


async def test_a_file_name_in_latin_1_is_readable_text(client: Client) -> None:
    sent = body(part(HEADER, "file", "grad-@.csv")).replace(b"@", b"\xb0")
    answer = await post(client, sent)
    assert answer.status == 202
    assert (await json_of(answer))["filename"] == "grad-\ufffd.csv"


async def test_an_encoded_file_name_is_decoded(client: Client) -> None:
    sent = body(part(HEADER)).replace(b'filename="a.csv"', b"filename*=UTF-8''%E2%98%83.csv")
    answer = await post(client, sent)
    assert answer.status == 202
    assert (await json_of(answer))["filename"] == "☃.csv"


async def test_an_encoded_file_name_of_half_a_character_is_readable_text(client: Client) -> None:
    sent = body(part(HEADER)).replace(b'filename="a.csv"', b"filename*=utf-7''%2B2AA-.csv")
    answer = await post(client, sent)
    assert answer.status == 202
    assert (await json_of(answer))["filename"] == "\ufffd.csv"


async def test_errors_as_csv_equal_errors_as_json_lines(client: Client) -> None:
    """Also where a value holds quotes, commas and line ends."""
    data = HEADER + b'a,x"y,1\n"a","2025-10-01","1,\n2"\na,2025-10-01,"x\r\n""y"""\nb,,3\n\x00,,\n'
    verdict = oracle.judge(data)
    record = await processed(client, data)
    answer = await client.get(f"/files/{record['file_id']}/errors?format=csv")
    assert answer.content_type == "text/csv"
    header, *rows = csv.reader(io.StringIO(await answer.text(), newline=""))
    assert header == ["row_number", "line_number", "column", "reason", "value"]
    expected = [["" if field is None else str(field) for field in row] for row in verdict.errors]
    assert rows == expected


def test_the_oracle_knows_all_that_the_record_shows() -> None:
    assert asdict(oracle.judge(HEADER))["rows_read"] == 0
