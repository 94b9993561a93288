"""Where numba cannot be imported the answers are the same, and one warning says why it is slow."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.engine.conftest import run_sync

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = ("statistics-of-eight", "statistics-of-all-there-is", "mean-cancels-huge", "plain")

PROGRAM = """
import sys
sys.modules["numba"] = None
import asyncio, orjson
from pathlib import Path
from aggsvc.engine import load_engine

engine = load_engine("auto", 2)

async def read(path):
    async def stream():
        yield Path(path).read_bytes()
    async def ignore(_):
        pass
    found = await engine(stream(), on_errors=ignore, on_progress=ignore, max_sensors=1000)
    return [found.summary.aggregates(), found.summary.sensors().rows()]

print(orjson.dumps([asyncio.run(read(path)) for path in sys.argv[1:]]).decode())
"""


@pytest.fixture(scope="module")
def without() -> subprocess.CompletedProcess[str]:
    paths = [str(GOLDEN / f"{name}.csv") for name in NAMES]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=True
    )


def test_answers_are_those_of_the_compiled_lane(
    without: subprocess.CompletedProcess[str],
) -> None:
    expected = []
    for name in NAMES:
        run = run_sync([(GOLDEN / f"{name}.csv").read_bytes()], lane="kernel")
        assert run.outcome
        summary = run.outcome.summary
        expected.append([summary.aggregates(), summary.sensors().rows()])
    assert orjson.loads(without.stdout.splitlines()[-1]) == orjson.loads(orjson.dumps(expected))


def test_one_warning_says_so(without: subprocess.CompletedProcess[str]) -> None:
    told = without.stdout + without.stderr
    assert told.count("numba cannot be imported") == 1


BROKEN = """
import sys

class Broken:
    def find_spec(self, name, *_):
        if name == "llvmlite":
            raise OSError("libllvmlite.so: file too short")

sys.meta_path.insert(0, Broken())
from aggsvc.engine.lanes import lane_of

print(lane_of("auto", 2).name)
"""


def test_a_numba_that_breaks_as_it_is_imported_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "reference"
