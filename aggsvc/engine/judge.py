"""The machine code that judges records in full, as rows.judge does, whatever is wrong with them.

Left to rows.py are those few of which a field must be taken apart: with doubled quotes in it, text
behind its closing quote, blanks that are no ASCII at its ends, or more digits than could be told.
"""

from aggsvc.engine import decimals, moments
from aggsvc.engine.decimals import value_of
from aggsvc.engine.instructions import CR, NL, QUOTE, byte_at, trailing_zeros, window
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import WINDOW
from aggsvc.engine.moments import moment_of
from aggsvc.engine.records import MAX_RECORD_BYTES
from aggsvc.engine.row_errors import NUMBER_OF_REASON
from aggsvc.engine.sensor_ids import MAX_NAME_BYTES, SIZE_SHIFT
from aggsvc.engine.utf8 import is_utf8

SPACE, TAB, DELETE = 32, 9, 127
MAX_RECORD = MAX_RECORD_BYTES

# Verdicts other than a reason: it is a reading, or rows.py must judge.
READING, ODD = -1, -2
OPEN = -1

INVALID_UTF_8 = NUMBER_OF_REASON["invalid utf-8"]
NUL_BYTE = NUMBER_OF_REASON["nul byte"]
TOO_FEW_FIELDS = NUMBER_OF_REASON["too few fields"]
TOO_MANY_FIELDS = NUMBER_OF_REASON["too many fields"]
MISSING_SENSOR = NUMBER_OF_REASON["missing sensor_id"]
MISSING_TIMESTAMP = NUMBER_OF_REASON["missing timestamp"]
MISSING_VALUE = NUMBER_OF_REASON["missing value"]
SENSOR_TOO_LONG = NUMBER_OF_REASON["sensor_id too long"]
INVALID_TIMESTAMP = NUMBER_OF_REASON["invalid timestamp"]
OUT_OF_RANGE = NUMBER_OF_REASON["timestamp out of range"]
INVALID_VALUE = NUMBER_OF_REASON["invalid value"]
NOT_FINITE = NUMBER_OF_REASON["value not finite"]


@inlined
def is_blank(byte):
    """Whether it is a space or a tab."""
    return byte in (SPACE, TAB)


@compiled
def inner(data, a, b):
    """The field a:b without the quotes around it and blanks at its ends."""
    if b > a and byte_at(data, a) == QUOTE:
        a += 1
        b -= 1
    while a < b and is_blank(byte_at(data, a)):
        a += 1
    while a < b and is_blank(byte_at(data, b - 1)):
        b -= 1
    return a, b


@inlined
def may_be_stripped(data, p):
    """Whether a character that starts at p may be one that str.strip takes off."""
    c = byte_at(data, p)
    return c < 33 or c == DELETE or c == 0xC2 or (c >= 0xE1 and c <= 0xE3)


@compiled
def is_stripped(data, a, b):
    """Whether str.strip takes nothing off the field a:b, which is valid UTF-8 and not empty."""
    at = b - 1
    while at > a and (byte_at(data, at) & 0xC0) == 0x80:
        at -= 1
    return not may_be_stripped(data, a) and not may_be_stripped(data, at)


@inlined
def line_end_behind(data, p):
    """The next line end."""
    while True:
        _, ends, _, _ = window(data, p, NL)
        if ends:
            return p + trailing_zeros(ends)
        p += WINDOW


@compiled
def closing_quote(data, p, end):
    """The quote that closes the one before p (or the end), and whether there are doubled ones."""
    is_doubled = False
    while p < end:
        if byte_at(data, p) == QUOTE:
            if p + 1 == end or byte_at(data, p + 1) != QUOTE:
                break
            is_doubled = True
            p += 1
        p += 1
    return p, is_doubled


@compiled
def split(data, p, end, delimiter, columns, stops):
    """Where each of the fields of the line p:end ends, as far as `stops` goes.

    Returns how many there are, and whether any of the columns is one to be taken apart; or OPEN
    where a quoted field runs over the line's end. Quotes mean what they mean to Python's csv.
    """
    fields, is_odd = 0, False
    while True:
        if p < end and byte_at(data, p) == QUOTE:
            p, is_messy = closing_quote(data, p + 1, end)
            if p == end:
                return OPEN, False
            p += 1
            is_messy |= p < end and byte_at(data, p) != delimiter
            if is_messy and fields in (columns[0], columns[1], columns[2]):
                is_odd = True
        while p < end and byte_at(data, p) != delimiter:
            p += 1
        if fields < len(stops):
            stops[fields] = p
        fields += 1
        if p == end:
            return fields, is_odd
        p += 1


