"""Events: each listener gets the newest state of each file, in bounded memory."""

import asyncio

from aggsvc.events import MAILBOX_FILES, EventHub, FileDeleted, FileEvent, Missed
from aggsvc.model import FileRecord, Progress, Status
from tests.conftest import DEADLINE


def event(file_id: str, version: int = 1, type_: str = "status", **changes: object) -> FileEvent:
    record = FileRecord(
        file_id, "a.csv", 9, "00", "2025-10-01T08:00:00.000000Z", version=version, **changes
    )
    return FileEvent.of(record, type_)


async def test_a_listener_to_one_file_hears_of_no_other() -> None:
    hub = EventHub()
    with hub.subscribe("b") as heard:
        hub.publish(event("a"))
        hub.publish(event("b"))
        assert await anext(heard) == event("b")
        assert heard._waiting == {}


async def test_a_listener_to_all_hears_each_file_in_order() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        for name in "abc":
            hub.publish(event(name))
        hub.publish(FileDeleted("d"))
        found = [await anext(heard) for _ in range(4)]
    assert [one.file_id for one in found] == ["a", "b", "c", "d"]
    assert found[-1].type == "deleted"


async def test_a_waiting_listener_is_woken() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        waiting = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.publish(event("a"))
        assert await asyncio.wait_for(waiting, DEADLINE) == event("a")


async def test_a_slow_listener_gets_the_newest_state_of_a_file_once() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        for version in range(1, 10_000):
            hub.publish(event("a", version, "progress", progress=Progress(version, version)))
        newest = await anext(heard)
        assert newest.version == 9_999
        assert heard._waiting == {}


async def test_progress_never_hides_that_the_status_changed() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        hub.publish(event("a", 2, status=Status.PROCESSING))
        hub.publish(event("a", 3, "progress", status=Status.PROCESSING))
        found = await anext(heard)
    assert (found.type, found.version) == ("status", 3)


async def test_a_deletion_takes_the_place_of_what_the_listener_has_not_read() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        hub.publish(event("a"))
        hub.publish(FileDeleted("a"))
        assert await anext(heard) == FileDeleted("a")


async def test_a_slow_listener_gets_missed_instead_of_unbounded_memory() -> None:
    """After `missed` comes what happened since, and nothing that was counted as missed."""
    hub = EventHub()
    with hub.subscribe() as heard:
        for number in range(5 * MAILBOX_FILES):
            hub.publish(event(f"f{number}"))
            assert len(heard._waiting) <= MAILBOX_FILES
        assert await anext(heard) == Missed()
        rest = [await anext(heard) for _ in range(len(heard._waiting))]
        assert rest[-1].file_id == f"f{5 * MAILBOX_FILES - 1}"
        assert not any(isinstance(one, Missed) for one in rest)
        hub.publish(event("later"))
        assert await anext(heard) == event("later")


async def test_one_file_more_or_less_in_a_full_mailbox() -> None:
    """Exactly MAILBOX_FILES fit."""
    hub = EventHub()
    with hub.subscribe() as heard:
        for number in range(MAILBOX_FILES):
            hub.publish(event(f"f{number}"))
        hub.publish(event("f0", 2))
        assert [type(await anext(heard)) for _ in range(MAILBOX_FILES)] == (
            [FileEvent] * MAILBOX_FILES
        )


async def test_nobody_is_told_after_unsubscribing() -> None:
    hub = EventHub()
    with hub.subscribe() as heard:
        pass
    hub.publish(event("a"))
    assert heard._waiting == {}
    assert hub._subscriptions == set()
