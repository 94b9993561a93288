"""The distinct sensors of a file, numbered in the order in which they come.

An open-addressing table of half a cache line a slot: the first 24 bytes of the name, then its id
plus one and its size; only a longer name is compared with the text itself. Names are looked up
some at a time, so that the slots of those to come are fetched meanwhile. The mixing is wyhash's
(Wang Yi 2019: both halves of a product), seeded anew for each table, so that no file can be made of
names that all fall on one slot.
"""

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.batch import NO_READING
from aggsvc.engine.jit import compiled, inlined
from aggsvc.engine.machine import WINDOW, U, get, high_product, load64, prefetch, put
from aggsvc.engine.names import Names

MIN_SLOTS = 1 << 10
# Where the table fits a core's cache anyway, it is so sparse that a name is where it is looked for.
SPARSE_SLOTS = 1 << 13
MAX_NAME_BYTES = 256
SIZE_SHIFT = 40
PLACE_MASK = (1 << SIZE_SHIFT) - 1
WORD = 8
SLOT_WORDS = 4
META = 3
AHEAD = 12
# Masks of the lowest 0 to WORD bytes of a word.
LOW_BYTES = np.array([(1 << (8 * size)) - 1 for size in range(WORD + 1)], np.uint64)


@inlined
def _mixed(a: Any, b: Any) -> Any:
    return (a * b) ^ high_product(a, b)


@inlined
def _word(data: Any, start: Any, size: Any, first: Any) -> Any:
    """The bytes first:first + WORD of the name, zeros behind its end."""
    left = max(0, min(WORD, size - first))
    return load64(data, start + first) & get(LOW_BYTES, left)


@inlined
def _hash_of(first: Any, second: Any, data: Any, start: Any, size: Any, seeds: Any) -> Any:
    """The hash of a name of which these are the first two words."""
    word = _mixed(first ^ get(seeds, 0), second ^ get(seeds, 1))
    for place in range(2 * WORD, size, WORD):
        word = _mixed(word ^ _word(data, start, size, place), get(seeds, 1))
    return np.int64(word ^ (word >> U(32)))


@inlined
def _hash(data: Any, start: Any, size: Any, seeds: Any) -> Any:
    first, second = _word(data, start, size, 0), _word(data, start, size, WORD)
    return _hash_of(first, second, data, start, size, seeds)


@inlined
def _same(a: Any, i: Any, b: Any, j: Any, size: Any) -> bool:
    for place in range(size):
        if a[i + place] != b[j + place]:
            return False
    return True


@compiled
def _place_again(text: Any, ends: Any, seeds: Any, slots: Any) -> None:
    """Fill empty slots with the names that there are."""
    mask = len(slots) - 1
    for found in range(ends[-1]):
        start, size = ends[found], ends[found + 1] - ends[found]
        at = _hash(text, start, size, seeds) & mask
        while slots[at, META] != U(0):
            at = (at + 1) & mask
        for word in range(META):
            slots[at, word] = _word(text, start, size, word * WORD)
        slots[at, META] = U((size << SIZE_SHIFT) | (found + 1))


