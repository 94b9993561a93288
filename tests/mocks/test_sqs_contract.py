"""MockSQS keeps the contract of ports.JobQueue."""

from collections.abc import AsyncIterator

import pytest

from mocks.sqs import MockSQS
from tests.contracts.job_queue import JobQueueContract


@pytest.fixture
async def queue() -> AsyncIterator[MockSQS]:
    queue = MockSQS(redelivery_delay=0.02)
    yield queue
    await queue.close()


class TestMockSQS(JobQueueContract):
    """The suite, on MockSQS."""
