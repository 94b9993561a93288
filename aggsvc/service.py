"""The facade: all that the API and the pages do with files."""

import base64
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import structlog

from aggsvc.errors import (
    Conflict,
    InvalidParameter,
    ObjectLost,
    ObjectNotFound,
    SensorNotFound,
    StoreUnavailable,
)
from aggsvc.events import Event, EventHub, FileDeleted, FileEvent, Subscription
from aggsvc.filetable import FileTable, RecordPage, settled
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.intake import Intake, Submission, job_of_request
from aggsvc.model import Aggregates, FileRecord, SensorStatistics, Status
from aggsvc.objects import FileObjects
from aggsvc.ports import FILES_SCHEMA, JobQueue, StoredObject
from aggsvc.sensorstore import SensorStore
from aggsvc.series import SeriesReader, chosen

if TYPE_CHECKING:
    from aggsvc.engine.excerpt import Excerpt

# What a listing of files can be sorted by.
FILE_SORTS = (FILES_SCHEMA.order, FILES_SCHEMA.status, *FILES_SCHEMA.sorts)

# Sensors that are told together where all are.
LISTED_AT_A_TIME = 2_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SensorPage:
    """One page of a file's sensors; cursor is None on the last, and `before` on the first.

    It begins `offset` sensors behind the first of the `sensor_count` there are, or were found.
    """

    items: list[SensorStatistics]
    cursor: str | None
    before: str | None
    offset: int
    sensor_count: int


@dataclass(frozen=True, slots=True)
class Series:
    """The statistics of a file's readings of one sensor (None: of any), from `first` to `end`."""

    file_id: str
    sensor_id: str | None
    first: str | None
    end: str | None
    aggregates: Aggregates


