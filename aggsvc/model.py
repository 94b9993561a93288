"""The words of the service as immutable data; no I/O."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import orjson

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class Status(StrEnum):
    """Where a file stands: uploaded -> processing -> processed | partial | failed."""

    UPLOADED = "uploaded"
    PROCESSING = "processing"
    PROCESSED = "processed"
    PARTIAL = "partial"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether no job will move the file on from here."""
        return self not in UNFINISHED


UNFINISHED = (Status.UPLOADED, Status.PROCESSING)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far processing has come: bytes of the upload and data rows read."""

    bytes_read: int = 0
    rows_read: int = 0


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The statistics of a file's readings; min, max and mean are None without readings."""

    row_count: int
    min_value: float | None
    max_value: float | None
    mean_value: float | None
    per_sensor_count: dict[str, int]
    per_sensor_count_truncated: bool


@dataclass(frozen=True, slots=True)
class RowError:
    """One data row that is no reading.

    row_number counts data records from 1; line_number is the physical line (the file's first is 1)
    on which the record starts. Where the reason is about one field, column names it and value is
    its stripped text; otherwise column is None and value is the record's start. Values are cut to
    200 characters.
    """

    row_number: int
    line_number: int
    column: str | None
    reason: str
    value: str


@dataclass(frozen=True, slots=True)
class Job:
    """The order to process one file; `alone` if no other may run beside it."""

    file_id: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A row of the table: what is known of one upload.

    Times are RFC 3339 UTC with microseconds, so they sort as text. `version` moves with each
    write and guards it; `attempts` counts the times that processing was begun; `errors_key` is the
    object that lists every row error. These three are kept, not shown.
    """

    file_id: str
    filename: str
    size_bytes: int
    sha256: str
    uploaded_at: str
    status: Status = Status.UPLOADED
    started_at: str | None = None
    processed_at: str | None = None
    processing_ms: int | None = None
    progress: Progress = Progress()
    aggregates: Aggregates | None = None
    error_count: int = 0
    error_summary: dict[str, int] = field(default_factory=dict)
    errors: tuple[RowError, ...] = ()
    message: str | None = None
    version: int = 1
    attempts: int = 0
    errors_key: str | None = None

    def waiting(self, attempts: int = 0) -> Self:
        """The file as it was before any processing but these attempts, to be written over this."""
        return type(self)(
            self.file_id,
            self.filename,
            self.size_bytes,
            self.sha256,
            self.uploaded_at,
            version=self.version,
            attempts=attempts,
        )

    @property
    def object_key(self) -> str:
        """The key of the raw upload in the bucket."""
        return object_key(self.file_id)

    def to_item(self) -> dict[str, Any]:
        """The record as a dict of JSON values, as the table keeps it."""
        item: dict[str, Any] = orjson.loads(orjson.dumps(self))
        return item

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> Self:
        """The inverse of to_item."""
        aggregates = item["aggregates"]
        return cls(
            **{
                **item,
                "status": Status(item["status"]),
                "progress": Progress(**item["progress"]),
                "aggregates": Aggregates(**aggregates) if aggregates else None,
                "errors": tuple(RowError(**error) for error in item["errors"]),
            }
        )


def object_key(file_id: str) -> str:
    """The key of a file's raw upload in the bucket."""
    return f"{file_id}/upload.csv"


def utc_now() -> str:
    """The time as RFC 3339 UTC text of fixed width, e.g. 2025-10-01T08:12:10.000000Z."""
    return datetime.now(UTC).strftime(TIME_FORMAT)
