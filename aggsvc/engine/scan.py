"""The machine code of the compiled lane: one pass over bytes, without the GIL.

A record's fields are found a WINDOW at a time: masks say where its delimiters, line ends and quotes
are (as in Langdale and Lemire 2019, "Parsing gigabytes of JSON per second"). `parse` reads plain
records: on one physical line, of valid UTF-8 without NUL, each field unquoted or wholly in quotes
without a quote inside, the timestamp YYYY-MM-DD, alone or with HH:MM[:SS[.fraction]] and
Z or +HH:MM behind it, and a number of which digits and power of ten are exact doubles. Others it
notes as odd, and where a quote may make a record run over several lines it stops, for records.py
to say where it ends.

Data must end in a line feed and go on for WINDOW more bytes. Numbers: with at most 2**53 as digits
and 10**22 as scale, one division rounds once (Clinger 1990).
"""

import numpy as np

from aggsvc.engine.batch import NO_READING
from aggsvc.engine.fields import DAY_US, FIRST_US, LAST_US
from aggsvc.engine.instructions import CR, NL, QUOTE, byte_at, trailing_zeros, window
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import (
    ONES,
    WINDOW,
    U,
    leading_zeros,
    load64,
    not_digits,
    prefix_xor,
    zero_bytes,
)
from aggsvc.engine.records import MAX_RECORD_BYTES
from aggsvc.engine.sensor_ids import MAX_NAME_BYTES, SIZE_SHIFT

SPACE, TAB, DOT = 32, 9, 46
MAX_RECORD = MAX_RECORD_BYTES
MANTISSA = 1 << 53
P10 = np.array([10.0**k for k in range(23)])
MINUTE_US = 60_000_000
NO_DAY = 1 << 40
NO_TIME = 1 << 62

# Why parse and skim stop.
DONE, EXTENT_NEEDED, BATCH_FULL = 0, 1, 2


@inlined
def is_blank(byte):
    """Whether it is a space or a tab."""
    return byte in (SPACE, TAB)


@inlined
def is_digit(byte):
    """Whether it is an ASCII digit."""
    return 48 <= byte <= 57


@compiled
def days_of(data, p):
    """Days since 1970-01-01 of the YYYY-MM-DD at p, or NO_DAY."""
    for i in (0, 1, 2, 3, 5, 6, 8, 9):
        if not is_digit(byte_at(data, p + i)):
            return NO_DAY
    if byte_at(data, p + 4) != 45 or byte_at(data, p + 7) != 45:
        return NO_DAY
    y = two_digits(data, p) * 100 + two_digits(data, p + 2)
    m = two_digits(data, p + 5)
    d = two_digits(data, p + 8)
    if y < 1 or m < 1 or m > 12 or d < 1:
        return NO_DAY
    leap = (y % 4 == 0 and y % 100 != 0) or y % 400 == 0
    length = 31
    if m in (4, 6, 9, 11):
        length = 30
    elif m == 2:
        length = 29 if leap else 28
    if d > length:
        return NO_DAY
    # Days from civil, Howard Hinnant.
    if m <= 2:
        y -= 1
    era = y // 400
    yoe = y - era * 400
    mp = (m + 9) % 12
    doy = (153 * mp + 2) // 5 + d - 1
    doe = yoe * 365 + yoe // 4 - yoe // 100 + doy
    return era * 146097 + doe - 719468


@inlined
def two_digits(data, p):
    """The number that two digits make."""
    return (byte_at(data, p) - 48) * 10 + byte_at(data, p + 1) - 48


CLOCK_DIGITS = U(0xFFFF00FFFF00FFFF)
CLOCK_COLONS = U(0x00003A00003A0000)
CLOCK_ZEROS = U(0x3030003030003030)


@inlined
def clock_of(word):
    """Seconds of the HH:MM:SS in a word, or -1."""
    if (word & ~CLOCK_DIGITS) != CLOCK_COLONS:
        return -1
    d = (word & CLOCK_DIGITS) ^ CLOCK_ZEROS
    if not_digits(d):
        return -1
    # Each byte times ten plus the next, in the byte above the first.
    pairs = (d * U(2561)) >> U(8)
    h = np.int64(pairs & U(0xFF))
    m = np.int64((pairs >> U(24)) & U(0xFF))
    s = np.int64((pairs >> U(48)) & U(0xFF))
    if h > 23 or m > 59 or s > 59:
        return -1
    return h * 3600 + m * 60 + s


