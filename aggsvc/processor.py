"""One job, start to end: claim the file, run the engine over it, write what came out."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from aggsvc.engine import Engine
from aggsvc.errorreport import ErrorReport
from aggsvc.errors import (
    ConditionFailed,
    FileRejected,
    ObjectNotFound,
    StoreFull,
    StoreUnavailable,
)
from aggsvc.filetable import FileTable
from aggsvc.model import (
    Aggregates,
    FileRecord,
    Job,
    Progress,
    RowError,
    Status,
    object_key,
    utc_now,
)
from aggsvc.objects import FileObjects, report_key, sensors_key
from aggsvc.sensorstore import SensorStore

if TYPE_CHECKING:
    from aggsvc.engine.aggregate import Outcome
    from aggsvc.engine.row_errors import RowErrors
    from aggsvc.engine.sensors import SensorTable
    from aggsvc.engine.summary import Summary

KEPT_ERRORS = 100
LOGGED_ERRORS = 20
PROGRESS_SECONDS = 0.5
# How often a file is tried that the stores fail while they can write other things.
MAX_STORE_TRIES = 8
INTERRUPTED = "the processing was interrupted, and begins anew"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProcessorLimits:
    """Where processing gives up: attempts at one file, distinct sensors in it."""

    max_attempts: int
    max_sensors: int


class Processor:
    """Processes jobs. A record that another has written or deleted meanwhile is left to it.

    `engine` may be still on its way when the first job comes, and is awaited once for each.
    Trouble of the stores costs no attempt: the file waits, its message saying for what.
    """

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        engine: Awaitable[Engine],
        limits: ProcessorLimits,
    ) -> None:
        self._objects = objects
        self._engine = engine
        self._files = files
        self._limits = limits
        self._unnoted: dict[str, FileRecord] = {}  # attempts whose end could not be written
        self._store_tries: Counter[str] = Counter()

    async def check(self) -> None:
        """Raise StoreUnavailable unless the stores can be read and written."""
        await self._objects.check()
        await self._files.check()

    async def close(self) -> None:
        """Note once more what could not be noted of attempts that were cut short."""
        for attempt in list(self._unnoted.values()):
            await self._unclaim(attempt)

    async def process(self, job: Job) -> None:
        """Take the file to its end; raises StoreUnavailable, and the job is to be given back."""
        with structlog.contextvars.bound_contextvars(**_known_by(job)):
            try:
                engine = await self._engine  # the file waits for it as it was uploaded
                record = await self._claim(job.file_id)
                if record is not None:
                    await self._run(record, engine)
            except ConditionFailed:
                log.info("superseded", detail="the file was deleted or taken over meanwhile")

    async def _claim(self, file_id: str) -> FileRecord | None:
        record = await self._files.find(file_id)
        if record is None or record.status.is_final:
            self._unnoted.pop(file_id, None)
            self._store_tries.pop(file_id, None)
            return None
        attempts = record.attempts - self._is_unnoted(record)
        if attempts >= self._limits.max_attempts:
            await self._finish(record, message=_gave_up(attempts))
            return None
        claimed = replace(
            record,
            status=Status.PROCESSING,
            started_at=utc_now(),
            attempts=attempts + 1,
            progress=Progress(),
        )
        try:
            saved = await self._files.save(claimed)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(_Run(self._objects, self._files, claimed)))
            raise
        self._unnoted.pop(file_id, None)
        return saved

    def _is_unnoted(self, record: FileRecord) -> bool:
        attempt = self._unnoted.get(record.file_id)
        return attempt is not None and _is_attempt(record, attempt)

    async def _run(self, record: FileRecord, engine: Engine) -> None:
        run = _Run(self._objects, self._files, record)
        try:
            await self._aggregate(run, engine)
            self._store_tries.pop(record.file_id, None)
        except StoreUnavailable as error:
            await asyncio.shield(self._put_off(run, error))
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(run))
            raise
        except BaseException:
            await run.discard()
            raise

    async def _put_off(self, run: "_Run", error: StoreUnavailable) -> None:
        """Let the file wait, or end it if only it is failed, again and again; else raises error."""
        file_id = run.record.file_id
        self._store_tries[file_id] += await self._is_well()
        tries = self._store_tries[file_id]
        if tries < MAX_STORE_TRIES:
            await self._give_back(run, _waits(error))
            raise error
        try:
            await self._fail(run, _never_fits(error, tries))
        except StoreUnavailable:
            await self._give_back(run)
            raise
        del self._store_tries[file_id]

    async def _is_well(self) -> bool:
        try:
            await self.check()
        except StoreUnavailable:
            return False
        return True

    async def _aggregate(self, run: "_Run", engine: Engine) -> None:
        try:
            async with self._objects.open(run.record.object_key) as upload:
                try:
                    outcome = await engine(
                        upload.chunks,
                        on_errors=run.take_errors,
                        on_progress=run.take_progress,
                        max_sensors=self._limits.max_sensors,
                    )
                finally:
                    await run.settle()
            await run.complete(outcome)
        except FileRejected as error:
            await self._fail(run, str(error))
        except ObjectNotFound:
            await self._fail(run, "the stored upload is missing")
        except (ConditionFailed, StoreUnavailable):
            raise
        except Exception as error:
            log.exception("processing broke")
            kind = type(error).__name__
            await self._fail(run, f"an internal error ended the processing ({kind}); see the log")

    async def _fail(self, run: "_Run", message: str) -> None:
        await run.discard()
        await self._finish(run.record, message=message, processing_ms=run.elapsed_ms())

    async def _finish(self, record: FileRecord, *, message: str, processing_ms: int = 0) -> None:
        """End a file that came to no aggregates."""
        failed = replace(
            record,
            status=Status.FAILED,
            message=message,
            processed_at=utc_now(),
            processing_ms=processing_ms,
        )
        _log_end(await self._files.save(failed))

    async def _give_back(self, run: "_Run", message: str | None = None) -> None:
        """Leave the file as if this attempt had not been made: its end was not the file's doing."""
        now = await self._files.find(run.record.file_id)
        if now is not None and _is_attempt(now, run.record) and now.status.is_final:
            return  # the result had landed
        await run.discard()  # first: it may make the room that the note needs
        await self._unclaim(run.record, message)

    async def _unclaim(self, attempt: FileRecord, message: str | None = None) -> None:
        try:
            now = await self._files.find(attempt.file_id)
            if now is not None and _is_attempt(now, attempt):
                waiting = now.waiting(message or INTERRUPTED, now.attempts - 1)
                await self._files.save(replace(waiting, message=message))
            self._unnoted.pop(attempt.file_id, None)
        except ConditionFailed as error:
            log.info("not given back", reason=str(error))
        except StoreUnavailable as error:
            log.warning("not given back yet", reason=str(error))
            self._unnoted[attempt.file_id] = attempt


