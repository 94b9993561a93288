"""Whether new work is taken: decided from the head of a request, before any of its body is read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from aggsvc.errors import Busy, StoreUnavailable

# Between two lines of the log that say that work is refused.
QUIET_SECONDS = 10.0

log = structlog.get_logger()


class Admission:
    """Lets in at most `max_uploads` at a time, and none where `max_waiting` files wait.

    An upload under way counts as a file that waits, so that there are never more than that;
    `uploads` says how many there are. While a store is in trouble (`hold`) only replays are let in,
    which write nothing.
    """

    def __init__(self, max_uploads: int, max_waiting: int, waiting: Callable[[], int]) -> None:
        self._max_uploads = max_uploads
        self._max_waiting = max_waiting
        self._waiting = waiting
        self.uploads = 0
        self._replays = 0  # of the uploads
        self._closed = False
        self._trouble: StoreUnavailable | None = None
        self._refused = 0
        self._quiet_until = 0.0

    @contextmanager
    def upload(self, *, is_replay: bool = False) -> Iterator[None]:
        """A place for one upload, as long as the context is open; raises as `job` does.

        A replay makes no file that waits, so only those under way are counted against it.
        """
        if self.uploads >= self._max_uploads:
            self._refuse(
                f"as many uploads are under way as may ({self.uploads:,}); try again later"
            )
        if is_replay:
            self._require_open()
        else:
            self.job()
        self.uploads += 1
        self._replays += is_replay
        try:
            yield
        finally:
            self.uploads -= 1
            self._replays -= is_replay

    def job(self) -> None:
        """Raises Busy unless another file may be queued, StoreUnavailable while work is held."""
        self._require_open()
        if self._trouble:
            raise type(self._trouble)(str(self._trouble))
        if self._waiting() + self.uploads - self._replays >= self._max_waiting:
            self._refuse(f"as many files wait as may ({self._max_waiting:,}); try again later")

    def hold(self, trouble: StoreUnavailable | None) -> None:
        """Refuse new work with this trouble of a store; None lets it in again."""
        self._trouble = trouble

    def close(self) -> None:
        """Take no more work: the service stops."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            self._refuse("the service is stopping; try again when it has started")

    def _refuse(self, why: str) -> None:
        self._refused += 1
        if time.monotonic() >= self._quiet_until:
            log.warning("new work refused", reason=why, refused=self._refused)
            self._quiet_until = time.monotonic() + QUIET_SECONDS
        raise Busy(why)
