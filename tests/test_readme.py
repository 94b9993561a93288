"""README.md and docs/format.md are true: their examples are run, their tables compared."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import asyncclick as click
import pytest

from aggsvc.api.routes import ROUTES
from aggsvc.engine import load_engine
from aggsvc.engine.aggregate import Outcome
from aggsvc.engine.fields import read_timestamp
from aggsvc.errors import FileRejected
from aggsvc.http.kinds import KINDS
from aggsvc.model import Progress, RowError
from aggsvc.settings import CLIENT_NAMES, Settings
from cli.main import ExitStatus, cli
from tests.conftest import DEADLINE
from tests.machine import program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FORMAT = (ROOT / "docs/format.md").read_text()
BASE = "http://localhost:8000"
HUNG_UP = 28  # curl's exit status when --max-time is over
TRIES = 5


class Example(NamedTuple):
    """A command of the README and the output that is shown behind it."""

    line: int
    command: str
    shown: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.command[:60]}"


def examples() -> list[Example]:
    found = []
    for block in re.finditer(r"^```(?:console|sh)\n(.*?)^```$", README, re.M | re.S):
        line = README.count("\n", 0, block.start()) + 2
        for part in re.split(r"^(?=\$ )", block[1], flags=re.M):
            if part:
                command, _, shown = part.partition("\n")
                assert command.startswith("$ "), f"README line {line}: no command"
                found.append(Example(line, command[2:], shown))
                line += part.count("\n")
    return found


EXAMPLES = examples()


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The Markdown tables of a text: head and rows, as lists of cells."""
    for match in re.finditer(r"(?:^\|.*\n)+", text, re.M):
        lines = [re.split(r" ?\| ?", line.strip())[1:-1] for line in match[0].splitlines()]
        yield lines[0], lines[2:]


def table(text: str, *head: str) -> list[list[str]]:
    """The rows of all tables with that head."""
    rows = [row for cells, part in tables(text) if cells == list(head) for row in part]
    assert rows, f"there is no table with the head {head}"
    return rows


def code(cell: str) -> str:
    """The text of a cell that is one span of code."""
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"not one span of code: {cell}"
    return match[1]


# --- what is shown against what came out ---

# What differs from run to run: ids and cursors, which later commands repeat, and the rest.
NAMED = r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])|W1si[\w-]+"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
TOOK = r"took +\d+ ms"
LEFT_OUT = "…"


class Names:
    """Ids and cursors of the README, each with what stands for it in this run."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def in_command(self, text: str) -> str:
        return re.sub(NAMED, lambda match: self._real.get(match[0], match[0]), text)

    def match(self, shown: str, actual: str) -> bool:
        """Whether the actual text is the shown one, but for what differs from run to run."""
        new: list[str] = []
        pattern = "".join(self._patterns(shown, new))
        match = re.fullmatch(pattern, actual, re.S)
        if match:
            self._real.update(zip(new, match.groups(), strict=True))
        return match is not None

    def _patterns(self, shown: str, new: list[str]) -> Iterator[str]:
        for part in re.split(rf"({NAMED}|{TIME}|{TOOK}|^\.\.\.\n)", shown, flags=re.M):
            if part == "...\n":
                yield "(?:.*\n)?"
            elif varies := next((each for each in (TIME, TOOK) if re.fullmatch(each, part)), None):
                yield varies
            elif not re.fullmatch(NAMED, part):
                yield re.escape(part)
            elif part in self._real:
                yield re.escape(self._real[part])
            elif part in new:
                yield rf"(?:\{new.index(part) + 1})"
            else:
                new.append(part)
                yield f"({NAMED})"


def parse(text: str) -> Any:
    """The text as JSON, in which `...` stands for members left out; None if it is not JSON."""
    try:
        return json.loads(re.sub(r"(?<=[{,\s])\.\.\.(?=[,\s}])", f'"{LEFT_OUT}": 0', text))
    except ValueError:
        return None


def same(shown: Any, actual: Any, names: Names, member: str = "") -> bool:
    """Whether JSON is as shown: numbers to the bit, every member there unless some are left out."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        told = {name: value for name, value in shown.items() if name != LEFT_OUT}
        complete = LEFT_OUT in shown or told.keys() == actual.keys()
        return complete and all(
            name in actual and same(value, actual[name], names, name)
            for name, value in told.items()
        )
    if isinstance(shown, list) and isinstance(actual, list):
        pairs = zip(shown, actual, strict=False)
        return len(shown) == len(actual) and all(same(*pair, names) for pair in pairs)
    if isinstance(shown, str) and isinstance(actual, str):
        return names.match(shown, actual)
    if member == "processing_ms" and isinstance(shown, int):
        return isinstance(actual, int)
    return repr(shown) == repr(actual)


