"""One job, start to end, on real stores; fakes stand where something is to go wrong or slowly."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest

from aggsvc.engine import ProgressSink
from aggsvc.engine.aggregate import Outcome
from aggsvc.errors import FileRejected, StoreFull, StoreUnavailable
from aggsvc.events import FileEvent
from aggsvc.model import (
    MAX_HISTORY,
    MAX_PAST_BYTES,
    Aggregates,
    FileRecord,
    Histogram,
    Job,
    Progress,
    RowError,
    Status,
    TimeSeries,
    rfc3339,
)
from aggsvc.objects import FileObjects
from aggsvc.processor import (
    KEPT_ERRORS,
    LOGGED_ERRORS,
    MAX_STORE_TRIES,
    Processor,
    ProcessorLimits,
)
from aggsvc.settings import Settings
from tests import oracle
from tests.conftest import (
    BAD_ROW,
    BUCKET,
    DEADLINE,
    GOOD_ROW,
    HEADER,
    MANY_SENSORS,
    Gated,
    Parts,
    Through,
    opened_parts,
    settings_in,
    stream,
    until,
)

GRID = 4 * 1024 * 1024
# More than a block, with row errors in its first: a report is begun before the stream ends.
LONG = HEADER + BAD_ROW * 20_000 + GOOD_ROW * (GRID // len(GOOD_ROW) + 40_000)


class BrokenStream(Through):
    """An object store whose uploads end in an error."""

    def __init__(self, inner: Any, error: Exception) -> None:
        super().__init__(inner)
        self.error = error

    @asynccontextmanager
    async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
        async with self.inner.get_object(bucket, key, **options) as found:
            yield type(found)(found.info, self._broken(found.chunks))

    async def _broken(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk
        raise self.error


class Refusing(Through):
    """A store that refuses the calls it is told to."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in self.refused:
            return self._refuse
        return super().__getattr__(name)

    async def _refuse(self, *_args: Any, **_options: Any) -> Any:
        raise StoreUnavailable("the disk is gone")