@compiled
def rest_of_time(data, p, end):
    """Microseconds that what is behind the date adds, from T or a blank to the end, or NO_TIME."""
    separator = byte_at(data, p)
    if (separator != 84 and separator != 116 and separator != SPACE) or end - p < 6:
        return NO_TIME
    for i in (1, 2, 4, 5):
        if not is_digit(byte_at(data, p + i)):
            return NO_TIME
    if byte_at(data, p + 3) != 58:
        return NO_TIME
    h, m = two_digits(data, p + 1), two_digits(data, p + 4)
    micros = (h * 60 + m) * MINUTE_US
    p += 6
    s = 0
    if p < end and byte_at(data, p) == 58:
        if end - p < 3 or not is_digit(byte_at(data, p + 1)) or not is_digit(byte_at(data, p + 2)):
            return NO_TIME
        s = two_digits(data, p + 1)
        micros += s * 1_000_000
        p += 3
        if p < end and byte_at(data, p) == DOT:
            p += 1
            unit = 100_000
            before = p
            while p < end and is_digit(byte_at(data, p)):
                micros += (byte_at(data, p) - 48) * unit
                unit //= 10
                p += 1
            if p == before or p - before > 9:
                return NO_TIME
    if h > 23 or m > 59 or s > 59:
        return NO_TIME
    if p == end:
        return micros
    sign = byte_at(data, p)
    if sign == 90 or sign == 122:
        return micros if p + 1 == end else NO_TIME
    if (sign != 43 and sign != 45) or end - p != 6 or byte_at(data, p + 3) != 58:
        return NO_TIME
    for i in (1, 2, 4, 5):
        if not is_digit(byte_at(data, p + i)):
            return NO_TIME
    oh, om = two_digits(data, p + 1), two_digits(data, p + 4)
    if oh > 23 or om > 59:
        return NO_TIME
    offset = (oh * 60 + om) * MINUTE_US
    return micros - offset if sign == 43 else micros + offset


@compiled
def value_of(data, p, end):
    """Whether the field is a plain number, and the number."""
    negative = byte_at(data, p) == 45
    if negative or byte_at(data, p) == 43:
        p += 1
    mantissa = 0
    before = p
    while p < end and is_digit(byte_at(data, p)) and p - before < 19:
        mantissa = mantissa * 10 + (byte_at(data, p) - 48)
        p += 1
    digits = p - before
    scale = 0
    if p < end and byte_at(data, p) == DOT:
        p += 1
        before = p
        while p < end and is_digit(byte_at(data, p)) and p - before < 19:
            mantissa = mantissa * 10 + (byte_at(data, p) - 48)
            p += 1
        scale = p - before
        digits += scale
    if digits == 0 or digits > 18 or mantissa > MANTISSA:
        return False, 0.0
    if p < end and (byte_at(data, p) | 32) == 101:
        p += 1
        sign = byte_at(data, p)
        if sign == 45 or sign == 43:
            p += 1
        exponent = 0
        before = p
        while p < end and is_digit(byte_at(data, p)) and p - before < 4:
            exponent = exponent * 10 + (byte_at(data, p) - 48)
            p += 1
        if p == before:
            return False, 0.0
        scale += exponent if sign == 45 else -exponent
    if p != end or scale < -22 or scale > 22:
        return False, 0.0
    value = mantissa / P10[scale] if scale >= 0 else mantissa * P10[-scale]
    return True, -value if negative and mantissa != 0 else value


@compiled
def is_utf8(data, p, end):
    """Whether the bytes are valid UTF-8 (The Unicode Standard, table 3-7)."""
    while p < end:
        c = byte_at(data, p)
        p += 1
        if c < 0x80:
            continue
        if c < 0xC2 or c > 0xF4:
            return False
        more = 1 if c < 0xE0 else 2 if c < 0xF0 else 3
        low, high = 0x80, 0xBF
        if c == 0xE0:
            low = 0xA0
        elif c == 0xED:
            high = 0x9F
        elif c == 0xF0:
            low = 0x90
        elif c == 0xF4:
            high = 0x8F
        for _ in range(more):
            c = byte_at(data, p)
            if p >= end or c < low or c > high:
                return False
            low, high = 0x80, 0xBF
            p += 1
    return True


