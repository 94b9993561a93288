"""The facade: nothing half done is ever left, and what a crash left is found again."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aggsvc.backends import keys_table
from aggsvc.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    ObjectLost,
    ObjectNotFound,
    StoreFull,
    StoreUnavailable,
)
from aggsvc.events import FileDeleted, FileEvent
from aggsvc.model import FileRecord, Job, Status
from aggsvc.settings import Settings
from tests.conftest import (
    BAD_ROW,
    BUCKET,
    DEADLINE,
    HEADER,
    MANY_SENSORS,
    Parts,
    Through,
    opened_parts,
    stream,
    until,
)
from tests.mocks.conftest import FaultyDisk
from tests.test_processor import Refusing, SlowTable, cancelled

TABLE = "processing_results"
# With a report of its errors and one of its sensors.
PARTIAL = HEADER + MANY_SENSORS + BAD_ROW


async def leased(parts: Parts) -> list[Job]:
    found = []
    while parts.queue.depth():
        async with parts.queue.lease() as job:
            found.append(job)
    return found


async def waiting_jobs(parts: Parts) -> list[str]:
    return [job.file_id for job in await leased(parts)]


async def test_a_submitted_file_has_its_object_its_record_and_its_job(parts: Parts) -> None:
    sent = await parts.service.submit("x.csv", stream(HEADER[:5], HEADER[5:]))
    assert sent == await parts.files.get(sent.file_id)
    assert sent.sha256 == hashlib.sha256(HEADER).hexdigest()
    assert (sent.size_bytes, sent.filename, sent.status) == (len(HEADER), "x.csv", "uploaded")
    assert await parts.keys() == [sent.object_key]
    assert await waiting_jobs(parts) == [sent.file_id]


async def test_an_upload_of_no_bytes_is_refused_and_leaves_nothing(parts: Parts) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        await parts.service.submit("x.csv", stream(b"", b""))
    assert parts.on_disk() == []
    assert await waiting_jobs(parts) == []


async def test_an_upload_that_breaks_off_leaves_nothing(parts: Parts) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield HEADER * 100_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await parts.service.submit("x.csv", broken())
    assert parts.on_disk() == []


async def test_a_table_that_refuses_leaves_no_object_and_no_job(settings: Settings) -> None:
    async with opened_parts(settings, table=Refusing) as parts:
        parts.table.refused = {"put_item"}
        with pytest.raises(StoreUnavailable):
            await parts.submit(HEADER)
        assert parts.on_disk() == []
        assert parts.queue.depth() == 0


def slow_table(inner: Any) -> SlowTable:
    return SlowTable(inner, lambda _item: True)


async def landed(parts: Parts) -> asyncio.Task[FileRecord]:
    """A submit whose record is in the slow table, and that has not heard of it."""
    submitting = asyncio.create_task(parts.submit(HEADER))
    await asyncio.wait_for(parts.table.landed.wait(), DEADLINE)
    return submitting


async def test_a_submit_cancelled_while_its_record_is_written_is_whole_or_not_at_all(
    settings: Settings,
) -> None:
    """The record's write may land although the writer was cancelled."""
    async with opened_parts(settings, table=slow_table) as parts:
        submitting = await landed(parts)
        await cancelled(submitting)
        records = (await parts.files.list()).items
        assert len(records) == len(await parts.keys())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """The disk of all stores that are opened."""
    disk = FaultyDisk()
    monkeypatch.setattr("mocks.files.pool.Disk", lambda: disk)
    return disk


async def test_an_upload_that_a_full_disk_keeps_from_being_undone_is_processed(
    settings: Settings, disk: FaultyDisk
) -> None:
    """The record has landed, its client is gone, and for the deletion there is no room."""
    async with opened_parts(settings, table=slow_table) as parts:
        submitting = await landed(parts)
        disk.room = 0
        with parts.service.watch_all() as changes:
            await cancelled(submitting)
        assert submitting.cancelled()
        (record,) = (await parts.files.list()).items
        assert await asyncio.wait_for(anext(changes), DEADLINE) == FileEvent.of(record)
        assert await parts.keys() == [record.object_key]
        assert await waiting_jobs(parts) == [record.file_id]
        disk.room = None
        assert (await parts.process(record.file_id)).status is Status.PROCESSED


