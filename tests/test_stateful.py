"""Uploads, processing, deletes and crashes in any order, against a plain dict.

The disk dies at a chosen step, as a kill does: what it was to do is not done, a write half. Then
everything is opened anew from what is on disk. Where a thread was at that step differs from run to
run, and what is left with it: so each rule may always be chosen, and does nothing where it cannot.
"""

import asyncio
import contextlib
import errno
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import mocks.journal
from aggsvc import backends
from aggsvc.errors import AggsvcError, KeyReused
from aggsvc.model import FileRecord, Status
from mocks.files import Disk, Files
from tests import oracle
from tests.conftest import BAD_ROW, BUCKET, GOOD_ROW, HEADER, Parts, opened_parts, settings_in

CONTENTS = (HEADER, HEADER + GOOD_ROW, HEADER + GOOD_ROW + BAD_ROW, HEADER + BAD_ROW * 3)
VERDICTS = {data: oracle.judge(data) for data in CONTENTS}
KEYS = ("k1", "k2")
COMPACT_AT = 8 * 1024
DATA = st.sampled_from(CONTENTS)
KEY = st.none() | st.sampled_from(KEYS)
WHICH = st.integers(0, 1000)
# How many changes to the disk come before it dies; an upload needs about ten.
STEPS = st.integers(0, 14)


