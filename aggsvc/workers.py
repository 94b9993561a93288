"""The worker pool: N consumers of the job queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from aggsvc.errors import StoreUnavailable
from aggsvc.model import Job, object_key
from aggsvc.ports import JobQueue

DRAIN_SECONDS = 30.0
# Between two looks at whether the stores work again.
PAUSE_SECONDS = 1.0

log = structlog.get_logger()


class WorkerPool:
    """Runs `handle` on each job, `count` at a time; a job that raises is given back.

    A job that is to run alone waits for those that run; jobs leased after it wait for its end.

    While `check` raises StoreUnavailable no job is begun: each would fail. It is asked at the start
    and after each job that a store has failed.

    `stop` takes no more jobs, lets running ones finish for `drain_seconds`, then cancels them.
    """

    def __init__(
        self,
        queue: JobQueue,
        handle: Callable[[Job], Awaitable[None]],
        count: int,
        drain_seconds: float = DRAIN_SECONDS,
        *,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._count = count
        self._drain_seconds = drain_seconds
        self._consumers: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._entrance = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._check = check
        self._stores_work = asyncio.Event()
        self._stores_work.set()
        self._resuming: asyncio.Task[None] | None = None

    @property
    def busy(self) -> int:
        """How many consumers have a job in hand."""
        return len(self._busy)

    @property
    def alive(self) -> int:
        """How many consumers there are; as many as were asked for while all is well."""
        return sum(not consumer.done() for consumer in self._consumers)

    @property
    def is_healthy(self) -> bool:
        """Whether every consumer runs and more jobs are taken."""
        return not self._stopping and self.alive == self._count

    def start(self) -> None:
        """Start the consumers."""
        self._pause()
        self._consumers = {
            asyncio.create_task(self._consume(), name=f"consumer-{number}")
            for number in range(self._count)
        }

    async def stop(self) -> None:
        """Drain, then cancel; returns when every consumer has ended."""
        self._stopping = True
        if self._resuming:
            self._resuming.cancel()
        for idle in self._consumers - self._busy:
            idle.cancel()
        if self._busy:
            log.info("draining", jobs=self.busy, seconds=self._drain_seconds)
            await asyncio.wait(self._busy, timeout=self._drain_seconds)
        for late in self._consumers:
            late.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)

    async def _consume(self) -> None:
        while not self._stopping:
            job = None
            try:
                async with self._queue.lease() as job:
                    await self._stores_work.wait()
                    async with self._turn(job):
                        await self._handle(job)
            except Exception as error:  # the job was given back; the consumer goes on
                log.warning(
                    "job given back",
                    file_id=job and job.file_id,
                    object_key=job and object_key(job.file_id),
                    reason=str(error),
                    exc_info=not str(error),
                )
                if isinstance(error, StoreUnavailable):
                    self._pause()

    def _pause(self) -> None:
        """Begin no job until the stores are found to work."""
        if self._check and self._stores_work.is_set():
            self._stores_work.clear()
            self._resuming = asyncio.create_task(self._resume(self._check))

    async def _resume(self, check: Callable[[], Awaitable[None]]) -> None:
        is_paused = False
        while True:
            try:
                await check()
                break
            except StoreUnavailable as error:
                if not is_paused:
                    log.warning("processing paused", reason=str(error))
                is_paused = True
                await asyncio.sleep(PAUSE_SECONDS)
        if is_paused:
            log.info("processing resumed")
        self._stores_work.set()

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Hold the job until it may run; the entrance lets jobs in as they come."""
        async with self._entrance:
            if job.alone:
                await self._idle.wait()
                async with self._work():
                    yield
                return
        async with self._work():
            yield

    @asynccontextmanager
    async def _work(self) -> AsyncIterator[None]:
        """Count the consumer as busy, without giving way to another before it is."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of ours always runs in a task
        self._busy.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._busy.discard(task)
            if not self._busy:
                self._idle.set()
