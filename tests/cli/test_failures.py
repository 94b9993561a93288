"""What goes wrong is told in one sentence with the cure, and by the exit status."""

import asyncio
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from asyncclick.testing import CliRunner

from cli.client import Client, Record
from cli.main import cli, upload_all
from cli.render import progress_bars, show_health
from tests.cli.conftest import SAMPLES, Service, finish, start, wait_until
from tests.process.conftest import ServerProcess

UNKNOWN = "aggsvc: there is no file with the id 'nonesuch'\n"
NEEDS_A_SERVER = ["upload samples/clean.csv", "list", "errors x --format csv", "health"]


@pytest.mark.parametrize(
    "command",
    [
        "result nonesuch --wait",
        "errors nonesuch --format=csv",
        "reprocess nonesuch",
        "sensors nonesuch",
    ],
)
def test_an_unknown_id(service: Service, command: str) -> None:
    assert service.run(*command.split()) == ("", UNKNOWN, 1)


def test_an_id_is_never_a_path(service: Service) -> None:
    """An id with a slash or a question mark is looked for as it is."""
    done = service.run("result", "../health?x#y")
    assert done == ("", "aggsvc: there is no file with the id '../health?x#y'\n", 1)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", None),
        ("nonesuch", "No such command 'nonesuch'."),
        ("upload", "Missing argument 'FILES...'."),
        ("result", "Missing argument 'FILE_ID'."),
        ("list --nonesuch", "No such option '--nonesuch'."),
        ("list --limit many", "Invalid value for '--limit': 'many' is not a valid integer range."),
        ("list --limit 0", "Invalid value for '--limit': 0 is not in the range 1<=x<=200."),
        (
            "sensors x --limit 1001",
            "Invalid value for '--limit': 1001 is not in the range 1<=x<=1000.",
        ),
        (
            "errors x --format xml",
            "Invalid value for '--format': 'xml' is not one of 'table', 'csv', 'ndjson'.",
        ),
        ("--base-url localhost:8000 list", "'localhost:8000' is no address; say http://HOST:PORT"),
        ("--poll-timeout nan list", "'nan' is no number of seconds from 0 up"),
    ],
)
async def test_wrong_usage(command: str, sentence: str | None) -> None:
    """Wrong usage is status 2, with a sentence; without a command the help is shown."""
    done = await CliRunner().invoke(cli, command.split())
    assert done.exit_code == 2
    assert done.stderr.rstrip("\n").endswith(
        sentence or "aggsvc --json upload samples/readings.csv --wait"
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("API_BASE_URL", "ftp://localhost", "is no address; say http://HOST:PORT"),
        ("API_BASE_URL", "http://localhost:99999", "is no address; say http://HOST:PORT"),
        ("CLI_POLL_INTERVAL", "often", "is no number of seconds from 0.01 up"),
        ("CLI_POLL_INTERVAL", "0", "is no number of seconds from 0.01 up"),
        ("CLI_POLL_TIMEOUT", "-1", "is no number of seconds from 0 up"),
        ("CLI_POLL_TIMEOUT", "NaN", "is no number of seconds from 0 up"),
    ],
)
async def test_a_bad_setting_is_wrong_usage(name: str, value: str, sentence: str) -> None:
    """A bad value in the environment names the variable, the value and what would be right."""
    done = await CliRunner().invoke(cli, ["list"], env={name: value})
    assert f"(env var: '{name}'): '{value}' {sentence}" in done.stderr.splitlines()[-1]
    assert (done.stdout, done.exit_code) == ("", 2)


def test_wrong_usage_as_a_process(service: Service) -> None:
    """The shell is told the same."""
    done = service.run("list", CLI_POLL_TIMEOUT="nan")
    assert done.err.count("Error: ") == 1
    assert (done.out, done.status) == ("", 2)


def test_an_empty_setting_is_none(service: Service) -> None:
    assert service.run("list", CLI_POLL_INTERVAL="", CLI_POLL_TIMEOUT="").status == 0


@pytest.mark.parametrize("command", NEEDS_A_SERVER)
def test_no_server(service: Service, command: str) -> None:
    """A server that is down is told in a sentence with the cure, and status 1."""
    done = service.run("--base-url", "http://127.0.0.1:9", *command.split())
    assert re.fullmatch(
        r"aggsvc: (samples/clean\.csv: )?cannot reach the service at http://127\.0\.0\.1:9 "
        r"\(Connection refused\); start it with `make run`, or say where it is with --base-url\n",
        done.err,
    )
    assert (done.out, done.status) == ("", 1)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://nonesuch.invalid", r"\(.+\); start it with"),
        ("https://127.0.0.1:{port}", r"SSL.+; start it with"),
        ("http://127.0.0.1:{port}/elsewhere", "there is nothing at /elsewhere/files"),
    ],
)
def test_a_wrong_address(service: Service, url: str, why: str) -> None:
    done = service.run("--base-url", url.format(port=service.url.rpartition(":")[2]), "list")
    assert re.search(why, done.err)
    assert (done.err.count("\n"), done.status) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("text", "upload samples/clean.csv"),
        ("text", "errors x --format csv"),
        ("other", "list"),
        ("other", "sensors x"),
        ("html", "health"),
        ("list", "list"),
        ("broken", "result x"),
    ],
)
def test_another_server(service: Service, stranger: str, kind: str, command: str) -> None:
    """A server that is not aggsvc is named, whatever it answers."""
    done = service.run("--base-url", f"{stranger}/{kind}", *command.split())
    sentence = r"answered \d+ [\w ]+, but not as aggsvc does; say where aggsvc is with --base-url\n"
    assert re.search(sentence, done.err), done
    assert (done.out, done.err.count("\n"), done.status) == ("", 1, 1)


