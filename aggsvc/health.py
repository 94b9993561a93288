"""How the service is: each store's state and the worker pool's."""

from dataclasses import dataclass, field
from typing import Literal

import structlog

from aggsvc.errors import StoreUnavailable
from aggsvc.ports import JobQueue, MetadataTable, ObjectStore
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


class Health:
    """Asks every part how it is."""

    def __init__(
        self, objects: ObjectStore, table: MetadataTable, queue: JobQueue, workers: WorkerPool
    ) -> None:
        self._objects = objects
        self._table = table
        self._queue = queue
        self._workers = workers

    async def report(self) -> HealthReport:
        """The state of each part."""
        objects, table = await _state(self._objects), await _state(self._table)
        workers = WorkersHealth(
            "ok" if self._workers.is_healthy else "unavailable",
            alive=self._workers.alive,
            busy=self._workers.busy,
            waiting=self._queue.depth(),
        )
        well = all(part.status == "ok" for part in (objects, table, workers))
        return HealthReport("ok" if well else "unavailable", objects, table, workers)


async def _state(store: ObjectStore | MetadataTable) -> StoreWell | StoreUnwell:
    try:
        await store.check()
    except StoreUnavailable as error:
        log.warning("store unavailable", reason=str(error))
        return StoreUnwell(detail=error.public)
    return StoreWell()