class SlowTable(Through):
    """A table whose chosen writes have landed some time before the writer hears of it."""

    def __init__(self, inner: Any, slow: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__(inner)
        self.slow = slow
        self.landed = asyncio.Event()

    async def put_item(self, table: str, item: dict[str, Any], **options: Any) -> None:
        await self.inner.put_item(table, item, **options)
        if self.slow(item):
            self.landed.set()
            await asyncio.sleep(0.2)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def assert_as_if_never_begun(record: FileRecord) -> None:
    assert record.status is Status.UPLOADED
    assert record.attempts == 0
    assert record.started_at is None
    assert record.progress == Progress()
    assert record.report_keys == ()


async def test_a_clean_file_ends_processed(parts: Parts) -> None:
    data = HEADER + b"b,2025-10-01,2\na,2025-10-01,-0.0\nb,2025-10-01,4\n"
    sent = await parts.submit(data)
    record = await parts.process(sent.file_id)
    assert record.status is Status.PROCESSED
    aggregates = record.aggregates
    assert aggregates is not None
    assert (aggregates.row_count, aggregates.min_value, aggregates.max_value) == (3, 0.0, 4.0)
    assert str(aggregates.min_value) == "0.0"
    assert aggregates.mean_value == 2.0
    assert list(aggregates.per_sensor_count.items()) == [("b", 2), ("a", 1)]
    assert record.progress == Progress(len(data), 3)
    assert (record.error_count, record.errors, record.message) == (0, (), None)
    assert record.uploaded_at <= record.started_at <= record.processed_at
    assert record.processing_ms is not None
    assert await parts.keys() == [record.object_key]


async def test_a_header_without_rows_is_processed_with_nulls(parts: Parts) -> None:
    record = await parts.process((await parts.submit(HEADER)).file_id)
    assert record.status is Status.PROCESSED
    assert record.aggregates is not None
    assert record.aggregates.row_count == 0
    assert record.aggregates.mean_value is None
    assert record.aggregates.min_value is None
    assert record.aggregates.max_value is None
    assert record.aggregates.per_sensor_count == {}


async def test_a_file_without_a_valid_row_fails_and_keeps_its_row_errors(parts: Parts) -> None:
    record = await parts.process((await parts.submit(HEADER + BAD_ROW * 3)).file_id)
    assert (record.status, record.message) == (Status.FAILED, "no valid rows")
    assert record.error_summary == {"missing timestamp": 3}
    assert len(record.errors) == 3
    assert (await parts.report(record.file_id)).count(b"\n") == 3


async def test_every_row_error_is_in_the_report_and_the_first_hundred_in_the_record(
    parts: Parts,
) -> None:
    data = HEADER + GOOD_ROW + BAD_ROW * 1_000
    record = await parts.process((await parts.submit(data)).file_id)
    assert record.status is Status.PARTIAL
    assert record.error_count == 1_000
    assert record.error_summary == {"missing timestamp": 1_000}
    assert [error.row_number for error in record.errors] == list(range(2, KEPT_ERRORS + 2))
    report = [orjson.loads(line) for line in (await parts.report(record.file_id)).splitlines()]
    assert [(e["row_number"], e["line_number"], e["column"], e["reason"], e["value"])
            for e in report] == oracle.judge(data).errors  # fmt: skip


async def test_few_sensors_are_kept_in_the_record_and_many_beside_the_upload(parts: Parts) -> None:
    few = await parts.process((await parts.submit(HEADER + GOOD_ROW)).file_id)
    assert (few.sensors is None, few.sensors_key) == (False, None)
    many = await parts.process((await parts.submit(HEADER + MANY_SENSORS + BAD_ROW)).file_id)
    assert many.sensors is None
    keys = [many.object_key, str(many.errors_key), str(many.sensors_key)]
    assert await parts.keys() == sorted([few.object_key, *keys])
    for record, count in ((few, 1), (many, 1_000)):
        page = await parts.service.sensors(record.file_id, limit=1_000)
        assert len(page.items) == count


async def longest_message(parts: Parts) -> str:
    """That of a header of many columns, none of them the right one."""
    header = ",".join(["\U0001f600" * 500] * 20).encode()
    failed = await parts.process((await parts.submit(header)).file_id)
    assert len(str(failed.message).encode()) > 4_000
    return str(failed.message)


def worn_out(record: FileRecord, message: str) -> FileRecord:
    """The record, its history full of that message: it has failed again and again."""
    for _ in range(MAX_HISTORY):
        ended = {"started_at": rfc3339(1), "processed_at": rfc3339(1), "message": message}
        record = replace(record, status=Status.FAILED, **ended).waiting(message)
    assert len(record.past) == MAX_HISTORY
    assert {change.message for change in record.past} - {None} == {record.past[-1].message}
    return record


async def test_a_record_of_the_worst_case_is_kept(parts: Parts) -> None:
    """Every list at its longest, of the characters and numbers that take the most room.

    So is its history: every other round of its processing has ended with the longest message.
    """
    names = [f"{number:04}" + "\U0001f600" * 63 for number in range(1_000)]
    low, high = -1.2345678901234567e-308, -1.2345678901234567e308
    aggregates = Aggregates(
        row_count=2**62,
        **dict.fromkeys(
            [f"{name}_value" for name in ("min", "max", "mean", "stddev", "p50", "p95", "p99")], low
        ),
        first_timestamp=rfc3339(1),
        last_timestamp=rfc3339(1),
        sensor_count=2**62,
        per_sensor_count=dict.fromkeys(names, 2**62),
        per_sensor_count_truncated=True,
        histogram=Histogram(low, (high,) * 64, (2**62,) * 64),
        time_series=TimeSeries(
            1e-6, (rfc3339(1),) * 512, (2**62,) * 512, *[(value,) * 512 for value in (low,) * 3]
        ),
    )
    error = RowError(2**62, 2**62, "timestamp", "timestamp out of range", "\U0001f600" * 200)
    sent = await parts.submit(HEADER, "\U0001f600" * 255)
    record = replace(
        worn_out(sent, await longest_message(parts)),
        status=Status.PARTIAL,
        started_at=rfc3339(1),
        processed_at=rfc3339(1),
        processing_ms=2**62,
        progress=Progress(2**62, 2**62),
        error_count=2**62,
        message="no valid rows",  # the longest beside aggregates
        aggregates=aggregates,
        errors=(error,) * KEPT_ERRORS,
        error_summary={f"{number}" + "r" * 22: 2**62 for number in range(14)},
        errors_key="k" * 60,
        sensors_key="k" * 60,
    )
    saved = await parts.files.save(record)
    assert await parts.files.get(sent.file_id) == saved


async def test_a_long_message_is_cut_in_the_history_and_nowhere_else(parts: Parts) -> None:
    """Its beginning tells what it was; a character is not cut in two."""
    message = await longest_message(parts)
    (failed,) = (await parts.files.list()).items
    assert (failed.message, failed.history[-1].message) == (message, message)
    cut = str(failed.waiting("again").past[-2].message)
    assert message.startswith(cut.removesuffix("..."))
    assert cut.endswith("\U0001f600...")
    assert MAX_PAST_BYTES - 4 < len(cut.encode()) <= MAX_PAST_BYTES
    as_long = "x" * MAX_PAST_BYTES
    assert replace(failed, message=as_long).waiting("again").past[-2].message == as_long


async def test_a_file_rejected_half_way_leaves_no_report(settings: Settings) -> None:
    rows = b"".join(b"s%d,2025-10-01,1\n" % number for number in range(9))
    async with opened_parts(settings.model_copy(update={"max_sensors": 8})) as parts:
        record = await parts.process((await parts.submit(HEADER + BAD_ROW + rows)).file_id)
        assert record.status is Status.FAILED
        assert "more than 8 distinct sensors" in str(record.message)
        assert record.report_keys == ()
        assert await parts.keys() == [record.object_key]


async def test_as_many_sensors_as_are_allowed_are_no_failure(settings: Settings) -> None:
    rows = b"".join(b"s%d,2025-10-01,1\n" % number for number in range(8))
    async with opened_parts(settings.model_copy(update={"max_sensors": 8})) as parts:
        record = await parts.process((await parts.submit(HEADER + rows)).file_id)
        assert record.status is Status.PROCESSED


async def test_a_missing_upload_ends_failed(parts: Parts) -> None:
    sent = await parts.submit(HEADER)
    await parts.objects.delete_object(BUCKET, sent.object_key)
    record = await parts.process(sent.file_id)
    assert (record.status, record.message) == (Status.FAILED, "the stored upload is missing")


async def test_a_job_without_a_file_or_with_a_finished_one_is_no_work(parts: Parts) -> None:
    await parts.processor.process(Job("nobody"))
    done = await parts.process((await parts.submit(HEADER)).file_id)
    assert await parts.process(done.file_id) == done


async def test_an_unexpected_error_ends_failed_with_a_message_and_a_logged_traceback(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with opened_parts(
        settings, objects=lambda inner: BrokenStream(inner, RuntimeError("boom"))
    ) as parts:
        record = await parts.process((await parts.submit(LONG)).file_id)
        assert record.status is Status.FAILED
        assert "RuntimeError" in str(record.message)
        assert "boom" not in str(record.message)
        assert await parts.keys() == [record.object_key]
    (line,) = [line for line in logged if line.get("exc_info")]
    assert line["file_id"] == record.file_id


async def test_an_unavailable_store_gives_the_file_back_uncounted(settings: Settings) -> None:
    async with opened_parts(
        settings, objects=lambda inner: BrokenStream(inner, StoreUnavailable("gone"))
    ) as parts:
        sent = await parts.submit(LONG)
        with pytest.raises(StoreUnavailable):
            await parts.processor.process(Job(sent.file_id))
        waiting = await parts.files.get(sent.file_id)
        assert_as_if_never_begun(waiting)
        told = [change.status for change in waiting.history]
        assert told == [Status.UPLOADED, Status.PROCESSING, Status.UPLOADED]
        assert waiting.history[-1].message == waiting.message
        assert parts.on_disk() == [f"{sent.file_id}%2Fupload.csv"]


class NoSensors(Through):
    """An object store that takes anything but the sensors' statistics."""

    async def put_object(self, bucket: str, key: str, data: Any, **options: Any) -> Any:
        if "/sensors-" in key:
            raise StoreUnavailable("the disk is full")
        return await self.inner.put_object(bucket, key, data, **options)


async def test_sensors_that_cannot_be_written_give_the_file_back_uncounted(
    settings: Settings,
) -> None:
    async with opened_parts(settings, objects=NoSensors) as parts:
        sent = await parts.submit(HEADER + MANY_SENSORS + BAD_ROW)
        with pytest.raises(StoreUnavailable):
            await parts.processor.process(Job(sent.file_id))
        assert_as_if_never_begun(await parts.files.get(sent.file_id))
        assert parts.on_disk() == [f"{sent.file_id}%2Fupload.csv"]


async def test_an_object_store_that_refuses_every_write_counts_no_attempt(
    settings: Settings,
) -> None:
    """Not even clearing the report away works then; the file still waits as it did."""
    async with opened_parts(settings, objects=Refusing) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW + BAD_ROW)
        parts.objects.refused = {"put_object", "delete_object"}
        with pytest.raises(StoreUnavailable):
            await parts.processor.process(Job(sent.file_id))
        assert_as_if_never_begun(await parts.files.get(sent.file_id))
        parts.objects.refused = set()
        assert (await parts.process(sent.file_id)).status is Status.PARTIAL


async def test_a_table_that_refuses_the_result_gives_the_job_back(settings: Settings) -> None:
    async with opened_parts(settings, objects=Gated, table=Refusing) as parts:
        sent = await parts.submit(HEADER + MANY_SENSORS + BAD_ROW)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        parts.table.refused = {"put_item"}
        parts.objects.go.set()
        with pytest.raises(StoreUnavailable):
            await running
        parts.table.refused = set()
        assert await parts.keys() == [sent.object_key]
        assert (await parts.process(sent.file_id)).status is Status.PARTIAL


async def tried_in_vain(parts: Parts, sent: FileRecord, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            await parts.processor.process(Job(sent.file_id))


class FullTable(Refusing):
    """A table that has room for what was begun, and then for nothing while it is `full`."""

    full = False

    async def put_item(self, table: str, item: dict[str, Any], **options: Any) -> None:
        if self.full and item["status"] != "processing":
            raise StoreFull("no space left")
        await self.inner.put_item(table, item, **options)

    async def check(self) -> None:
        if self.full:
            raise StoreFull("no space left")


async def test_a_disk_that_is_full_for_long_uses_up_no_attempt(settings: Settings) -> None:
    """Not even where there is no room to note that the attempt was not the file's fault."""
    async with opened_parts(settings, table=FullTable) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW)
        parts.table.full = True
        await tried_in_vain(parts, sent, 3 * MAX_STORE_TRIES)
        assert (await parts.files.get(sent.file_id)).attempts == 1
        parts.table.full = False
        record = await parts.process(sent.file_id)
        assert (record.status, record.attempts, record.message) == (Status.PROCESSED, 1, None)


async def test_an_attempt_that_a_full_disk_ended_is_given_back_before_the_stop(
    settings: Settings,
) -> None:
    async with opened_parts(settings, table=FullTable) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW)
        parts.table.full = True
        await tried_in_vain(parts, sent, 1)
        await parts.processor.close()
        assert (await parts.files.get(sent.file_id)).status is Status.PROCESSING
        parts.table.full = False
        await parts.processor.close()
        assert_as_if_never_begun(await parts.files.get(sent.file_id))


