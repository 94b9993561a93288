"""The worker pool: it goes on after failures, drains when told to stop, then cancels."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aggsvc.errors import StoreUnavailable
from aggsvc.model import Job, Status
from aggsvc.settings import Settings
from aggsvc.workers import WorkerPool
from mocks.sqs import MockSQS
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, Gated, opened_parts, until

Handle = Callable[[Job], Awaitable[None]]


class Desk:
    """A handler of jobs that waits for `go`, and knows what came and what was finished."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.go = asyncio.Event()

    async def handle(self, job: Job) -> None:
        self.begun.append(job.file_id)
        await self.go.wait()
        self.done.append(job.file_id)


async def queue_of(*names: str) -> MockSQS:
    queue = MockSQS(redelivery_delay=0.01)
    for name in names:
        await queue.send(Job(name))
    return queue


@pytest.mark.parametrize("error", [RuntimeError("boom"), StoreUnavailable("gone"), KeyError()])
async def test_a_failing_job_is_given_back_and_stops_no_consumer(error: Exception) -> None:
    handled: list[str] = []

    async def handle(job: Job) -> None:
        handled.append(job.file_id)
        if job.file_id == "bad" and handled.count("bad") < 5:
            raise error

    queue = await queue_of("bad", "good")
    pool = WorkerPool(queue, handle, 1)
    pool.start()
    await until(lambda: handled.count("bad") == 5, "the fifth try")
    assert "good" in handled
    assert pool.is_healthy
    await pool.stop()
    assert queue.depth() == 0


async def test_a_job_given_back_is_logged_with_its_file(logged: list[dict[str, object]]) -> None:
    tried = asyncio.Event()

    async def handle(_job: Job) -> None:
        tried.set()
        raise StoreUnavailable("gone")

    queue = await queue_of("a")
    pool = WorkerPool(queue, handle, 1)
    pool.start()
    await asyncio.wait_for(tried.wait(), DEADLINE)
    await pool.stop()
    await queue.close()
    assert logged[0]["reason"] == "gone"
    assert logged[0]["file_id"] == "a"


async def test_as_many_jobs_run_at_once_as_there_are_consumers() -> None:
    desk = Desk()
    queue = await queue_of("a", "b", "c", "d")
    pool = WorkerPool(queue, desk.handle, 3)
    pool.start()
    await until(lambda: len(desk.begun) == 3)
    assert (pool.alive, pool.busy, queue.depth()) == (3, 3, 1)
    desk.go.set()
    await until(lambda: len(desk.done) == 4)
    await pool.stop()
    assert sorted(desk.done) == ["a", "b", "c", "d"]


async def test_stopping_lets_running_jobs_finish_and_takes_no_more() -> None:
    desk = Desk()
    queue = await queue_of("a", "b", "c")
    pool = WorkerPool(queue, desk.handle, 2)
    pool.start()
    await until(lambda: len(desk.begun) == 2)
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    assert not pool.is_healthy
    assert not stopping.done()
    desk.go.set()
    await asyncio.wait_for(stopping, DEADLINE)
    assert sorted(desk.done) == ["a", "b"]
    assert (pool.alive, pool.busy, queue.depth()) == (0, 0, 1)


async def test_a_job_that_outlasts_the_drain_time_is_cancelled_and_given_back() -> None:
    desk = Desk()
    queue = await queue_of("a")
    pool = WorkerPool(queue, desk.handle, 2, drain_seconds=0.02)
    pool.start()
    await until(lambda: desk.begun == ["a"])
    await asyncio.wait_for(pool.stop(), DEADLINE)
    assert desk.done == []
    assert pool.alive == 0
    assert queue.depth() == 1


async def test_an_idle_pool_stops_at_once() -> None:
    pool = WorkerPool(await queue_of(), Desk().handle, 4)
    pool.start()
    assert pool.is_healthy
    await asyncio.wait_for(pool.stop(), 1)
    assert pool.alive == 0


async def test_a_pool_that_was_not_started_is_not_healthy_and_can_be_stopped() -> None:
    pool = WorkerPool(await queue_of(), Desk().handle, 4)
    assert not pool.is_healthy
    await pool.stop()


async def test_a_job_that_did_not_finish_is_processed_after_the_next_start(
    settings: Settings,
) -> None:
    async with opened_parts(settings, objects=Gated) as parts:
        sent = await parts.submit(HEADER + GOOD_ROW)
        pool = WorkerPool(parts.queue, parts.processor.process, 1, drain_seconds=0)
        pool.start()
        await asyncio.wait_for(parts.objects.reached.wait(), DEADLINE)
        await pool.stop()
        waiting = await parts.files.get(sent.file_id)
        assert (waiting.status, waiting.attempts) == (Status.UPLOADED, 0)
    async with opened_parts(settings) as parts:
        assert await parts.recovery.requeue() == 1
        pool = WorkerPool(parts.queue, parts.processor.process, 1)
        pool.start()

        async def processed() -> bool:
            return (await parts.files.get(sent.file_id)).status is Status.PROCESSED

        await until(processed)
        await pool.stop()
        assert (await parts.files.get(sent.file_id)).attempts == 1
