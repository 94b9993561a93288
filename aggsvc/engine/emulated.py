"""The instructions of machine.py that the statistics need, in Python."""

from typing import Any

import numpy as np

U = np.uint64
WINDOW = 64
LOW = (1 << 64) - 1


def load64(data: Any, index: int) -> Any:
    """The 8 bytes at index, little-endian."""
    return U(int.from_bytes(data[index : index + 8].tobytes(), "little"))


def leading_zeros(word: Any) -> int:
    """How many zero bits there are above the highest set one."""
    return 64 - int(word).bit_length()


def high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two words."""
    return U((int(a) * int(b)) >> 64)


def add_words(words: Any, index: int, low: Any, middle: Any, high: Any) -> Any:
    """Add three words, the lowest first, to those at the index; returns the carry, 0 or 1."""
    flat = words.reshape(-1)
    total = 0
    for place, word in enumerate((low, middle, high)):
        total += (int(flat[index + place]) + int(word)) << (64 * place)
    for place in range(3):
        flat[index + place] = (total >> (64 * place)) & LOW
    return U(total >> 192)


def prefetch(_words: Any, _index: int) -> None:
    """Nothing."""
