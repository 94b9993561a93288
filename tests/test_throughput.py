"""What was processed in the last minute."""

import asyncio
from collections.abc import AsyncIterator

from aggsvc.events import Event, FileDeleted, FileEvent
from aggsvc.model import Progress, Status
from aggsvc.throughput import Processed, Throughput
from tests.conftest import GOOD_ROW, HEADER, Parts, stream, until


def ended(file_id: str, status: Status = Status.PROCESSED, type_: str = "status") -> FileEvent:
    return FileEvent(type_, file_id, "a.csv", status, 300, Progress(300, 7), 7, 0, None, 3)


async def test_files_that_came_to_an_end_are_counted_with_their_bytes_and_rows() -> None:
    """Neither a file that runs, nor progress, nor a deletion is one."""
    throughput = Throughput()

    async def told() -> AsyncIterator[Event]:
        for event in (
            ended("a"),
            ended("b", Status.PARTIAL),
            ended("c", Status.FAILED),
            ended("d", Status.PROCESSING),
            ended("e", type_="progress"),
            FileDeleted("a"),
        ):
            yield event

    await throughput.follow(told())
    assert throughput.last_minute() == Processed(3, 900, 21)


def test_each_second_is_kept_for_a_minute() -> None:
    now = 100.0
    throughput = Throughput(lambda: now)
    throughput.count(Processed(1, 10, 1))
    throughput.count(Processed(1, 20, 2))
    now = 101.9
    throughput.count(Processed(1, 30, 3))
    assert throughput.seconds()[-2:] == [Processed(2, 30, 3), Processed(1, 30, 3)]
    now = 160.0
    assert throughput.last_minute() == Processed(1, 30, 3)
    now = 161.0
    assert throughput.last_minute() == Processed()
    assert len(throughput.seconds()) == 60


async def test_what_a_service_processes_is_followed(parts: Parts) -> None:
    throughput = Throughput()
    with parts.service.watch_all() as changes:
        following = asyncio.create_task(throughput.follow(changes))
        record = await parts.service.submit("a.csv", stream(HEADER + GOOD_ROW))
        await parts.process(record.file_id)
        await until(lambda: throughput.last_minute().files == 1)
    following.cancel()
    assert throughput.last_minute() == Processed(1, len(HEADER + GOOD_ROW), 1)
