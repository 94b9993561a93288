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
    queue = MockSQS(redelivery_delay=30)
    await queue.send(Job("a"))
    await fail(queue)
    assert queue.depth() == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), queue.lease():
            pass
    (handle,) = queue._returning
    handle._run()
    handle.cancel()
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


async def delays(queue: MockSQS, count: int) -> list[float]:
    """How long the queue's job was away after each of its failures, by the loop's clock."""
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(count):
        await fail(queue)
        (handle,) = queue._returning
        found.append(handle.when() - loop.time())
        handle._run()
        handle.cancel()
    return found


async def test_each_further_failure_doubles_the_delay_up_to_a_limit():
    queue = MockSQS(redelivery_delay=1)
    await queue.send(Job("a"))
    assert await delays(queue, 8) == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], abs=0.5)
    assert await take(queue) == Job("a")


async def test_a_job_sent_anew_has_no_failures():
    queue = MockSQS(redelivery_delay=1)
    await queue.send(Job("a"))
    await delays(queue, 3)
    await take(queue)
    await queue.send(Job("a"))
    assert await delays(queue, 1) == pytest.approx([1], abs=0.5)