class SlowDeletions(Through):
    """A table whose deletions have landed some time before their caller hears of it."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.landed = asyncio.Event()

    async def delete_item(self, table: str, key: str, **options: Any) -> None:
        await self.inner.delete_item(table, key, **options)
        self.landed.set()
        await asyncio.sleep(0.2)


async def test_a_deletion_that_is_cancelled_is_told_and_leaves_no_object(
    settings: Settings,
) -> None:
    """The record is gone by then, so nothing else would lead to the objects."""
    async with opened_parts(settings, table=SlowDeletions) as parts:
        record = await parts.submit(HEADER)
        with parts.service.watch_all() as changes:
            deleting = asyncio.create_task(parts.service.delete(record.file_id))
            await asyncio.wait_for(parts.table.landed.wait(), DEADLINE)
            await cancelled(deleting)
        assert deleting.cancelled()
        assert await asyncio.wait_for(anext(changes), DEADLINE) == FileDeleted(record.file_id)
        assert parts.on_disk() == []


@pytest.mark.parametrize(("room", "writes"), [(100, 1), (220, 2), (400, 3)])
async def test_a_full_disk_leaves_nothing_of_an_upload(
    settings: Settings, disk: FaultyDisk, room: int, writes: int
) -> None:
    """Whether the object, its key's item or its record has no room; then uploads work again."""
    async with opened_parts(settings) as parts:
        disk.room, before = room, disk.writes
        with pytest.raises(StoreFull):
            await parts.service.submit_once("key", "a.csv", stream(HEADER))
        assert disk.writes - before == writes
        assert parts.on_disk() == []
        assert (await parts.files.list()).items == ()
        assert await waiting_jobs(parts) == []
        disk.room = None
        assert not (await parts.service.submit_once("key", "a.csv", stream(HEADER))).is_replay


async def test_an_upload_that_the_disk_failed_to_keep_is_swept_by_the_next_start(
    settings: Settings, disk: FaultyDisk
) -> None:
    """Also after a clean stop: it has got its name, and no listing of this run shows it."""

    def fail_from_here(_call: str, path: Path) -> None:
        disk.syncs_fail = path.name.endswith("upload.csv")

    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        disk.before = fail_from_here
        with pytest.raises(StoreUnavailable):
            await parts.submit(HEADER)
        disk.syncs_fail = False
        assert len(parts.on_disk()) == 1
        await parts.recovery.end()
    async with opened_parts(settings) as parts:
        await parts.recovery.recover()
        assert await parts.recovery.sweep() == 1
        assert parts.on_disk() == []


async def test_submits_cancelled_at_any_moment_leave_all_or_nothing(parts: Parts) -> None:
    """On the real stores: no record without an object, no object without a record."""
    chance = random.Random(1)
    await parts.submit(HEADER)
    for _ in range(150):
        submitting = asyncio.create_task(parts.submit(HEADER))
        await asyncio.sleep(chance.random() * 0.004)
        await cancelled(submitting)

    async def agree() -> bool:
        records = [item["file_id"] for item in (await parts.table.scan(TABLE)).items]
        return sorted(records) == sorted(key.partition("/")[0] for key in await parts.keys())

    await until(agree, "the end of what goes on behind the writers' backs")


async def test_recovery_queues_what_waits_and_what_was_being_processed(parts: Parts) -> None:
    sent = [await parts.submit(HEADER, str(number)) for number in range(4)]
    await parts.process(sent[0].file_id)
    await parts.files.save(
        FileRecord.from_item(sent[2].to_item() | {"status": "processing", "attempts": 1})
    )
    await waiting_jobs(parts)
    assert await parts.recovery.requeue() == 3
    assert sorted(await waiting_jobs(parts)) == sorted(one.file_id for one in sent[1:])


async def test_recovery_removes_what_an_attempt_that_came_to_no_end_has_written(
    parts: Parts,
) -> None:
    sent = await parts.submit(PARTIAL)
    await write_strays(parts, f"{sent.file_id}/errors-2.ndjson", f"{sent.file_id}/sensors-2.bin")
    await parts.recovery.requeue()
    assert await parts.keys() == [sent.object_key]


async def begun(parts: Parts, sent: FileRecord, attempts: int, status: str = "processing") -> None:
    """The file as a crash leaves it after so many attempts."""
    record = await parts.files.get(sent.file_id)
    item = record.to_item() | {"status": status, "attempts": attempts}
    await parts.files.save(FileRecord.from_item(item))


