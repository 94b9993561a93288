"""numba where it can be had: without it the same functions run as they are, slowly.

Machine code is kept beside its source, or where that may not be written in the user's cache.
numba takes it for good as long as the function's own file is the same, but it holds code of others
too: so it lies in a folder named for the sources of all of them.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

KEPT_CODE = "machine-code-"

try:
    import numba
except Exception:  # also that of a broken one: an OSError where LLVM's library cannot be loaded
    HAS_NUMBA = False
else:
    from aggsvc.engine.kept_code import KeptCode

    HAS_NUMBA = True


def _keep_code_by_sources() -> None:
    here = Path(__file__).parent
    digest = sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py"))))
    chosen = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    beside = here / "__pycache__"
    homes = [Path(chosen)] if chosen else [beside, Path(os.path.expanduser("~/.cache/aggsvc"))]
    for home in homes:
        folder = home / f"{KEPT_CODE}{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
            if home == beside:  # elsewhere it may be another version's, and in use
                _forget_all_but(folder)
            return


def _forget_all_but(folder: Path) -> None:
    for other in folder.parent.glob(f"{KEPT_CODE}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


if HAS_NUMBA:
    _keep_code_by_sources()


def compiled(function: F) -> F:
    """The function as machine code that runs without the GIL, kept for the next start.

    It may make no arrays: those that it is given are not counted as referred to, which would cost
    as much as the rest of it.
    """
    return _compiled(function) if HAS_NUMBA else _wrapping(function)


def inlined(function: F) -> F:
    """The function as part of those compiled ones that call it."""
    return _compiled(function, inline="always") if HAS_NUMBA else function


def _compiled(function: F, **options: Any) -> F:
    options |= {"nogil": True, "_nrt": False}
    made: Any = numba.njit(**options)(function)
    with suppress(RuntimeError):  # no folder in which the code could be kept may be written
        made._cache = KeptCode(function)  # as cache=True does with numba's own
    return cast("F", made)


def _wrapping(function: F) -> F:
    """The function as it is; its words wrap around silently, as those of machine code do."""
    return np.errstate(over="ignore")(function)