@compiled
def _take_in(data: Any, names: Any, done: int, slots: Any, ends: Any, text: Any, seeds: Any) -> int:
    """Put the id in place of each name from the one at `done` on; returns how many are done.

    A name is its place in the data, its size above SIZE_SHIFT; NO_READING stays as it is.
    """
    mask = len(slots) - 1
    is_small = len(slots) <= SPARSE_SLOTS
    sparsity = 8 if is_small else 2
    for place in range(done, len(names)):
        if not is_small and place + AHEAD < len(names) and names[place + AHEAD] != NO_READING:
            later = names[place + AHEAD]
            start = later & PLACE_MASK
            prefetch(slots, (_hash(data, start, later >> SIZE_SHIFT, seeds) & mask) * SLOT_WORDS)
        name = get(names, place)
        if name == NO_READING:
            continue
        start, size = name & PLACE_MASK, name >> SIZE_SHIFT
        first = _word(data, start, size, 0)
        second = _word(data, start, size, WORD)
        third = _word(data, start, size, 2 * WORD) if size > 2 * WORD else U(0)
        at = _hash_of(first, second, data, start, size, seeds) & mask
        found = np.int64(-1)
        while True:
            slot = at * SLOT_WORDS
            entry = np.int64(get(slots, slot + META))
            differs = (get(slots, slot) ^ first) | (get(slots, slot + 1) ^ second)
            differs |= get(slots, slot + 2) ^ third
            if differs == U(0) and entry >> SIZE_SHIFT == size:
                found = (entry & PLACE_MASK) - 1
                if size <= META * WORD or _same(data, start, text, ends[found], size):
                    break
            if entry == 0:
                found = np.int64(-1)
                break
            at = (at + 1) & mask
        if found < 0:
            found = ends[-1]
            begin = ends[found]
            if (found + 1) * sparsity > len(slots) or begin + size + WINDOW > len(text):
                return place
            for byte in range(size):
                text[begin + byte] = data[start + byte]
            slots[at, 0] = first
            slots[at, 1] = second
            slots[at, 2] = third
            slots[at, META] = U((size << SIZE_SHIFT) | (found + 1))
            ends[found + 1] = begin + size
            ends[-1] = found + 1
        put(names, place, found)
    return len(names)


class SensorIds:
    """Names of sensors, 1 to MAX_NAME_BYTES bytes each and without NUL, and their ids."""

    def __init__(self) -> None:
        self._slots = np.zeros((MIN_SLOTS, SLOT_WORDS), np.uint64)
        # The name of an id is text[ends[id]:ends[id + 1]]; the last end is how many there are.
        self._ends = np.zeros(MIN_SLOTS // 2 + 2, np.int64)
        self._text = np.zeros(MIN_SLOTS * 4 + WINDOW, np.uint8)
        self._seeds = np.array([secrets.randbits(64), secrets.randbits(64)], np.uint64)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def names(self) -> Names:
        """The names, in the order of their ids."""
        count = len(self)
        return Names(self._text[: self._ends[count]], self._ends[1 : count + 1])

    def of(self, names: Names) -> npt.NDArray[np.int64]:
        """The ids of these names; new ones are given one."""
        data = np.concatenate([names.text, np.zeros(WINDOW, np.uint8)])
        starts = np.concatenate([np.zeros(1, np.int64), names.ends])[:-1]
        found: npt.NDArray[np.int64] = starts | ((names.ends - starts) << SIZE_SHIFT)
        self.replace(data, found)
        return found

    def replace(self, data: npt.NDArray[np.uint8], names: npt.NDArray[np.int64]) -> None:
        """Put its id in the place of each name, and give new ones one.

        A name is where it starts in the data, its size above SIZE_SHIFT; or NO_READING, which
        stays. The data goes on for WINDOW bytes behind each name.
        """
        done = 0
        while True:
            done = _take_in(data, names, done, self._slots, self._ends, self._text, self._seeds)
            if done == len(names):
                return
            self._grow()

    def _grow(self) -> None:
        """Make room for as many more names, and at least for one of the greatest length."""
        count = len(self)
        if self._ends[count] + MAX_NAME_BYTES + WINDOW > len(self._text):
            text = np.zeros(len(self._text) * 2, np.uint8)
            text[: self._ends[count]] = self._text[: self._ends[count]]
            self._text = text
        else:
            slots = np.zeros((len(self._slots) * 2, SLOT_WORDS), np.uint64)
            ends = np.zeros(len(slots) // 2 + 2, np.int64)
            ends[: count + 1] = self._ends[: count + 1]
            ends[-1] = count
            _place_again(self._text, ends, self._seeds, slots)
            self._slots, self._ends = slots, ends
