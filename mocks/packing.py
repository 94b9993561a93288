"""Entries kept small in memory: deflated, each against a sample of what such entries look like.

Items of a table have the same names and much the same values, so that against another one of them
an entry takes a fraction of its bytes.
"""

import zlib
from typing import Any, Final

# An entry packed, the number of the sample that it was packed against, and its size. A longer
# tuple that begins so is taken as well.
Packed = tuple[bytes, int, int]
DATA: Final = 0
SAMPLE: Final = 1
SIZE: Final = 2

WINDOW_BITS = -12  # raw deflate, with a window of 4 KiB
MEMORY_LEVEL = 5
MAX_SAMPLE = 3_800  # that the window holds
FIRST_SAMPLE = b'{"table":"","key":"","item":{'


class Packer:
    """Packs entries, and unpacks those that it has packed, in any thread."""

    def __init__(self) -> None:
        self._samples: list[bytes] = []
        self._take_sample(FIRST_SAMPLE)

    def pack(self, entry: bytes) -> Packed:
        """The entry, packed. One thread at a time may do this."""
        if min(len(entry), MAX_SAMPLE) > 2 * len(self._samples[-1]):
            self._take_sample(entry[:MAX_SAMPLE])
        deflate = self._deflate.copy()
        # Joined, for zlib leaves its buffer's spare room behind the bytes.
        data = b"".join((deflate.compress(entry), deflate.flush()))
        return data, len(self._samples) - 1, len(entry)

    def unpack(self, packed: "Packed | tuple[Any, ...]") -> bytes:
        """The entry as it was."""
        inflate = zlib.decompressobj(WINDOW_BITS, zdict=self._samples[packed[SAMPLE]])
        return inflate.decompress(packed[DATA])

    def _take_sample(self, sample: bytes) -> None:
        self._samples.append(sample)
        self._deflate = zlib.compressobj(
            zlib.Z_BEST_SPEED, wbits=WINDOW_BITS, memLevel=MEMORY_LEVEL, zdict=sample
        )