class NoReports(Through):
    """An object store with room for anything but what processing writes."""

    full = True
    error: type[StoreUnavailable] = StoreFull

    async def put_object(self, bucket: str, key: str, data: Any, **options: Any) -> Any:
        if self.full and not key.endswith("/upload.csv"):
            raise self.error("no space left")
        return await self.inner.put_object(bucket, key, data, **options)


@pytest.mark.parametrize("rows", [BAD_ROW, MANY_SENSORS], ids=["errors", "sensors"])
async def test_a_file_whose_result_never_fits_says_so_while_it_waits_and_then_fails(
    settings: Settings, rows: bytes
) -> None:
    async with opened_parts(settings, objects=NoReports) as parts:
        sent = await parts.submit(HEADER + rows)
        await tried_in_vain(parts, sent, MAX_STORE_TRIES - 1)
        waiting = await parts.files.get(sent.file_id)
        assert_as_if_never_begun(waiting)
        assert "no room on the service's disk" in (waiting.message or "")
        failed = await parts.process(sent.file_id)
        assert failed.status is Status.FAILED
        assert f"tried {MAX_STORE_TRIES} times; make room, then reprocess" in (failed.message or "")
        assert parts.on_disk() == [f"{sent.file_id}%2Fupload.csv"]
        parts.objects.full = False
        await parts.service.reprocess(sent.file_id)
        assert (await parts.process(sent.file_id)).aggregates is not None


