"""Every value that the compiled lane reads is the double that float() reads, to the bit."""

import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from aggsvc.engine import kernel
from aggsvc.engine.batch import Batch
from aggsvc.engine.rows import read_rows
from tests.csv_strategies import file_of
from tests.engine.conftest import readings_of

Generator = np.random.Generator
COMPILED_AT_LEAST = 2_000_000


def decimals(chance: Generator, count: int, fewest: int, most: int) -> list[str]:
    """Digits with zeros before them as it falls, a point before, between or behind, or none."""
    sizes = chance.integers(fewest, most + 1, count)
    numbers = chance.integers(0, 10 ** sizes.astype(np.uint64), dtype=np.uint64)
    points = chance.integers(0, sizes + 2)
    rows = zip(numbers.tolist(), sizes.tolist(), points.tolist(), strict=True)
    return [pointed(str(number).zfill(size), point) for number, size, point in rows]


def pointed(digits: str, place: int) -> str:
    """The digits with a point at that place, if there is such a place."""
    return f"{digits[:place]}.{digits[place:]}" if place <= len(digits) else digits


def plain(chance: Generator, count: int) -> list[str]:
    return decimals(chance, count, 1, 15)


def readings(chance: Generator, count: int) -> list[str]:
    """As sensors write them."""
    return [f"{value:.3f}" for value in chance.normal(20, 300, count).tolist()]


def long(chance: Generator, count: int) -> list[str]:
    return decimals(chance, count, 16, 19)


def around_2_to_53(chance: Generator, count: int) -> list[str]:
    """Where integers are no longer all doubles, a point anywhere."""
    numbers = chance.integers(2**53 - 9, 2**53 + 10, count).tolist()
    return [
        pointed(str(number), place)
        for number, place in zip(numbers, chance.integers(0, 18, count).tolist(), strict=True)
    ]


def small_exponents(chance: Generator, count: int) -> list[str]:
    return with_exponents(chance, decimals(chance, count, 1, 15), 25)


def large_exponents(chance: Generator, count: int) -> list[str]:
    """From what is read as 0 to almost the greatest double."""
    return with_exponents(chance, decimals(chance, count, 1, 19), 288)


def with_exponents(chance: Generator, texts: list[str], limit: int) -> list[str]:
    exponents = chance.integers(-limit - 60 * (limit > 60), limit + 1, len(texts)).tolist()
    letters = chance.choice(["e", "E", "e+"], len(texts)).tolist()
    return [
        f"{text}{letter if exponent >= 0 else letter[0]}{exponent}"
        for text, letter, exponent in zip(texts, letters, exponents, strict=True)
    ]


def shortest(chance: Generator, count: int) -> list[str]:
    """What repr() writes: the fewest digits, up to 17, that read back."""
    return list(map(repr, chance.random(count).tolist()))


def any_double(chance: Generator, count: int) -> list[str]:
    words = chance.integers(0, 0x7FF0_0000_0000_0000, count)
    return list(map(repr, words.view(np.float64).tolist()))


def halves(chance: Generator, count: int) -> list[str]:
    """Integers half-way between two doubles, and those next to them."""
    mantissas = chance.integers(2**52, 2**53, count).tolist()
    shifts = chance.integers(0, 10, count).tolist()
    steps = chance.integers(-1, 2, count).tolist()
    return [
        str(((2 * mantissa + 1) << shift) + step)
        for mantissa, shift, step in zip(mantissas, shifts, steps, strict=True)
    ]


def nearly_halves(chance: Generator, count: int) -> list[str]:
    """Fractions half-way between two doubles, cut after so many digits that little is missing."""
    values = chance.uniform(1e-6, 1e3, count).tolist()
    places = chance.integers(15, 19, count).tolist()
    return [cut_half(value, place) for value, place in zip(values, places, strict=True)]


def cut_half(value: float, places: int) -> str:
    half = Fraction(value) + Fraction(np.spacing(value).item()) / 2
    digits = str(half.numerator * 10**places // half.denominator).zfill(places + 1)
    return pointed(digits, len(digits) - places)


def zeros(chance: Generator, count: int) -> list[str]:
    return chance.choice(["0", "-0", "0.000", ".0", "0.", "0e10", "-0.0e-5", "00"], count).tolist()


SHAPES: dict[Callable[[Generator, int], list[str]], int] = {
    plain: 150_000,
    readings: 40_000,
    small_exponents: 60_000,
    zeros: 1_000,
    long: 10_000,
    around_2_to_53: 10_000,
    large_exponents: 10_000,
    shortest: 10_000,
    any_double: 5_000,
    halves: 5_000,
    nearly_halves: 5_000,
}
FILES = 9


def texts_of_a_file(chance: Generator) -> list[str]:
    """Of every shape, mixed, with signs and blanks."""
    texts = [text for shape, count in SHAPES.items() for text in shape(chance, count)]
    order = chance.permutation(len(texts)).tolist()
    signs = chance.choice(["", "", "-", "+"], len(texts)).tolist()
    blanks = chance.choice(["", "", "", "", "", " ", "\t", "  "], (2, len(texts))).tolist()
    return [
        f"{before}{texts[place] if texts[place][0] == '-' else sign + texts[place]}{behind}"
        for place, sign, before, behind in zip(order, signs, *blanks, strict=True)
    ]


def bits(values: list[float]) -> bytes:
    """The doubles as they are in memory, -0.0 as 0.0, as the service has no other zero."""
    return struct.pack(f"{len(values)}d", *(value + 0.0 for value in values))


def test_each_of_millions_of_decimal_strings_is_read_as_float_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is the compiled lane that read them: few are left to the reference lane."""
    left = 0

    def counted(*arguments: Any) -> Batch:
        nonlocal left
        batch = read_rows(*arguments)
        left += batch.rows_read
        return batch

    monkeypatch.setattr(kernel, "read_rows", counted)
    chance = np.random.default_rng(53)
    read = 0
    for _ in range(FILES):
        texts = texts_of_a_file(chance)
        data = file_of([f"a,1970-01-01T00:00:00Z,{text}".encode() for text in texts])
        found = [value for _, _, value in readings_of(data, "kernel")]
        read += len(found)
        if bits(found) != bits(list(map(float, texts))):
            assert [
                (text, value)
                for text, value in zip(texts, found, strict=True)
                if bits([value]) != bits([float(text)])
            ][:20] == []
    assert read == FILES * sum(SHAPES.values())
    assert read - left >= COMPILED_AT_LEAST