def _known_by(job: Job) -> dict[str, str]:
    """What every line of the log says of the job."""
    known = {"file_id": job.file_id, "object_key": object_key(job.file_id)}
    return known | ({"request_id": job.request_id} if job.request_id else {})


def _is_attempt(now: FileRecord, ours: FileRecord) -> bool:
    return (now.started_at, now.attempts) == (ours.started_at, ours.attempts)


class _Run:
    """One attempt at one file: its record as last written, its reports and its clock."""

    def __init__(self, objects: FileObjects, files: FileTable, record: FileRecord) -> None:
        self.record = record
        self.report = ErrorReport(objects, report_key(record))
        self._objects = objects
        self._sensors_key = sensors_key(record)
        self._is_keeping_sensors = False
        self._files = files
        self._kept: list[RowError] = []
        self._saving: asyncio.Task[None] | None = None
        self._started = self._told = time.monotonic()

    def elapsed_ms(self) -> int:
        """Milliseconds since the attempt began."""
        return round((time.monotonic() - self._started) * 1000)

    async def take_errors(self, errors: "RowErrors") -> None:
        """Keep the first, log the very first, and write all of them to the report."""
        seen = self.report.count
        self._kept += errors.first(KEPT_ERRORS - seen)
        for error in self._kept[seen:LOGGED_ERRORS]:
            log.warning("row failed", **_context(error))
        await self.report.add(errors)

    async def take_progress(self, progress: Progress) -> None:
        """Write and tell the progress, one at a time and at most once in PROGRESS_SECONDS."""
        if self._saving is None and time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._saving = asyncio.create_task(self._save(progress))
            await asyncio.shield(self._saving)

    async def settle(self) -> None:
        """Have `record` be what was written last, also where who told of it was cancelled."""
        if self._saving is not None:
            await asyncio.wait({self._saving})

    async def _save(self, progress: Progress) -> None:
        try:
            self.record = await self._files.save(
                replace(self.record, progress=progress), event="progress"
            )
        finally:
            self._saving = None

    async def complete(self, outcome: "Outcome") -> None:
        """Write the result of the whole file."""
        errors_key = await self.report.finish()
        # Counting 2,000,000 sensors' ranks takes a second.
        aggregates, sensors = await asyncio.to_thread(_figures, outcome.summary)
        self._is_keeping_sensors = True
        kept = await SensorStore(self._objects).keep(self.record, sensors, self._sensors_key)
        if outcome.error_count > LOGGED_ERRORS:
            log.warning("rows failed", error_count=outcome.error_count)
        status, message = _verdict(outcome)
        record = replace(
            kept,
            status=status,
            message=message,
            processed_at=utc_now(),
            processing_ms=self.elapsed_ms(),
            progress=Progress(self.record.size_bytes, outcome.rows_read),
            aggregates=aggregates,
            error_count=outcome.error_count,
            error_summary=dict(outcome.error_summary.most_common()),
            errors=tuple(self._kept),
            errors_key=errors_key,
        )
        _log_end(await self._files.save(record))

    async def discard(self) -> None:
        """Leave nothing behind of what was written beside the upload."""
        await self.report.discard()
        if self._is_keeping_sensors:
            await self._objects.remove_objects(self._sensors_key)