class DyingDisk(Disk):
    """A disk that, after so many changes, makes no more of them."""

    CHANGES = ("create", "reopen", "write", "truncate", "sync", "rename", "unlink", "mkdir",
               "sync_folder")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self._changing = Lock()

    def change(self, name: str, *args: Any) -> Any:
        with self._changing:
            if self.left == 0:
                raise OSError(errno.EIO, "the power is off")
            if self.left is not None:
                self.left -= 1
            if self.left == 0 and name == "write":
                fd, data = args
                args = (fd, data[: len(data) // 2])
            result = getattr(super(), name)(*args)
            if self.left == 0:
                raise OSError(errno.EIO, "the power is off")
            return result


for _name in DyingDisk.CHANGES:
    setattr(DyingDisk, _name, lambda self, *args, _name=_name: self.change(_name, *args))


@dataclass
class File:
    """What the model knows of a file; `is_final` is None where a crash leaves it open."""

    data: bytes
    key: str | None
    is_final: bool | None = False


class Crashes(RuleBasedStateMachine):
    """The service's parts on a disk that may die, and the dict of what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="aggsvc-stateful-"))
        self.settings = settings_in(
            self.folder, processor_engine="rows", processor_max_attempts=1_000_000
        )
        self.runner = asyncio.Runner()
        self.compacts_early = mock.patch.object(mocks.journal, "COMPACT_AT", COMPACT_AT)
        self.compacts_early.start()
        self.files: dict[str, File] = {}
        self.names = 0
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def open(self, left: int | None = None) -> None:
        """Start on what is there; raises if the disk dies meanwhile."""
        self.disk = DyingDisk()
        self.disk.left = left
        self.stack = AsyncExitStack()
        with mock.patch.object(backends, "Files", return_value=Files(disk=self.disk)):
            self.parts: Parts = await self.stack.enter_async_context(opened_parts(self.settings))
        await self.parts.recovery.begin()
        await self.parts.recovery.requeue()
        await self.parts.recovery.sweep()

    async def reopen(self, left: int | None) -> None:
        """Start anew, dying once more on the way if so many changes come."""
        self.disk.left = 0
        with contextlib.suppress(AggsvcError):
            await self.stack.aclose()
        if left is not None:
            with contextlib.suppress(AggsvcError):
                await self.open(left)
            self.disk.left = 0
            with contextlib.suppress(AggsvcError):
                await self.stack.aclose()
        await self.open()

    # --- what is done ---

    async def upload(self, name: str, data: bytes, key: str | None) -> None:
        made = next((i for i, file in self.files.items() if key and file.key == key), None)
        try:
            sent = await self.parts.service.submit_once(key, name, stream(data))
        except KeyReused:
            assert made is not None
            assert self.files[made].data != data
            return
        assert sent.is_replay == (made is not None)
        if made is None:
            self.files[sent.record.file_id] = File(data, key)
        else:
            assert sent.record.file_id == made
            assert self.files[made].data == data

    async def process(self) -> None:
        async with self.parts.queue.lease() as job:
            await self.parts.processor.process(job)
        if job.file_id in self.files:
            self.files[job.file_id].is_final = True

    async def delete(self, file_id: str) -> None:
        await self.parts.service.delete(file_id)
        del self.files[file_id]

    async def reprocess(self, file_id: str) -> None:
        await self.parts.service.reprocess(file_id)
        self.files[file_id].is_final = False

    def chosen(self, which: int) -> str:
        return list(self.files)[which % len(self.files)]

    def new_name(self) -> str:
        self.names += 1
        return f"{self.names}.csv"

    @rule(data=DATA, key=KEY)
    def uploads(self, data: bytes, key: str | None) -> None:
        self.run(self.upload(self.new_name(), data, key))

    @rule()
    def processes(self) -> None:
        if not self.parts.queue.depth():
            return
        self.run(self.process())

    @rule(which=WHICH)
    def deletes(self, which: int) -> None:
        if not self.files:
            return
        self.run(self.delete(self.chosen(which)))

    @rule(which=WHICH)
    def reprocesses(self, which: int) -> None:
        if not any(file.is_final for file in self.files.values()):
            return
        done = [file_id for file_id, file in self.files.items() if file.is_final]
        self.run(self.reprocess(done[which % len(done)]))

    @rule()
    def restarts(self) -> None:
        async def restart() -> None:
            await self.parts.recovery.end()
            await self.stack.aclose()
            await self.open()

        self.run(restart())

    # --- the same, with a crash in the middle ---

    @rule(data=DATA, key=KEY, steps=STEPS, again=st.none() | STEPS)
    def crashes_while_it_uploads(
        self, data: bytes, key: str | None, steps: int, again: int | None
    ) -> None:
        """Nobody has read the answer: the file is there whole or not at all."""
        name = self.new_name()
        if not self.run(self.survives(self.upload(name, data, key), steps, again)):
            for record in self.run(self.records()):
                if record.filename == name:
                    self.files[record.file_id] = File(data, key)

    @rule(steps=STEPS, again=st.none() | STEPS)
    def crashes_while_it_processes(self, steps: int, again: int | None) -> None:
        if not self.parts.queue.depth():
            return
        self.run(self.survives(self.process(), steps, again))
        self.leave_open()

    @rule(which=WHICH, steps=STEPS, again=st.none() | STEPS)
    def crashes_while_it_deletes(self, which: int, steps: int, again: int | None) -> None:
        if not self.files:
            return
        file_id = self.chosen(which)
        if not self.run(self.survives(self.delete(file_id), steps, again)):
            found = {record.file_id for record in self.run(self.records())}
            if file_id not in found:
                del self.files[file_id]

    @rule(which=WHICH, steps=STEPS, again=st.none() | STEPS)
    def crashes_while_it_reprocesses(self, which: int, steps: int, again: int | None) -> None:
        if not any(file.is_final for file in self.files.values()):
            return
        done = [file_id for file_id, file in self.files.items() if file.is_final]
        file_id = done[which % len(done)]
        if not self.run(self.survives(self.reprocess(file_id), steps, again)):
            self.files[file_id].is_final = None

    async def survives(
        self, work: Coroutine[Any, Any, None], steps: int, again: int | None
    ) -> bool:
        """Do the work until the disk dies, then start anew; whether it came to its end."""
        self.disk.left = steps
        try:
            await work
        except AggsvcError:
            return False
        finally:
            await self.reopen(again)
        return True

    def leave_open(self) -> None:
        for file in self.files.values():
            file.is_final = file.is_final or None

    # --- what must be so ---

    async def records(self) -> list[FileRecord]:
        return list((await self.parts.files.list(limit=200)).items)

    @invariant()
    def what_is_there_is_what_the_dict_says(self) -> None:
        records = self.run(self.records())
        assert {record.file_id for record in records} == set(self.files)
        for record in records:
            file = self.files[record.file_id]
            if file.is_final is None:
                file.is_final = record.status.is_final
            assert record.sha256 == hashlib.sha256(file.data).hexdigest()
            assert record.status.is_final == file.is_final
            if file.is_final:
                assert_right(record, file.data)

    @invariant()
    def every_object_has_its_record_and_nothing_is_half_written(self) -> None:
        records = self.run(self.records())
        expected = [record.object_key for record in records]
        expected += [record.errors_key for record in records if record.errors_key]
        assert self.run(self.parts.keys()) == sorted(expected)
        assert len(self.parts.on_disk()) == len(expected)
        assert list((self.folder / "s3" / BUCKET).glob(".tmp-*")) == []

    @invariant()
    def whatever_is_not_done_has_its_job(self) -> None:
        waiting = [file for file in self.files.values() if not file.is_final]
        assert self.parts.queue.depth() >= len(waiting)

    def teardown(self) -> None:
        while self.parts.queue.depth():
            self.processes()
        self.what_is_there_is_what_the_dict_says()
        assert all(file.is_final for file in self.files.values())
        self.run(self.stack.aclose())
        self.runner.close()
        self.compacts_early.stop()
        shutil.rmtree(self.folder)


async def stream(data: bytes) -> AsyncIterator[bytes]:
    yield data


def assert_right(record: FileRecord, data: bytes) -> None:
    verdict = VERDICTS[data]
    assert record.aggregates is not None
    assert record.aggregates.row_count == verdict.row_count
    assert record.aggregates.mean_value == verdict.mean_value
    assert record.error_count == len(verdict.errors)
    assert (record.errors_key is None) == (not verdict.errors)
    if verdict.errors:
        assert record.status is (Status.PARTIAL if verdict.row_count else Status.FAILED)


class TestCrashes(Crashes.TestCase):  # type: ignore[name-defined]
    """Any order of rules keeps to the dict."""

    settings = settings(
        max_examples=20,
        stateful_step_count=25,
    )
