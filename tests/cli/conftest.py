"""The command line in a process of its own, against a real server in another."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import pytest_asyncio

from tests.conftest import DEADLINE
from tests.process.conftest import ServerProcess

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
FINAL = ("processed", "partial", "failed")
# What changes from one upload of the same bytes to the next.
OF_THE_RUN = ("file_id", "history", "uploaded_at", "started_at", "processed_at", "processing_ms")


class Done(NamedTuple):
    """What a command gave."""

    out: str
    err: str
    status: int

    @property
    def record(self) -> Any:
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(url: str, **changes: str) -> dict[str, str]:
    """This process's environment with the command line's settings at their defaults."""
    unset = ("CLI_POLL_INTERVAL", "CLI_POLL_TIMEOUT", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {"API_BASE_URL": url, "CLI_POLL_INTERVAL": "0.02", "TERM": "xterm-256color"}
    return kept | ours | {"PATH": path} | changes


# Ctrl-C reaches a command even where whoever runs the tests ignores it.
AGGSVC = ["env", "--default-signal=INT", sys.executable, "-m", "cli"]


def start(url: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
    """Start a command without a terminal."""
    return launch([*AGGSVC, *arguments], url, **env)


def launch(command: list[str], url: str, **env: str) -> subprocess.Popen[bytes]:
    """Start a program that has the command line's settings."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(url, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> Done:
    """What the command gave, once it has ended."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return Done(out.decode(), err.decode(), process.returncode)


class Service(NamedTuple):
    """A running service, as the tests look at it."""

    url: str

    def run(self, *arguments: str, **env: str) -> Done:
        """Run a command to its end; there is never a traceback."""
        done = finish(start(self.url, *arguments, **env))
        assert "Traceback" not in done.err, done.err
        return done

    def shell(self, command: str) -> Done:
        """Run a line of bash in which `aggsvc` is the command line."""
        return finish(launch(["bash", "-c", command], self.url))

    def json(self, *arguments: str) -> Any:
        """The one answer of a command that cannot fail."""
        done = self.run("--json", *arguments)
        assert done.status in (0, 3), done
        return done.record

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as answer:
            return json.load(answer)

    def upload(self, path: Path) -> str:
        """Upload a file without the command line, wait until it is processed; return its id."""
        disposition = f'Content-Disposition: form-data; name="file"; filename="{path.name}"'
        body = f"--b\r\n{disposition}\r\n\r\n".encode() + path.read_bytes() + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        request = urllib.request.Request(f"{self.url}/files", body, headers)
        with urllib.request.urlopen(request) as answer:
            file_id = str(json.load(answer)["file_id"])
        wait_until(lambda: self.get(f"/files/{file_id}")["status"] in FINAL)
        return file_id

    def until(self, status: str) -> None:
        """Wait until some file has the status."""
        wait_until(lambda: bool(self.get(f"/files?status={status}")["items"]))


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails the test if it does not within DEADLINE."""
    limit = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The service that tests share; its files are nobody's own."""
    server = ServerProcess(tmp_path_factory.mktemp("service"))
    await server.start()
    yield Service(server.url)
    assert await server.stop() == 0


SLOW = """
import sys
from pathlib import Path
from aggsvc.__main__ import main
from tests.process.failpoints import Poison
Poison(Path("/nowhere")).set()
sys.exit(main())
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server that a test may hold, as one that hangs, and kill; `slow_file` has no end there."""
    server = ServerProcess(tmp_path)
    server.command = (sys.executable, "-c", SLOW)
    await server.start(PYTHONPATH=str(ROOT), PROCESSOR_ENGINE="rows", LOG_LEVEL="debug")
    yield server
    await server.stop(signal.SIGKILL)


@pytest.fixture
def slow_file(tmp_path: Path) -> Path:
    """A file that `server` processes without an end."""
    path = tmp_path / "slow.csv"
    path.write_bytes(b"sensor_id,timestamp,value\nslow,2025-10-01T08:00:00Z,1.5\n")
    return path


class Terminal:
    """A command in a terminal of its own, so many columns wide."""

    def __init__(self, url: str, *arguments: str, columns: int = 100) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *AGGSVC, *arguments],
            cwd=ROOT,
            env=environment(url),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        """All that was shown, without escape sequences."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    def expect(self, pattern: str) -> None:
        """Wait until the pattern was shown."""
        limit = time.monotonic() + DEADLINE
        while not re.search(pattern, self.text):
            assert time.monotonic() < limit, f"{pattern} was not shown: {self.raw!r}"
            assert self._read(), f"it ended before {pattern} was shown: {self.raw!r}"

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def finish(self) -> int:
        """Wait for the end, and return the exit status."""
        while self._read():
            pass
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._ours], [], [], DEADLINE)
        assert readable, f"nothing more came: {self.raw!r}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(url: str, *arguments: str, columns: int = 100) -> Iterator[Terminal]:
    opened = Terminal(url, *arguments, columns=columns)
    try:
        yield opened
    finally:
        opened.close()


class Stranger(BaseHTTPRequestHandler):
    """A server that is not aggsvc; the first part of the path says what it answers."""

    answers: ClassVar = {
        "text": (404, "text/plain", b"404: Not Found"),
        "html": (200, "text/html", b"<html>hello</html>"),
        "list": (200, "application/json", b"[]"),
        "other": (200, "application/json", b'{"hello": "world"}'),
        "broken": (200, "application/json", b'{"file_id": '),
        "hostile": (400, "application/problem+json", b'{"detail": "[red]\\u001b]0;x\\u0007"}'),
    }

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        status, kind, body = self.answers[self.path.split("/")[1]]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815 - the name that http.server looks for
    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def stranger() -> Iterator[str]:
    """The address of a server that is not aggsvc."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
