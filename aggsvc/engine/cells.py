"""Cells: what is known of the readings of one sensor, or of one bucket of time.

A cell holds how many there are, the extremes of value and time, and the exact sums of values and of
their squares. Sums are fixed-point integers of several words in two's complement, so nothing is
ever rounded, and the order of readings has no bearing (superaccumulators, as in Neal 2015, "Fast
exact summation using small and large superaccumulators").
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import U

# The sum counts units of 2**-SUM_BITS, the squares units of their square. With values below 2**71
# there is room for 2**40 readings.
SUM_BITS = 100
LOWEST_EXPONENT, HIGHEST_EXPONENT = -SUM_BITS, 18

COUNT, LOW, HIGH, FIRST, LAST, SUM, SQUARES = 0, 1, 2, 3, 4, 5, 9
SUM_WORDS, SQUARE_WORDS = 4, 6
CELL_WORDS = 16


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
