"""Many short texts, one behind the other: names of sensors, values of row errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from aggsvc.engine.jit import compiled

WORD = 8
# Names are sorted by so many words at once, which is all of most; the rest one by one.
SORTED_WORDS = 3
ASCII = 128


@dataclass(frozen=True, slots=True)
class Names:
    """Names as UTF-8, one behind the other: name i is text[ends[i - 1]:ends[i]]."""

    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[bytes]) -> "Names":
        """These names."""
        text = np.frombuffer(b"".join(names), np.uint8)
        return cls(text, np.cumsum([len(name) for name in names], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Names"]) -> "Names":
        """Those of all parts, of which there is one at least."""
        offsets = accumulate((len(part.text) for part in parts), initial=0)
        ends = [part.ends + offset for part, offset in zip(parts, offsets, strict=False)]
        return cls(np.concatenate([part.text for part in parts]), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    def order(self) -> npt.NDArray[np.intp]:
        """The places of the names in the order of their bytes, none of which is NUL."""
        starts = self._starts()
        keys = np.zeros((SORTED_WORDS, len(self)), np.uint64)
        for place in range(SORTED_WORDS * WORD):
            at = starts + place
            byte = np.where(at < self.ends, self.text[np.minimum(at, len(self.text) - 1)], 0)
            keys[place // WORD] = (keys[place // WORD] << np.uint64(8)) | byte
        order = np.lexsort(keys[::-1])
        if len(self) and (self.ends - starts).max() > SORTED_WORDS * WORD:
            self._order_rest(order, keys[:, order])
        return order

    def _order_rest(self, order: npt.NDArray[np.intp], keys: npt.NDArray[np.uint64]) -> None:
        """Put those in order whose first SORTED_WORDS are the same."""
        is_first = np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0), [True]])
        bounds = np.flatnonzero(is_first)
        for run in np.flatnonzero(np.diff(bounds) > 1).tolist():
            places = order[bounds[run] : bounds[run + 1]]
            names = list(self.only(places).encoded())
            places[:] = places[sorted(range(len(names)), key=names.__getitem__)]

    def only(self, places: npt.NDArray[np.intp]) -> "Names":
        """The names in these places, in their order."""
        starts = self._starts()[places]
        ends = np.cumsum(self.ends[places] - starts)
        text = np.empty(ends[-1] if len(ends) else 0, np.uint8)
        _copy(self.text, starts, text, ends)
        return Names(text, ends)

    def containing(self, text: str) -> npt.NDArray[np.intp]:
        """The places of the names that contain the text, whatever the case of either."""
        wanted = text.casefold()
        encoded = np.frombuffer(wanted.encode(errors="surrogatepass"), np.uint8)
        starts = _occurrences(encoded, _lower(self.text))
        owners = self._owners(starts)
        found = np.zeros(len(self), bool)
        found[owners[starts + len(encoded) <= self.ends[owners]]] = True
        # Case is no more than that only within ASCII.
        other = np.unique(self._owners(np.flatnonzero(self.text >= ASCII)))
        names = self.only(other).encoded()
        found[other] = [wanted in name.decode().casefold() for name in names]
        return np.flatnonzero(found)

    def _owners(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The names in which these places of the text are."""
        return np.searchsorted(self.ends, places, "right")

    def _starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]

    def encoded(self) -> Iterator[bytes]:
        """The names in order."""
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end]
            start = end


def _lower(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    is_upper = (text >= ord("A")) & (text <= ord("Z"))
    return text | (is_upper * np.uint8(ord("a") - ord("A")))


def _occurrences(
    wanted: npt.NDArray[np.uint8], text: npt.NDArray[np.uint8]
) -> npt.NDArray[np.intp]:
    """Where the wanted bytes, of which there are some, begin in the text."""
    last = max(0, len(text) - len(wanted) + 1)
    starts = np.flatnonzero(text[:last] == wanted[0])
    for place in range(1, len(wanted)):
        starts = starts[text[starts + place] == wanted[place]]
    return starts


@compiled
def _copy(source: Any, starts: Any, text: Any, ends: Any) -> None:
    """Copy names from where they start in the source to where they end in the text."""
    begin = 0
    for name in range(len(ends)):
        for place in range(ends[name] - begin):
            text[begin + place] = source[starts[name] + place]
        begin = ends[name]
