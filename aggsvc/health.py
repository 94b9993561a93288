"""How the service is: each store's state and the worker pool's."""

from dataclasses import dataclass, field
from typing import Literal

import structlog

from aggsvc.errors import StoreUnavailable, TokensUnreadable
from aggsvc.filetable import FileTable
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue
from aggsvc.tokens import LiveTokens
from aggsvc.workers import WorkerPool

State = Literal["ok", "unavailable"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreWell:
    """A store that can be read and written."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class StoreUnwell:
    """A store that cannot be read or written, and what is to be done."""

    status: Literal["unavailable"] = "unavailable"
    detail: str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class WorkersHealth:
    """How many workers live, how many of them process a file, and how many files wait for one."""

    status: State
    alive: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of each part; `status` is ok while all of them are."""

    status: State
    objects: StoreWell | StoreUnwell
    table: StoreWell | StoreUnwell
    workers: WorkersHealth


@dataclass(frozen=True, slots=True)
class AccessHealth:
    """Whether tokens can be told from others; while not, everybody is refused."""

    status: State
    detail: str | None


@dataclass(frozen=True, slots=True)
class GuardedReport(HealthReport):
    """The same of a service that asks everybody for a token."""

    access: AccessHealth


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """What anybody may know of such a service."""

    status: State


class Health:
    """Asks every part how it is."""

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        workers: WorkerPool,
        tokens: LiveTokens | None,
    ) -> None:
        self._objects = objects
        self._files = files
        self._queue = queue
        self._workers = workers
        self._tokens = tokens

    async def report(self) -> HealthReport:
        """The state of each part."""
        objects, table = await _state(self._objects), await _state(self._files)
        workers = WorkersHealth(
            "ok" if self._workers.is_healthy else "unavailable",
            alive=self._workers.alive,
            busy=self._workers.busy,
            waiting=self._queue.depth(),
        )
        well = all(part.status == "ok" for part in (objects, table, workers))
        if self._tokens is None:
            return HealthReport("ok" if well else "unavailable", objects, table, workers)
        access = _access(self._tokens)
        status: State = "ok" if well and access.status == "ok" else "unavailable"
        return GuardedReport(status, objects, table, workers, access)


def _access(tokens: LiveTokens) -> AccessHealth:
    try:
        tokens.check()
    except TokensUnreadable as error:
        return AccessHealth("unavailable", error.public)
    return AccessHealth("ok", None)


async def _state(store: FileObjects | FileTable) -> StoreWell | StoreUnwell:
    try:
        await store.check()
    except StoreUnavailable as error:
        log.warning("store unavailable", reason=str(error))
        return StoreUnwell(detail=error.public)
    return StoreWell()
