"""The machine code of the figures: cells into means and standard deviations, correctly rounded.

Numbers are arrays of 32-bit digits in words, the lowest first.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.cells import COUNT, SQUARE_WORDS, SQUARES, SUM, SUM_BITS, SUM_WORDS, Cells
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import U, leading_zeros

DIGIT_BITS = 32
DIGIT = U(0xFFFFFFFF)
SUM_DIGITS, SQUARE_DIGITS = 2 * SUM_WORDS, 2 * SQUARE_WORDS
# So many digits more than the sum has, so that its quotient by a count below 2**32 has 64 bits.
FRACTION_DIGITS = 3
WORK_DIGITS = 2 * SUM_DIGITS + 2

Floats = npt.NDArray[np.float64]


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
