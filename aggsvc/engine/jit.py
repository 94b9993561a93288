"""numba where it can be had: without it the same functions run as they are, slowly."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba
except ImportError:
    HAS_NUMBA = False
else:
    HAS_NUMBA = True


def compiled(function: F) -> F:
    """The function as machine code that runs without the GIL, kept for the next start."""
    return _compiled(function) if HAS_NUMBA else function


def inlined(function: F) -> F:
    """The function as part of those compiled ones that call it."""
    return _compiled(function, inline="always") if HAS_NUMBA else function


def _compiled(function: F, **options: Any) -> F:
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder in which the code could be kept may be written
        return numba.njit(nogil=True, **options)(function)  # type: ignore[no-any-return]