def is_as_shown(shown: str, actual: str, names: Names) -> bool:
    expected = parse(shown)
    if not isinstance(expected, dict):
        return names.match(trimmed(shown), trimmed(actual))
    return same(expected, parse(actual), names)


def trimmed(text: str) -> str:
    """The text without spaces at the ends of its lines, nor blank lines at its own."""
    return re.sub(r"\s+$", "", re.sub(r"[ \t\r]+$", "", text, flags=re.M)) + "\n"


# --- the service and a shell, as the README's reader has them ---


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """This process's environment with our settings at their defaults, the data in the folder."""
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    data = {
        "MOCK_S3_ROOT_PATH": str(folder / "objects"),
        "MOCK_DYNAMODB_PERSISTENCE_PATH": str(folder / "table" / "db.json"),
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | data | {"PORT": "0", "PATH": path} | settings


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """A running service; gives its address."""
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "aggsvc"],
            cwd=ROOT,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline()
            banner = re.fullmatch(r"aggsvc listens on (http://\S+) \(Ctrl-C stops\)\n", line)
            assert banner, f"{line!r}; the log: {(folder / 'log').read_text()}"
            yield banner[1]
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            finally:
                process.kill()


class Shell:
    """A bash that keeps its variables from one command to the next."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, command: str) -> tuple[str, int]:
        """The command's output, errors among it, and its exit status."""
        self._process.stdin.write(f"{command}\nprintf '\\036%d\\n' $?\n")
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            before, mark, status = line.partition("\x1e")
            output += before
            if mark:
                return output, int(status)
        raise AssertionError(f"the shell ended at {command!r}: {output}")


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    with subprocess.Popen(
        ["bash", "--norc"],
        cwd=ROOT,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield Shell(process)


def wait_until_done(address: str) -> None:
    """Wait, as the README tells its reader, until every file has been processed."""
    deadline = time.monotonic() + DEADLINE
    while any(unfinished(address, status) for status in ("uploaded", "processing")):
        assert time.monotonic() < deadline, "files stay unfinished"
        time.sleep(0.02)


def unfinished(address: str, status: str) -> list[Any]:
    with urllib.request.urlopen(f"{address}/files?status={status}&limit=1") as answer:
        return json.load(answer)["items"]


class Run(NamedTuple):
    """What an example gave."""

    command: str
    actual: str
    status: int
    is_as_shown: bool


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Example, Run]:
    """Every example of the README, run in order against one service."""
    program("curl")
    folder, names, found, beside = tmp_path_factory.mktemp("readme"), Names(), {}, ""
    with service(folder) as address, shell(folder) as bash:
        bash.run(f"export API_BASE_URL={address}")
        for example in EXAMPLES:
            command = names.in_command(example.command).replace(BASE, address)
            for _ in range(TRIES):
                actual, status = bash.run(command)
                fits = is_as_shown(example.shown, actual, names)
                found[example] = Run(command, actual, status, fits)
                if fits or not hangs_up(example):
                    break
                undo_upload(address, bash)  # a busy machine was too late with one of the two
                bash.run(beside)
            beside = command
            if not command.endswith("&"):
                wait_until_done(address)
    return found


def undo_upload(address: str, bash: Shell) -> None:
    """Delete the file that was uploaded in the background."""
    bash.run("wait")
    wait_until_done(address)
    with urllib.request.urlopen(f"{address}/files?limit=1") as answer:
        (newest,) = json.load(answer)["items"]
    url = f"{address}/files/{newest['file_id']}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()


def hangs_up(example: Example) -> bool:
    """Whether the command shows what happens within a time."""
    return "--max-time" in example.command


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_gives_what_it_shows(example: Example, runs: dict[Example, Run]) -> None:
    """Each command of the README succeeds and prints what stands behind it."""
    run = runs[example]
    assert run.status == (HUNG_UP if hangs_up(example) else 0), run
    assert run.is_as_shown, f"$ {run.command}\nshown:\n{example.shown}\nactual:\n{run.actual}"


