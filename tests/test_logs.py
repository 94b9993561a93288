"""The log of a running service: JSON lines that say which file they are about."""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from aggsvc import app
from aggsvc.logs import _formatter
from tests.conftest import BAD_ROW, DEADLINE, GOOD_ROW, HEADER, until

ROOT = Path(__file__).parents[1]


@dataclass
class Running:
    """A service in a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), DEADLINE)


@asynccontextmanager
async def running(folder: Path, **changes: str) -> AsyncIterator[Running]:
    """Start `python -m aggsvc` on a free port; it is killed at the end if it still runs."""
    environment = os.environ | {
        "MOCK_S3_ROOT_PATH": str(folder / "s3"),
        "MOCK_DYNAMODB_PERSISTENCE_PATH": str(folder / "db.json"),
        "PORT": "0",
        **changes,
    }
    log = folder / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aggsvc", cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        url = next((word for word in line.decode().split() if word.startswith("http")), "")
        assert url, log.read_text()
        yield Running(process, url, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def send(session: aiohttp.ClientSession, url: str, data: bytes) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("file", data, filename="a.csv")
    async with session.post(f"{url}/files", data=form) as answer:
        assert answer.status == 202
        accepted: dict[str, Any] = await answer.json()
    record = accepted

    async def done() -> bool:
        nonlocal record
        async with session.get(f"{url}/files/{accepted['file_id']}") as answer:
            record = await answer.json()
        return record["status"] not in ("uploaded", "processing")

    await until(done)
    return record


async def test_lines_are_json_and_say_which_file_they_are_about(tmp_path: Path) -> None:
    async with running(tmp_path) as service, aiohttp.ClientSession() as session:
        record = await send(session, service.url, HEADER + GOOD_ROW + BAD_ROW * 25)
        assert await service.stop() == 0
        lines = service.lines()
    file_id, object_key = record["file_id"], f"{record['file_id']}/upload.csv"
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    about = [line for line in lines if "file_id" in line]
    assert {(line["file_id"], line["object_key"]) for line in about} == {(file_id, object_key)}
    assert about[0]["status"] == "uploaded"
    assert (about[-1]["status"], about[-1]["row_count"]) == ("partial", 1)
    warnings = [line for line in about if line["level"] == "warning"]
    assert len(warnings) == 21
    assert warnings[0]["reason"] == "missing timestamp"
    assert warnings[-1]["error_count"] == 25


async def test_the_level_decides_what_is_logged(tmp_path: Path) -> None:
    async with (
        running(tmp_path, LOG_LEVEL="warning") as service,
        aiohttp.ClientSession() as session,
    ):
        await send(session, service.url, HEADER + GOOD_ROW + BAD_ROW)
        assert await service.stop() == 0
        assert {line["level"] for line in service.lines()} == {"warning"}


async def answered(url: str, *paths: str) -> None:
    """Ask for each path, with its own place as the request's id."""
    async with aiohttp.ClientSession() as session:
        for number, path in enumerate(paths):
            headers = {"X-Request-ID": f"r{number}"}
            async with session.get(url + path, headers=headers) as answer:
                await answer.read()


async def test_each_request_leaves_one_line(tmp_path: Path) -> None:
    async with running(tmp_path, LOG_LEVEL="debug") as service:
        await answered(service.url, "/files", "/nowhere")
        assert await service.stop() == 0
        lines = [line for line in service.lines() if line["event"] == "request answered"]
    listed, missed = lines
    assert listed | {"ms": 0, "bytes": 0, "timestamp": ""} == {
        "timestamp": "",
        "level": "debug",
        "event": "request answered",
        "logger": "aggsvc.http.access_log",
        "request_id": "r0",
        "method": "GET",
        "path": "/files",
        "status": 200,
        "ms": 0,
        "bytes": 0,
    }
    assert listed["ms"] > 0
    assert listed["bytes"] > 30
    assert (missed["status"], missed["level"], missed["request_id"]) == (404, "info", "r1")


async def test_who_asks_again_and_again_does_not_drown_the_log(tmp_path: Path) -> None:
    """At the default level a read that is answered well leaves nothing; an upload does."""
    async with running(tmp_path) as service, aiohttp.ClientSession() as session:
        await send(session, service.url, HEADER + GOOD_ROW)
        await answered(service.url, *["/files", "/health", "/ui"] * 5)
        assert await service.stop() == 0
        lines = [line for line in service.lines() if line["event"] == "request answered"]
    assert [(line["method"], line["status"]) for line in lines] == [("POST", 202)]