def until_asked_for(server: ServerProcess) -> None:
    """Wait until a command has sent its file and looks at what becomes of it."""
    wait_until(lambda: re.search(r'"path":"/files/[0-9a-f]{32}"', server.log()) is not None)


def test_a_server_that_is_killed_meanwhile(server: ServerProcess, slow_file: Path) -> None:
    """Whoever waits is told the id of what was uploaded, for it is kept."""
    process = start(server.url, "upload", "--wait", str(slow_file))
    until_asked_for(server)
    server.signal(signal.SIGKILL)
    done = finish(process)
    assert re.match(r"aggsvc: slow\.csv, id [0-9a-f]{32}: .+; (start it|see its log)", done.err)
    assert (done.err.count("\n"), done.status) == (1, 1)


def test_time_is_up(server: ServerProcess, slow_file: Path) -> None:
    """A file that takes longer than the time is shown as it is, with the way to wait on."""
    own = Service(server.url)
    done = own.run("--json", "upload", "--wait", str(slow_file), CLI_POLL_TIMEOUT="0.1")
    record = done.record
    assert record["status"] in ("uploaded", "processing")
    assert done.err == (
        f"aggsvc: slow.csv is still {record['status']}; "
        f"look again with `aggsvc result {record['file_id']} --wait`\n"
    )
    assert done.status == 4
    file_id = record["file_id"]
    own.until("processing")
    assert own.run("--poll-timeout=0", "result", file_id, "--wait").status == 4
    assert own.run("result", file_id).status == 0
    pending = own.run("errors", file_id)
    assert (pending.out, pending.status) == ("", 1)
    assert "slow.csv is still processing; look again with" in pending.err
    unknown = own.run("sensors", file_id)
    assert (unknown.out, unknown.status) == ("", 1)
    assert "the file is processing; its sensors are known when it is done" in unknown.err
    worst = own.run(
        "--poll-timeout=0.3", "upload", "--wait", str(slow_file), "samples/readings.csv"
    )
    assert worst.status == 4


def test_the_last_look_is_when_time_is_up(service: Service) -> None:
    """An interval longer than the timeout does not keep a finished file from being seen."""
    done = service.run(
        "--poll-interval=60", "--poll-timeout=0.3", "upload", "samples/clean.csv", "--wait"
    )
    assert (done.err, done.status) == ("", 0)


def test_ctrl_c_while_waiting(server: ServerProcess, slow_file: Path) -> None:
    """Ctrl-C says what becomes of the file, without a traceback, and gives 130."""
    process = start(server.url, "upload", "--wait", str(slow_file))
    until_asked_for(server)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert re.fullmatch(
        r"aggsvc: slow\.csv is still \w+; look again with `aggsvc result [0-9a-f]{32} --wait`\n"
        r"\naggsvc: interrupted\n",
        done.err,
    )
    assert (done.out, done.status) == ("", 130)


async def test_ctrl_c_among_uploads(capsys: pytest.CaptureFixture[str]) -> None:
    """It tells the ids of those that were sent, and of the one under way how to learn of it."""

    class Slow(Client):
        def __init__(self) -> None: ...

        async def upload(self, path: Path, sent: Callable[[int], None]) -> Record:
            if path.name == "b.csv":
                await asyncio.Event().wait()
            return {"file_id": "1", "filename": path.name, "status": "uploaded"}

    with progress_bars(wanted=False) as bars:
        sizes = {Path("a.csv"): 1, Path("b.csv"): 1, Path("c.csv"): 1}
        uploading = asyncio.create_task(upload_all(Slow(), sizes, bars))
        await asyncio.sleep(0)
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
    assert capsys.readouterr().err.splitlines() == [
        "aggsvc: b.csv was being sent; `aggsvc list` shows whether it is kept",
        "aggsvc: a.csv is still uploaded; look again with `aggsvc result 1 --wait`",
    ]


def test_no_room_for_the_output(service: Service) -> None:
    """It is told in a sentence, whatever writes it."""
    file_id = service.upload(SAMPLES / "partial.csv")
    for command in ("list", f"errors {file_id} --format=csv", "list --json"):
        done = service.shell(f"aggsvc {command} > /dev/full")
        assert done.status == 1
        assert done.err == (
            "aggsvc: the output cannot be written (No space left on device); write it elsewhere\n"
        )


def test_a_file_that_the_system_cannot_look_up(service: Service) -> None:
    done = service.run("upload", "x" * 300)
    assert done.status == 1
    assert done.err.endswith("xxx cannot be read (File name too long); check the file\n")


@pytest.mark.parametrize(
    "command",
    ["list | head -1", "errors {id} --format csv | head -1", "--json errors {id} | true"],
)
def test_a_reader_that_has_seen_enough(service: Service, tmp_path: Path, command: str) -> None:
    """A closed pipe is nothing to complain about."""
    path = tmp_path / "bad.csv"
    path.write_text("sensor_id,timestamp,value\na,2025-10-01,1\n" + "a,,1\n" * 20_000)
    command = command.format(id=service.upload(path))
    done = service.shell(f"aggsvc {command}")
    assert (done.status, done.err) == (0, "")
    assert done.out.count("\n") == ("head" in shlex.split(command))


def test_health_tells_of_a_part_what_it_is_and_in_a_sentence_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = "there is no room [on] the disk"
    show_health(
        {
            "status": "unavailable",
            "objects": {"status": "unavailable", "detail": full},
            "engine": {"status": "ok", "lane": "reference", "detail": "no numba"},
            "workers": {"status": "ok", "alive": 4},
            "access": {"status": "ok", "detail": None},
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        f"objects  unavailable ({full})",
        "engine   ok (lane reference, no numba)",
        "workers  ok (alive 4)",
        "access   ok",
    ]