def test_every_route_is_in_the_table_of_calls() -> None:
    """The table of calls has the API's routes, all of them and no other."""
    calls = [code(row[0]) for row in table(README, "call", "answer")]
    assert sorted(calls) == sorted(f"{route.method} {route.path}" for route in ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_has_an_example(route: Any) -> None:
    """Each call is shown with a curl command that succeeds."""
    path = re.escape(route.path).replace(r"\{file_id\}", r"(?:\$ID|[0-9a-f]{32})")
    path = path.replace(r"\{name\}", "[a-z-]+")
    ends = re.compile(re.escape(BASE) + path + r"(?=$|[\s'\"?)])")
    commands = [example.command for example in EXAMPLES if ends.search(example.command)]
    assert any(method_of(command) == route.method for command in commands)


def test_every_kind_of_problem_is_in_the_table_of_refusals() -> None:
    """The table is the service's own: type, status and when."""
    shown = [[code(type_), int(status), when] for type_, status, when in refusals()]
    assert shown == [[kind.type, kind.status, kind.when] for kind in KINDS.values()]


def refusals() -> list[list[str]]:
    return table(README, "type", "status", "when")


def method_of(curl: str) -> str:
    given = re.search(r" -X (\w+)", curl)
    if given:
        return given[1]
    return "POST" if " -F " in curl else "GET"


def test_the_table_of_settings_has_each_with_its_default() -> None:
    """The settings table is that of Settings: the same names, and the same defaults."""
    rows = table(README, "variable", "default", "meaning")
    shown = {code(name).lower(): code(default) for name, default, _ in rows}
    assert sorted(shown) == sorted(Settings.model_fields)
    assert Settings(**shown) == Settings.model_construct()
    assert all(meaning for _, _, meaning in rows)


# --- the command line ---


OPTIONS = [option for option in cli.params if isinstance(option, click.Option)]


def test_the_table_of_the_command_lines_settings_has_each_with_its_default() -> None:
    """Its settings are those of the command line: name, option and default."""
    rows = table(README, "variable", "option", "default", "meaning")
    shown = {(code(name), code(option), code(default)) for name, option, default, _ in rows}
    wanted = {(o.envvar, o.opts[0], default_of(o)) for o in OPTIONS if o.envvar}
    assert shown == wanted
    assert {name for name, _, _ in wanted} == CLIENT_NAMES


def default_of(option: click.Option) -> str:
    return "none" if option.name == "token" else f"{option.default}".removesuffix(".0")


def test_every_command_is_in_the_table_and_has_an_example() -> None:
    """The table of commands has all of them; each but serve is shown with its output."""
    rows = table(README, "command", "what it does")
    shown = {code(row[0]).split()[0] for row in rows} - {"make"}
    assert shown == set(cli.commands)
    text = "\n".join(example.command for example in EXAMPLES)
    for command in shown - {"serve"}:
        assert re.search(rf"^aggsvc (--json )?{command}\b", text, re.M), command
    assert re.search(r"^PORT=8080 aggsvc serve$", README, re.M)


def test_every_exit_status_is_told() -> None:
    rows = table(README, "exit status", "when")
    assert [int(status) for status, _ in rows] == sorted(ExitStatus)


# --- images ---

IMAGES = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", README)


@pytest.mark.parametrize(("text", "path"), IMAGES)
def test_an_image_is_there(text: str, path: str) -> None:
    """Each image is a PNG that loads quickly, with a text for those who cannot see it."""
    data = (ROOT / path).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000
    assert len(text) > 20


# --- containers ---


def test_the_two_commands_of_compose_are_shown() -> None:
    """The README shows the commands with which compose.yaml itself begins."""
    commands = re.findall(r"^# (docker compose .+)$", (ROOT / "compose.yaml").read_text(), re.M)
    assert len(commands) == 2
    assert "```\n{}\n{}\n```".format(*commands) in README


# --- troubleshooting ---


def told(message: str) -> bool:
    """Whether a table of messages has this one; `…` there stands for anything."""
    messages = [code(row[0]) for row in table(README, "message", "what to do")]
    patterns = (re.escape(text).replace("…", ".+") for text in messages)
    return any(re.fullmatch(pattern, message) for pattern in patterns)


def refusal(folder: Path, **settings: str) -> str:
    """The one line with which the service refuses to start."""
    done = subprocess.run(
        [sys.executable, "-m", "aggsvc"],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1, done
    return done.stderr.removesuffix("\n")


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """The message for a port in use is the one in the README."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert told(refusal(tmp_path, PORT=str(taken.getsockname()[1])))


def test_a_bad_setting_is_told(tmp_path: Path) -> None:
    """The message for a bad setting is the one in the README."""
    assert told(refusal(tmp_path, PORT="99999"))


def test_an_undecided_access_is_told(tmp_path: Path) -> None:
    """The message for an address that is open to others is the one in the README."""
    assert told(refusal(tmp_path, HOST="0.0.0.0"))


def test_a_damaged_session_key_is_told(tmp_path: Path) -> None:
    """The message for a session key that is none is the one in the README."""
    (tmp_path / "session.key").touch(0o600)
    assert told(refusal(tmp_path, AUTH="on", AUTH_PATH=str(tmp_path)))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The message for a folder that cannot be had is the one in the README."""
    (tmp_path / "objects").touch()
    assert told(refusal(tmp_path))


def test_a_second_process_and_a_damaged_journal_are_told(tmp_path: Path) -> None:
    """The messages for data in use and for damaged data are those in the README."""
    with service(tmp_path) as address, shell(tmp_path) as bash:
        for _ in range(2):
            assert bash.run(f"curl -sf -F file=@samples/clean.csv {address}/files")[1] == 0
        assert told(refusal(tmp_path))
    assert not told("aggsvc: something else")
    journal = tmp_path / "table" / "db.json.journal.0"
    data = bytearray(journal.read_bytes())
    data[100] ^= 1
    journal.write_bytes(data)
    assert told(refusal(tmp_path))


def read(data: bytes) -> tuple[Outcome, list[RowError]]:
    """What the engine makes of a file."""
    errors: list[RowError] = []

    async def take(found: list[RowError]) -> None:
        errors.extend(found)

    async def ignore(_progress: Progress) -> None:
        pass

    async def stream() -> AsyncIterator[bytes]:
        yield data

    running = load_engine("auto", 1)(stream(), on_errors=take, on_progress=ignore, max_sensors=9)
    return asyncio.run(running), errors


def rejection(data: bytes) -> str | None:
    """The message with which the engine rejects a file, if it does."""
    try:
        read(data)
    except FileRejected as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "path", sorted((ROOT / "samples/broken").glob("*.csv")), ids=lambda path: path.name
)
def test_why_a_file_fails_is_told(path: Path) -> None:
    """Each message with which the engine rejects a broken sample is in the README."""
    message = rejection(path.read_bytes())
    assert message is None or told(message)


# --- docs/format.md ---

HEADER = b"sensor_id,timestamp,value\n"
REASONS = table(FORMAT, "reason", "what it means", "example")
REFUSED = table(FORMAT, "refused", "as", "why")
READ = table(FORMAT, "read", "as")


def test_every_reason_of_the_golden_files_is_in_the_table() -> None:
    """The table of reasons has those that rows fail for in the golden files, and no other."""
    golden = (json.loads(path.read_text()) for path in (ROOT / "tests/golden").glob("*.json"))
    seen = {reason for expected in golden for reason in expected.get("error_summary", ())}
    assert {code(row[0]) for row in REASONS} == seen


@pytest.mark.parametrize(
    ("reason", "example"), [(row[0], row[2]) for row in REASONS if row[2].startswith("`")]
)
def test_an_example_of_a_reason_fails_for_it(reason: str, example: str) -> None:
    """A row that is shown as an example fails for that reason alone."""
    outcome, _ = read(HEADER + code(example).encode() + b"\n")
    assert outcome.error_summary == {code(reason): 1}


@pytest.mark.parametrize(("text", "reason"), [row[:2] for row in REFUSED])
def test_a_refused_field_is_refused(text: str, reason: str) -> None:
    """Each text that is shown as refused fails for the reason shown."""
    row = f"a,{code(text)},1" if "timestamp" in reason else f"a,2025-10-01,{code(text)}"
    outcome, _ = read(HEADER + row.encode())
    assert outcome.error_summary == {code(reason): 1}


@pytest.mark.parametrize(("text", "meaning"), READ)
def test_a_field_is_read_as_shown(text: str, meaning: str) -> None:
    """Each text that is shown as read has the value shown."""
    if meaning.endswith("Z"):
        expected = datetime.fromisoformat(meaning.replace("Z", "+00:00"))
        micros = read_timestamp(code(text))
        assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros) == expected
    else:
        outcome, _ = read(HEADER + f"a,2025-10-01,{code(text)}".encode())
        assert repr(outcome.summary.aggregates().mean_value) == meaning


# --- the request that is sent again ---


class Receiving(BaseHTTPRequestHandler):
    """Answers 409 to the first request, 503 to the second and 202 to the third."""

    statuses = iter((409, 503, 202))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])  # type: ignore[attr-defined]
        self.send_response(next(self.statuses))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def test_the_line_with_an_idempotency_key_sends_again_what_was_refused_for_now() -> None:
    """The same key each time, until it is accepted."""
    (command,) = re.findall(r"^KEY=.*\ncurl .*Idempotency-Key.*$", README, re.M)
    with HTTPServer(("127.0.0.1", 0), Receiving) as server:
        server.keys = []  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        command = command.replace(BASE, f"http://127.0.0.1:{server.server_port}")
        command = command.replace("@readings.csv", "@samples/readings.csv").replace(
            "curl ", "curl -s --retry-delay 1 "
        )
        done = subprocess.run(command, shell=True, cwd=ROOT, check=False, timeout=DEADLINE)
        server.shutdown()
        keys = server.keys  # type: ignore[attr-defined]
    assert done.returncode == 0
    assert (len(keys), len(set(keys))) == (3, 1)