async def test_a_request_writes_no_line_of_its_own_into_the_log(tmp_path: Path) -> None:
    """Whatever is in its path, its id, its method, or its upload's name and rows."""
    line = '%0a%1b[31m{"level":"critical","event":"forged"}'
    async with running(tmp_path, LOG_LEVEL="debug") as service, aiohttp.ClientSession() as session:
        host, _, port = service.url.removeprefix("http://").partition(":")
        for sent in (
            f"GET /{line.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET /{line} HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\x1b[31m\r\n\r\n",
            "GE\x1b[31mT / HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent.encode())
            writer.write_eof()
            await asyncio.wait_for(reader.read(), DEADLINE)
            writer.close()
            await writer.wait_closed()
        row = b'a,"\n\x1b[31m{""level"":""critical""}",1\n'
        await send(session, service.url, HEADER + row + GOOD_ROW)
        assert await service.stop() == 0
        text = service.log.read_text()
        lines = service.lines()
    assert text.isascii()
    assert "\x1b" not in text
    assert "forged" in text
    assert not [line for line in lines if line["level"] == "critical" or line["event"] == "forged"]


HOSTILE = "a\nb\r{}\x1b[31m\x7f\x9b\u2028\u202e"


@pytest.mark.parametrize("for_person", [True, False], ids=["console", "json"])
def test_no_text_from_outside_begins_a_line_or_steers_the_terminal(for_person: bool) -> None:
    """Neither as a value, nor in the sentence that a library logs."""
    formatter = _formatter(for_person=for_person)
    ours = {"event": "row failed", "value": HOSTILE, "path": HOSTILE}
    record = logging.makeLogRecord({"msg": ours, "levelname": "INFO", "name": "x"})
    record._logger, record._name = None, "info"
    theirs = logging.makeLogRecord({"msg": "got %s", "args": (HOSTILE,), "levelname": "INFO"})
    for line in (formatter.format(record), formatter.format(theirs)):
        written = re.sub("\x1b\\[([0-9]|3[2-9])+m", "", line) if for_person else line
        assert written.isprintable()  # the colours of the console's own aside
        assert "[31m" in written


async def test_a_misspelt_variable_is_warned_about(tmp_path: Path) -> None:
    async with running(tmp_path, PROCESSOR_WORKERS="9") as service:
        await service.stop()
        (warned,) = [line for line in service.lines() if line["level"] == "warning"]
    assert (warned["name"], warned["meant"]) == ("PROCESSOR_WORKERS", "PROCESSOR_WORKER_COUNT")


POST = b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b"--b\r\nContent-Disposition: %b\r\n\r\nx\r\n--b--\r\n"


def with_length(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


MALFORMED = {
    "no request": b"nonsense\r\n\r\n",
    "no protocol": b"GET / HTTP/9\r\n\r\n",
    "cut short": POST + b"Content-Length: 99\r\n\r\n--b\r\nContent-Disp",
    "no chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "unclosed": with_length(PART % b'form-data; name="fi'),
    "@@@": with_length(PART % b"@@@"),
    "name": with_length(PART % b"form-data; name*0=fi'le"),
    "filename": with_length(PART % b"form-data; name=file; filename*0=a'b.csv"),
}


async def test_malformed_requests_are_answered_in_one_line_each_and_no_traceback(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        host, _, port = service.url.removeprefix("http://").partition(":")
        for request in MALFORMED.values():
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), DEADLINE)
            writer.close()
            await writer.wait_closed()
        assert await service.stop() == 0
        text = service.log.read_text()
    assert "Traceback" not in text
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert not [line for line in lines if line["level"] == "error"]
    answered = [line["status"] for line in lines if line["event"] == "request answered"]
    assert answered == [400] * len(MALFORMED)


async def test_an_engine_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with its traceback, for the jobs that wait for it tell no more than its message."""

    def fail(*_: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(app, "load_engine", fail)
    with capture_logs() as logs, pytest.raises(EOFError):
        await app._loading_engine("auto")
    assert [(line["event"][:27], line["exc_info"]) for line in logs] == [
        ("the engine cannot be loaded", True)
    ]
