"""How the service is: each store's state and the worker pool's."""

from typing import Any

import structlog

from aggsvc.errors import StoreUnavailable
from aggsvc.filetable import FileTable
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue
from aggsvc.workers import WorkerPool

OK = "ok"
UNAVAILABLE = "unavailable"

log = structlog.get_logger()


class Health:
    """Asks every part how it is."""

    def __init__(
        self, objects: FileObjects, files: FileTable, queue: JobQueue, workers: WorkerPool
    ) -> None:
        self._stores: dict[str, FileObjects | FileTable] = {"objects": objects, "table": files}
        self._queue = queue
        self._workers = workers

    async def report(self) -> dict[str, Any]:
        """The state of each part, and `status`: ok while all of them are."""
        parts = {name: await _state(store) for name, store in self._stores.items()}
        parts["workers"] = {
            "status": OK if self._workers.is_healthy else UNAVAILABLE,
            "alive": self._workers.alive,
            "busy": self._workers.busy,
            "waiting": self._queue.depth(),
        }
        well = all(part["status"] == OK for part in parts.values())
        return {"status": OK if well else UNAVAILABLE, **parts}


async def _state(store: FileObjects | FileTable) -> dict[str, Any]:
    try:
        await store.check()
    except StoreUnavailable as error:
        log.warning("store unavailable", reason=str(error))
        return {"status": UNAVAILABLE, "detail": error.public}
    return {"status": OK}
