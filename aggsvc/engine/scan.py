"""The machine code of the compiled lane: one pass over bytes, without the GIL.

A record's fields are found a WINDOW at a time: masks say where its delimiters, line ends and quotes
are (as in Langdale and Lemire 2019, "Parsing gigabytes of JSON per second"). `parse` reads plain
records fast: on one physical line, of valid UTF-8 without NUL, each field unquoted or wholly in
quotes without a quote inside, the timestamp YYYY-MM-DD with or without a time. Any other it notes
as odd, to be judged in full (judge.py), but where a quoted field runs over a line end it stops, for
records.py to say where the record ends.

Data must end in a line feed and go on for WINDOW more bytes.
"""

import numpy as np

from aggsvc.engine.batch import NO_READING
from aggsvc.engine.decimals import DASH, DOT, NUMBER, P10, value_of
from aggsvc.engine.fields import DAY_US, FIRST_US, LAST_US
from aggsvc.engine.instructions import CR, NL, QUOTE, byte_at, trailing_zeros, window
from aggsvc.engine.jit import compiled
from aggsvc.engine.judge import (
    MAX_RECORD,
    OPEN,
    behind_line_end,
    inner,
    is_stripped,
    line_end_behind,
    split,
)
from aggsvc.engine.machine import (
    ONES,
    WINDOW,
    U,
    get,
    leading_zeros,
    load64,
    not_digits,
    prefix_xor,
    put,
    zero_bytes,
)
from aggsvc.engine.moments import FIRST_DAY, NO_TIME, SECOND_US, clock_of, days_of, rest_of_time
from aggsvc.engine.sensor_ids import MAX_NAME_BYTES, SIZE_SHIFT
from aggsvc.engine.utf8 import is_utf8

# Why parse and skim stop.
DONE, EXTENT_NEEDED, BATCH_FULL = 0, 1, 2


@compiled
def is_plain_text(data, p, end, first, last):
    """Whether a record that is not all ASCII is plain, and so the ends of its field first:last."""
    for i in range(p, end):
        if byte_at(data, i) == 0:
            return False
    return is_utf8(data, p, end) and is_stripped(data, first, last)


@compiled
def record_end(data, p, delimiter, stops):
    """Where the line of the record at p ends, and how many fields it has; -1: it is not plain.

    stops[i] is where field i ends. Not plain: not so many fields, or quotes but around fields.
    Also returns whether there are bytes that are NUL or not ASCII.
    """
    fields = 0
    last = len(stops) - 1
    base = p
    special = False
    inside = U(0)
    opening = U(1)
    while True:
        delimiters, ends, quotes, others = window(data, base, delimiter)
        below = (ends & (U(0) - ends)) - U(1)  # all, where there is no end
        if quotes & below or inside:
            quotes &= below
            quoted = prefix_xor(quotes) ^ inside
            delimiters &= ~quoted
            starts = (delimiters << U(1)) | opening
            if quotes & quoted & ~starts:
                return base, -1, special
            closing = quotes & ~quoted
            # What follows a closing quote: for the last bit, the next window will have to do.
            if (closing << U(1)) & ~(delimiters | ends):
                return base, -1, special
            if closing >> U(63):
                after = byte_at(data, base + WINDOW)
                if after != delimiter and after != NL and after != CR:
                    return base, -1, special
            inside = U(0) - (quoted >> U(63)) if ends == U(0) else U(0)
            if ends and (quoted & (below + U(1))):
                return base, -1, special
        special |= (others & below) != U(0)
        found = delimiters & below
        while found:
            if fields == last:
                return base, -1, special
            stops[fields] = base + trailing_zeros(found)
            fields += 1
            found &= found - U(1)
        if ends:
            end = base + trailing_zeros(ends)
            stops[fields] = end
            return end, fields + 1, special
        opening = delimiters >> U(63)
        base += WINDOW
        if base - p > MAX_RECORD:
            return base, -1, special


@compiled
def is_open(data, p, end, delimiter, columns, stops):
    """Whether a quoted field of the line p:end runs over its end."""
    for i in range(p, end):
        if byte_at(data, i) == QUOTE:
            return split(data, p, end, delimiter, columns, stops)[0] == OPEN
    return False


