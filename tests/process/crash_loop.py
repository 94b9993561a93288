"""Real clients against the real server, which is killed again and again: `make crash-test`.

A ledger notes what each client was told. After each start it is compared with what is there: no
upload for which a client read 202 is lost, none is there twice, none has another result than the
oracle's, and nothing on disk is left over.

    python -m tests.process.crash_loop --kills 1000 --seed 1
"""

import argparse
import asyncio
import contextlib
import hashlib
import io
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from tests import oracle
from tests.conftest import DEADLINE
from tests.machine import seconds_of
from tests.process import failpoints
from tests.process.failpoints import STEPS, Failpoint, Poison

READY_SECONDS = 2.0
# So many of the starts must be ready after so much work of their own: unlike the time gone by,
# that does not depend on who else keeps the machine busy.
READY_SHARE = 0.95
LIFE_SECONDS = 0.5  # a process that has not come to its failpoint by then is killed
CLIENTS = 5
MANY_FILES = 40
ROWS = (0, 1, 3, 20, 100, 300, 1_500)
MANY_SENSORS = 1_100  # whose statistics are an object beside the upload
WHENS = ("before", "after")
# How often a process comes to steps of this kind, more or less.
OFTEN = {"disk": 60, "upload": 6, "record": 8, "job": 6, "file": 8, "key": 2, "report": 3}
GONE = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


@dataclass(frozen=True)
class Template:
    """The rows of a file and what the oracle says of them; a note makes each file unique."""

    rows: bytes
    verdict: oracle.Verdict

    @classmethod
    def of(cls, rows: int, chance: random.Random, sensors: int = 7) -> "Template":
        lines = [b"sensor_id,timestamp,value,note"]
        for row in range(rows):
            value = b"bad" if row % 10 == 9 else b"%.3f" % chance.uniform(-50, 50)
            lines.append(b"s%d,2025-10-01T00:00:%02dZ,%s,-" % (row % sensors, row % 60, value))
        data = b"\n".join(lines) + b"\n"
        return cls(data, oracle.judge(data))

    @property
    def reports(self) -> set[str]:
        """The kinds of objects that processing leaves beside the upload."""
        found = {"errors"} if self.verdict.errors else set()
        return found | ({"sensors"} if len(self.verdict.per_sensor_count) > 1_000 else set())

    def file(self, name: str) -> bytes:
        return self.rows.replace(b",note\n", b",note %s\n" % name.encode(), 1)

    def faults(self, record: dict[str, Any]) -> Iterator[str]:
        """What the record says otherwise than the oracle."""
        verdict, aggregates = self.verdict, record["aggregates"] or {}
        expected = {
            "row_count": verdict.row_count,
            "min_value": verdict.min_value,
            "max_value": verdict.max_value,
            "mean_value": verdict.mean_value,
        }
        for name, value in expected.items():
            if aggregates.get(name) != value:
                yield f"{name} is {aggregates.get(name)}, not {value}"
        if record["status"] != ("partial" if verdict.errors else "processed"):
            yield f"it is {record['status']}: {record['message']}"
        if record["error_count"] != len(verdict.errors):
            yield f"error_count is {record['error_count']}, not {len(verdict.errors)}"
        if aggregates.get("sensor_count") != len(verdict.per_sensor_count):
            yield f"sensor_count is {aggregates.get('sensor_count')}"


@dataclass
class Upload:
    """One line of the ledger: what was sent, and what the client was told."""

    name: str
    template: Template
    key: str | None
    file_id: str | None = None
    is_accepted: bool = False  # a client has read 202
    deletion: str = ""  # "asked" or, once a client has read 204, "done"
    is_busy: bool = False

    @property
    def data(self) -> bytes:
        return self.template.file(self.name)


@dataclass
class Report:
    """What has been seen so far."""

    kills: Counter[str] = field(default_factory=Counter)
    ready: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    accepted: int = 0
    compared: int = 0
    replayed: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ready, worked = sorted(self.ready) or [0.0], sorted(self.worked) or [0.0]
        steps = "".join(f"\n  {count:5} {step}" for step, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills:{steps}\n"
            f"{self.accepted} uploads accepted, {self.replayed} of them sent again; "
            f"{self.compared} records compared\n"
            f"{len(ready)} starts, ready after {ready[len(ready) // 2]:.2f} s (median), "
            f"{ready[-1]:.2f} s (longest), {sum(s > READY_SECONDS for s in ready)} over "
            f"{READY_SECONDS} s; after {worked[len(worked) // 2]:.2f} s of work, "
            f"{worked[-1]:.2f} s (most)\n"
            f"{len(self.faults)} faults" + "".join(f"\n  {fault}" for fault in self.faults)
        )

    def late(self) -> list[str]:
        """A fault if too few starts were ready in time."""
        in_time = sum(seconds <= READY_SECONDS for seconds in self.worked)
        if in_time >= READY_SHARE * len(self.worked):
            return []
        return [f"{in_time} of {len(self.worked)} starts worked for less than {READY_SECONDS} s"]


