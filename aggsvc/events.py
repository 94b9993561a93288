"""Status and progress of files, told to whoever listens."""

from asyncio import Event as Signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from aggsvc.model import FileRecord, Progress, Status

# A listener that is this many files behind is told to read the listing again instead.
MAILBOX_FILES = 1_000


@dataclass(frozen=True, slots=True)
class FileEvent:
    """The state of a file after a change: `status` when that changed, else `progress`."""

    type: str
    file_id: str
    filename: str
    status: Status
    size_bytes: int
    progress: Progress
    row_count: int | None
    error_count: int
    message: str | None
    version: int

    @classmethod
    def of(cls, record: FileRecord, type_: str = "status") -> "FileEvent":
        """The event that tells this record's state."""
        return cls(
            type=type_,
            file_id=record.file_id,
            filename=record.filename,
            status=record.status,
            size_bytes=record.size_bytes,
            progress=record.progress,
            row_count=record.aggregates.row_count if record.aggregates else None,
            error_count=record.error_count,
            message=record.message,
            version=record.version,
        )


@dataclass(frozen=True, slots=True)
class FileDeleted:
    """A file is gone."""

    file_id: str
    type: str = "deleted"


@dataclass(frozen=True, slots=True)
class Missed:
    """More happened than was kept for this listener: read the listing again."""

    type: str = "missed"


Event = FileEvent | FileDeleted | Missed


class Subscription:
    """A listener's mailbox: an endless async iterator that holds the newest event of each file."""

    def __init__(self, file_id: str | None) -> None:
        self.file_id = file_id
        self._waiting: dict[str, FileEvent | FileDeleted] = {}
        self._missed = False
        self._filled = Signal()

    def deliver(self, event: FileEvent | FileDeleted) -> None:
        """Keep the event, instead of the file's last one if that still waits."""
        before = self._waiting.pop(event.file_id, None)
        if len(self._waiting) >= MAILBOX_FILES:
            self._waiting.clear()
            self._missed = True
        self._waiting[event.file_id] = _newest(before, event)
        self._filled.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        await self._filled.wait()
        if self._missed:
            self._missed = False
            return Missed()
        file_id = next(iter(self._waiting))
        event = self._waiting.pop(file_id)
        if not self._waiting:
            self._filled.clear()
        return event


def _newest(
    before: FileEvent | FileDeleted | None, event: FileEvent | FileDeleted
) -> FileEvent | FileDeleted:
    """The newer event, still a change of status if the one that it takes the place of was."""
    if isinstance(before, FileEvent) and isinstance(event, FileEvent) and before.type == "status":
        return replace(event, type="status")
    return event


class EventHub:
    """Hands each event to every subscription that it concerns; never waits for a slow one."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, event: FileEvent | FileDeleted) -> None:
        """Tell all who listen to this file, or to all files."""
        for subscription in self._subscriptions:
            if subscription.file_id in (None, event.file_id):
                subscription.deliver(event)

    @contextmanager
    def subscribe(self, file_id: str | None = None) -> Iterator[Subscription]:
        """Listen to one file, or to all, as long as the context is open."""
        subscription = Subscription(file_id)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
