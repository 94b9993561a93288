"""The authority on what a record means; every other lane must give the same answer.

aiocsv splits records into fields. Fields are judged in slices: a column at a time where all of it
is plain, and where something is not, row by row by `judge`, which states the rules.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from aiocsv import AsyncReader

from aggsvc.engine.batch import NO_READING, Batch
from aggsvc.engine.fields import (
    FieldFailed,
    plain_timestamps,
    plain_values,
    read_timestamp,
    read_value,
)
from aggsvc.engine.lines import Piece, records_of
from aggsvc.engine.names import Names
from aggsvc.engine.records import Extent
from aggsvc.engine.row_errors import VALUE_CHARS, RowErrors
from aggsvc.engine.sensor_ids import MAX_NAME_BYTES, SensorIds
from aggsvc.errors import FileRejected

COLUMNS = ("sensor_id", "timestamp", "value")
OTHER_DELIMITERS = (";", "\t", "|", ",")
# Rows judged together: enough to pay for the patterns, few enough that one bad row costs little.
SLICE_ROWS = 256

Row = list[str]
Reading = tuple[str, int, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Header:
    """Where the three columns are among `width` fields, and what separates the fields."""

    width: int
    sensor_id: int
    timestamp: int
    value: int
    delimiter: str = ","


class RowFailed(Exception):
    """A record that is no reading."""

    def __init__(self, reason: str, value: str) -> None:
        self.reason, self.value = reason, value


def read_header(record: bytes, delimiter: str = ",") -> Header:
    """Find the columns in the header record; raises FileRejected."""
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise FileRejected(
            f"the header is not UTF-8 (at its byte {error.start + 1}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise FileRejected("the header has a NUL byte; is this a CSV file in UTF-8?")
    fields = fields_of(text, delimiter)
    _check_columns(fields, delimiter)
    names = list(map(_column_name, fields))
    sensor_id, timestamp, value = map(names.index, COLUMNS)
    return Header(len(names), sensor_id, timestamp, value, delimiter)


def fields_of(record: str, delimiter: str) -> Row:
    """The fields of one record, as they stand there."""
    (fields,) = _finish(_take(_reader(record + "\n", delimiter), 1))
    return fields


def _column_name(field: str) -> str:
    return field.strip().casefold()


def _check_columns(fields: Row, delimiter: str) -> None:
    names = list(map(_column_name, fields))
    missing = [column for column in COLUMNS if column not in names]
    doubled = [column for column in COLUMNS if names.count(column) > 1]
    if not missing and not doubled:
        return
    wrong = "has no column" if missing else "has more than one column"
    found = ", ".join(repr(field.strip()) for field in fields)[:1000]
    other = next((char for char in OTHER_DELIMITERS if len(fields) == 1 and char in fields[0]), "")
    hint = f"; fields must be separated by {delimiter!r}, not {other!r}" if other else ""
    raise FileRejected(
        f"the header {wrong} {' and no '.join(missing) or ' and '.join(doubled)}; "
        f"columns found: {found}{hint}"
    )


def read_rows(piece: Piece, header: Header, ids: SensorIds) -> Batch:
    """Judge the records of a piece of a block; the sensors are given ids."""
    columns = _Columns()
    for part in _line_slices(piece, header) or _record_slices(piece, header):
        if not _append_plain(columns, part, header):
            _append_judged(columns, part, header)
    return columns.batch(ids)


class _Columns:
    """A batch in the making: each row read has its place in the columns."""

    def __init__(self) -> None:
        self.sensors: list[str] = []
        self.timestamps: list[int] = []
        self.values: list[float] = []
        self.failures: list[tuple[int, int, str, str]] = []

    def append(self, sensor: str, timestamp: int, value: float) -> None:
        """Add a reading."""
        self.sensors.append(sensor)
        self.timestamps.append(timestamp)
        self.values.append(value)

    def fail(self, failed: RowFailed, line_number: int) -> None:
        """Add a row error; "" is no sensor's name."""
        self.append("", 0, 0.0)
        place = len(self.sensors), line_number
        self.failures.append((*place, failed.reason, failed.value))

    def batch(self, ids: SensorIds) -> Batch:
        """The columns as arrays."""
        places = {"": NO_READING}
        known = places.setdefault
        sensors = [known(sensor, len(places) - 1) for sensor in self.sensors]
        names = [name.encode() for name in places if name]
        # NO_READING, which is -1, finds itself behind the ids.
        found = np.append(ids.of(Names.of(names)), NO_READING)
        return Batch(
            found[np.array(sensors, np.int64)],
            np.array(self.timestamps, np.int64),
            np.array(self.values, np.float64),
            RowErrors.of(self.failures),
        )


@dataclass(frozen=True, slots=True)
class _Slice:
    """Some records: the line each starts on, its fields, and its text or why it has no fields.

    `texts` is None where each text is the fields joined, for nothing is quoted.
    """

    lines: Sequence[int]
    rows: Sequence[Row]
    texts: Sequence[str | RowFailed] | None = None