@inlined
def may_be_stripped(data, p):
    """Whether a character that starts at p may be one that str.strip takes off."""
    c = byte_at(data, p)
    return c < 33 or c == 0x7F or c == 0xC2 or (c >= 0xE1 and c <= 0xE3)


@compiled
def is_plain_text(data, p, end, first, last):
    """Whether a record that is not all ASCII is plain, and so the ends of its field first:last."""
    for i in range(p, end):
        if byte_at(data, i) == 0:
            return False
    if not is_utf8(data, p, end) or may_be_stripped(data, first):
        return False
    at = last - 1
    while at > first and (byte_at(data, at) & 0xC0) == 0x80:
        at -= 1
    return not may_be_stripped(data, at)


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
def line_end_behind(data, p):
    """The next line end."""
    while True:
        _, ends, _, _ = window(data, p, NL)
        if ends:
            return p + trailing_zeros(ends)
        p += WINDOW


@compiled
def has_quote(data, p, end):
    """Whether there is a quote before the end."""
    for i in range(p, end):
        if byte_at(data, i) == QUOTE:
            return True
    return False


@inlined
def behind_line_end(data, p):
    """Where the line behind the line end at p begins."""
    return p + 2 if byte_at(data, p) == CR and byte_at(data, p + 1) == NL else p + 1


@compiled
def parse(
    data, p, stop, delimiter, columns, stops,
    names, times, values, odd, state,
):  # fmt: skip
    """Parse from p on. state: rows, lines, odd; returns (position, why it stopped).

    A name is where it is in the data, as SensorIds.replace takes it.
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
                stops[fields - 1] = p + trailing_zeros(found)
                fields += 1
                found &= found - U(1)
            if found:
                fields = -1
            p += trailing_zeros(line_ends)
            stops[width - 1] = p
        else:
            p, fields, special = record_end(data, p, delimiter, stops)
        name = np.int64(NO_READING)
        if fields == width and p - start <= MAX_RECORD:
            # The timestamp.
            a = stops[i_time - 1] + 1 if i_time else start
            b = stops[i_time]
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            w0 = load64(data, a)
            w1 = load64(data, a + 8)
            good = b - a >= 10
            if good and (w0 != day0 or (w1 & U(0xFFFF)) != day1):
                day = days_of(data, a)
                good = day != NO_DAY
                day0, day1 = (w0, w1 & U(0xFFFF)) if good else (U(0), U(0))
            micros = day * DAY_US
            if good and b - a > 10:
                seconds = -1
                separator = (w1 >> U(16)) & U(0xFF)
                if b - a == 20 and separator == U(84) and byte_at(data, a + 19) == 90:
                    seconds = clock_of(load64(data, a + 11))
                if seconds >= 0:
                    micros += seconds * 1_000_000
                else:
                    rest = rest_of_time(data, a + 10, b)
                    good = rest != NO_TIME
                    micros += rest
            good = good and micros >= FIRST_US and micros <= LAST_US

            # The value.
            a = stops[i_value - 1] + 1 if i_value else start
            b = stops[i_value]
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            negative = byte_at(data, a) == 45
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
                    value = mantissa / P10[scale]
                    if negative and mantissa != 0:
                        value = -value
                    read = True
            if not read and good and b > a:
                read, value = value_of(data, a, b)

            # The sensor.
            a = stops[i_sensor - 1] + 1 if i_sensor else start
            b = stops[i_sensor]
            if a == b or byte_at(data, a) <= QUOTE or byte_at(data, b - 1) <= QUOTE:
                a, b = inner(data, a, b)
            size = b - a
            good = good and read and size > 0 and size <= MAX_NAME_BYTES
            if good and (special or byte_at(data, a) < 33 or byte_at(data, b - 1) < 33):
                good = is_plain_text(data, start, p, a, b)
            if good:
                name = a | (size << SIZE_SHIFT)
                times[rows] = micros
                values[rows] = value
        if name == NO_READING:
            p = line_end_behind(data, start)
            if p - start <= MAX_RECORD and has_quote(data, start, p):
                p = start
                status = EXTENT_NEEDED
                break
            odd[odds, 0] = start
            odd[odds, 1] = p
            odd[odds, 2] = rows
            odd[odds, 3] = lines
            odds += 1
        names[rows] = name
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
