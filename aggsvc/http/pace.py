"""How slow a client may be: waiting for it spends its patience, the bytes that it moves earn it."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aggsvc.errors import Busy, TooSlow

# Once the service stops, a client that moves nothing for so long is not waited for any more.
STOPPING_PATIENCE = 2.0
# How long the refusals may take of those that the end of the time to stop cut off.
LAST_SECONDS = 1.0

T = TypeVar("T")


class Pace:
    """One transfer's patience in seconds; `floor` bytes earn a second of it, up to all of it.

    Only the time is spent in which the client keeps us waiting, never that of a slow disk.
    """

    def __init__(self, floor: int, patience: float) -> None:
        self._floor = floor
        self._most = self._left = patience
        self._waiting: asyncio.Timeout | None = None
        self._stopping = False
        self._ended = False

    async def receive(self, reading: Awaitable[bytes]) -> bytes:
        """The bytes that come next; raises TooSlow, or Busy where the service stops."""
        data = await self._wait(reading)
        self._earn(len(data))
        return data

    async def send(self, writing: Awaitable[None], size: int) -> None:
        """Let the client take `size` bytes; raises as receive does."""
        await self._wait(writing)
        self._earn(size)

    def hurry(self, seconds: float) -> None:
        """From now on, wait for at most so long at a time: the service stops."""
        self._stopping = True
        self._most = min(self._most, seconds)
        self._left = min(self._left, seconds)
        if self._waiting is not None and not self._waiting.expired():
            soonest = asyncio.get_running_loop().time() + seconds
            self._waiting.reschedule(min(soonest, self._waiting.when() or soonest))

    def end(self) -> None:
        """Break the transfer off at its next byte."""
        self._ended = True
        self.hurry(0)

    async def _wait(self, moving: Awaitable[T]) -> T:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._left) as self._waiting:
                return await moving
        except TimeoutError:
            if self._waiting is None or not self._waiting.expired():
                raise  # the connection's own
            raise self._verdict() from None
        finally:
            self._waiting = None
            self._left -= clock() - began

    def _earn(self, size: int) -> None:
        if self._ended:
            raise self._verdict()
        self._left = min(self._most, self._left + size / self._floor)

    def _verdict(self) -> TooSlow | Busy:
        if self._stopping:
            return Busy("the service stops and could not wait for the rest; send the file again")
        return TooSlow(
            f"the client is too slow; it is to move at least {self._floor:,} bytes a second, "
            f"and to pause for less than {self._most:g} seconds"
        )


class Transfers:
    """The transfers under way, each in the task of its request, so that a stop can hurry them."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[object], Pace] = {}

    @contextmanager
    def begin(self, floor: int, patience: float) -> Iterator[Pace]:
        """A new transfer's pace, in the list as long as the context is open."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request of aiohttp's always runs in a task
        pace = self._open[task] = Pace(floor, patience)
        try:
            yield pace
        finally:
            del self._open[task]

    def __len__(self) -> int:
        return len(self._open)

    async def finish(self, seconds: float) -> None:
        """Wait until those under way now are answered; after so many seconds break them off."""
        requests = set(self._open)
        for pace in self._open.values():
            pace.hurry(STOPPING_PATIENCE)
        if await _still_running(requests, seconds):
            for pace in self._open.values():
                pace.end()
            await _still_running(requests, LAST_SECONDS)


async def _still_running(
    requests: set[asyncio.Task[object]], seconds: float
) -> set[asyncio.Task[object]]:
    return (await asyncio.wait(requests, timeout=seconds))[1] if requests else set()