class Service:
    """Submit, read, list, delete and reprocess files."""

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        events: EventHub,
        new_file_id: Callable[[], str],
        *,
        keys: IdempotencyKeys,
        series: SeriesReader,
    ) -> None:
        self._keys = keys
        self._series = series
        self._intake = Intake(objects, files, queue, keys, new_file_id)
        self._objects = objects
        self._sensors = SensorStore(objects)
        self._files = files
        self._queue = queue
        self._events = events

    async def submit(self, filename: str, data: AsyncIterable[bytes]) -> FileRecord:
        """Keep an upload durably and queue it (see Intake.submit)."""
        return await self._intake.submit(filename, data)

    async def submit_once(
        self, key: str | None, filename: str, data: AsyncIterable[bytes]
    ) -> Submission:
        """Submit, unless the key has made a file already (see Intake.submit_once)."""
        return await self._intake.submit_once(key, filename, data)

    async def is_used(self, key: str) -> bool:
        """Whether the key has made a file that is still there, so that it makes no other."""
        return await self._intake.is_used(key)

    async def get(self, file_id: str) -> FileRecord:
        """The record of a file; raises NotFound."""
        return await self._files.get(file_id)

    async def list(
        self,
        *,
        status: Status | None = None,
        search: str = "",
        sort: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> RecordPage:
        """One page of records, newest first unless sorted (see MetadataTable.query)."""
        return await self._files.list(
            status=status, search=search, sort=sort, limit=limit, cursor=cursor
        )

    @asynccontextmanager
    async def open_content(
        self, record: FileRecord, byte_range: tuple[int, int] | None = None
    ) -> AsyncIterator[StoredObject]:
        """The raw upload, or bytes first to last of it; raises NotFound, and ObjectLost."""
        async with (
            self._explaining(record),
            self._objects.open(record.object_key, byte_range=byte_range) as upload,
        ):
            yield upload

    @asynccontextmanager
    async def open_errors(self, record: FileRecord) -> AsyncIterator[AsyncIterator[bytes]]:
        """Every row error as chunks of JSON lines; raises NotFound, and ObjectLost.

        Raises Conflict while the file is moving, or if it was begun anew since the record was read.
        """
        if not record.status.is_final:
            raise Conflict(f"the file is {record.status}; its errors are known when it is done")
        if record.errors_key is None:
            yield _nothing()
            return
        async with self._explaining(record), self._objects.open(record.errors_key) as report:
            yield report.chunks

    @asynccontextmanager
    async def _explaining(self, record: FileRecord) -> AsyncIterator[None]:
        """Where an object of the file's is not found, raise what became of it."""
        try:
            yield
        except ObjectNotFound as error:
            now = await self._files.get(record.file_id)
            if now.version == record.version:
                raise ObjectLost(str(error)) from None
            raise Conflict(
                f"the file has changed meanwhile and is {now.status}; ask again"
            ) from None

    async def excerpt(self, record: FileRecord, lines: Set[int]) -> "Excerpt":
        """The fields of those records that stand on these lines, near the start of the upload."""
        return await self._series.excerpt(record, lines)

    async def sensors(
        self,
        file_id: str,
        *,
        search: str = "",
        sort: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> SensorPage:
        """One page of a file's sensors, by id unless sorted (see SensorTable.rows).

        `search` keeps those whose ids contain the text, whatever its case.

        Raises NotFound, InvalidParameter, and Conflict while the file is moving, or where it was
        processed again since the cursor was given.
        """
        record = await self._files.get(file_id)
        _require_end(record)
        listing = [record.file_id, sort, *([search] if search else [])]
        offset = _open_cursor(cursor, record, listing) if cursor is not None else 0
        async with self._explaining(record):
            found = await self._sensors.rows(record, search, sort, offset, limit)
        end = offset + limit
        more = end < found.sensor_count
        following = _cursor(record, listing, end) if more else None
        before = _cursor(record, listing, max(0, offset - limit)) if offset else None
        return SensorPage(found.rows, following, before, offset, found.sensor_count)

    @asynccontextmanager
    async def open_sensors(
        self, record: FileRecord, *, search: str = "", sort: str = ""
    ) -> AsyncIterator[AsyncIterator[Sequence[SensorStatistics]]]:
        """All sensors of a file, in lists of some; raises as `sensors` does, and Busy."""
        _require_end(record)
        async with (
            self._explaining(record),
            self._sensors.open_pages(record, search, sort, LISTED_AT_A_TIME) as pages,
        ):
            yield pages

    async def series(
        self,
        file_id: str,
        *,
        sensor_id: str | None = None,
        first: str | None = None,
        end: str | None = None,
    ) -> Series:
        """The statistics of readings of one sensor, or of a stretch of time, or both.

        The stretch is from `first` up to, not including, `end`. What the record does not have is
        read again from the upload. Raises NotFound, SensorNotFound, InvalidParameter, ObjectLost,
        Conflict while the file is moving, and Busy.
        """
        choice = chosen(sensor_id, first, end)
        record = await self._files.get(file_id)
        if not record.status.is_final:
            raise Conflict(f"the file is {record.status}; its readings are known when it is done")
        async with self._explaining(record):
            if sensor_id is not None and not await self._sensors.has(record, sensor_id):
                raise SensorNotFound(
                    f"the file has no readings of a sensor {sensor_id[:80]!r}", "sensor"
                )
            aggregates = await self._series.read(record, choice)
        return Series(file_id, sensor_id, first, end, aggregates)

    async def delete(self, file_id: str) -> None:
        """Remove the record, then the objects; raises NotFound.

        What else cannot be removed now is removed later: the file is gone all the same.
        """
        await settled(self._delete(await self._files.get(file_id)))

    async def _delete(self, record: FileRecord) -> None:
        file_id = record.file_id
        await self._files.delete(record)
        await self._objects.remove_objects(*record.all_keys)  # damaged ones are in no listing
        await self._objects.remove(file_id)
        try:
            await self._keys.forget(file_id)
        except StoreUnavailable as error:  # without a file it counts for nothing, and it expires
            log.warning("idempotency key not removed", file_id=file_id, reason=str(error))
        log.info("file deleted", file_id=file_id, object_key=record.object_key)

    async def reprocess(self, file_id: str) -> FileRecord:
        """Queue a finished file again; raises NotFound, and Conflict while it waits or runs."""
        record = await self._files.get(file_id)
        if not record.status.is_final:
            raise Conflict(f"the file is {record.status}; it can be reprocessed when it is done")
        waiting = await self._files.save(record.waiting("to be processed again"))
        await self._queue.send(job_of_request(file_id))
        await self._objects.remove_objects(*record.report_keys)
        log.info(
            "file queued again",
            file_id=file_id,
            object_key=record.object_key,
            status=waiting.status.value,
        )
        return waiting

    @asynccontextmanager
    async def watch(self, file_id: str) -> AsyncIterator[AsyncIterator[Event]]:
        """The state of a file now, then each change; ends with its end. Raises NotFound."""
        with self._events.subscribe(file_id) as changes:
            yield _until_final(FileEvent.of(await self._files.get(file_id)), changes)

    def watch_all(self) -> AbstractContextManager[Subscription]:
        """Every change of any file from now on."""
        return self._events.subscribe()

    async def count_by_status(self) -> dict[str, int]:
        """How many files there are of each status."""
        return await self._files.count_by_status()


async def _until_final(first: FileEvent, changes: Subscription) -> AsyncIterator[Event]:
    yield first
    if first.status.is_final:
        return
    async for event in changes:
        if isinstance(event, FileEvent) and event.version <= first.version:
            continue  # it was under way while the state was read
        yield event
        if isinstance(event, FileDeleted) or (
            isinstance(event, FileEvent) and event.status.is_final
        ):
            return


def _require_end(record: FileRecord) -> None:
    if not record.status.is_final:
        raise Conflict(f"the file is {record.status}; its sensors are known when it is done")


def _cursor(record: FileRecord, listing: list[str], offset: int) -> str:
    mark = [listing, record.version, offset]
    return base64.urlsafe_b64encode(orjson.dumps(mark)).decode().rstrip("=")


def _open_cursor(cursor: str, record: FileRecord, listing: list[str]) -> int:
    """The offset that the cursor marks in this listing of this result."""
    try:
        marked, version, offset = orjson.loads(
            base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        )
        sound = marked == listing and type(offset) is int and offset >= 0
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise InvalidParameter("the cursor is not one of this listing; begin without one", "cursor")
    if version != record.version:
        raise Conflict("the file was processed again since; begin without a cursor", "cursor")
    return int(offset)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
