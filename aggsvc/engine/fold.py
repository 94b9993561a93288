"""The machine code of the statistics: readings into cells, cells into cells, cells into figures.

A cell holds the readings of one sensor or one bucket of time: how many there are, the extremes of
value and time, and the exact sums of values and of their squares. Sums are fixed-point integers of
several words in two's complement, so nothing is ever rounded, and the order of readings has no
bearing (superaccumulators, as in Neal 2015, "Fast exact summation using small and large
superaccumulators"). Readings whose exponents have no room in them, which are rare, are left to
Python's integers.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import NO_READING
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import (
    U,
    add_three,
    add_words,
    as_double,
    bits_of,
    get,
    high_product,
    leading_zeros,
    prefetch,
    put,
)

# The sum counts units of 2**-SUM_BITS, the squares units of their square. With values below 2**71
# there is room for 2**40 readings.
SUM_BITS = 100
LOWEST_EXPONENT, HIGHEST_EXPONENT = -SUM_BITS, 18

COUNT, LOW, HIGH, FIRST, LAST, SUM, SQUARES = 0, 1, 2, 3, 4, 5, 9
SUM_WORDS, SQUARE_WORDS = 4, 6
CELL_WORDS = 16
# So many readings on, cells are fetched from memory meanwhile.
AHEAD = 12

# Of a double's bits these are sign, exponent and 7 of the mantissa: readings that agree in them
# are within 1/128 of each other.
CLASS_SHIFT = 45
CLASSES = 1 << (64 - CLASS_SHIFT)


Floats = npt.NDArray[np.float64]


class Cells:
    """Cells in a growing table, seen as unsigned and signed integers and as floats."""

    def __init__(self, count: int = 0) -> None:
        self._grow_to(count, np.zeros((0, CELL_WORDS), np.uint64))

    def __len__(self) -> int:
        return len(self.words)

    def reach(self, count: int) -> None:
        """Have at least so many cells."""
        if count > len(self.words):
            self._grow_to(max(count, len(self.words) * 3 // 2), self.words)

    def _grow_to(self, count: int, old: npt.NDArray[np.uint64]) -> None:
        self.words = np.zeros((count, CELL_WORDS), np.uint64)
        self.integers = self.words.view(np.int64)
        self.floats = self.words.view(np.float64)
        self.words[: len(old)] = old
        self.floats[len(old) :, LOW] = math.inf
        self.floats[len(old) :, HIGH] = -math.inf
        self.integers[len(old) :, FIRST] = np.iinfo(np.int64).max
        self.integers[len(old) :, LAST] = np.iinfo(np.int64).min

    def only(self, places: npt.NDArray[np.intp]) -> "Cells":
        """A copy of the cells in these places."""
        cells = Cells(len(places))
        cells.words[:] = self.words[places]
        return cells

    def sum_of(self, place: int) -> int:
        """The sum of values of a cell, in units of 2**-SUM_BITS."""
        words = self.words[place, SUM : SUM + SUM_WORDS].tobytes()
        return int.from_bytes(words, "little", signed=True)

    def squares_of(self, place: int) -> int:
        """The sum of the values' squares of a cell, in units of 2**(-2 * SUM_BITS)."""
        words = self.words[place, SQUARES : SQUARES + SQUARE_WORDS].tobytes()
        return int.from_bytes(words, "little")

    def totals(self) -> tuple[int, int]:
        """Both sums over all cells."""
        sums = _total(self.words[:, SUM : SUM + SUM_WORDS])
        below_zero = int(np.count_nonzero(self.integers[:, SUM + SUM_WORDS - 1] < 0))
        squares = _total(self.words[:, SQUARES : SQUARES + SQUARE_WORDS])
        return sums - (below_zero << (64 * SUM_WORDS)), squares


def _total(columns: npt.NDArray[np.uint64]) -> int:
    halves = np.ascontiguousarray(columns).view(np.uint32).sum(axis=0, dtype=np.uint64)
    return sum(half << (32 * place) for place, half in enumerate(halves.tolist()))


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


