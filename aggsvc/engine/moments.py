"""The machine code that reads a timestamp, as fields.read_timestamp does."""

from aggsvc.engine.fields import DAY_US, FIRST_US, LAST_US
from aggsvc.engine.instructions import byte_at
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import U, not_digits

COLON, DASH, DOT, PLUS = 58, 45, 46, 43
SECOND_US = 1_000_000
FIRST_DAY = FIRST_US // DAY_US
NO_DAY = -(1 << 40)
NO_TIME = 1 << 62
# What moment_of returns for a timestamp that has no moment.
INVALID, OUT_OF_RANGE = NO_TIME, NO_TIME + 1


@inlined
def is_digit(byte):
    """Whether it is an ASCII digit."""
    return 48 <= byte <= 57


@inlined
def two_digits(data, p):
    """The number that two digits make, or -1."""
    high, low = byte_at(data, p) - 48, byte_at(data, p + 1) - 48
    return high * 10 + low if 0 <= high <= 9 and 0 <= low <= 9 else -1


@compiled
def days_of(data, p, dash):
    """Days since 1970-01-01 of the YYYY-MM-DD at p, or with dash = 0 of a YYYYMMDD, or NO_DAY."""
    if dash and (byte_at(data, p + 4) != DASH or byte_at(data, p + 7) != DASH):
        return NO_DAY
    century, year = two_digits(data, p), two_digits(data, p + 2)
    m = two_digits(data, p + 4 + dash)
    d = two_digits(data, p + 6 + 2 * dash)
    if century < 0 or year < 0 or m < 1 or m > 12 or d < 1:
        return NO_DAY
    y = century * 100 + year
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
    h = int((pairs) & U(0xFF))
    m = int((pairs >> U(24)) & U(0xFF))
    s = int((pairs >> U(48)) & U(0xFF))
    if h > 23 or m > 59 or s > 59:
        return -1
    return h * 3600 + m * 60 + s


@compiled
def rest_of_time(data, p, end):
    """Microseconds that what is behind the date adds, from T or a blank to the end, or NO_TIME."""
    separator = byte_at(data, p)
    if (separator != 84 and separator != 116 and separator != 32) or end - p < 5:
        return NO_TIME
    h = two_digits(data, p + 1)
    p += 3
    colon = 1 if byte_at(data, p) == COLON else 0
    if end - p < colon + 2:
        return NO_TIME
    m, s, micros = two_digits(data, p + colon), 0, 0
    p += colon + 2
    if p < end and (byte_at(data, p) == COLON if colon else is_digit(byte_at(data, p))):
        if end - p < colon + 2:
            return NO_TIME
        s = two_digits(data, p + colon)
        p += colon + 2
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
    if h < 0 or h > 23 or m < 0 or m > 59 or s < 0 or s > 59:
        return NO_TIME
    minutes = h * 60 + m
    if p < end:
        offset = offset_of(data, p, end)
        if offset == NO_TIME:
            return NO_TIME
        minutes -= offset
    return (minutes * 60 + s) * SECOND_US + micros


@compiled
def offset_of(data, p, end):
    """Minutes of the offset from UTC p:end, or NO_TIME."""
    sign = byte_at(data, p)
    if sign == 90 or sign == 122:
        return 0 if end - p == 1 else NO_TIME
    if (sign != PLUS and sign != DASH) or end - p < 3:
        return NO_TIME
    h, m = two_digits(data, p + 1), 0
    p += 3
    if p < end:
        if byte_at(data, p) == COLON:
            p += 1
        if end - p != 2:
            return NO_TIME
        m = two_digits(data, p)
    if h < 0 or h > 23 or m < 0 or m > 59:
        return NO_TIME
    return h * 60 + m if sign == PLUS else -(h * 60 + m)


@compiled
def moment_of(data, p, end):
    """Microseconds since 1970-01-01T00:00Z of the timestamp p:end, INVALID or OUT_OF_RANGE."""
    dash = 1 if end - p >= 10 and byte_at(data, p + 4) == DASH else 0
    if end - p < 8:
        return INVALID
    day = days_of(data, p, dash)
    p += 8 + 2 * dash
    rest = 0
    if p < end:
        rest = rest_of_time(data, p, end)
    if day == NO_DAY or rest == NO_TIME:
        return INVALID
    micros = day * DAY_US + rest
    if day < FIRST_DAY or micros < FIRST_US or micros > LAST_US:
        return OUT_OF_RANGE
    return micros
