"""The words of a processor, and what compiled functions do with them.

Where there is no numba the functions run as they are, with what emulated.py has of the
instructions; only the compiled lane needs the others.
"""

from typing import Any

import numpy as np

from aggsvc.engine.jit import HAS_NUMBA, inlined

if HAS_NUMBA:
    from aggsvc.engine import instructions
else:
    from aggsvc.engine import emulated as instructions  # type: ignore[no-redef]

WINDOW: int = instructions.WINDOW
load64: Any = instructions.load64
get: Any = instructions.get
put: Any = instructions.put
add_three: Any = instructions.add_three
add_words: Any = instructions.add_words
as_double: Any = instructions.as_double
bits_of: Any = instructions.bits_of
high_product: Any = instructions.high_product
leading_zeros: Any = instructions.leading_zeros
prefetch: Any = instructions.prefetch

U = np.uint64
ONES = U(0x0101010101010101)
HIGHS = U(0x8080808080808080)


@inlined
def zero_bytes(word: Any) -> Any:
    """Marks the lowest zero byte by its high bit (bytes above it may be marked too)."""
    return (word - ONES) & ~word & HIGHS


@inlined
def not_digits(word: Any) -> Any:
    """Marks, by high bits, whether any of 8 digits XOR "0" is none."""
    return ((word + (ONES * U(0x76))) | word) & HIGHS


@inlined
def prefix_xor(word: Any) -> Any:
    """Bit i of the result is the XOR of bits 0 to i: what lies between pairs of set bits."""
    word ^= word << U(1)
    word ^= word << U(2)
    word ^= word << U(4)
    word ^= word << U(8)
    word ^= word << U(16)
    word ^= word << U(32)
    return word