@inlined
def _merge_words(words: Any, row: Any, others: Any, other: Any, at: Any, end: Any) -> None:
    carry = U(0)
    for place in range(at, end):
        add = others[other, place] + carry
        carry = U(add < carry)
        total = words[row, place] + add
        carry += U(total < add)
        words[row, place] = total


@compiled
def merge(
    places: Any, others: Any, other_integers: Any, other_floats: Any,
    words: Any, integers: Any, floats: Any,
) -> None:  # fmt: skip
    """Take in other cells, the i-th into the cell places[i]."""
    for other in range(len(places)):
        row = places[other]
        integers[row, COUNT] += other_integers[other, COUNT]
        floats[row, LOW] = min(floats[row, LOW], other_floats[other, LOW])
        floats[row, HIGH] = max(floats[row, HIGH], other_floats[other, HIGH])
        integers[row, FIRST] = min(integers[row, FIRST], other_integers[other, FIRST])
        integers[row, LAST] = max(integers[row, LAST], other_integers[other, LAST])
        _merge_words(words, row, others, other, SUM, SUM + SUM_WORDS)
        _merge_words(words, row, others, other, SQUARES, SQUARES + SQUARE_WORDS)


def merge_cells(places: npt.NDArray[np.int64], others: Cells, into: Cells) -> None:
    """Take in other cells, the i-th into the cell places[i]."""
    merge(
        places, others.words, others.integers, others.floats,
        into.words, into.integers, into.floats,
    )  # fmt: skip


# The figures. Numbers are arrays of 32-bit digits in words, the lowest first.
DIGIT_BITS = 32
DIGIT = U(0xFFFFFFFF)
SUM_DIGITS, SQUARE_DIGITS = 2 * SUM_WORDS, 2 * SQUARE_WORDS
# So many digits more than the sum has, so that its quotient by a count below 2**32 has 64 bits.
FRACTION_DIGITS = 3
WORK_DIGITS = 2 * SUM_DIGITS + 2


@compiled
def _magnitude(words: Any, row: Any, at: Any, count: Any, digits: Any) -> Any:
    """The digits of the number of so many words; returns whether it is negative."""
    negative = (words[row, at + count - 1] >> U(63)) != U(0)
    carry = U(negative)
    for place in range(count):
        word = words[row, at + place]
        if negative:
            word = ~word + carry
            carry = U(carry and word == U(0))
        digits[2 * place] = word & DIGIT
        digits[2 * place + 1] = word >> U(DIGIT_BITS)
    return negative


@compiled
def _divided(digits: Any, count: Any, divisor: Any, quotient: Any) -> Any:
    """The double nearest to the number of so many digits, FRACTION_DIGITS zeros below, divided.

    In units of the lowest of these zeros.
    """
    rest = U(0)
    top = -1
    for place in range(count + FRACTION_DIGITS - 1, -1, -1):
        below = digits[place - FRACTION_DIGITS] if place >= FRACTION_DIGITS else U(0)
        rest = (rest << U(DIGIT_BITS)) | below
        quotient[place] = rest // divisor
        rest %= divisor
        if top < 0 and quotient[place]:
            top = place
    if top < 0:
        return 0.0
    # At least 64 bits are there, so at least three digits.
    shift = U(leading_zeros(quotient[top]) - DIGIT_BITS)
    word = (quotient[top] << U(DIGIT_BITS)) | quotient[top - 1]
    low = quotient[top - 2] << shift
    word = (word << shift) | (low >> U(DIGIT_BITS))
    sticky = (low & DIGIT) != U(0) or rest != U(0)
    for place in range(top - 2):
        sticky = sticky or quotient[place] != U(0)
    mantissa = word >> U(11)
    below = word & U(0x7FF)
    if below > U(0x400) or (below == U(0x400) and (sticky or mantissa & U(1))):
        mantissa += U(1)
    return math.ldexp(np.float64(mantissa), DIGIT_BITS * (top - 1) + 11 - int(shift))