def _figures(summary: "Summary") -> tuple[Aggregates, "SensorTable"]:
    return summary.aggregates(), summary.sensors()


def _verdict(outcome: "Outcome") -> tuple[Status, str | None]:
    if outcome.error_count == 0:
        return Status.PROCESSED, None
    if outcome.summary.row_count == 0:
        return Status.FAILED, "no valid rows"
    return Status.PARTIAL, None


def _gave_up(attempts: int) -> str:
    return (
        f"processing was begun {attempts} times and never came to its end, "
        "as the service stopped each time; reprocess the file to try again"
    )


def _waits(error: StoreUnavailable) -> str:
    what = (
        "there is no room on the service's disk for the result"
        if isinstance(error, StoreFull)
        else "a store cannot read or write now (the service's log says why)"
    )
    return f"not processed yet: {what}; it is tried again without your doing"


def _never_fits(error: StoreUnavailable, tries: int) -> str:
    if isinstance(error, StoreFull):
        return (
            "there was no room on the service's disk for what was found in the file (its row "
            f"errors, its sensors), tried {tries} times; make room, then reprocess the file"
        )
    return (
        f"a store failed to read the upload or to write the result, tried {tries} times "
        "(the service's log says why); mend it, then reprocess the file"
    )


def _context(error: RowError) -> dict[str, object]:
    return {name: getattr(error, name) for name in RowError.__slots__}


def _log_end(record: FileRecord) -> None:
    """One line for the end of a file's processing."""
    log.info(
        "processing ended",
        status=record.status.value,
        row_count=record.aggregates.row_count if record.aggregates else None,
        error_count=record.error_count,
        processing_ms=record.processing_ms,
        message=record.message,
    )
