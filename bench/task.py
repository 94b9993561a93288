"""One measured run, in a process of its own: what it is to do, and how it says what it found."""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

Answers = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """A file and what is asked of it.

    `form` is "full", all of our statistics, or "simple", count, min, max, mean and time span of
    each sensor. The widths are those of histogram and time series, which peers are told for free.
    """

    path: str
    cores: int
    form: str = "full"
    columns: tuple[str, ...] = ()
    has_offsets: bool = False
    has_bad_rows: bool = False
    bin_width: float = 1.0
    bucket_us: int = 1_000_000
    engine: str = "auto"

    def to_json(self) -> str:
        """The task as the one argument of a measured process."""
        return json.dumps(asdict(self))

    @classmethod
    def given(cls) -> "Task":
        """The task that this process was started with."""
        return cls(**json.loads(sys.argv[1]))


def measure(work: Callable[[], T], answers: Callable[[T], Answers]) -> None:
    """Do the work and print its seconds, the process's peak memory and the answers, as JSON."""
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    peak = peak_mib("self")  # before the answers are put together, which is no part of the work
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "answers": answers(result)}))


def peak_mib(process: int | str) -> float:
    """The most memory that the process has ever had resident."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024