class Server:
    """The service in a process of its own, on one folder; can be started again."""

    def __init__(self, folder: Path, start: str, **settings: Any) -> None:
        self.folder = folder
        self.url = ""
        self._settings = {
            "mock_s3_root_path": folder / "s3",
            "mock_dynamodb_persistence_path": folder / "db" / "table.json",
            "port": 0,
            "processor_engine": "rows",  # at work at once; the other lane takes a while to load
            "processor_max_attempts": 1_000_000,
            **settings,
        }
        self._context: Any = multiprocessing.get_context(start)
        if start == "forkserver":
            # The engine too, which the service imports later: each fork has it at once.
            self._context.set_forkserver_preload([failpoints.__name__, "aggsvc.engine.aggregate"])
        self._process: Any = None

    async def start(self, failpoint: Failpoint | Poison | None = None) -> None:
        """Start; raises ConnectionError if the process ends before it listens."""
        reader, writer = self._context.Pipe(duplex=False)
        log = self.folder / "log.txt"
        self._process = self._context.Process(
            target=failpoints.run, args=(self._settings, failpoint, writer, log), daemon=True
        )
        await asyncio.to_thread(self._process.start)
        writer.close()
        with os.fdopen(os.dup(reader.fileno()), "rb") as stdout:
            reader.close()
            line = await asyncio.to_thread(stdout.readline)
        if not line:
            raise ConnectionError("it ended before it listened")
        self.url = line.decode().split()[3]

    @property
    def pid(self) -> int:
        found: int = self._process.pid
        return found

    @property
    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    async def ended(self) -> int:
        """Wait until it has ended by itself; the exit status."""
        await asyncio.to_thread(self._process.join, DEADLINE)
        assert self.has_ended, f"it still runs after {DEADLINE} s"
        return await self.end()

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send the signal unless it has ended; the exit status."""
        with contextlib.suppress(ProcessLookupError):  # it ends at this moment
            if not self.has_ended:
                os.kill(self._process.pid, how)
        await asyncio.to_thread(self._process.join, DEADLINE)
        status: int = self._process.exitcode
        return status

    def files(self) -> set[str]:
        """The names of all objects, and of what is half written anywhere."""
        buckets = self.folder / "s3" / "uploads"
        objects = {path.name for path in buckets.glob("*")}
        return objects | {path.name for path in self.folder.rglob(".tmp-*")}

    def half_written(self) -> set[str]:
        return {name for name in self.files() if name.startswith(".tmp-")}


class CrashLoop:
    """Starts, compares, works, kills; the ledger is kept over all of it."""

    def __init__(self, folder: Path, seed: int, start: str) -> None:
        self.report = Report()
        self._chance = random.Random(seed)
        self._server = Server(folder, start)
        self._templates = [Template.of(rows, self._chance) for rows in ROWS]
        self._templates.append(Template.of(MANY_SENSORS * 10 // 9, self._chance, 10**6))
        self._ledger: dict[str, Upload] = {}
        self._count = 0

    async def run(self, kills: int) -> Report:
        """Kill so many times, then look at what is there once more and stop."""
        while self.report.kills.total() < kills and not self.report.faults:
            await self._live(self._next_failpoint())
            if self.report.kills.total() % 100 == 0:
                print(self.report, file=sys.stderr, flush=True)
        if not self.report.faults:
            await self._server_started(None)
            async with aiohttp.ClientSession(self._server.url) as http:
                await self._compare(http)
            status = await self._server.end(signal.SIGTERM)
            self._expect(status == 0, f"SIGTERM ended it with status {status}")
        await self._server.end()
        self.report.faults += self.report.late()
        return self.report

    def _next_failpoint(self) -> Failpoint | None:
        if self._chance.random() < 0.2:
            return None
        step = self._chance.choice(list(STEPS))
        whens = (*WHENS, "torn") if step == "disk.write" else WHENS
        nth = int(OFTEN.get(step.partition(".")[0], 1) ** self._chance.random())
        return Failpoint(step, self._chance.choice(whens), nth)

    async def _live(self, failpoint: Failpoint | None) -> None:
        """One process from its start to its kill."""
        moment = self._chance.uniform(0, LIFE_SECONDS)
        half_written = self._server.half_written()
        with contextlib.suppress(*GONE):
            await self._server_started(failpoint, moment if failpoint is None else None)
            left = half_written & self._server.half_written()
            self._expect(not left, f"half-written files are left over: {left}")
            async with aiohttp.ClientSession(self._server.url) as http:
                await self._compare(http)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LIFE_SECONDS if failpoint else moment):
                        await asyncio.gather(*(self._client(http) for _ in range(CLIENTS)))
        if failpoint is not None and self._server.has_ended:
            self.report.kills[str(failpoint)] += 1
        else:
            self.report.kills["at a random moment"] += 1
        status = await self._server.end()
        self._expect(status == -signal.SIGKILL, f"it ended with status {status}; see its log")
        for upload in self._ledger.values():
            upload.is_busy = False

    async def _server_started(
        self, failpoint: Failpoint | None, moment: float | None = None
    ) -> None:
        """Start the server; now and then kill it while it starts."""
        began = time.monotonic()
        starting = asyncio.ensure_future(self._server.start(failpoint))
        if moment is not None and moment < LIFE_SECONDS / 6:
            await asyncio.sleep(moment)
            with contextlib.suppress(AttributeError, TypeError):  # there is no process yet
                await self._server.end()
        await starting
        self.report.ready.append(time.monotonic() - began)
        with contextlib.suppress(OSError):  # it was killed at this moment
            self.report.worked.append(seconds_of(self._server.pid))

    # --- what there is ---

    async def _compare(self, http: aiohttp.ClientSession) -> None:
        """Compare the ledger with what there is once every file is done."""
        records = await self._settled(http)
        by_name: dict[str, list[Any]] = {}
        for record in records:
            by_name.setdefault(record["filename"], []).append(record)
        for name in by_name.keys() - self._ledger.keys():
            self._expect(False, f"there is a file {name} that nobody sent")
        for upload in list(self._ledger.values()):
            await self._compare_one(http, upload, by_name.get(upload.name, []))
        await self._compare_disk(records)

    async def _settled(self, http: aiohttp.ClientSession) -> list[Any]:
        limit = time.monotonic() + DEADLINE
        while True:
            records = await _listed(http)
            moving = [r["file_id"] for r in records if r["status"] in ("uploaded", "processing")]
            if not moving:
                return records
            if time.monotonic() > limit:
                self._expect(False, f"not processed after {DEADLINE} s: {moving}")
                return records
            await asyncio.sleep(0.05)

    async def _compare_one(
        self, http: aiohttp.ClientSession, upload: Upload, records: list[Any]
    ) -> None:
        name, found = upload.name, len(records)
        self._expect(found < 2, f"{name} is there {found} times")
        if upload.deletion == "done":
            self._expect(not found, f"{name} was deleted and is there")
        elif upload.is_accepted and not upload.deletion:
            self._expect(found == 1, f"{name} was accepted and is lost")
        if not found:
            if upload.is_accepted or upload.key is None:
                del self._ledger[name]  # deleted, or never accepted and not to be sent again
            return
        (record,) = records[:1]
        self._expect(upload.file_id in (None, record["file_id"]), f"{name} has come by another id")
        upload.deletion = ""  # it was asked for and has not been done
        await self._compare_record(http, upload, record)

    async def _compare_record(
        self, http: aiohttp.ClientSession, upload: Upload, record: Any
    ) -> None:
        self.report.compared += 1
        for fault in upload.template.faults(record):
            self._expect(False, f"{upload.name}: {fault}")
        if upload.file_id is None:  # nobody read the answer, so nobody has looked at it yet
            async with http.get(f"/files/{record['file_id']}/content") as answer:
                self._expect(await answer.read() == upload.data, f"{upload.name}: other bytes")
            upload.file_id = record["file_id"]
        digest = hashlib.sha256(upload.data).hexdigest()
        self._expect(record["sha256"] == digest, f"{upload.name}: sha256 is {record['sha256']}")

    async def _compare_disk(self, records: list[Any]) -> None:
        """One object for each record, one report of each kind that it needs, and no more."""
        limit = time.monotonic() + DEADLINE
        uploads = {f"{record['file_id']}%2Fupload.csv" for record in records}
        reports = Counter(
            f"{record['file_id']}%2F{kind}"
            for record in records
            for kind in self._ledger[record["filename"]].template.reports
        )
        while True:
            files = self._server.files()
            others = Counter(name.rpartition("-")[0] for name in files - uploads)
            if uploads <= files and others == reports:
                return
            if time.monotonic() > limit:
                wrong = (uploads - files) | set((others - reports) + (reports - others))
                self._expect(False, f"on disk there is too much or too little of {wrong}")
                return
            if self._server.has_ended:
                raise ConnectionError("it was killed meanwhile")
            await asyncio.sleep(0.02)

    def _expect(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            self.report.faults.append(f"after {self.report.kills.total()} kills: {otherwise}")

    # --- what the clients do ---

    async def _client(self, http: aiohttp.ClientSession) -> None:
        while True:
            await self._next_action()(http)

    def _next_action(self) -> Any:
        kept = [u for u in self._ledger.values() if u.is_accepted and not u.deletion]
        again = [u for u in self._ledger.values() if u.key and not u.is_busy and not u.deletion]
        die = self._chance.random()
        if len(kept) > MANY_FILES or (kept and die < 0.08):
            return partial(self._delete, self._chance.choice(kept))
        if kept and die < 0.15:
            return partial(self._reprocess, self._chance.choice(kept))
        unsure = [upload for upload in again if not upload.is_accepted]
        if unsure or (again and die < 0.2):
            return partial(self._send, self._chance.choice(unsure or again))
        return partial(self._send, self._new_upload())

    def _new_upload(self) -> Upload:
        self._count += 1
        key = str(UUID(int=self._chance.getrandbits(128))) if self._chance.random() < 0.4 else None
        weights = [2] * (len(ROWS) - 1) + [1, 1]
        (template,) = self._chance.choices(self._templates, weights)
        upload = Upload(f"{self._count}.csv", template, key)
        self._ledger[upload.name] = upload
        return upload

    async def _send(self, upload: Upload, http: aiohttp.ClientSession) -> None:
        upload.is_busy = True
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(upload.data), filename=upload.name)
        headers = {"Idempotency-Key": upload.key} if upload.key else {}
        async with http.post("/files", data=form, headers=headers) as answer:
            record = await answer.json()
        upload.is_busy = False
        if self._answered(upload, answer.status, 202):
            known = upload.file_id
            self._expect(known in (None, record["file_id"]), f"{upload.name} has a second id")
            upload.file_id, upload.is_accepted = record["file_id"], True
            self.report.accepted += 1
            self.report.replayed += "Idempotency-Replayed" in answer.headers

    async def _delete(self, upload: Upload, http: aiohttp.ClientSession) -> None:
        upload.deletion = "asked"
        async with http.delete(f"/files/{upload.file_id}") as answer:
            await answer.read()
        if self._answered(upload, answer.status, 204):
            upload.deletion = "done"

    async def _reprocess(self, upload: Upload, http: aiohttp.ClientSession) -> None:
        async with http.post(f"/files/{upload.file_id}/reprocess") as answer:
            await answer.read()
        allowed = (202, 409, 404) if upload.deletion else (202, 409)
        self._answered(upload, answer.status, *allowed)

    def _answered(self, upload: Upload, status: int, *expected: int) -> bool:
        self._expect(status in expected, f"{upload.name} was answered {status}, not {expected}")
        return status in expected


async def _listed(http: aiohttp.ClientSession) -> list[Any]:
    records: list[Any] = []
    query = {"limit": "200"}
    while True:
        async with http.get("/files", params=query) as answer:
            answer.raise_for_status()
            page = await answer.json()
        records += page["items"]
        if page["next_cursor"] is None:
            return records
        query["cursor"] = page["next_cursor"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; status 1 if anything was lost, double, wrong or left over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start",
        choices=("spawn", "forkserver"),
        default="spawn",
        help="a new interpreter for each start, or a fork of one that has all imported (faster)",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="aggsvc-crash-") as folder:
        loop = CrashLoop(Path(folder), options.seed, options.start)
        began = time.monotonic()
        report = asyncio.run(loop.run(options.kills))
        print(f"seed {options.seed}, {time.monotonic() - began:.0f} s\n{report}")
        if report.faults:
            print((Path(folder) / "log.txt").read_text()[-20_000:], file=sys.stderr)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
