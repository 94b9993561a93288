"""What is special to MockSQS: a failed job comes back after a delay."""

import asyncio

import pytest

from aggsvc.model import Job
from mocks.sqs import MockSQS
from tests.contracts.job_queue import take


async def fail(queue: MockSQS) -> None:
    with pytest.raises(ValueError, match="broken"):
        async with queue.lease():
            raise ValueError("broken")


async def test_a_failed_job_waits_before_it_comes_back():
    queue = MockSQS(redelivery_delay=0.05)
    await queue.send(Job("a"))
    await fail(queue)
    assert queue.depth() == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), queue.lease():
            pass
    assert await take(queue) == Job("a")


async def test_a_failed_job_goes_behind_the_others():
    queue = MockSQS(redelivery_delay=0)
    await queue.send(Job("a"))
    await queue.send(Job("b"))
    await fail(queue)
    await asyncio.sleep(0.01)
    assert [await take(queue), await take(queue)] == [Job("b"), Job("a")]


async def test_close_forgets_what_was_to_come_back():
    queue = MockSQS(redelivery_delay=0.01)
    await queue.send(Job("a"))
    await fail(queue)
    await queue.close()
    await asyncio.sleep(0.03)
    assert queue.depth() == 0