async def test_a_file_that_a_store_fails_again_and_again_fails_with_a_hint_to_the_log(
    settings: Settings,
) -> None:
    async with opened_parts(settings, objects=NoReports) as parts:
        parts.objects.error = StoreUnavailable
        sent = await parts.submit(HEADER + BAD_ROW)
        await tried_in_vain(parts, sent, MAX_STORE_TRIES - 1)
        assert "log says why" in ((await parts.files.get(sent.file_id)).message or "")
        failed = await parts.process(sent.file_id)
        assert (failed.status, "log says why" in (failed.message or "")) == (Status.FAILED, True)


async def test_a_file_is_rejected_also_while_its_progress_is_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has landed is known, though who was telling of it was cancelled."""
    monkeypatch.setattr("aggsvc.processor.PROGRESS_SECONDS", 0)
    tables: list[SlowTable] = []

    def table(inner: Any) -> SlowTable:
        tables.append(SlowTable(inner, lambda item: bool(item["progress"]["rows_read"])))
        return tables[0]

    async def engine(_stream: Any, *, on_progress: ProgressSink, **_: Any) -> Outcome:
        telling = asyncio.create_task(on_progress(Progress(1, 1)))
        await tables[0].landed.wait()
        await cancelled(telling)
        raise FileRejected("it has no header")

    async with opened_parts(settings, table=table) as parts:
        sent = await parts.submit(HEADER)
        loaded = asyncio.get_running_loop().create_future()
        loaded.set_result(engine)
        objects = FileObjects(parts.objects, BUCKET)
        processor = Processor(objects, parts.files, loaded, ProcessorLimits(1, 1))
        await processor.process(Job(sent.file_id))
        record = await parts.files.get(sent.file_id)
    assert (record.status, record.message) == (Status.FAILED, "it has no header")


async def report_begun(parts: Parts) -> None:
    """Wait until the report of the row errors is being written beside the upload."""
    await until(lambda: len(parts.on_disk()) == 2, "the report")


async def test_a_cancelled_job_leaves_the_file_as_if_it_had_never_begun(
    settings: Settings,
) -> None:
    async with opened_parts(settings, objects=lambda inner: Gated(inner, len(LONG) - 1)) as parts:
        sent = await parts.submit(LONG + GOOD_ROW * 20_000)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        assert (await parts.files.get(sent.file_id)).status is Status.PROCESSING
        await report_begun(parts)
        await cancelled(running)
        assert_as_if_never_begun(await parts.files.get(sent.file_id))
        assert parts.on_disk() == [f"{sent.file_id}%2Fupload.csv"]
        parts.objects.go.set()
        assert (await parts.process(sent.file_id)).status is Status.PARTIAL


async def test_a_job_cancelled_while_it_claims_the_file_counts_no_attempt(
    settings: Settings,
) -> None:
    async with opened_parts(
        settings, table=lambda inner: SlowTable(inner, lambda item: item["status"] == "processing")
    ) as parts:
        sent = await parts.submit(HEADER)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.table.landed.wait(), DEADLINE)
        await cancelled(running)
        assert_as_if_never_begun(await parts.files.get(sent.file_id))


async def test_a_job_cancelled_while_it_writes_progress_counts_no_attempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write may land although the writer was cancelled."""
    monkeypatch.setattr("aggsvc.processor.PROGRESS_SECONDS", 0)

    def is_progress(item: dict[str, Any]) -> bool:
        return bool(item["progress"]["bytes_read"]) and item["status"] == "processing"

    async with opened_parts(
        settings, objects=Gated, table=lambda inner: SlowTable(inner, is_progress)
    ) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        parts.objects.go.set()
        await asyncio.wait_for(parts.table.landed.wait(), DEADLINE)
        await cancelled(running)
        assert_as_if_never_begun(await parts.files.get(sent.file_id))