@compiled
def _multiplied(a: Any, a_count: Any, b: Any, b_count: Any, product: Any) -> None:
    product[:] = U(0)
    for i in range(a_count):
        carry = U(0)
        for j in range(b_count):
            total = a[i] * b[j] + product[i + j] + carry
            product[i + j] = total & DIGIT
            carry = total >> U(DIGIT_BITS)
        product[i + b_count] = carry


@inlined
def _two_product(a: Any, b: Any) -> Any:
    """a * b and what it was rounded by (Dekker 1971)."""
    product = a * b
    split = 134217729.0 * a
    a_high = split - (split - a)
    a_low = a - a_high
    split = 134217729.0 * b
    b_high = split - (split - b)
    b_low = b - b_high
    error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return product, error


@compiled
def _root(digits: Any, divisor: Any) -> Any:
    """The square root of a number of digits, divided: the nearest double, or NaN if in doubt.

    Reckoned in pairs of doubles (Dekker 1971) to 80 bits, which tell how to round but where the
    true result is next to the middle between two doubles (Ziv 1991).
    """
    top = len(digits) - 1
    while top >= 0 and digits[top] == U(0):
        top -= 1
    if top < 0:
        return 0.0
    scaled = np.float64(digits[top]) * 2.0**32
    second = np.float64(digits[top - 1]) if top > 0 else 0.0
    third = np.float64(digits[top - 2]) if top > 1 else 0.0
    fourth = np.float64(digits[top - 3]) if top > 2 else 0.0
    high = scaled + second
    low = (second - (high - scaled)) + (third * 2.0**-32 + fourth * 2.0**-64)
    total = high + low  # for a top digit that is small leaves `high` few bits
    low -= total - high
    high = total
    root = math.sqrt(high)
    product, error = _two_product(root, root)
    root_low = ((high - product) - error + low) / (2.0 * root)
    quotient = root / divisor
    product, error = _two_product(quotient, divisor)
    quotient_low = ((root - product) - error + root_low) / divisor
    result = quotient + quotient_low
    rest = quotient_low - (result - quotient)
    margin = result * 2.0**-80
    if result + (rest + margin) != result or result + (rest - margin) != result:
        return math.nan
    return math.ldexp(result, DIGIT_BITS // 2 * (top - 1))


def moments(cells: Cells, count: int) -> tuple[Floats, Floats]:
    """The means and population standard deviations of the first cells, correctly rounded.

    A deviation in doubt is NaN; so are both for a cell without readings, or with 2**32 of them.
    """
    means, deviations = np.empty(count), np.empty(count)
    sizes = SUM_DIGITS, SQUARE_DIGITS, SUM_DIGITS + FRACTION_DIGITS, 1, WORK_DIGITS, WORK_DIGITS
    work = [np.zeros(size, np.uint64) for size in sizes]
    _moments(cells.words, cells.integers, means, deviations, *work)
    return means, deviations


@compiled
def _moments(
    words: Any, integers: Any, means: Any, deviations: Any,
    total: Any, squares: Any, quotient: Any, count_digit: Any, spread: Any, square: Any,
) -> None:  # fmt: skip
    for row in range(len(means)):
        count = integers[row, COUNT]
        if count < 1 or count >> DIGIT_BITS:
            means[row] = deviations[row] = math.nan
            continue
        count_digit[0] = U(count)
        negative = _magnitude(words, row, SUM, SUM_WORDS, total)
        mean = _divided(total, SUM_DIGITS, count_digit[0], quotient)
        mean = math.ldexp(mean, -DIGIT_BITS * FRACTION_DIGITS - SUM_BITS)
        means[row] = -mean if negative and mean else mean
        # The variance is (count * squares - total**2) / count**2.
        _magnitude(words, row, SQUARES, SQUARE_WORDS, squares)
        _multiplied(squares, SQUARE_DIGITS, count_digit, 1, spread)
        _multiplied(total, SUM_DIGITS, total, SUM_DIGITS, square)
        borrow = U(0)
        for place in range(WORK_DIGITS):
            difference = spread[place] - square[place] - borrow
            spread[place] = difference & DIGIT
            borrow = (difference >> U(63)) & U(1)
        deviations[row] = math.ldexp(_root(spread, np.float64(count)), -SUM_BITS)
