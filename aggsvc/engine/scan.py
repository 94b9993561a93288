"""The machine code of the compiled lane: one pass over bytes, without the GIL.

`parse` reads plain records: on one physical line, their fields unquoted or simply quoted, of ASCII
without NUL, with a timestamp YYYY-MM-DDTHH:MM:SS (a fraction and Z or +HH:MM may follow) and a
number of which digits and power of ten are exact doubles. Others it notes as odd, and where a
quote may make a record run over several lines it stops, for records.py to say where it ends.

Data must end in a line feed, and go on for 63 more bytes, for bytes are looked at 8 at a time
(Mycroft's test for a zero byte). Numbers: with at most 2**53 as digits and 10**22 as scale, one
division rounds once (Clinger 1990).
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.records import MAX_RECORD_BYTES

U = np.uint64
ONES = U(0x0101010101010101)
HIGHS = U(0x8080808080808080)
NL, CR, QUOTE, SPACE, TAB = 10, 13, 34, 32, 9
MAX_RECORD = MAX_RECORD_BYTES
MAX_SENSOR = 256
MANTISSA = 1 << 53
P10 = np.array([10.0**k for k in range(23)])
DAY_US = 86_400_000_000
FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999

DONE, EXTENT_NEEDED, FULL = 0, 1, 2


@intrinsic
def load64(typingctx, data, index):
    """The 8 bytes at index, little-endian, however they are aligned."""
    sig = types.uint64(data, index)

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        place = builder.bitcast(place, ir.IntType(64).as_pointer())
        word = builder.load(place)
        word.align = 1
        return word

    return sig, codegen


@intrinsic
def trailing_zeros(typingctx, word):
    """How many zero bits there are below the lowest set one."""
    sig = types.int64(types.uint64)

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return sig, codegen


@inlined
def zero_bytes(word):
    """Marks the lowest zero byte by its high bit (bytes above it may be marked too)."""
    return (word - ONES) & ~word & HIGHS


@inlined
def next_special(data, p, delimiters):
    """The next delimiter, line end, quote, NUL or byte that is not ASCII."""
    while True:
        w = load64(data, p)
        m = (
            zero_bytes(w ^ delimiters)
            | zero_bytes(w ^ (ONES * U(NL)))
            | zero_bytes(w ^ (ONES * U(CR)))
            | zero_bytes(w ^ (ONES * U(QUOTE)))
            | zero_bytes(w)
            | (w & HIGHS)
        )
        if m:
            return p + (trailing_zeros(m) >> 3)
        p += 8


@inlined
def next_line_end(data, p):
    """The next line end."""
    while True:
        w = load64(data, p)
        m = zero_bytes(w ^ (ONES * U(NL))) | zero_bytes(w ^ (ONES * U(CR)))
        if m:
            return p + (trailing_zeros(m) >> 3)
        p += 8


@inlined
def next_structural(data, p, delimiters):
    """The next delimiter or line end."""
    while True:
        w = load64(data, p)
        m = (
            zero_bytes(w ^ delimiters)
            | zero_bytes(w ^ (ONES * U(NL)))
            | zero_bytes(w ^ (ONES * U(CR)))
        )
        if m:
            return p + (trailing_zeros(m) >> 3)
        p += 8


@inlined
def next_quote_or_end(data, p):
    """The next quote or line end."""
    while True:
        w = load64(data, p)
        m = (
            zero_bytes(w ^ (ONES * U(QUOTE)))
            | zero_bytes(w ^ (ONES * U(NL)))
            | zero_bytes(w ^ (ONES * U(CR)))
        )
        if m:
            return p + (trailing_zeros(m) >> 3)
        p += 8


@inlined
def has_quote(data, p, end):
    """Whether there is a quote before the end."""
    while p < end:
        m = zero_bytes(load64(data, p) ^ (ONES * U(QUOTE)))
        if m:
            return p + (trailing_zeros(m) >> 3) < end
        p += 8
    return False


@compiled
def days_of(data, p):
    """Days since 1970-01-01 of the YYYY-MM-DD at p, or a huge number if it is none."""
    for i in (0, 1, 2, 3, 5, 6, 8, 9):
        if data[p + i] < 48 or data[p + i] > 57:
            return 1 << 40
    if data[p + 4] != 45 or data[p + 7] != 45:
        return 1 << 40
    y = (
        (data[p] - 48) * 1000
        + (data[p + 1] - 48) * 100
        + (data[p + 2] - 48) * 10
        + data[p + 3]
        - 48
    )
    m = (data[p + 5] - 48) * 10 + data[p + 6] - 48
    d = (data[p + 8] - 48) * 10 + data[p + 9] - 48
    if y < 1 or m < 1 or m > 12 or d < 1:
        return 1 << 40
    leap = (y % 4 == 0 and y % 100 != 0) or y % 400 == 0
    length = 31
    if m == 4 or m == 6 or m == 9 or m == 11:
        length = 30
    elif m == 2:
        length = 29 if leap else 28
    if d > length:
        return 1 << 40
    # Days from civil, Howard Hinnant.
    if m <= 2:
        y -= 1
    era = y // 400
    yoe = y - era * 400
    mp = (m + 9) % 12
    doy = (153 * mp + 2) // 5 + d - 1
    doe = yoe * 365 + yoe // 4 - yoe // 100 + doy
    return era * 146097 + doe - 719468


DIGITS = U(0xFFFF00FFFF00FFFF)
COLONS = U(0x00003A00003A0000)
NIBBLES = U(0x3030003030003030)


@inlined
def clock_of(data, p):
    """Seconds of the HH:MM:SS at p, or -1."""
    w = load64(data, p)
    if (w & ~DIGITS) != COLONS:
        return -1
    d = (w & DIGITS) ^ NIBBLES
    if ((d + (ONES * U(0x76))) | d) & HIGHS:
        return -1
    h = (d & U(15)) * U(10) + ((d >> U(8)) & U(15))
    m = ((d >> U(24)) & U(15)) * U(10) + ((d >> U(32)) & U(15))
    s = ((d >> U(48)) & U(15)) * U(10) + ((d >> U(56)) & U(15))
    if h > U(23) or m > U(59) or s > U(59):
        return -1
    return np.int64(h * U(3600) + m * U(60) + s)


@inlined
def hash_of(data, start, end):
    """A hash of the bytes, a word at a time."""
    h = U(0x9E3779B97F4A7C15) ^ U(end - start)
    p = start
    while p + 8 <= end:
        h = (h ^ load64(data, p)) * U(0xFF51AFD7ED558CCD)
        h ^= h >> U(32)
        p += 8
    if p < end:
        rest = load64(data, p) & ((U(1) << U(8 * (end - p))) - U(1))
        h = (h ^ rest) * U(0xC4CEB9FE1A85EC53)
        h ^= h >> U(29)
    return h


@inlined
def same(a, i, b, j, size):
    """Whether so many bytes are the same in both places."""
    while size >= 8:
        if load64(a, i) != load64(b, j):
            return False
        i += 8
        j += 8
        size -= 8
    if size == 0:
        return True
    return ((load64(a, i) ^ load64(b, j)) << U(8 * (8 - size))) == U(0)


@compiled
def parse(
    data, p, stop, delimiter, width, i_sensor, i_time, i_value,
    codes, times, values, odd, slots, starts, lengths, hashes, state,
):  # fmt: skip
    """Parse from p on. state: rows, lines, odd, sensors; returns (position, why it stopped)."""
    rows, lines, odds, sensors = state[0], state[1], state[2], state[3]
    delimiters = ONES * U(delimiter)
    mask = U(len(slots) - 1)
    day0, day1, day = U(0), U(0), 0
    status = DONE
    while p < stop:
        start = p
        c = data[p]
        if rows == len(codes) or odds == len(odd):
            status = FULL
            break
        if c == NL:
            p += 1
            lines += 1
            continue
        if c == CR:
            p += 2 if data[p + 1] == NL else 1
            lines += 1
            continue
        field = 0
        plain = True
        s_start = s_end = 0
        micros = 0
        value = 0.0
        while True:
            q = data[p] == QUOTE
            if q:
                p += 1
            if field == i_sensor:
                while data[p] == SPACE or data[p] == TAB:
                    p += 1
                s_start = p
                p = next_special(data, p, delimiters)
                if q:
                    while data[p] == delimiter:
                        p = next_special(data, p + 1, delimiters)
                s_end = p
                while s_end > s_start and (data[s_end - 1] == SPACE or data[s_end - 1] == TAB):
                    s_end -= 1
                if (
                    s_end == s_start
                    or s_end - s_start > MAX_SENSOR
                    or data[s_start] < 33
                    or data[s_end - 1] < 33
                ):
                    plain = False
                    break
            elif field == i_time:
                while data[p] == SPACE or data[p] == TAB:
                    p += 1
                w0 = load64(data, p)
                w1 = load64(data, p + 8)
                if w0 != day0 or (w1 & U(0xFFFF)) != day1:
                    day = days_of(data, p)
                    if day == 1 << 40:
                        plain = False
                        break
                    day0, day1 = w0, w1 & U(0xFFFF)
                separator = (w1 >> U(16)) & U(0xFF)
                seconds = clock_of(data, p + 11)
                if seconds < 0 or separator not in (U(84), U(116), U(32)):
                    plain = False
                    break
                p += 19
                micros = day * DAY_US + seconds * 1_000_000
                c = data[p]
                if c == 46:
                    p += 1
                    unit = 100_000
                    digits = 0
                    while data[p] >= 48 and data[p] <= 57:
                        micros += (data[p] - 48) * unit
                        unit //= 10
                        digits += 1
                        p += 1
                    if digits == 0 or digits > 9:
                        plain = False
                        break
                    c = data[p]
                if c == 90 or c == 122:
                    p += 1
                elif c == 43 or c == 45:
                    for i in (1, 2, 4, 5):
                        if data[p + i] < 48 or data[p + i] > 57:
                            plain = False
                    oh = (data[p + 1] - 48) * 10 + data[p + 2] - 48
                    om = (data[p + 4] - 48) * 10 + data[p + 5] - 48
                    if not plain or data[p + 3] != 58 or oh > 23 or om > 59:
                        plain = False
                        break
                    offset = (oh * 60 + om) * 60_000_000
                    micros += -offset if c == 43 else offset
                    p += 6
                if micros < FIRST_US or micros > LAST_US:
                    plain = False
                    break
                while data[p] == SPACE or data[p] == TAB:
                    p += 1
            elif field == i_value:
                while data[p] == SPACE or data[p] == TAB:
                    p += 1
                c = data[p]
                negative = c == 45
                if negative or c == 43:
                    p += 1
                mantissa = 0
                before = p
                while data[p] >= 48 and data[p] <= 57:
                    mantissa = mantissa * 10 + (data[p] - 48)
                    p += 1
                digits = p - before
                scale = 0
                if data[p] == 46:
                    p += 1
                    before = p
                    while data[p] >= 48 and data[p] <= 57:
                        mantissa = mantissa * 10 + (data[p] - 48)
                        p += 1
                    scale = p - before
                    digits += scale
                if digits == 0 or digits > 18 or mantissa > MANTISSA:
                    plain = False
                    break
                if data[p] == 101 or data[p] == 69:
                    p += 1
                    c = data[p]
                    if c == 45 or c == 43:
                        p += 1
                    exponent = 0
                    before = p
                    while data[p] >= 48 and data[p] <= 57 and p - before < 4:
                        exponent = exponent * 10 + (data[p] - 48)
                        p += 1
                    if p == before:
                        plain = False
                        break
                    scale += exponent if c == 45 else -exponent
                if scale < -22 or scale > 22:
                    plain = False
                    break
                value = mantissa / P10[scale] if scale >= 0 else mantissa * P10[-scale]
                if negative and mantissa != 0:
                    value = -value
                while data[p] == SPACE or data[p] == TAB:
                    p += 1
            else:
                p = next_special(data, p, delimiters)
                if q:
                    while data[p] == delimiter:
                        p = next_special(data, p + 1, delimiters)
            if q:
                if data[p] != QUOTE:
                    plain = False
                    break
                p += 1
            field += 1
            c = data[p]
            if c == delimiter:
                p += 1
                if field == width:
                    plain = False
                    break
                continue
            if c != NL and c != CR:
                plain = False
            break
        if plain and field == width and p - start <= MAX_RECORD:
            h = hash_of(data, s_start, s_end)
            at = h & mask
            size = s_end - s_start
            code = slots[at]
            while code >= 0 and not (
                hashes[code] == h
                and lengths[code] == size
                and same(data, s_start, data, starts[code], size)
            ):
                at = (at + U(1)) & mask
                code = slots[at]
            if code < 0:
                if sensors * 2 >= len(slots):
                    p = start
                    status = FULL
                    break
                code = sensors
                slots[at] = code
                hashes[code] = h
                lengths[code] = size
                starts[code] = s_start
                sensors += 1
            codes[rows] = code
            times[rows] = micros
            values[rows] = value
        else:
            p = next_line_end(data, start)
            if has_quote(data, start, p) and p - start <= MAX_RECORD:
                p = start
                status = EXTENT_NEEDED
                break
            codes[rows] = -1
            odd[odds, 0] = start
            odd[odds, 1] = p
            odd[odds, 2] = rows
            odd[odds, 3] = lines
            odds += 1
        rows += 1
        lines += 1
        p += 2 if data[p] == CR and data[p + 1] == NL else 1
    state[0], state[1], state[2], state[3] = rows, lines, odds, sensors
    return p, status


@compiled
def skim(data, p, stop, delimiter, state):
    """Pass over the records that start before `stop`; returns (position, why it stopped).

    A record is passed over if each quoted field closes properly on its line. state[0] counts
    lines.
    """
    delimiters = ONES * U(delimiter)
    lines = state[0]
    while p < stop:
        start = p
        while True:
            if data[p] == QUOTE:
                p = next_quote_or_end(data, p + 1)
                while data[p] == QUOTE and data[p + 1] == QUOTE:
                    p = next_quote_or_end(data, p + 2)
                if data[p] != QUOTE:
                    state[0] = lines
                    return start, EXTENT_NEEDED
                p += 1
            p = next_structural(data, p, delimiters)
            if data[p] != delimiter:
                break
            p += 1
        if p - start > MAX_RECORD:
            state[0] = lines
            return start, EXTENT_NEEDED
        lines += 1
        p += 2 if data[p] == CR and data[p + 1] == NL else 1
    state[0] = lines
    return p, DONE
