"""What the text of a timestamp or a value means: one at a time, or a whole column of plain ones."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta


class FieldFailed(Exception):
    """A field's text has no meaning; the argument is the row error's reason."""


_OFFSET = r"(?P<offset>[Zz]|(?P<sign>[+-])(?P<oh>[0-9]{2})(?::?(?P<om>[0-9]{2}))?)?"
_TIMESTAMP = re.compile(
    r"(?P<year>[0-9]{4})(?P<dash>-?)(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2})(?P<colon>:?)(?P<minute>[0-9]{2})"
    r"(?:(?P=colon)(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?" + _OFFSET + ")?"
)
DAY_US = 86_400_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_US = (date.min.toordinal() - _EPOCH_DAY) * DAY_US
LAST_US = (date.max.toordinal() + 1 - _EPOCH_DAY) * DAY_US - 1
_LEAP_YEAR = 4


def read_timestamp(text: str) -> int:
    """Microseconds since 1970-01-01T00:00Z of an ISO 8601 timestamp; raises FieldFailed."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise FieldFailed("invalid timestamp")
    year, month, day, hour, minute, second, oh, om = (
        int(digits or 0)
        for digits in match.group("year", "month", "day", "hour", "minute", "second", "oh", "om")
    )
    if hour > 23 or minute > 59 or second > 59 or oh > 23 or om > 59:
        raise FieldFailed("invalid timestamp")
    try:
        # Year 0 was a leap year, and is out of range only if it is a day at all.
        days = date(year or _LEAP_YEAR, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise FieldFailed("invalid timestamp") from None
    offset = (oh * 60 + om) * (-1 if match["sign"] == "-" else 1)
    seconds = (hour * 60 + minute - offset) * 60 + second
    micros = int((match["fraction"] or "0").ljust(6, "0")[:6])
    micros += days * DAY_US + seconds * 1_000_000
    if year == 0 or not FIRST_US <= micros <= LAST_US:
        raise FieldFailed("timestamp out of range")
    return micros


_VALUE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)


def read_value(text: str) -> float:
    """The double nearest to a decimal number; raises FieldFailed."""
    if _VALUE.fullmatch(text) is None:
        reason = "value not finite" if _NOT_FINITE.fullmatch(text) else "invalid value"
        raise FieldFailed(reason)
    value = float(text)
    if math.isinf(value):
        raise FieldFailed("value not finite")
    return value or 0.0  # -0.0 is 0


# What float() reads beyond our numbers (words, underscores, other scripts' digits) needs other
# characters than these.
_VALUE_CHARS = re.compile(r"[0-9+\-.eE]*")


def plain_values(column: Sequence[str]) -> list[float] | None:
    """What read_value makes of each stripped field; None where one fails."""
    if _VALUE_CHARS.fullmatch("".join(column)) is None:
        return None
    try:
        values = list(map(float, column))
    except ValueError:
        return None
    if min(values) == -math.inf or max(values) == math.inf:
        return None
    return [value or 0.0 for value in values] if 0.0 in values else values


# A column of timestamps, each ended by a line feed, that every supported Python's fromisoformat
# reads as read_timestamp does, or refuses: it checks the digits that are left open here.
_PLAIN_TIMESTAMPS = re.compile(
    r"(?:....-..-..T(?:[01].|2[0-3]):..:..(?:\.[0-9]{1,6})?(?:Z|[+-](?:[01].|2[0-3]):[0-5].)\n)*"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def plain_timestamps(column: Sequence[str]) -> list[int] | None:
    """What read_timestamp makes of each stripped field; None where one is not plain or fails."""
    if _PLAIN_TIMESTAMPS.fullmatch("\n".join(column) + "\n") is None:
        return None
    try:
        micros = [(time - _EPOCH) // _MICROSECOND for time in map(datetime.fromisoformat, column)]
    except ValueError:
        return None
    return micros if min(micros) >= FIRST_US and max(micros) <= LAST_US else None