@pytest.mark.parametrize("rows", [GOOD_ROW, MANY_SENSORS])
@pytest.mark.parametrize("errors", [0, 3])
async def test_a_job_cancelled_while_it_writes_the_result_is_whole_or_not_at_all(
    rows: bytes, errors: int, settings: Settings
) -> None:
    """A result that landed keeps its reports; otherwise the file waits again."""
    final = ("processed", "partial")
    async with opened_parts(
        settings, table=lambda inner: SlowTable(inner, lambda item: item["status"] in final)
    ) as parts:
        sent = await parts.submit(HEADER + rows + BAD_ROW * errors)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.table.landed.wait(), DEADLINE)
        await cancelled(running)
        record = await parts.files.get(sent.file_id)
        if record.status.is_final:
            assert (await parts.report(sent.file_id)).count(b"\n") == errors
            assert (await parts.service.sensors(sent.file_id)).items
        else:
            assert_as_if_never_begun(record)
        assert await parts.keys() == sorted(record.all_keys)


@pytest.mark.parametrize("rows", [GOOD_ROW, MANY_SENSORS])
async def test_a_job_cancelled_at_any_moment_is_whole_or_as_if_never_begun(
    rows: bytes, parts: Parts
) -> None:
    """On the real stores: a result that landed has its reports, and there are no other objects."""
    chance = random.Random(1)
    for _ in range(80):
        sent = await parts.submit(HEADER + rows + BAD_ROW * 2)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.sleep(chance.random() * (0.008 if rows == GOOD_ROW else 0.05))
        await cancelled(running)
        await until_settled(parts, sent.file_id)
        record = await parts.files.get(sent.file_id)
        if record.status.is_final:
            assert (await parts.report(sent.file_id)).count(b"\n") == 2
        else:
            assert_as_if_never_begun(record)