async def test_recovery_queues_what_was_begun_before_all_others_and_alone(parts: Parts) -> None:
    sent = [await parts.submit(HEADER, str(number)) for number in range(4)]
    await begun(parts, sent[1], 1, "uploaded")  # a suspect of an earlier crash, not tried since
    await begun(parts, sent[3], 1)
    await waiting_jobs(parts)
    await parts.recovery.requeue()
    first, second, *others = await leased(parts)
    assert {first, second} == {Job(one.file_id, alone=True) for one in (sent[1], sent[3])}
    assert set(others) == {Job(one.file_id) for one in (sent[0], sent[2])}


async def test_recovery_lets_what_was_begun_wait_again_with_its_attempts(parts: Parts) -> None:
    sent = await parts.submit(HEADER)
    await begun(parts, sent, 2)
    await parts.recovery.requeue()
    record = await parts.files.get(sent.file_id)
    assert (record.status, record.attempts, record.started_at) == (Status.UPLOADED, 2, None)


@pytest.mark.parametrize(("in_flight", "status"), [(1, Status.FAILED), (2, Status.PROCESSED)])
async def test_the_last_attempt_counts_only_for_a_file_that_was_in_flight_alone(
    settings: Settings, in_flight: int, status: Status
) -> None:
    """Of several that were in flight together any may be innocent."""
    async with opened_parts(settings.model_copy(update={"processor_max_attempts": 1})) as parts:
        sent = [await parts.submit(HEADER) for _ in range(in_flight)]
        for one in sent:
            await begun(parts, one, 1)
        await waiting_jobs(parts)
        await parts.recovery.requeue()
        assert [job.alone for job in await leased(parts)] == [True] * in_flight
        for one in sent:
            assert (await parts.process(one.file_id)).status is status


async def test_recovery_finds_more_than_a_page_of_files(parts: Parts) -> None:
    sent = await asyncio.gather(*(parts.submit(HEADER) for _ in range(230)))
    await waiting_jobs(parts)
    assert await parts.recovery.requeue() == 230
    jobs = await waiting_jobs(parts)
    assert sorted(jobs) == sorted(one.file_id for one in sent)


async def write_strays(parts: Parts, *keys: str) -> None:
    await asyncio.sleep(0.02)  # a file's time is that of the last tick of the kernel's clock
    for key in keys:
        await parts.objects.put_object(BUCKET, key, stream(b"x"))
    await asyncio.sleep(0.02)


async def test_the_sweep_after_a_crash_removes_only_what_has_no_record(settings: Settings) -> None:
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        gone = parts.recovery.new_file_id()
        kept = await parts.submit(PARTIAL)
        record = await parts.process(kept.file_id)
        strays = [f"{gone}/upload.csv", f"{gone}/errors-2.ndjson", f"{gone}/sensors-2.bin"]
        strays += [f"{kept.file_id}/errors-99.ndjson", f"{kept.file_id}/sensors-99.bin"]
        await write_strays(parts, *strays)
        # and never comes to recovery.end()
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        on_its_way = f"{parts.recovery.new_file_id()}/upload.csv"
        await write_strays(parts, on_its_way)
        assert await parts.recovery.sweep() == len(strays)
        assert await parts.keys() == sorted([*record.all_keys, on_its_way])
        assert len(record.all_keys) == 3
        assert await parts.recovery.sweep() == 0
        await parts.recovery.end()


async def test_the_sweep_leaves_the_objects_of_another_table_alone(settings: Settings) -> None:
    """Also of one that used the bucket between the crash and the next start."""
    other = settings.model_copy(update={"mock_dynamodb_table_name": "other"})
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        ours = await parts.submit(PARTIAL)
    async with opened_parts(other) as parts:
        await parts.recovery.begin()
        theirs = await parts.submit(PARTIAL)
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        assert await parts.recovery.sweep() == 0
        assert await parts.keys() == sorted([ours.object_key, theirs.object_key])


async def test_a_new_table_leaves_old_uploads_alone(settings: Settings) -> None:
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        kept = await parts.submit(PARTIAL)
    for path in settings.mock_dynamodb_persistence_path.parent.glob("db.json*"):
        path.unlink()
    for _ in range(2):
        async with opened_parts(settings) as parts:
            await parts.recovery.begin()
            assert await parts.recovery.sweep() == 0
            assert kept.object_key in await parts.keys()


