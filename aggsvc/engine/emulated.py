"""The instructions of machine.py that the statistics need, in Python."""

from typing import Any

import numpy as np

U = np.uint64
WINDOW = 64
LOW = (1 << 64) - 1


def get(array: Any, index: int) -> Any:
    """The number at index, in an array of any dimensions as if it had one."""
    return array.reshape(-1)[index]


def put(array: Any, index: int, number: Any) -> None:
    """Store the number at index, in an array of any dimensions as if it had one."""
    array.reshape(-1)[index] = number


def load64(data: Any, index: int) -> Any:
    """The 8 bytes at index, little-endian."""
    return U(int.from_bytes(data[index : index + 8].tobytes(), "little"))


def leading_zeros(word: Any) -> int:
    """How many zero bits there are above the highest set one."""
    return 64 - int(word).bit_length()


def high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two words."""
    return U((int(a) * int(b)) >> 64)


def add_three(a0: Any, a1: Any, a2: Any, b0: Any, b1: Any, b2: Any) -> tuple[Any, Any, Any]:
    """The sum of two numbers of three words each, the lowest first, cut to three words."""
    pairs = (a0, b0), (a1, b1), (a2, b2)
    total = sum((int(a) + int(b)) << (64 * place) for place, (a, b) in enumerate(pairs))
    return U(total & LOW), U((total >> 64) & LOW), U((total >> 128) & LOW)


def add_words(words: Any, index: int, low: Any, middle: Any, high: Any) -> Any:
    """Add three words, the lowest first, to those at the index; returns the carry, 0 or 1."""
    flat = words.reshape(-1)
    total = 0
    for place, word in enumerate((low, middle, high)):
        total += (int(flat[index + place]) + int(word)) << (64 * place)
    for place in range(3):
        flat[index + place] = (total >> (64 * place)) & LOW
    return U(total >> 192)


def as_double(word: Any) -> Any:
    """The double of these bits."""
    return U(word).view(np.float64)


def bits_of(number: Any) -> Any:
    """The bits of a double."""
    return np.float64(number).view(U)


def prefetch(_words: Any, _index: int) -> None:
    """Nothing."""
