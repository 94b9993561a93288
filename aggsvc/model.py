"""The words of the service as immutable data; no I/O."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
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

MAX_HISTORY = 20
# So much of a message is kept of a round of processing that is past.
MAX_PAST_BYTES = 250

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a listing leaves out of a record's aggregates, each with what it has instead.
LONG_LISTS: dict[str, Any] = {"per_sensor_count": {}, "histogram": None, "time_series": None}

# Each reason a row may fail for, in the order of the checks, and the column that it is about.
COLUMN_OF_REASON = {
    "record too long": None,
    "unclosed quote": None,
    "invalid utf-8": None,
    "nul byte": None,
    "too few fields": None,
    "too many fields": None,
    "missing sensor_id": "sensor_id",
    "missing timestamp": "timestamp",
    "missing value": "value",
    "sensor_id too long": "sensor_id",
    "invalid timestamp": "timestamp",
    "timestamp out of range": "timestamp",
    "invalid value": "value",
    "value not finite": "value",
}
REASONS = tuple(COLUMN_OF_REASON)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far processing has come: bytes of the upload and data rows read."""

    bytes_read: int = 0
    rows_read: int = 0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many readings there are in each bin of one width, from the lowest value's bin on.

    Bins are aligned to zero, their edges the doubles nearest to multiples of the width; a value on
    an edge is in the bin above it.
    """

    bin_width: float
    lower_bounds: tuple[float, ...]
    row_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """The readings by time, as columns: those buckets, aligned to the epoch, that have readings.

    Starts are RFC 3339 UTC; one before the year 1 is shown as its first instant.
    """

    bucket_seconds: float
    starts: tuple[str, ...]
    row_counts: tuple[int, ...]
    min_values: tuple[float, ...]
    max_values: tuple[float, ...]
    mean_values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SensorStatistics:
    """The statistics of one sensor's readings; times are RFC 3339 UTC."""

    sensor_id: str
    row_count: int
    min_value: float
    max_value: float
    mean_value: float
    stddev_value: float
    first_timestamp: str
    last_timestamp: str


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The statistics of a file's readings; what has no meaning without readings is None.

    The mean and the (population) standard deviation are correctly rounded. Quantiles are by nearest
    rank, with a relative error of at most 0.4 % (docs/format.md).
    """

    row_count: int
    min_value: float | None
    max_value: float | None
    mean_value: float | None
    stddev_value: float | None
    p50_value: float | None
    p95_value: float | None
    p99_value: float | None
    first_timestamp: str | None
    last_timestamp: str | None
    sensor_count: int
    per_sensor_count: dict[str, int]
    per_sensor_count_truncated: bool
    histogram: Histogram | None
    time_series: TimeSeries | None

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> Self:
        """The inverse of FileRecord.to_item, for this part of it."""
        # Records of a service that had fewer statistics lack some.
        listed = {"sensor_count": len(item["per_sensor_count"])}
        item = dict.fromkeys(cls.__slots__) | listed | item
        histogram, series = item["histogram"], item["time_series"]
        return cls(
            **{
                **item,
                "histogram": histogram and Histogram(**_columns(histogram)),
                "time_series": series and TimeSeries(**_columns(series)),
            }
        )


# Of all readings, what has no meaning without any.
NO_READINGS = Aggregates(
    row_count=0,
    min_value=None,
    max_value=None,
    mean_value=None,
    stddev_value=None,
    p50_value=None,
    p95_value=None,
    p99_value=None,
    first_timestamp=None,
    last_timestamp=None,
    sensor_count=0,
    per_sensor_count={},
    per_sensor_count_truncated=False,
    histogram=None,
    time_series=None,
)


def _columns(item: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in item.items()}


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
class StateChange:
    """When a file came to a status, and what was said of it."""

    time: str
    status: Status
    message: str | None = None

    def cut(self) -> Self:
        """The same, with at most MAX_PAST_BYTES of its message."""
        text = (self.message or "").encode()
        if len(text) <= MAX_PAST_BYTES:
            return self
        brief = text[: MAX_PAST_BYTES - 3].decode(errors="ignore")
        return replace(self, message=f"{brief}...")


@dataclass(frozen=True, slots=True)
class Job:
    """The order to process one file; `alone` if no other may run beside it.

    `request_id` is that of the request which caused it, where there was one: for the log.
    """

    file_id: str
    alone: bool = False
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A row of the table: what is known of one upload.

    Times are RFC 3339 UTC with microseconds, so they sort as text. `version` moves with each
    write and guards it; `attempts` counts the times that processing was begun; `errors_key` is the
    object that lists every row error. The statistics of each sensor are in `sensors` while they are
    few (aggsvc/sensorstore.py), else in the object `sensors_key`. `past` is the log of states
    before the present round of processing. These six are kept, not shown.
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
    sensors: str | None = None
    sensors_key: str | None = None
    past: tuple[StateChange, ...] = ()

    @property
    def history(self) -> tuple[StateChange, ...]:
        """The log of its states, oldest first: the last MAX_HISTORY."""
        log = self.past or (StateChange(self.uploaded_at, Status.UPLOADED),)
        if self.started_at is not None:
            log += (StateChange(self.started_at, Status.PROCESSING),)
        if self.processed_at is not None:
            log += (StateChange(self.processed_at, self.status, self.message),)
        return log[-MAX_HISTORY:]

    def waiting(self, why: str, attempts: int = 0) -> Self:
        """The file as it was before any processing but these attempts, to be written over this.

        `why` it waits again goes into its history.
        """
        again = StateChange(utc_now(), Status.UPLOADED, why)
        return type(self)(
            self.file_id,
            self.filename,
            self.size_bytes,
            self.sha256,
            self.uploaded_at,
            version=self.version,
            attempts=attempts,
            past=tuple(map(StateChange.cut, (*self.history, again)[-MAX_HISTORY:])),
        )

    @property
    def object_key(self) -> str:
        """The key of the raw upload in the bucket."""
        return object_key(self.file_id)

    @property
    def report_keys(self) -> tuple[str, ...]:
        """The keys of the objects that processing wrote beside the upload."""
        return tuple(key for key in (self.errors_key, self.sensors_key) if key is not None)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The keys of every object to which the record leads."""
        return (self.object_key, *self.report_keys)

    def to_item(self) -> dict[str, Any]:
        """The record as a dict of JSON values, as the table keeps it."""
        item: dict[str, Any] = orjson.loads(orjson.dumps(self))
        if not self.past:
            del item["past"]  # as of nearly all: the table keeps its items in memory
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
                "aggregates": aggregates and Aggregates.from_item(aggregates),
                "errors": tuple(RowError(**error) for error in item["errors"]),
                "past": tuple(_state_change(**change) for change in item.get("past", ())),
            }
        )

    @classmethod
    def listed(cls, item: dict[str, Any]) -> Self:
        """The record as a listing has it: its row errors, sensors and LONG_LISTS left out."""
        aggregates = item["aggregates"]
        brief = aggregates and {**aggregates, **LONG_LISTS}
        return cls.from_item({**item, "errors": [], "sensors": None, "aggregates": brief})


def _state_change(time: str, status: str, message: str | None) -> StateChange:
    return StateChange(time, Status(status), message)


def object_key(file_id: str) -> str:
    """The key of a file's raw upload in the bucket."""
    return f"{file_id}/upload.csv"


def utc_now() -> str:
    """The time as RFC 3339 UTC text of fixed width, e.g. 2025-10-01T08:12:10.000000Z."""
    return datetime.now(UTC).strftime(TIME_FORMAT)


def rfc3339(micros: int) -> str:
    """Microseconds since the epoch, of the years 1 to 9999, as RFC 3339 UTC text.

    The seconds have a fraction, of six digits, only where it is not 0: 2025-10-01T08:12:10Z.
    """
    time = EPOCH + timedelta(microseconds=micros)
    return time.isoformat().removesuffix("+00:00") + "Z"
