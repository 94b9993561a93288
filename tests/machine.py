"""What a test needs of the machine beyond Python, and how fast that is."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

# What starting Python with aiohttp takes on the machine of docs/performance.md while it is quiet.
USUAL_START_SECONDS = 0.23


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


def within(seconds: float, promised: float) -> bool:
    """Whether something took no longer than promised for the machine of docs/performance.md.

    One that is slower, or has other things to do at the moment, may take so much longer.
    """
    if seconds <= promised:
        return True
    slower = slowness()
    print(f"{seconds:.3f} s, {promised:g} s promised, on a machine that is {slower:.1f} x slower")
    return seconds <= promised * slower


def slowness() -> float:
    """How many times longer than on that machine a start takes here and now, at least 1."""
    return max(1, min(_start_seconds() for _ in range(3)) / USUAL_START_SECONDS)


def _start_seconds() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True)
    return time.monotonic() - began
