"""A real server in a process of its own, for benchmarks and nothing else."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.task import peak_mib


@dataclass(frozen=True)
class Server:
    """Where the server listens, and its process id."""

    url: str
    pid: int

    def peak_rss_mib(self) -> float:
        """The most memory that the process has ever had resident."""
        return peak_mib(self.pid)

    def processor_seconds(self) -> float:
        """The time that processors have given to the process until now, the kernel's included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running_server(folder: Path, **settings: str) -> AsyncIterator[Server]:
    """`python -m aggsvc` on a free port, its data in the folder; ended by SIGTERM."""
    with (folder / "log.txt").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aggsvc",
            env=os.environ | data_in(folder) | {"PORT": "0", "LOG_LEVEL": "WARNING"} | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout
    try:
        line = (await process.stdout.readline()).decode()
        yield Server(line.split()[3], process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def data_in(folder: Path) -> dict[str, str]:
    """The settings that keep a server's data in the folder."""
    return {
        "MOCK_S3_ROOT_PATH": str(folder / "s3"),
        "MOCK_DYNAMODB_PERSISTENCE_PATH": str(folder / "db.json"),
    }


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder on a real disk: beside the project, for /tmp may be memory."""
    root = Path(__file__).parent.parent / "tmp"
    root.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="bench-", dir=root)


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]
