"""What a CSV file means, told a second time: slow, plain, and sharing nothing with the engine.

Sections 4 and 5 of the design in the order in which they are written there. Nothing here streams,
shares work between records or takes a short cut; tests hold the engine to its answers.
"""

import csv
import math
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

REQUIRED = ("sensor_id", "timestamp", "value")
MAX_RECORD_BYTES = 65_536
MAX_RECORD_LINES = 100
MAX_SENSOR_ID_BYTES = 256
MAX_SHOWN = 200

# A word that each way of rejecting a file must say to the person who reads it.
REJECTED_SAYS = {
    "empty": "no header",
    "utf-16": "UTF-16",
    "nul in header": "NUL",
    "header not utf-8": "UTF-8",
    "header unclosed": "never closed",
    "header too long": "longer than",
    "missing columns": "has no column",
    "doubled columns": "more than one column",
}

EPOCH_DAY = date(1970, 1, 1).toordinal()
DAY_US = 24 * 60 * 60 * 1_000_000
FIRST_US = (date(1, 1, 1).toordinal() - EPOCH_DAY) * DAY_US
LAST_US = (date(9999, 12, 31).toordinal() - EPOCH_DAY + 1) * DAY_US - 1

MAX_BINS = 64
MAX_BIN_INDEX = 10**15
BIN_WIDTHS = [digit * Fraction(10) ** power for power in range(-300, 309) for digit in (1, 2)]
MAX_BUCKETS = 512
SECOND_US, MINUTE_US, HOUR_US = 1_000_000, 60_000_000, 3_600_000_000
BUCKET_WIDTHS = (
    *(1, 10, 100, 1_000, 10_000, 100_000),
    *(SECOND_US, 5 * SECOND_US, 15 * SECOND_US),
    *(MINUTE_US, 5 * MINUTE_US, 15 * MINUTE_US),
    *(HOUR_US, 3 * HOUR_US, 6 * HOUR_US, 12 * HOUR_US),
    *(DAY_US, 10 * DAY_US, 100 * DAY_US, 1_000 * DAY_US, 10_000 * DAY_US),
)

TIMESTAMP = re.compile(
    r"""
    (?P<date> [0-9]{4}-[0-9]{2}-[0-9]{2} | [0-9]{8} )
    (?:
        [Tt ]
        (?P<time>
            [0-9]{2}:[0-9]{2} (?: :[0-9]{2} (?:\.[0-9]{1,9})? )?
          | [0-9]{2}[0-9]{2}  (?:  [0-9]{2} (?:\.[0-9]{1,9})? )?
        )
        (?P<offset> [Zz] | [+-][0-9]{2} | [+-][0-9]{4} | [+-][0-9]{2}:[0-9]{2} )?
    )?
    """,
    re.VERBOSE,
)
VALUE = re.compile(r"[+-]?([0-9]+\.[0-9]+|[0-9]+\.|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")
NOT_FINITE_WORD = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)

Reading = tuple[str, int, float]
"""sensor_id, microseconds since the epoch in UTC, value."""

Error = tuple[int, int, str | None, str, str]
"""row_number, line_number, column, reason, value."""

Columns = dict[str, Any]
"""A histogram or a time series: its width, and lists with a place for each bin or bucket."""