async def test_nothing_is_swept_after_a_run_that_ended_well(settings: Settings) -> None:
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        stray = f"{parts.recovery.new_file_id()}/upload.csv"
        await write_strays(parts, stray)
        await parts.recovery.end()
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        assert await parts.recovery.sweep() == 0
        assert await parts.keys() == [stray]


async def test_a_sweep_that_was_cut_short_is_done_by_the_next_start(settings: Settings) -> None:
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        await write_strays(parts, f"{parts.recovery.new_file_id()}/upload.csv")
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        await parts.recovery.end()
    async with opened_parts(settings) as parts:
        await parts.recovery.begin()
        assert await parts.recovery.sweep() == 1
        assert await parts.keys() == []


async def test_a_deleted_file_leaves_neither_record_nor_objects(parts: Parts) -> None:
    sent = await parts.submit(PARTIAL)
    await parts.process(sent.file_id)
    await parts.service.delete(sent.file_id)
    assert parts.on_disk() == []
    with pytest.raises(NotFound):
        await parts.service.get(sent.file_id)
    with pytest.raises(NotFound):
        await parts.service.delete(sent.file_id)


async def test_objects_that_cannot_be_removed_are_removed_later(settings: Settings) -> None:
    """By this run, whatever it was that left them: the file is gone, or waits, all the same."""
    async with opened_parts(settings, objects=Refusing) as parts:
        await parts.recovery.begin()
        deleted, again = [await parts.submit(PARTIAL) for _ in range(2)]
        for sent in (deleted, again):
            await parts.process(sent.file_id)
        parts.objects.refused = {"delete_object"}
        await parts.service.delete(deleted.file_id)
        await parts.service.reprocess(again.file_id)
        assert len(await parts.keys()) == 6
        await parts.recovery.sweep()
        assert len(await parts.keys()) == 6
        parts.objects.refused = set()
        await parts.recovery.sweep()
        assert await parts.keys() == [again.object_key]


class KeyKeeper(Through):
    """A table that has no room for the removal of an idempotency key."""

    async def delete_item(self, table: str, key: str, **options: Any) -> None:
        if table == keys_table(TABLE):
            raise StoreFull("no space left")
        await self.inner.delete_item(table, key, **options)


async def test_a_file_is_deleted_though_its_key_cannot_be_removed(settings: Settings) -> None:
    """The key makes another file, as one that was forgotten does."""
    async with opened_parts(settings, table=KeyKeeper) as parts:
        first = await parts.service.submit_once("key", "a.csv", stream(HEADER))
        await parts.service.delete(first.record.file_id)
        assert parts.on_disk() == []
        second = await parts.service.submit_once("key", "a.csv", stream(HEADER + BAD_ROW))
        assert not second.is_replay


@pytest.mark.parametrize("call", ["delete_object", "list_objects"])
async def test_objects_that_could_not_be_removed_are_swept_by_the_start_after_a_clean_stop(
    settings: Settings, call: str
) -> None:
    async with opened_parts(settings, objects=Refusing) as parts:
        await parts.recovery.begin()
        sent = await parts.submit(PARTIAL)
        await write_strays(parts, f"{sent.file_id}/errors-9.ndjson")
        parts.objects.refused = {call}
        await parts.service.delete(sent.file_id)
        await parts.recovery.end()
    async with opened_parts(settings) as parts:
        assert await parts.keys()
        await parts.recovery.recover()
        await parts.recovery.sweep()
        assert await parts.keys() == []


async def test_deleting_a_file_removes_an_upload_that_is_damaged(parts: Parts) -> None:
    """It is in no listing."""
    sent = await parts.submit(HEADER)
    (parts.root / BUCKET / f"{sent.file_id}%2Fupload.csv").write_bytes(b"damaged")
    await parts.service.delete(sent.file_id)
    assert parts.on_disk() == []


async def refusals(parts: Parts, record: FileRecord) -> AsyncIterator[type[Exception] | None]:
    """What comes of each way to read a file's objects."""

    async def series() -> None:
        await parts.service.series(record.file_id, first="2025-10-01")

    for reading in (
        parts.service.open_content(record),
        parts.service.open_errors(record),
        parts.service.open_sensors(record),
        parts.service.sensors(record.file_id),
        series(),
    ):
        try:
            if isinstance(reading, contextlib.AbstractAsyncContextManager):
                async with reading:
                    yield None
            else:
                await reading
                yield None
        except (Conflict, NotFound, StoreUnavailable) as error:
            yield type(error)