async def until_settled(parts: Parts, file_id: str) -> None:
    """Wait for the end of what goes on behind the back of a writer that was cancelled."""

    async def is_settled() -> bool:
        record = await parts.files.get(file_id)
        keys = [key for key in await parts.keys() if key.startswith(file_id)]
        return record.status is not Status.PROCESSING and keys == sorted(record.all_keys)

    await until(is_settled, "the end of the attempt")


async def test_a_file_that_killed_its_worker_too_often_ends_failed(parts: Parts) -> None:
    """A kill leaves `processing` with its attempt counted."""
    sent = await parts.submit(HEADER)
    for attempt in range(1, 4):
        record = await parts.files.get(sent.file_id)
        await parts.files.save(FileRecord.from_item(
            record.to_item() | {"status": "processing", "attempts": attempt}
        ))  # fmt: skip
    record = await parts.process(sent.file_id)
    assert record.status is Status.FAILED
    assert "3 times" in str(record.message)
    assert record.processed_at is not None


async def test_the_last_attempt_is_still_made(parts: Parts) -> None:
    sent = await parts.submit(HEADER)
    await parts.files.save(
        FileRecord.from_item(sent.to_item() | {"status": "processing", "attempts": 2})
    )
    assert (await parts.process(sent.file_id)).status is Status.PROCESSED


async def test_a_stale_workers_write_is_refused(settings: Settings) -> None:
    """Whoever claimed the file last writes its result; the other leaves nothing behind."""
    async with opened_parts(settings, objects=Gated) as parts:
        sent = await parts.submit(HEADER + MANY_SENSORS + BAD_ROW * 2)
        stale = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        parts.objects.reached.clear()
        newer = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        parts.objects.go.set()
        await asyncio.gather(stale, newer)
        record = await parts.files.get(sent.file_id)
        assert (record.status, record.attempts) == (Status.PARTIAL, 2)
        assert await parts.keys() == sorted(record.all_keys)
        assert (await parts.report(sent.file_id)).count(b"\n") == 2


