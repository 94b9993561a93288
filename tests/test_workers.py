"""The worker pool: it goes on after failures, drains when told to stop, then cancels."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aggsvc.errors import StoreUnavailable
from aggsvc.model import Job, Status
from aggsvc.settings import Settings
from aggsvc.workers import DRAIN_SECONDS, WorkerPool
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
    await asyncio.wait_for(pool.stop(), DRAIN_SECONDS / 2)
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


class Company(Desk):
    """A desk that knows, for each job, who was at work when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work: set[str] = set()
        self.beside: dict[str, set[str]] = {}

    async def handle(self, job: Job) -> None:
        self.beside[job.file_id] = set(self.at_work)
        self.at_work.add(job.file_id)
        await asyncio.sleep(0.01)
        self.at_work.discard(job.file_id)
        self.done.append(job.file_id)


async def queue_of_jobs(*jobs: Job) -> MockSQS:
    queue = MockSQS(redelivery_delay=0.01)
    for job in jobs:
        await queue.send(job)
    return queue


async def test_jobs_that_must_be_alone_run_one_by_one_before_those_behind_them() -> None:
    company = Company()
    alone = [Job(name, alone=True) for name in "abcdef"]
    queue = await queue_of_jobs(*alone, *(Job(name) for name in "uvwxyz"))
    pool = WorkerPool(queue, company.handle, 3)
    pool.start()
    await until(lambda: len(company.done) == 12, "the last job")
    await pool.stop()
    assert company.done[:6] == list("abcdef")
    assert all(company.beside[job.file_id] == set() for job in alone)
    assert any(company.beside[name] for name in "uvwxyz")


async def test_a_job_that_must_be_alone_waits_for_those_that_run() -> None:
    company = Company()
    queue = await queue_of_jobs(Job("a"), Job("b"), Job("c", alone=True), Job("d"))
    pool = WorkerPool(queue, company.handle, 4)
    pool.start()
    await until(lambda: len(company.done) == 4, "the last job")
    await pool.stop()
    assert company.beside["b"] == {"a"}
    assert company.beside["c"] == set()
    assert "c" not in company.beside["d"]


async def test_a_job_alone_that_fails_holds_up_no_other_while_it_waits_to_come_back() -> None:
    handled: list[str] = []

    async def handle(job: Job) -> None:
        handled.append(job.file_id)
        if handled.count("a") < 3 and job.alone:
            raise StoreUnavailable("gone")

    queue = await queue_of_jobs(Job("a", alone=True), Job("b"))
    pool = WorkerPool(queue, handle, 2)
    pool.start()
    await until(lambda: handled.count("a") == 3, "the third try")
    await pool.stop()
    assert handled == ["a", "b", "a", "a"]


async def test_jobs_that_wait_for_their_turn_are_given_back_when_the_pool_stops() -> None:
    desk = Desk()
    queue = await queue_of_jobs(*(Job(name, alone=True) for name in "abc"))
    pool = WorkerPool(queue, desk.handle, 3)
    pool.start()
    await until(lambda: desk.begun == ["a"])
    await until(lambda: queue.depth() == 0)
    assert pool.busy == 1
    stopping = asyncio.create_task(pool.stop())
    await until(lambda: queue.depth() == 2, "the return of those that wait")
    desk.go.set()
    await asyncio.wait_for(stopping, DEADLINE)
    assert desk.done == ["a"]


async def test_no_job_is_begun_while_the_stores_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, object]]
) -> None:
    """The one that a store failed comes back; the others are not tried in turn."""
    monkeypatch.setattr("aggsvc.workers.PAUSE_SECONDS", 0.01)
    handled: list[str] = []
    checks = 0
    is_well = True

    async def check() -> None:
        nonlocal checks
        checks += 1
        if not is_well:
            raise StoreUnavailable("full")

    async def handle(job: Job) -> None:
        nonlocal is_well
        handled.append(job.file_id)
        if len(handled) == 1:
            is_well = False
            raise StoreUnavailable("full")

    queue = await queue_of("a", "b", "c", "d")
    pool = WorkerPool(queue, handle, 1, check=check)
    pool.start()
    await until(lambda: checks > 8, "the pause")
    assert handled == ["a"]
    is_well = True
    await until(lambda: len(handled) == 5, "the other jobs")
    assert sorted(handled) == ["a", "a", "b", "c", "d"]
    await pool.stop()
    events = [line["event"] for line in logged]
    assert (events.count("processing paused"), events.count("processing resumed")) == (1, 1)


async def test_a_pool_that_is_paused_stops_at_once_and_gives_its_jobs_back() -> None:
    async def check() -> None:
        raise StoreUnavailable("full")

    desk = Desk()
    queue = await queue_of("a", "b", "c")
    pool = WorkerPool(queue, desk.handle, 2, check=check)
    pool.start()
    await until(lambda: queue.depth() == 1, "the leases")
    await asyncio.wait_for(pool.stop(), DEADLINE)
    assert (desk.begun, queue.depth()) == ([], 3)