@dataclass(frozen=True)
class Verdict:
    """The whole answer to one file: either a code for why it is rejected, or its rows."""

    rejected: str | None = None
    rows_read: int = 0
    readings: list[Reading] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)

    @property
    def values(self) -> list[float]:
        return [value for _, _, value in self.readings]

    @property
    def row_count(self) -> int:
        return len(self.readings)

    @property
    def min_value(self) -> float | None:
        return min(self.values, default=None)

    @property
    def max_value(self) -> float | None:
        return max(self.values, default=None)

    @property
    def mean_value(self) -> float | None:
        return exact_mean(self.values)

    @property
    def per_sensor_count(self) -> dict[str, int]:
        return dict(Counter(sensor_id for sensor_id, _, _ in self.readings))

    @property
    def stddev_value(self) -> float | None:
        return exact_stddev(self.values)

    def percentile(self, percent: int) -> float | None:
        """By nearest rank: the smallest value that so many percent of the values are not above."""
        ranked = sorted(self.values)
        return ranked[-(-percent * len(ranked) // 100) - 1] if ranked else None

    @property
    def moments(self) -> list[int]:
        return [moment for _, moment, _ in self.readings]

    @property
    def first_timestamp(self) -> str | None:
        return rfc3339(min(self.moments)) if self.readings else None

    @property
    def last_timestamp(self) -> str | None:
        return rfc3339(max(self.moments)) if self.readings else None

    @property
    def histogram(self) -> Columns | None:
        """bin_width; lower_bounds and row_counts of each bin from the lowest value's on."""
        return histogram(self.values) if self.readings else None

    @property
    def time_series(self) -> Columns | None:
        """bucket_seconds; starts, row_counts, min/max/mean_values of buckets with readings."""
        return time_series(self.readings) if self.readings else None

    @property
    def sensor_count(self) -> int:
        return len(self.per_sensor_count)

    @property
    def sensors(self) -> dict[str, "Verdict"]:
        """Each sensor's readings alone, by their sensor_id."""
        return {
            name: Verdict(readings=[reading for reading in self.readings if reading[0] == name])
            for name in sorted(self.per_sensor_count, key=str.encode)
        }

    @property
    def error_summary(self) -> dict[str, int]:
        return dict(Counter(reason for _, _, _, reason, _ in self.errors))


def exact_mean(values: list[float]) -> float | None:
    """The double nearest to the exact mean, zero always without a sign."""
    if not values:
        return None
    total = sum((Fraction(value) for value in values), Fraction(0))
    return float(total / len(values)) + 0.0


def exact_stddev(values: list[float]) -> float | None:
    """The double nearest to the population standard deviation.

    Half-way between two doubles lie multiples of 2**-1075. So it is enough to know the root in
    units of half of that, and whether there is more of it.
    """
    if not values:
        return None
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    variance = sum(((value - mean) ** 2 for value in exact), Fraction(0)) / len(exact)
    square = variance * 4**1076
    root = math.isqrt(math.floor(square))
    more = root**2 != square
    return float(Fraction(2 * root + more, 2**1077))


def edge(index: int, width: Fraction) -> float:
    """Where a bin begins: the double nearest to a multiple of the width."""
    exact = index * width
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def bin_of(value: float, width: Fraction) -> int:
    """The index of the bin that the value is in, by the bins' edges as they are after rounding."""
    index = Fraction(value) // width
    while value < edge(index, width):
        index -= 1
    while value >= edge(index + 1, width):
        index += 1
    return index


def fits(low: float, high: float, width: Fraction) -> bool:
    """Whether bins of that width from the lowest value's to the highest's are not too many."""
    first, last = bin_of(low, width), bin_of(high, width)
    return last - first < MAX_BINS and max(abs(first), abs(last)) <= MAX_BIN_INDEX


def histogram(values: list[float]) -> Columns:
    low, high = min(values), max(values)
    too_fine = Fraction(max(-low, high)) / (2 * MAX_BIN_INDEX)
    width = next(width for width in BIN_WIDTHS if width > too_fine and fits(low, high, width))
    counts = Counter(bin_of(value, width) for value in values)
    bins = range(min(counts), max(counts) + 1)
    return {
        "bin_width": float(width),
        # Below the least double there is none to show; all values are from that one on.
        "lower_bounds": [max(edge(index, width), -sys.float_info.max) for index in bins],
        "row_counts": [counts[index] for index in bins],
    }


def time_series(readings: list[Reading]) -> Columns:
    moments = [moment for _, moment, _ in readings]
    first, last = min(moments), max(moments)
    width = next(us for us in BUCKET_WIDTHS if last // us - first // us < MAX_BUCKETS)
    buckets = sorted({moment // width for moment in moments})
    values = [[value for _, at, value in readings if at // width == bucket] for bucket in buckets]
    return {
        "bucket_seconds": width / 1_000_000,
        "starts": [rfc3339(max(bucket * width, FIRST_US)) for bucket in buckets],
        "row_counts": list(map(len, values)),
        "min_values": list(map(min, values)),
        "max_values": list(map(max, values)),
        "mean_values": list(map(exact_mean, values)),
    }


def rfc3339(moment: int) -> str:
    """2024-05-01T00:00:00Z, or 2024-05-01T00:00:00.000500Z where there are microseconds."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return time.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Line:
    """A physical line of the file: where its bytes lie, its line end not among them."""

    start: int
    end: int


@dataclass(frozen=True)
class Record:
    """A record, or what is reported in its place: its first line with a reason."""

    content: bytes
    line_count: int
    reason: str | None = None


class RowFault(Exception):
    """Why a row is no reading, and the field it is about."""

    def __init__(self, reason: str, column: str | None = None, value: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.value = value


def judge(data: bytes, delimiter: str = ",") -> Verdict:
    """Say what the file means."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Verdict("utf-16")
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = split_lines(data)
    at = skip_blank(lines, 0)
    if at == len(lines):
        return Verdict("empty")
    header = record_at(data, lines, at, delimiter, None)
    rejected, names = judge_header(header, delimiter)
    if rejected:
        return Verdict(rejected)
    verdict = Verdict()
    row_number = 0
    at = skip_blank(lines, at + header.line_count)
    while at < len(lines):
        row_number += 1
        record = record_at(data, lines, at, delimiter, len(names))
        try:
            verdict.readings.append(judge_row(record, names, delimiter))
        except RowFault as fault:
            shown = fault.value if fault.column else decode_leniently(record.content)
            verdict.errors.append(
                (row_number, at + 1, fault.column, fault.reason, shown[:MAX_SHOWN])
            )
        at = skip_blank(lines, at + record.line_count)
    return Verdict(None, row_number, verdict.readings, verdict.errors)


def split_lines(data: bytes) -> list[Line]:
    """Cut at LF, CRLF and lone CR; nothing after the last line end is no line."""
    lines = []
    start = at = 0
    while at < len(data):
        if data[at : at + 2] == b"\r\n":
            length = 2
        elif data[at : at + 1] in (b"\r", b"\n"):
            length = 1
        else:
            at += 1
            continue
        lines.append(Line(start, at))
        at += length
        start = at
    if start < len(data):
        lines.append(Line(start, len(data)))
    return lines


def skip_blank(lines: list[Line], at: int) -> int:
    while at < len(lines) and lines[at].start == lines[at].end:
        at += 1
    return at


def record_at(
    data: bytes, lines: list[Line], at: int, delimiter: str, field_count: int | None
) -> Record:
    """The record that starts on line `at`; a field_count of None means that it is the header."""
    first = data[lines[at].start : lines[at].end]
    if len(first) > MAX_RECORD_BYTES:
        return Record(first, 1, "record too long")
    last = last_line(data, lines, at, delimiter)
    if last is None:
        return Record(first, 1, "unclosed quote")
    if last == at:
        return Record(first, 1)
    whole = data[lines[at].start : lines[last].end]
    if len(whole) > MAX_RECORD_BYTES:
        return Record(first, 1, "unclosed quote")
    if (
        field_count is not None
        and len(csv_fields(whole.decode("latin-1"), delimiter)) != field_count
    ):
        return Record(first, 1, "unclosed quote")
    return Record(whole, last - at + 1)


def last_line(data: bytes, lines: list[Line], at: int, delimiter: str) -> int | None:
    """The line at whose end no quoted field is open, or None if a quote is never closed well."""
    state = "field start"
    ran_over = False
    for number in range(at, min(at + MAX_RECORD_LINES, len(lines))):
        for char in data[lines[number].start : lines[number].end].decode("latin-1"):
            if state == "quoted":
                if char == '"':
                    state = "quote in quoted"
            elif state == "quote in quoted" and char == '"':
                state = "quoted"
            elif char == delimiter:
                state = "field start"
                ran_over = False
            elif state == "quote in quoted" and ran_over:
                return None
            elif state == "field start" and char == '"':
                state = "quoted"
            else:
                state = "unquoted"
        if state != "quoted":
            return number
        ran_over = True
    return None


def csv_fields(text: str, delimiter: str) -> list[str]:
    """The fields of one whole record, by the standard library."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        (fields,) = csv.reader([text], delimiter=delimiter)
    finally:
        csv.field_size_limit(limit)
    return fields


def decode_leniently(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def judge_header(header: Record, delimiter: str) -> tuple[str | None, list[str]]:
    """Why the header rejects the file, if it does, and its names."""
    if header.reason == "record too long":
        return "header too long", []
    if header.reason == "unclosed quote":
        return "header unclosed", []
    try:
        text = header.content.decode("utf-8")
    except UnicodeDecodeError:
        return "header not utf-8", []
    if "\0" in text:
        return "nul in header", []
    names = [name.strip().casefold() for name in csv_fields(text, delimiter)]
    if any(names.count(required) == 0 for required in REQUIRED):
        return "missing columns", names
    if any(names.count(required) > 1 for required in REQUIRED):
        return "doubled columns", names
    return None, names


def judge_row(record: Record, names: list[str], delimiter: str) -> Reading:
    if record.reason:
        raise RowFault(record.reason)
    try:
        text = record.content.decode("utf-8")
    except UnicodeDecodeError:
        raise RowFault("invalid utf-8") from None
    if "\0" in text:
        raise RowFault("nul byte")
    fields = [text.strip() for text in csv_fields(text, delimiter)]
    if len(fields) < len(names):
        raise RowFault("too few fields")
    if len(fields) > len(names):
        raise RowFault("too many fields")
    sensor_id, timestamp, value = (fields[names.index(column)] for column in REQUIRED)
    for column, text in zip(REQUIRED, (sensor_id, timestamp, value), strict=True):
        if not text:
            raise RowFault(f"missing {column}", column)
    if len(sensor_id.encode("utf-8")) > MAX_SENSOR_ID_BYTES:
        raise RowFault("sensor_id too long", "sensor_id", sensor_id)
    return sensor_id, judge_timestamp(timestamp), judge_value(value)


def judge_timestamp(text: str) -> int:
    """Microseconds since the epoch, by plain arithmetic that cannot overflow."""
    invalid = RowFault("invalid timestamp", "timestamp", text)
    out_of_range = RowFault("timestamp out of range", "timestamp", text)
    match = TIMESTAMP.fullmatch(text)
    if not match:
        raise invalid
    digits = match["date"].replace("-", "")
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    clock, _, fraction = (match["time"] or "0000").replace(":", "").partition(".")
    hour, minute, second = int(clock[:2]), int(clock[2:4]), int(clock[4:] or "0")
    offset = (match["offset"] or "Z").replace(":", "")
    offset_hour, offset_minute = int(offset[1:3] or "0"), int(offset[3:] or "0")
    if hour > 23 or minute > 59 or second > 59 or offset_hour > 23 or offset_minute > 59:
        raise invalid
    try:
        day_number = date(year or 4, month, day).toordinal() - EPOCH_DAY
    except ValueError:
        raise invalid from None
    if year == 0:
        raise out_of_range
    seconds = hour * 3600 + minute * 60 + second
    offset_seconds = offset_hour * 3600 + offset_minute * 60
    seconds += offset_seconds if offset[0] == "-" else -offset_seconds
    microseconds = int(fraction[:6].ljust(6, "0"))
    moment = day_number * DAY_US + seconds * 1_000_000 + microseconds
    if not FIRST_US <= moment <= LAST_US:
        raise out_of_range
    return moment


def judge_value(text: str) -> float:
    if NOT_FINITE_WORD.fullmatch(text):
        raise RowFault("value not finite", "value", text)
    if not VALUE.fullmatch(text):
        raise RowFault("invalid value", "value", text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RowFault("value not finite", "value", text)
    return value + 0.0