async def test_an_object_that_is_gone_is_not_told_as_a_file_that_is_not_there(
    parts: Parts,
) -> None:
    """Whoever takes the file for deleted would forget it, or send it again."""
    sent = await parts.submit(PARTIAL)
    done = await parts.process(sent.file_id)
    for key in done.all_keys:
        await parts.objects.delete_object(BUCKET, key)
    assert {found async for found in refusals(parts, done)} == {ObjectLost}


async def test_who_reads_what_was_begun_anew_or_deleted_meanwhile_is_told_so(parts: Parts) -> None:
    sent = await parts.submit(PARTIAL)
    done = await parts.process(sent.file_id)
    await parts.service.reprocess(sent.file_id)
    with pytest.raises(Conflict, match="changed meanwhile and is uploaded"):
        await parts.service.open_errors(done).__aenter__()
    await parts.service.delete(sent.file_id)
    for reading in (parts.service.open_errors(done), parts.service.open_content(done)):
        with pytest.raises(NotFound, match="no file with the id") as raised:
            await reading.__aenter__()
        assert not isinstance(raised.value, ObjectNotFound)


async def test_reprocessing_forgets_the_old_result_and_its_report(parts: Parts) -> None:
    sent = await parts.submit(PARTIAL)
    done = await parts.process(sent.file_id)
    await waiting_jobs(parts)
    again = await parts.service.reprocess(sent.file_id)
    assert (again.status, again.attempts, again.aggregates) == (Status.UPLOADED, 0, None)
    assert (again.sha256, again.uploaded_at) == (sent.sha256, sent.uploaded_at)
    assert await parts.keys() == [sent.object_key]
    assert await waiting_jobs(parts) == [sent.file_id]
    with pytest.raises(Conflict):
        await parts.service.reprocess(sent.file_id)
    anew = await parts.process(sent.file_id)
    assert (anew.aggregates, anew.errors) == (done.aggregates, done.errors)
    assert await parts.keys() == sorted(anew.all_keys)
    assert set(anew.report_keys).isdisjoint(done.report_keys)


async def test_a_file_to_be_reprocessed_gets_its_job_though_the_old_report_stays(
    settings: Settings,
) -> None:
    """Else it would be `uploaded` with nobody to process it, and 409 to whoever asks again."""
    async with opened_parts(settings, objects=Refusing) as parts:
        sent = await parts.submit(PARTIAL)
        await parts.process(sent.file_id)
        await waiting_jobs(parts)
        parts.objects.refused = {"delete_object"}
        with contextlib.suppress(StoreUnavailable):
            await parts.service.reprocess(sent.file_id)
        record = await parts.files.get(sent.file_id)
        assert record.status.is_final or await waiting_jobs(parts) == [sent.file_id]


async def test_of_two_who_reprocess_at_once_one_gets_a_conflict(parts: Parts) -> None:
    sent = await parts.submit(HEADER)
    await parts.process(sent.file_id)
    await waiting_jobs(parts)
    results = await asyncio.gather(
        *(parts.service.reprocess(sent.file_id) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ConditionFailed", "FileRecord"]
    assert await waiting_jobs(parts) == [sent.file_id]


async def test_errors_are_refused_while_the_file_moves(parts: Parts) -> None:
    sent = await parts.submit(PARTIAL)
    with pytest.raises(Conflict, match="uploaded"):
        await parts.report(sent.file_id)


async def test_every_line_about_a_file_names_it_and_its_object(
    parts: Parts, logged: list[dict[str, Any]]
) -> None:
    sent = await parts.submit(PARTIAL)
    await parts.process(sent.file_id)
    await parts.service.reprocess(sent.file_id)
    await parts.process(sent.file_id)
    await parts.service.delete(sent.file_id)
    assert len(logged) >= 6
    lacking = [
        line["event"]
        for line in logged
        if (line.get("file_id"), line.get("object_key")) != (sent.file_id, sent.object_key)
    ]
    assert lacking == []


async def test_a_count_of_files_by_status(parts: Parts) -> None:
    await parts.submit(HEADER)
    await parts.process((await parts.submit(PARTIAL)).file_id)
    assert await parts.service.count_by_status() == {"uploaded": 1, "partial": 1}


def test_a_store_passed_through_answers_as_itself() -> None:
    assert Through("abc").upper() == "ABC"
