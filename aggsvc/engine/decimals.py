"""The machine code that reads a decimal number, as fields.read_value does: to the nearest double.

With at most 2**53 as digits and 10**22 as scale, one division or multiplication rounds once
(Clinger 1990). Others are multiplied by the power of five to 128 bits, which tells how to round
but in the rarest of cases (Lemire 2021, "Number parsing at a gigabyte per second"; that the
product never needs more digits: Mushtak and Lemire 2023, "Fast number parsing without fallback").
"""

import numpy as np

from aggsvc.engine.instructions import byte_at
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import U, as_double, high_product, leading_zeros
from aggsvc.engine.moments import DASH, DOT, PLUS, is_digit

# What a field was found to be.
NUMBER, UNSURE, INVALID, NOT_FINITE = 0, 1, 2, 3

EXACT_DIGITS = 1 << 53
EXACT_SCALE = 22
P10 = np.array([10.0**k for k in range(EXACT_SCALE + 1)])
# With more digits, another might not fit into a word.
FULL_WORD = U(10**18)
LARGEST_EXPONENT = 1_000_000

LOWEST_POWER, HIGHEST_POWER = -342, 308
INFINITE = 0x7FF
MANTISSA_BITS = 52


def _power_of_five(power: int) -> int:
    """The 128 highest bits of 5**power, those of a fraction rounded up."""
    if power >= 0:
        number = 5**power
        size = number.bit_length()
        return number << (128 - size) if size <= 128 else number >> (size - 128)
    divisor = 5**-power
    bits = 127 + divisor.bit_length()
    return (1 << bits) // divisor + 1


_POWERS = [_power_of_five(power) for power in range(LOWEST_POWER, HIGHEST_POWER + 1)]
HIGH_POWERS = np.array([power >> 64 for power in _POWERS], np.uint64)
LOW_POWERS = np.array([power & (2**64 - 1) for power in _POWERS], np.uint64)


@compiled
def nearest(digits, power):
    """The bits of the double nearest to digits * 10**power, digits not being 0."""
    if power < LOWEST_POWER:
        return U(0)
    if power > HIGHEST_POWER:
        return U(INFINITE) << U(MANTISSA_BITS)
    shift = leading_zeros(digits)
    digits <<= U(shift)
    at = power - LOWEST_POWER
    low, high = digits * HIGH_POWERS[at], high_product(digits, HIGH_POWERS[at])
    if (high & U(0x1FF)) == U(0x1FF):
        more = high_product(digits, LOW_POWERS[at])
        low += more
        high += U(low < more)
    top = high >> U(63)
    mantissa = high >> (top + U(64 - MANTISSA_BITS - 3))
    exponent = ((217706 * power) >> 16) + 63 + int(top) - shift + 1023
    if exponent <= 0:
        if exponent <= -63:
            return U(0)
        mantissa >>= U(1 - exponent)
        # One that is rounded up to the least normal double has its exponent by itself.
        return (mantissa + (mantissa & U(1))) >> U(1)
    # Halfway between two doubles it goes to the even one; only with these powers can it be there.
    is_half = low <= U(1) and -4 <= power <= 23 and (mantissa & U(3)) == U(1)
    if is_half and mantissa << (top + U(64 - MANTISSA_BITS - 3)) == high:
        mantissa &= ~U(1)
    mantissa = (mantissa + (mantissa & U(1))) >> U(1)
    if mantissa >> U(MANTISSA_BITS + 1):
        mantissa >>= U(1)
        exponent += 1
    if exponent >= INFINITE:
        return U(INFINITE) << U(MANTISSA_BITS)
    return (mantissa & U((1 << MANTISSA_BITS) - 1)) | (U(exponent) << U(MANTISSA_BITS))


@compiled
def is_word(data, p, end, word):
    """Whether p:end are these small letters, in any case."""
    if end - p != len(word):
        return False
    for i in range(len(word)):
        if byte_at(data, p + i) | 32 != word[i]:
            return False
    return True


NAN = np.frombuffer(b"nan", np.uint8)
INF = np.frombuffer(b"inf", np.uint8)
INFINITY = np.frombuffer(b"infinity", np.uint8)


@compiled
def not_a_number(data, p, end):
    """What p:end is, behind any sign, where it is no decimal number."""
    for word in (NAN, INF, INFINITY):
        if is_word(data, p, end, word):
            return NOT_FINITE
    return INVALID


@inlined
def scaled(digits, power):
    """digits * 10**power where both are exact."""
    return digits / P10[-power] if power < 0 else digits * P10[power]


@compiled
def value_of(data, p, end):
    """What the field p:end is, and where it is a NUMBER its value."""
    negative = byte_at(data, p) == DASH
    if negative or byte_at(data, p) == PLUS:
        p += 1
    first = p
    digits, power, count = U(0), 0, 0
    is_cut = False
    while p < end and is_digit(byte_at(data, p)):
        digit = U(byte_at(data, p) - 48)
        if digits < FULL_WORD:
            digits = digits * U(10) + digit
        else:
            power += 1
            is_cut |= digit != U(0)
        p += 1
        count += 1
    if p < end and byte_at(data, p) == DOT:
        p += 1
        while p < end and is_digit(byte_at(data, p)):
            digit = U(byte_at(data, p) - 48)
            if digits < FULL_WORD:
                digits = digits * U(10) + digit
                power -= 1
            else:
                is_cut |= digit != U(0)
            p += 1
            count += 1
    if count == 0:
        return not_a_number(data, first, end), 0.0
    if p < end and (byte_at(data, p) | 32) == 101:
        p += 1
        sign = byte_at(data, p)
        if sign == DASH or sign == PLUS:
            p += 1
        exponent = 0
        before = p
        while p < end and is_digit(byte_at(data, p)):
            exponent = min(exponent * 10 + (byte_at(data, p) - 48), LARGEST_EXPONENT)
            p += 1
        if p == before:
            return INVALID, 0.0
        power += -exponent if sign == DASH else exponent
    if p != end:
        return INVALID, 0.0
    if digits == U(0):
        return NUMBER, 0.0
    if digits <= U(EXACT_DIGITS) and -EXACT_SCALE <= power <= EXACT_SCALE and not is_cut:
        value = scaled(float(int(digits)), power)
        return NUMBER, -value if negative else value
    bits = nearest(digits, power)
    if is_cut and nearest(digits + U(1), power) != bits:
        return UNSURE, 0.0
    if bits >> U(MANTISSA_BITS) == U(INFINITE):
        return NOT_FINITE, 0.0
    value = as_double(bits)
    return NUMBER, 0.0 if bits == U(0) else -value if negative else value