@compiled
def fault_of_text(data, p, end):
    """The reason for which the line as a whole is no text, or READING."""
    is_ascii, has_nul = True, False
    for i in range(p, end):
        is_ascii &= byte_at(data, i) < 0x80
        has_nul |= byte_at(data, i) == 0
    if not is_ascii and not is_utf8(data, p, end):
        return INVALID_UTF_8
    return NUL_BYTE if has_nul else READING


@inlined
def field(data, start, stops, column):
    """The field of a column, stripped as far as inner does."""
    return inner(data, stops[column - 1] + 1 if column else start, stops[column])


@compiled
def judge(data, start, end, delimiter, columns, stops):
    """The verdict on the record start:end, which is one line.

    Then where the field or record that a reason is about lies, or of a READING the sensor_id; and
    of a READING the moment and the value.
    """
    if end - start > MAX_RECORD:
        return ODD, start, start, 0, 0.0
    fields, is_odd = split(data, start, end, delimiter, columns, stops)
    fault = fault_of_text(data, start, end)
    if fault == READING and fields != len(stops):
        fault = TOO_FEW_FIELDS if fields < len(stops) else TOO_MANY_FIELDS
    if fault != READING:
        return fault, start, end, 0, 0.0
    if is_odd:
        return ODD, start, start, 0, 0.0
    return judge_fields(
        data, field(data, start, stops, columns[0]), field(data, start, stops, columns[1]),
        field(data, start, stops, columns[2]),
    )  # fmt: skip


@compiled
def judge_fields(data, sensor, timestamp, value):
    """The same for the three fields of a record that is text and has as many as the header."""
    for a, b in (sensor, timestamp, value):
        if a < b and not is_stripped(data, a, b):
            return ODD, a, b, 0, 0.0
    if sensor[0] == sensor[1]:
        return MISSING_SENSOR, sensor[0], sensor[1], 0, 0.0
    if timestamp[0] == timestamp[1]:
        return MISSING_TIMESTAMP, timestamp[0], timestamp[1], 0, 0.0
    if value[0] == value[1]:
        return MISSING_VALUE, value[0], value[1], 0, 0.0
    if sensor[1] - sensor[0] > MAX_NAME_BYTES:
        return SENSOR_TOO_LONG, sensor[0], sensor[1], 0, 0.0
    micros = moment_of(data, timestamp[0], timestamp[1])
    if micros == moments.INVALID:
        return INVALID_TIMESTAMP, timestamp[0], timestamp[1], 0, 0.0
    if micros == moments.OUT_OF_RANGE:
        return OUT_OF_RANGE, timestamp[0], timestamp[1], 0, 0.0
    kind, number = value_of(data, value[0], value[1])
    if kind == decimals.NUMBER:
        return READING, sensor[0], sensor[1], micros, number
    if kind == decimals.UNSURE:
        return ODD, value[0], value[1], 0, 0.0
    verdict = NOT_FINITE if kind == decimals.NOT_FINITE else INVALID_VALUE
    return verdict, value[0], value[1], 0, 0.0


@compiled
def judge_all(data, delimiter, columns, stops, names, times, values, odd, faults, state):
    """Judge the records that scan.parse has noted as odd; those that rows.py must judge remain.

    A reading takes its row's place in the columns. Faults: row, line, reason, and start and end of
    the value. state: rows, lines, odd, faults.
    """
    left, bad = 0, state[3]
    for place in range(state[2]):
        start, end, row, line = odd[place, 0], odd[place, 1], odd[place, 2], odd[place, 3]
        verdict, a, b, micros, value = judge(data, start, end, delimiter, columns, stops)
        if verdict == READING:
            names[row] = a | ((b - a) << SIZE_SHIFT)
            times[row] = micros
            values[row] = value
        elif verdict == ODD:
            odd[left, 0], odd[left, 1], odd[left, 2], odd[left, 3] = start, end, row, line
            left += 1
        else:
            faults[bad, 0], faults[bad, 1], faults[bad, 2] = row, line, verdict
            faults[bad, 3], faults[bad, 4] = a, b
            bad += 1
    state[2], state[3] = left, bad


@inlined
def behind_line_end(data, p):
    """Where the line behind the line end at p begins."""
    return p + 2 if byte_at(data, p) == CR and byte_at(data, p + 1) == NL else p + 1
