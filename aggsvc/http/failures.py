"""Who guesses tokens is slowed down, by address, and nobody else."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from aggsvc.errors import TooManyFailures

MOST = 10
WINDOW_SECONDS = 60.0
# The addresses that are remembered; of more, those go whose last failure is the longest ago.
MAX_ADDRESSES = 10_000


class Failures:
    """Counts the wrong tokens of each address within a minute."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_addresses: int = MAX_ADDRESSES
    ) -> None:
        self._clock = clock
        self._max_addresses = max_addresses
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def note(self, address: str) -> None:
        """One more; raises TooManyFailures where there have been enough, and then counts none."""
        now = self._clock()
        times = self._times.setdefault(address, deque(maxlen=MOST))
        if len(times) == MOST and (left := times[0] + WINDOW_SECONDS - now) > 0:
            raise TooManyFailures(math.ceil(left))
        times.append(now)
        self._times.move_to_end(address)
        if len(self._times) > self._max_addresses:
            self._times.popitem(last=False)
