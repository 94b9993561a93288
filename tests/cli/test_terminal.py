"""What a terminal shows, and what it must never be sent."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import SAMPLES, Service, terminal
from tests.process.conftest import ServerProcess

# A title, a cleared screen, a colour of rich's markup, and a change of direction.
HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red]\u202e"
SHOWN = r"\x1b]0;owned\x07\x1b[2J[red]x[/red]\u202e"
BAR = "\u2501"


def assert_harmless(raw: str) -> None:
    assert "\x1b]" not in raw
    assert "\x1b[2J" not in raw
    assert "\x07" not in raw
    assert "\u202e" not in raw


@pytest.fixture(scope="module")
def hostile(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a file with a hostile sensor id, a hostile value, and markup in its name."""
    path = tmp_path_factory.mktemp("hostile") / "[red]x[.csv"
    path.write_text(f"sensor_id,timestamp,value\n{HOSTILE},2025-10-01,1\na,2025-10-01,{HOSTILE}\n")
    return service.upload(path)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["result", "{id}"], [SHOWN + " 1", "[red]x[.csv"]),
        (["sensors", "{id}"], [SHOWN]),
        (["errors", "{id}"], [SHOWN]),
        (["list", "--search=[red]", "--limit=1"], ["[red]x[.csv"]),
        (["result", HOSTILE], ["there is no file with the id '"]),
        (["upload", f"{HOSTILE}.csv"], [f"{SHOWN}.csv does not exist"]),
    ],
)
def test_text_from_outside_is_harmless(
    service: Service, hostile: str, command: list[str], shown: list[str]
) -> None:
    """Escape sequences and markup are shown as what they are, on a terminal too."""
    arguments = [hostile if argument == "{id}" else argument for argument in command]
    with terminal(service.url, *arguments, columns=200) as screen:
        screen.finish()
        assert_harmless(screen.raw)
        assert all(text in screen.text for text in shown), screen.text


def test_a_hostile_file_is_uploaded_harmlessly(service: Service, tmp_path: Path) -> None:
    """The bars and the header's message show a file's name and its columns as they are."""
    path = tmp_path / os.fsdecode(b"\x1b[2J[red]\xff.csv")
    path.write_text(f"{HOSTILE},timestamp,value\na,b,c\n")
    with terminal(service.url, "upload", "--wait", str(path), columns=200) as screen:
        assert screen.finish() == 1
        assert_harmless(screen.raw)
        assert r"\x1b[2J[red]\udcff.csv" in screen.text
        assert "the header has no column" in screen.text


def test_another_servers_sentence_is_harmless(service: Service, stranger: str) -> None:
    with terminal(f"{stranger}/hostile", "list") as screen:
        assert screen.finish() == 1
        assert_harmless(screen.raw)
        assert r"[red]\x1b]0;x\x07" in screen.text


def test_bars_on_a_terminal(service: Service) -> None:
    """A terminal sees a bar for the upload and one for the processing, then the result."""
    with terminal(service.url, "upload", "samples/readings.csv", "--wait") as screen:
        assert screen.finish() == 3
        text = screen.text
    for what in ("uploading", "processing"):
        assert re.search(rf"{what} +readings\.csv {BAR}+ +220/220 bytes", text)
    assert re.search(r"^mean +25\.02 *$", text, re.M)


@pytest.mark.parametrize("options", [["--json"], []])
def test_no_bars_elsewhere(service: Service, options: list[str]) -> None:
    """Without a terminal, and with --json on one, there is no bar and no escape sequence."""
    done = service.run(*options, "upload", "samples/readings.csv", "--wait")
    assert done.err == ""
    assert "\x1b" not in done.out
    if options:
        with terminal(service.url, *options, "upload", "samples/clean.csv", "--wait") as screen:
            assert screen.finish() == 0
            assert BAR not in screen.raw
            assert "\x1b" not in screen.raw


def test_ids_stay_whole_on_60_columns(service: Service, tmp_path: Path) -> None:
    """On a narrow terminal names are folded and counts left out, but never an id."""
    path = tmp_path / f"{'long-name-' * 8}.csv"
    path.write_bytes((SAMPLES / "partial.csv").read_bytes())
    with terminal(service.url, "upload", "--wait", str(path), columns=60) as screen:
        assert screen.finish() == 3
        file_id = re.findall(r"^id +([0-9a-f]{32}) *$", screen.text, re.M)[0]
    for command in (
        ["result", file_id],
        ["errors", file_id],
        ["list", "--limit=5"],
        ["sensors", file_id],
    ):
        with terminal(service.url, *command, columns=60) as screen:
            screen.finish()
            table = [line for line in screen.text.splitlines() if "aggsvc " not in line]
            assert max(len(line) for line in table) <= 60
            assert command[0] in ("errors", "sensors") or re.search(rf"\b{file_id}\b", screen.text)


def test_a_list_has_whole_ids_and_names_on_40_columns(service: Service) -> None:
    file_id = service.upload(SAMPLES / "clean.csv")
    with terminal(service.url, "list", "--limit=1", columns=40) as screen:
        assert screen.finish() == 0
        assert f"{file_id}\n  " in screen.text
        assert "clean.csv" in screen.text


def test_a_pipe_gets_a_row_a_line(service: Service, tmp_path: Path) -> None:
    """Through a pipe nothing is folded, so that grep finds it, nor filled up with blanks."""
    path = tmp_path / f"{'long-name-' * 20}.csv"
    path.write_bytes((SAMPLES / "clean.csv").read_bytes())
    file_id = service.upload(path)
    rows = [line for line in service.run("list").out.splitlines() if file_id in line]
    assert rows[0].split() == [file_id, path.name, "processed", "200", "0"]
    shown = [service.run(*command).out for command in (["result", file_id], ["sensors", file_id])]
    assert all(line == line.rstrip() for out in shown for line in out.splitlines())


def test_ctrl_c_in_the_middle_of_an_upload(server: ServerProcess, tmp_path: Path) -> None:
    """Ctrl-C ends an upload with 130, in a sentence; nothing of it is kept."""
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(40_000_000)
    server.signal(signal.SIGSTOP)
    with terminal(server.url, "upload", "--wait", str(path)) as screen:
        screen.expect(r"uploading large\.csv .+ [1-9]\d*\.\d/40\.0 MB")
        screen.type("\x03")
        assert screen.finish() == 130
        assert f"{path.name} was being sent; `aggsvc list` shows whether it is kept" in screen.text
        assert screen.text.endswith("\naggsvc: interrupted\n")
        assert "Traceback" not in screen.text
    server.signal(signal.SIGCONT)
    assert Service(server.url).json("list")["items"] == []