def _line_slices(piece: Piece, header: Header) -> Iterator[_Slice] | None:
    """The slices of a piece in which each line is a record of clean UTF-8, else None."""
    if piece.records is not None:
        return None
    try:
        text = str(piece.data, "utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else _slices_of(text, piece.line_number, header)


def _slices_of(text: str, line_number: int, header: Header) -> Iterator[_Slice]:
    reader = _reader(text, header.delimiter)
    while rows := _finish(_take(reader, SLICE_ROWS)):
        lines: Sequence[int] = range(line_number, line_number + len(rows))
        line_number += len(rows)
        if not all(rows):  # blank lines
            lines = [line for line, row in zip(lines, rows, strict=True) if row]
            rows = [row for row in rows if row]
        yield _Slice(lines, rows)


def _record_slices(piece: Piece, header: Header) -> Iterator[_Slice]:
    records = iter(records_of(piece))
    while some := list(islice(records, SLICE_ROWS)):
        lines = [piece.line_number + line for _, _, line, _ in some]
        texts = [_text(bytes(piece.data[start:end]), extent) for start, end, _, extent in some]
        whole = [text + "\n" for text in texts if isinstance(text, str)]
        fields = iter(_finish(_take(_reader("".join(whole), header.delimiter), len(whole))))
        yield _Slice(lines, [next(fields) if isinstance(t, str) else [] for t in texts], texts)


def _text(record: bytes, extent: int) -> str | RowFailed:
    """The record's text, or what is wrong with it as a whole."""
    if extent == Extent.WHOLE:
        try:
            text = record.decode()
        except UnicodeDecodeError:
            return RowFailed("invalid utf-8", _start(record))
        return RowFailed("nul byte", text) if "\0" in text else text
    reason = "record too long" if extent == Extent.TOO_LONG else "unclosed quote"
    return RowFailed(reason, _start(record))


def _start(record: bytes) -> str:
    # 4 bytes a character at most, and room for a sequence cut in two.
    return record[: VALUE_CHARS * 4 + 4].decode(errors="replace")


def _append_judged(columns: _Columns, part: _Slice, header: Header) -> None:
    for index, row in enumerate(part.rows):
        text = part.texts[index] if part.texts else header.delimiter.join(row)
        try:
            columns.append(*judge(row, text, header))
        except RowFailed as failed:
            columns.fail(failed, part.lines[index])


def judge(row: Row, text: str | RowFailed, header: Header) -> Reading:
    """The reading that a record's fields make; raises RowFailed with the first reason why none.

    `text` is the record itself, told where the reason is about no single field.
    """
    if isinstance(text, RowFailed):
        raise text
    if len(row) != header.width:
        reason = "too few fields" if len(row) < header.width else "too many fields"
        raise RowFailed(reason, text)
    sensor = row[header.sensor_id].strip()
    timestamp = row[header.timestamp].strip()
    value = row[header.value].strip()
    for column, field in zip(COLUMNS, (sensor, timestamp, value), strict=True):
        if not field:
            raise RowFailed(f"missing {column}", "")
    if len(sensor.encode()) > MAX_NAME_BYTES:
        raise RowFailed("sensor_id too long", sensor)
    return sensor, _read(read_timestamp, timestamp), _read(read_value, value)


def _read(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except FieldFailed as failed:
        raise RowFailed(str(failed), text) from None


_PLAIN_SENSOR_CHARS = MAX_NAME_BYTES // 4


def _append_plain(columns: _Columns, part: _Slice, header: Header) -> bool:
    """Append rows that are all plain readings, as judge would; False, and nothing done, if not."""
    if set(map(len, part.rows)) != {header.width}:
        return not part.rows
    fields = list(zip(*part.rows, strict=True))
    sensors = list(map(str.strip, fields[header.sensor_id]))
    if not all(sensors) or max(map(len, sensors)) > _PLAIN_SENSOR_CHARS:
        return False
    values = plain_values(list(map(str.strip, fields[header.value])))
    timestamps = plain_timestamps(list(map(str.strip, fields[header.timestamp])))
    if values is None or timestamps is None:
        return False
    columns.sensors += sensors
    columns.timestamps += timestamps
    columns.values += values
    return True


class _Text:
    """A file to aiocsv: its text in one read, so that no read ever has to wait."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def read(self, _size: int) -> str:
        text, self._text = self._text, ""
        return text


def _reader(text: str, delimiter: str) -> AsyncReader:
    return AsyncReader(_Text(text), delimiter=delimiter)


async def _take(reader: AsyncReader, count: int) -> list[Row]:
    rows: list[Row] = []
    append, next_row = rows.append, reader.__anext__
    try:
        for _ in range(count):
            append(await next_row())
    except StopAsyncIteration:
        pass
    return rows


def _finish(awaitable: Awaitable[T]) -> T:
    """The result of an awaitable that never has to wait, without an event loop."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("aiocsv waited for text that was already there")
