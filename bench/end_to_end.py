"""Over HTTP: from the start of an upload until its record says processed."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import aiohttp

from bench.engines import DUCKDB_SIMPLE, agree, checked, task_of
from bench.inputs import INPUTS, Made, make
from bench.server import Server, percentile, running_server, scratch
from bench.tables import ROOT, limit, table

POLL_SECONDS = 0.01
COPY_WEIGHT = 1.5
P99_MS, P999_MS = 20.0, 60.0
PEAK_MIB = 400.0


class Upload(NamedTuple):
    """Seconds until the upload was accepted and processed, and those of the service's processor."""

    accepted: float
    processed: float
    processor: float


@dataclass
class Found:
    """What each run took, in seconds, and each answer of GET /health/live meanwhile."""

    uploads: list[Upload] = field(default_factory=list)
    duckdb: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak_mib: float = 0.0


async def run(made: Made, rounds: int) -> Found:
    """The service, DuckDB and a copy in turns."""
    found = Found()
    task = task_of(INPUTS["clean"], made)
    with scratch() as name:
        async with running_server(Path(name)) as server, aiohttp.ClientSession() as session:
            await processed(server, session, make(INPUTS["clean"], 1_000, Path(name)))  # warm
            for _ in range(rounds):
                async with asking(server, found.latencies):
                    found.uploads.append(await processed(server, session, made))
                found.duckdb.append(checked(DUCKDB_SIMPLE, task, made).seconds)
                found.copies.append(copy_seconds(made.path, Path(name) / "copy"))
            found.peak_mib = server.peak_rss_mib()
    return found


async def processed(server: Server, session: aiohttp.ClientSession, made: Made) -> Upload:
    """What it takes from the client's start until the record says processed; then deletes it."""
    started, given = time.perf_counter(), server.processor_seconds()
    url = f"{server.url}/files/{await upload(server, made.path)}"
    accepted = time.perf_counter() - started
    while True:
        async with session.get(url) as answer:
            record = await answer.json()
        if record["status"] not in ("uploaded", "processing"):
            break
        await asyncio.sleep(POLL_SECONDS)
    seconds, given = time.perf_counter() - started, server.processor_seconds() - given
    assert record["status"] == "processed", record["message"]
    for statistic in ("row_count", "min_value", "max_value", "mean_value"):
        told, expected = record["aggregates"][statistic], made.answers[statistic]
        assert agree(statistic, told, expected), (statistic, told, expected)
    async with session.delete(url) as answer:
        assert answer.status == 204
    return Upload(accepted, seconds, given)


async def upload(server: Server, path: Path) -> str:
    """Send the file from another process; returns its id."""
    command = ["curl", "-sS", "-F", f"file=@{path}", f"{server.url}/files"]
    if not shutil.which("curl"):
        command = [sys.executable, "-m", "cli", "--json"]
        command += ["--base-url", server.url, "upload", str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    file_id: str = json.loads(output)["file_id"]
    return file_id


@asynccontextmanager
async def asking(server: Server, latencies: list[float]) -> AsyncIterator[None]:
    """Meanwhile another process asks GET /health/live; its latencies are added to the list."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.live", server.url,
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield
    finally:
        output, _ = await process.communicate(b"")
        latencies += json.loads(output)


def copy_seconds(source: Path, target: Path) -> float:
    """The seconds of a `cp` and an fsync of the copy."""
    started = time.perf_counter()
    subprocess.run(["sh", "-c", 'cp "$0" "$1" && sync "$1"', source, target], check=True)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def report(found: Found) -> str:
    """The table: medians, and percentiles of all answers of GET /health/live."""
    accepted, upload, processor = map(median, zip(*found.uploads, strict=True))
    duckdb, copy = median(found.duckdb), median(found.copies)
    p99, p999 = (percentile(found.latencies, share) * 1000 for share in (0.99, 0.999))
    allowed = duckdb + COPY_WEIGHT * copy
    peak = found.peak_mib
    rows = [
        ["HTTP upload until processed", f"{upload:.2f} s", limit(upload, allowed, "s")],
        ["until accepted", f"{accepted:.2f} s", "-"],
        ["processor time of the service", f"{processor:.2f} s", "-"],
        ["DuckDB simple on the local file", f"{duckdb:.2f} s", "-"],
        ["`cp` + fsync of the file", f"{copy:.2f} s", "-"],
        ["`GET /health/live` p99", f"{p99:.1f} ms", limit(p99, P99_MS, "ms")],
        ["`GET /health/live` p99.9", f"{p999:.1f} ms", limit(p999, P999_MS, "ms")],
        ["answers of `GET /health/live`", f"{len(found.latencies):,}", "-"],
        ["peak memory of the service", f"{peak:.0f} MiB", limit(peak, PEAK_MIB, "MiB")],
    ]
    return table(("clean, over HTTP", "found", "goal"), rows)
