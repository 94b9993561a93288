"""How pytest-xdist deals the tests out: what takes long first, so that no worker waits at the end.

Its own groups are none with pytest 9.2 (pytest-dev/pytest-xdist#1386).
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests that share what takes long to start: one worker has all of them.
TOGETHER = ("tests/web/", "tests/test_containers.py", "tests/test_readme.py")
# What else takes long, the longest first.
LONG = (
    "tests/process/test_crashes.py",
    "tests/test_stateful.py",
    "tests/mocks/test_power_loss.py",
    "tests/process/test_shutdown.py",
    "tests/fuzz/",
    "tests/engine/test_engine.py",
    "tests/engine/test_floats.py",
)


def place(nodeid: str) -> int:
    """Where in the order a test comes."""
    order = (*TOGETHER, *LONG)
    return next((at for at, path in enumerate(order) if nodeid.startswith(path)), len(order))


class Scheduling(LoadScopeScheduling):
    """Deals the tests out one by one in their order, but those that belong together as one."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)
