"""The machine code that tells valid UTF-8 and copies text, as bytes.decode() does."""

import numpy as np

from aggsvc.engine.instructions import byte_at
from aggsvc.engine.jit import compiled
from aggsvc.engine.row_errors import VALUE_CHARS

REPLACEMENT = np.frombuffer("\ufffd".encode(), np.uint8)


@compiled
def sequence_at(data, p, end):
    """The size of the character at p; where it is none, minus that of what stands for one.

    Valid is what The Unicode Standard says in table 3-7; what is not is replaced as decode() does,
    each longest beginning of a character by one REPLACEMENT.
    """
    c = byte_at(data, p)
    if c < 0x80:
        return 1
    if c < 0xC2 or c > 0xF4:
        return -1
    size = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    low, high = 0x80, 0xBF
    if c == 0xE0:
        low = 0xA0
    elif c == 0xED:
        high = 0x9F
    elif c == 0xF0:
        low = 0x90
    elif c == 0xF4:
        high = 0x8F
    for i in range(1, size):
        c = byte_at(data, p + i)
        if p + i >= end or c < low or c > high:
            return -i
        low, high = 0x80, 0xBF
    return size


@compiled
def is_utf8(data, p, end):
    """Whether the bytes are valid UTF-8."""
    while p < end:
        size = sequence_at(data, p, end)
        if size < 0:
            return False
        p += size
    return True


@compiled
def copy_start(data, p, end, text, at):
    """Copy the first VALUE_CHARS characters to the text, any that is none replaced.

    Returns where it ends in the text.
    """
    for _ in range(VALUE_CHARS):
        if p == end:
            break
        size = sequence_at(data, p, end)
        if size > 0:
            for i in range(size):
                text[at + i] = data[p + i]
            at += size
            p += size
        else:
            for i in range(len(REPLACEMENT)):
                text[at + i] = REPLACEMENT[i]
            at += len(REPLACEMENT)
            p -= size
    return at


# A character takes as much at most, and a byte as much as this where it is replaced.
MAX_START = 4 * VALUE_CHARS
MAX_GROWTH = len(REPLACEMENT)


@compiled
def copy_starts(data, starts, stops, text, ends):
    """copy_start of each, one behind the other; `ends` says where each ends in the text."""
    at = 0
    for place in range(len(ends)):
        at = copy_start(data, starts[place], stops[place], text, at)
        ends[place] = at