async def test_a_running_worker_cannot_bring_a_deleted_file_back(settings: Settings) -> None:
    async with opened_parts(settings, objects=lambda inner: Gated(inner, len(LONG) - 1)) as parts:
        sent = await parts.submit(LONG + GOOD_ROW * 20_000)
        running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        await parts.service.delete(sent.file_id)
        parts.objects.go.set()
        await running
        assert await parts.files.find(sent.file_id) is None
        assert parts.on_disk() == []


async def test_progress_is_told_at_least_once_a_second_however_slow_the_store(
    settings: Settings,
) -> None:
    """In events and in the record, from a store that gives 640 KiB a second."""

    class Slow(Through):
        @asynccontextmanager
        async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
            async with self.inner.get_object(bucket, key, **options) as found:
                data = b"".join([chunk async for chunk in found.chunks])
                yield type(found)(found.info, self._slowly(data))

        async def _slowly(self, data: bytes) -> AsyncIterator[bytes]:
            for start in range(0, len(data), 65_536):
                await asyncio.sleep(0.1)
                yield data[start : start + 65_536]

    bytes_a_second = 10 * 65_536
    async with opened_parts(settings, objects=Slow) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW * 45_000)
        bytes_read = [0]
        with parts.events.subscribe(sent.file_id) as events:
            running = asyncio.create_task(parts.processor.process(Job(sent.file_id)))
            async for event in events:
                assert isinstance(event, FileEvent)
                record = await parts.files.get(sent.file_id)
                assert record.progress.bytes_read >= event.progress.bytes_read
                bytes_read.append(event.progress.bytes_read)
                if event.status.is_final:
                    break
        await running
    # A busy machine makes the store slower still, and does not let more of it go by untold.
    assert max(now - before for before, now in pairwise(bytes_read)) <= bytes_a_second
    assert bytes_read == sorted(bytes_read)


async def test_progress_is_written_far_less_often_than_batches_are_read(parts: Parts) -> None:
    sent = await parts.submit(LONG)
    record = await parts.process(sent.file_id)
    assert record.version < 10


async def test_at_most_twenty_row_failures_are_logged_and_then_their_count(
    parts: Parts, logged: list[dict[str, Any]]
) -> None:
    sent = await parts.submit(HEADER + GOOD_ROW + BAD_ROW * 25)
    await parts.process(sent.file_id)
    warnings = [line for line in logged if line["log_level"] == "warning"]
    assert len(warnings) == LOGGED_ERRORS + 1
    for number, line in enumerate(warnings[:-1]):
        assert line["file_id"] == sent.file_id
        assert line["object_key"] == sent.object_key
        assert (line["row_number"], line["line_number"]) == (number + 2, number + 3)
        assert (line["column"], line["reason"]) == ("timestamp", "missing timestamp")
    assert warnings[-1]["error_count"] == 25


@pytest.mark.parametrize("count", [1, LOGGED_ERRORS])
async def test_few_row_failures_are_logged_one_by_one(
    count: int, parts: Parts, logged: list[dict[str, Any]]
) -> None:
    await parts.process((await parts.submit(HEADER + GOOD_ROW + BAD_ROW * count)).file_id)
    assert len([line for line in logged if line["event"] == "row failed"]) == count


async def test_results_do_not_depend_on_how_the_store_cuts_its_stream(
    settings: Settings,
) -> None:
    class Cut(Through):
        @asynccontextmanager
        async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
            async with self.inner.get_object(bucket, key, **options) as found:
                data = b"".join([chunk async for chunk in found.chunks])
                yield type(found)(
                    found.info, stream(*(data[at : at + 1] for at in range(len(data))))
                )

    data = HEADER + GOOD_ROW + b'"a\nb",2025-10-01,3\r\n' + BAD_ROW
    found = []
    for name, wrap in (("whole", Through), ("cut", Cut)):
        folder = settings.mock_s3_root_path.parent / name
        async with opened_parts(settings_in(folder), objects=wrap) as parts:
            record = await parts.process((await parts.submit(data)).file_id)
            found.append((record.aggregates, record.errors, await parts.report(record.file_id)))
    assert found[0] == found[1]
