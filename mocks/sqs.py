"""MockSQS: the job queue as an asyncio.Queue; it forgets its jobs when the process ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from aggsvc.model import Job

LONGEST_DELAY = 30.0


class MockSQS:
    """A ports.JobQueue. A job whose consumer failed comes back after `redelivery_delay` seconds.

    Each further failure of the job doubles the delay, up to LONGEST_DELAY. A job given back because
    its consumer was cancelled can be leased again at once.
    """

    def __init__(self, *, redelivery_delay: float = 1.0) -> None:
        self._delay = redelivery_delay
        self._jobs: asyncio.Queue[_Sent] = asyncio.Queue()
        self._returning: set[asyncio.TimerHandle] = set()

    async def send(self, job: Job) -> None:
        """Put a job at the end."""
        self._jobs.put_nowait(_Sent(job, self._delay))

    def lease(self) -> AbstractAsyncContextManager[Job]:
        """Wait for a job; a clean exit acknowledges it, any other gives it back, once."""
        return self._lease()

    def depth(self) -> int:
        """How many jobs wait to be leased, those that come back after a delay included."""
        return self._jobs.qsize() + len(self._returning)

    async def close(self) -> None:
        """Forget the jobs that were to come back."""
        for handle in self._returning:
            handle.cancel()
        self._returning.clear()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Job]:
        sent = await self._jobs.get()
        try:
            yield sent.job
        except Exception:
            self._return_later(sent)
            raise
        except BaseException:
            self._jobs.put_nowait(sent)
            raise

    def _return_later(self, sent: "_Sent") -> None:
        def give_back() -> None:
            self._returning.discard(handle)
            self._jobs.put_nowait(_Sent(sent.job, min(2 * sent.delay, LONGEST_DELAY)))

        handle = asyncio.get_running_loop().call_later(sent.delay, give_back)
        self._returning.add(handle)


class _Sent(NamedTuple):
    """A job on the queue, and for how many seconds it stays away should its consumer fail."""

    job: Job
    delay: float
