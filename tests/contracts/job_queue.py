"""What every ports.JobQueue does. The subclass has a fixture `queue`."""

import asyncio

import pytest

from aggsvc.model import Job
from aggsvc.ports import JobQueue
from tests.conftest import DEADLINE


async def take(queue: JobQueue) -> Job:
    async with asyncio.timeout(DEADLINE), queue.lease() as job:
        return job


class JobQueueContract:
    async def test_jobs_come_in_order_and_once(self, queue: JobQueue) -> None:
        for name in "abc":
            await queue.send(Job(name))
        assert queue.depth() == 3
        assert [(await take(queue)).file_id for _ in "abc"] == ["a", "b", "c"]
        assert queue.depth() == 0

    async def test_a_lease_waits_for_a_job(self, queue: JobQueue) -> None:
        taking = asyncio.create_task(take(queue))
        await asyncio.sleep(0.01)
        assert not taking.done()
        await queue.send(Job("a"))
        assert await taking == Job("a")

    async def test_a_leased_job_is_with_one_consumer(self, queue: JobQueue) -> None:
        await queue.send(Job("a"))
        async with queue.lease():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), queue.lease():
                    pass

    async def test_a_job_whose_consumer_failed_comes_back_once(self, queue: JobQueue) -> None:
        await queue.send(Job("a"))
        with pytest.raises(ValueError, match="broken"):
            async with queue.lease():
                raise ValueError("broken")
        assert await take(queue) == Job("a")
        assert queue.depth() == 0

    async def test_a_job_whose_consumer_was_cancelled_comes_back_once(
        self, queue: JobQueue
    ) -> None:
        async def hold() -> None:
            async with queue.lease():
                await asyncio.sleep(60)

        await queue.send(Job("a"))
        holding = asyncio.create_task(hold())
        await asyncio.sleep(0.01)
        holding.cancel()
        await asyncio.wait({holding})
        assert await take(queue) == Job("a")
        assert queue.depth() == 0

    async def test_a_cancelled_wait_loses_no_job(self, queue: JobQueue) -> None:
        for _ in range(20):
            taking = asyncio.create_task(take(queue))
            await asyncio.sleep(0)
            sending = asyncio.create_task(queue.send(Job("a")))
            await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait({taking, sending})
            if taking.cancelled():
                assert await take(queue) == Job("a")
        assert queue.depth() == 0
