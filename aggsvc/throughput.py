"""How much was processed in the last minute, counted from what is told of files."""

import time
from collections import deque
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass

from aggsvc.events import Event, FileEvent

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Processed:
    """Files that came to an end, with the bytes and rows of them."""

    files: int = 0
    size_bytes: int = 0
    rows: int = 0

    def __add__(self, other: "Processed") -> "Processed":
        return Processed(
            self.files + other.files, self.size_bytes + other.size_bytes, self.rows + other.rows
        )


class Throughput:
    """What was processed in each of the last 60 seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, Processed]] = deque(maxlen=SECONDS)

    async def follow(self, changes: AsyncIterable[Event]) -> None:
        """Count each file that comes to its end."""
        async for event in changes:
            if isinstance(event, FileEvent) and event.type == "status" and event.status.is_final:
                self.count(Processed(1, event.progress.bytes_read, event.progress.rows_read))

    def count(self, processed: Processed) -> None:
        """Add to what was processed in this second."""
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            processed += self._seconds.pop()[1]
        self._seconds.append((second, processed))

    def seconds(self) -> list[Processed]:
        """The last 60 seconds, the one that runs last."""
        latest, known = int(self._clock()), dict(self._seconds)
        return [
            known.get(second, Processed()) for second in range(latest - SECONDS + 1, latest + 1)
        ]

    def last_minute(self) -> Processed:
        """All of the last 60 seconds."""
        return sum(self.seconds(), Processed())
