"""The machine code of the statistics: readings into cells, and into the classes and bins of values.

Readings whose exponents have no room in the sums of cells, which are rare, are left to Python's
integers.
"""

import math
from typing import Any

import numpy as np

from aggsvc.engine.batch import NO_READING
from aggsvc.engine.cells import (
    CELL_WORDS,
    COUNT,
    FIRST,
    HIGH,
    HIGHEST_EXPONENT,
    LAST,
    LOW,
    LOWEST_EXPONENT,
    SQUARE_WORDS,
    SQUARES,
    SUM,
    SUM_BITS,
    SUM_WORDS,
)
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import (
    U,
    add_three,
    add_words,
    as_double,
    bits_of,
    get,
    high_product,
    prefetch,
    put,
)

# So many readings on, cells are fetched from memory meanwhile.
AHEAD = 12

# Of a double's bits these are sign, exponent and 7 of the mantissa: readings that agree in them
# are within 1/128 of each other.
CLASS_SHIFT = 45
CLASSES = 1 << (64 - CLASS_SHIFT)


@inlined
def _add_words(words: Any, at: Any, end: Any, low: Any, middle: Any, high: Any, above: Any) -> None:
    """Add low, middle, high and then the word `above` without end, to the words from `at` on."""
    carry = add_words(words, at, low, middle, high)
    at += 3
    add = above + carry
    while at < end and add != U(0):
        total = get(words, at) + add
        carry = U(total < add)
        put(words, at, total)
        add = above + carry
        at += 1


@inlined
def _shifted(mantissa: Any, offset: Any, sign: Any) -> Any:
    """mantissa * 2**(offset % 64) as two words, negative if sign is all ones."""
    shift = offset & 63
    signed = np.int64((mantissa ^ sign) - sign)
    return U(signed << shift), U((signed >> 1) >> (63 - shift))


@inlined
def _add_square(words: Any, at: Any, mantissa: Any, offset: Any) -> None:
    """Add mantissa**2 * 2**offset to the SQUARE_WORDS at `at`."""
    shift = U(offset & 63)
    back = U(63) - shift
    low = mantissa * mantissa
    high = high_product(mantissa, mantissa)
    middle = (high << shift) | ((low >> U(1)) >> back)
    top = (high >> U(1)) >> back
    _add_words(words, at + (offset >> 6), at + SQUARE_WORDS, low << shift, middle, top, U(0))


@compiled
def extent(sensors: Any, times: Any, values: Any, span: Any, extremes: Any) -> None:
    """Widen span (first, last) and extremes (lowest, highest) to take in the readings."""
    first, last = span[0], span[1]
    low, high = extremes[0], extremes[1]
    for place in range(len(sensors)):
        if sensors[place] != NO_READING:
            first = min(first, times[place])
            last = max(last, times[place])
            low = min(low, values[place])
            high = max(high, values[place])
    span[0], span[1] = first, last
    extremes[0], extremes[1] = low, high


@inlined
def _count_in(words: Any, cell: Any, count: Any, low: Any, high: Any) -> None:
    """Have the cell whose words begin there hold so many more readings, from low to high."""
    put(words, cell + COUNT, get(words, cell + COUNT) + U(count))
    put(words, cell + LOW, bits_of(min(as_double(get(words, cell + LOW)), low)))
    put(words, cell + HIGH, bits_of(max(as_double(get(words, cell + HIGH)), high)))


@inlined
def _widen(words: Any, cell: Any, time: Any) -> None:
    """Have the cell's times reach that one."""
    if time < np.int64(get(words, cell + FIRST)):
        put(words, cell + FIRST, U(time))
    if time > np.int64(get(words, cell + LAST)):
        put(words, cell + LAST, U(time))


@inlined
def _add_one(counts: Any, place: Any) -> None:
    put(counts, place, get(counts, place) + 1)


@inlined
def _bin_of(edges: Any, bins_a_unit: Any, top: Any, value: Any) -> Any:
    """The bin of the value: the quotient may be off by one where it is near an edge."""
    at = np.int64(max(0.0, min(top, (value - get(edges, 0)) * bins_a_unit)))
    while value < get(edges, at):
        at -= 1
    while value >= get(edges, at + 1):
        at += 1
    return at


@compiled
def _put_away(
    words: Any, cell: Any, count: Any, low: Any, high: Any, part: Any, s0: Any, s1: Any, s2: Any
) -> None:
    """Have the cell hold more readings, of which s0, s1 and s2 are the sum from its word `part`."""
    if count:
        _count_in(words, cell, count, low, high)
        above = U(0) - (s2 >> U(63))
        _add_words(words, cell + SUM + part, cell + SUM + SUM_WORDS, s0, s1, s2, above)


@compiled
def fold(
    sensors: Any, times: Any, values: Any,
    words: Any, classes: Any,
    edges: Any, bins: Any, bins_a_unit: float,
    bucket_words: Any, first_bucket: int, width_us: int,
    rare: Any,
) -> int:  # fmt: skip
    """Take in readings; returns how many are rare, and where in `rare`.

    `edges` are the bounds of the `bins`, all finite ones in reach; the buckets are in reach too.
    Readings mostly come in order of time: what falls into one bucket, one after the other, is added
    up here and put there at once, as long as it begins at the same word of the sum.
    """
    found = 0
    top_bin = float(len(bins) - 1)
    begin, span, bucket = 0, U(0), 0
    held, low, high, part, s0, s1, s2 = 0, math.inf, -math.inf, np.int64(0), U(0), U(0), U(0)
    for place in range(len(sensors)):
        if place + AHEAD < len(sensors):
            line = get(sensors, place + AHEAD) * CELL_WORDS
            prefetch(words, line)
            prefetch(words, line + CELL_WORDS // 2)
        cell = get(sensors, place) * CELL_WORDS
        if cell == NO_READING * CELL_WORDS:
            continue
        value, time = get(values, place), get(times, place)
        word = bits_of(value)
        _count_in(words, cell, 1, value, value)
        _widen(words, cell, time)
        _add_one(classes, np.int64(word >> U(CLASS_SHIFT)))
        _add_one(bins, _bin_of(edges, bins_a_unit, top_bin, value))

        exponent = np.int64((word >> U(52)) & U(2047)) - 1075
        is_rare = exponent < LOWEST_EXPONENT or exponent > HIGHEST_EXPONENT
        offset = exponent + SUM_BITS
        first = part if is_rare else offset >> 6
        if U(time - begin) >= span or first != part:
            _put_away(bucket_words, bucket, held, low, high, part, s0, s1, s2)
            number = time // width_us
            begin, span = number * width_us, U(width_us)
            bucket = (number - first_bucket) * CELL_WORDS
            held, low, high, part, s0, s1, s2 = 0, math.inf, -math.inf, first, U(0), U(0), U(0)
        held += 1
        low, high = min(low, value), max(high, value)

        if is_rare:
            if value != 0.0:
                put(rare, found, place)
                found += 1
            continue
        mantissa = (word & U((1 << 52) - 1)) | U(1 << 52)
        sign = U(0) - (word >> U(63))
        below, above = _shifted(mantissa, offset, sign)
        _add_words(words, cell + SUM + first, cell + SUM + SUM_WORDS, below, above, sign, sign)
        _add_square(words, cell + SQUARES, mantissa, 2 * offset)
        s0, s1, s2 = add_three(s0, s1, s2, below, above, sign)
    _put_away(bucket_words, bucket, held, low, high, part, s0, s1, s2)
    return found