@compiled
def parse(
    data, p, stop, delimiter, columns, stops,
    names, times, values, odd, state,
):  # fmt: skip
    """Parse from p on. state: rows, lines, odd; returns (position, why it stopped).

    A name is where it is in the data, as SensorIds.replace takes it. Odd is what is to be judged in
    full, as it is not plain: start, end, row and line.
    """
    rows, lines, odds = state[0], state[1], state[2]
    i_sensor, i_time, i_value = columns[0], columns[1], columns[2]
    width = len(stops)
    day0, day1, day = U(0), U(0), 0
    status = DONE
    while p < stop:
        start = p
        c = byte_at(data, p)
        if c == NL or c == CR:
            p = behind_line_end(data, p)
            lines += 1
            continue
        if rows == len(names) or odds == len(odd):
            status = BATCH_FULL
            break
        delimiters, line_ends, quotes, others = window(data, p, delimiter)
        below = (line_ends & (U(0) - line_ends)) - U(1)
        special = False
        if line_ends and not ((quotes | others) & below):
            found = delimiters & below
            fields = 1
            while found and fields < width:
                put(stops, fields - 1, p + trailing_zeros(found))
                fields += 1
                found &= found - U(1)
            if found:
                fields = -1
            p += trailing_zeros(line_ends)
            put(stops, width - 1, p)
        else:
            p, fields, special = record_end(data, p, delimiter, stops)
        name = np.int64(NO_READING)
        if fields == width and p - start <= MAX_RECORD:
            # The timestamp.
            a = get(stops, i_time - 1) + 1 if i_time else start
            b = get(stops, i_time)
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            w0 = load64(data, a)
            w1 = load64(data, a + 8)
            good = b - a >= 10
            if good and (w0 != day0 or (w1 & U(0xFFFF)) != day1):
                day = days_of(data, a, 1)
                good = day >= FIRST_DAY
                day0, day1 = (w0, w1 & U(0xFFFF)) if good else (U(0), U(0))
            micros = day * DAY_US
            if good and b - a > 10:
                seconds = -1
                separator = (w1 >> U(16)) & U(0xFF)
                if b - a == 20 and separator == U(84) and byte_at(data, a + 19) == 90:
                    seconds = clock_of(load64(data, a + 11))
                if seconds >= 0:
                    micros += seconds * SECOND_US
                else:
                    rest = rest_of_time(data, a + 10, b)
                    good = rest != NO_TIME
                    micros += rest
            good = good and micros >= FIRST_US and micros <= LAST_US

            # The value.
            a = get(stops, i_value - 1) + 1 if i_value else start
            b = get(stops, i_value)
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            negative = byte_at(data, a) == DASH
            size = b - a - negative
            value = 0.0
            read = False
            if size > 0 and size <= 8:
                # The digits as a word that ends with the last; those before the dot move up by one
                # byte, and zeros fill what is left below.
                word = (load64(data, b - size) ^ (ONES * U(48))) << U(64 - 8 * size)
                dots = zero_bytes(word ^ (ONES * U(DOT ^ 48)))
                scale = 0
                if dots:
                    at = U(trailing_zeros(dots) - 7)
                    scale = 7 - np.int64(at >> U(3))
                    above = ~U(0xFF) << at
                    word = (word & above) | ((word & ((U(1) << at) - U(1))) << U(8))
                if not not_digits(word) and size > (dots != U(0)):
                    word = (word * U(2561)) >> U(8)
                    word = ((word & U(0x00FF00FF00FF00FF)) * U(6553601)) >> U(16)
                    word = ((word & U(0x0000FFFF0000FFFF)) * U(42949672960001)) >> U(32)
                    mantissa = np.int64(word)
                    value = mantissa / get(P10, scale)
                    if negative and mantissa != 0:
                        value = -value
                    read = True
            if not read and good and b > a:
                kind, value = value_of(data, a, b)
                read = kind == NUMBER

            # The sensor.
            a = get(stops, i_sensor - 1) + 1 if i_sensor else start
            b = get(stops, i_sensor)
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            size = b - a
            good = good and read and size > 0 and size <= MAX_NAME_BYTES
            if good and (special or byte_at(data, a) < 33 or byte_at(data, b - 1) < 33):
                good = is_plain_text(data, start, p, a, b)
            if good:
                name = a | (size << SIZE_SHIFT)
                put(times, rows, micros)
                put(values, rows, value)
        if name == NO_READING:
            p = line_end_behind(data, start)
            if p - start <= MAX_RECORD and is_open(data, start, p, delimiter, columns, stops):
                p = start
                status = EXTENT_NEEDED
                break
            odd[odds, 0] = start
            odd[odds, 1] = p
            odd[odds, 2] = rows
            odd[odds, 3] = lines
            odds += 1
        put(names, rows, name)
        rows += 1
        lines += 1
        p = behind_line_end(data, p)
    state[0], state[1], state[2] = rows, lines, odds
    return p, status


@compiled
def skim(data, p, stop, delimiter):
    """Pass over the records that start before `stop`; returns (position, why it stopped).

    A record is passed over if each of its quoted fields is plain and ends on its line; where one
    is not, the position is where that record starts.
    """
    start = p
    base = p
    inside = U(0)
    opening = U(1)
    while start < stop:
        delimiters, ends, quotes, _ = window(data, base, delimiter)
        wrong = U(0)
        if quotes or inside:
            quoted = prefix_xor(quotes) ^ inside
            delimiters &= ~quoted
            wrong = ends & quoted
            ends_outside = ends & ~quoted
            starts = ((delimiters | ends_outside) << U(1)) | opening
            closing = quotes & ~quoted
            wrong |= quotes & quoted & ~starts
            wrong |= ((closing << U(1)) & ~(delimiters | ends)) >> U(1)
            if closing >> U(63):
                after = byte_at(data, base + WINDOW)
                if after != delimiter and after != NL and after != CR:
                    wrong |= U(1) << U(63)
            ends = ends_outside
            inside = U(0) - (quoted >> U(63))
        if wrong:
            ends &= (wrong & (U(0) - wrong)) - U(1)
        if ends:
            first = base + trailing_zeros(ends)
            if first - start > MAX_RECORD:
                return start, EXTENT_NEEDED
            last = base + 63 - leading_zeros(ends)
            if last + 2 >= stop:
                while ends:
                    start = behind_line_end(data, base + trailing_zeros(ends))
                    if start >= stop:
                        return start, DONE
                    ends &= ends - U(1)
            else:
                start = last + 1
        if wrong:
            return start, EXTENT_NEEDED
        opening = (delimiters | ends) >> U(63)
        base += WINDOW
        if base - start > MAX_RECORD + WINDOW:
            return start, EXTENT_NEEDED
    return start, DONE
