"""The machine code that numba keeps for the next start, which a crash or a full disk may spoil."""

from contextlib import suppress
from functools import cache
from pickle import PickleError
from typing import Any

import structlog
from numba.core.caching import FunctionCache

log = structlog.get_logger()


class KeptCode(FunctionCache):
    """One function's: what cannot be read is made again, and what cannot be written is not kept.

    numba itself raises then, at this start and every later one.
    """

    def __init__(self, function: Any) -> None:
        """Raises RuntimeError where there is no folder for it."""
        super().__init__(function)  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for these types, or None."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # what unpickling damaged bytes may raise is not told
            _warn("machine code kept earlier cannot be read, and is made again", str(error))
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for these types."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except (OSError, EOFError, PickleError) as error:  # the index, if it could not be flushed
            reason = error.strerror if isinstance(error, OSError) else str(error)
            _warn("machine code cannot be kept, and is made at the next start again", str(reason))


@cache
def _warn(event: str, reason: str) -> None:
    """Once, for there are dozens of functions."""
    log.warning(event, reason=reason)
