"""What a test needs of the machine beyond Python."""

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, but fails on CI, which installs it."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed on this machine"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return path


def seconds_of(pid: int) -> float:
    """How long the process has worked; other than the time gone by, however busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
