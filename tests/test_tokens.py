"""The file of tokens and the commands on it; how wrong ones are counted."""

import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggsvc import privatefiles
from aggsvc.errors import StartRefused, TokenRefused, TokensUnreadable, TooManyFailures
from aggsvc.http.failures import MOST, WINDOW_SECONDS, Failures
from aggsvc.http.sessions import open_key
from aggsvc.tokens import Scope, TokenFile


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "auth")


# --- the file ---


def test_a_scope_includes_those_below_it() -> None:
    allowed = {(has, needs) for has in Scope for needs in Scope if has.allows(needs)}
    read, write, admin = Scope
    assert allowed == {
        *((read, read), (write, read), (write, write)),
        *((admin, read), (admin, write), (admin, admin)),
    }


def test_a_token_is_kept_as_a_hash_in_a_file_that_only_its_owner_reads(file: TokenFile) -> None:
    """Its text has 256 random bits, and is nowhere on the disk."""
    token, text = file.create("robot", Scope.WRITE, None)
    assert re.fullmatch(r"aggsvc_[0-9a-f]{12}_[\w-]{43}", text)
    assert text != file.create("other", Scope.WRITE, None)[1]
    data = file.path.read_text()
    assert text not in data
    assert text.rpartition("_")[2] not in data
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    (found, _) = file.read()
    assert found == token
    assert found.matches(text)
    assert not found.matches(text[:-1] + ("A" if text[-1] != "A" else "B"))


def test_a_token_is_revoked_by_its_name_or_its_id(file: TokenFile) -> None:
    tokens = [file.create(name, Scope.READ, None)[0] for name in ("a", "b", "c")]
    assert file.revoke("a") == tokens[0]
    assert file.revoke(tokens[1].id) == tokens[1]
    assert file.read() == tokens[2:]
    with pytest.raises(TokenRefused, match="no token a"):
        file.revoke("a")


@pytest.mark.parametrize("name", ["", "a b", "-a", "../x", "a" * 65, "é", "a\n", "0123456789ab"])
def test_a_bad_name_is_refused(name: str, file: TokenFile) -> None:
    with pytest.raises(TokenRefused, match="is no name of a token"):
        file.create(name, Scope.READ, None)
    assert not file.path.exists()


def test_a_name_is_given_once(file: TokenFile) -> None:
    file.create("a", Scope.READ, None)
    with pytest.raises(TokenRefused, match="there is a token a already"):
        file.create("a", Scope.READ, None)


def test_a_damaged_file_is_never_overwritten(file: TokenFile) -> None:
    file.create("a", Scope.READ, None)
    file.path.write_bytes(b"damaged")
    for change in (lambda: file.create("b", Scope.READ, None), lambda: file.revoke("a")):
        with pytest.raises(TokensUnreadable, match="damaged"):
            change()
    assert file.path.read_bytes() == b"damaged"


def test_a_crash_while_writing_leaves_the_file_as_it_was(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced by a whole one that is on the disk, and what was begun is removed."""
    file.create("a", Scope.READ, None)
    before, steps = file.path.read_bytes(), []

    def fsync(_fd: int) -> None:
        steps.append("fsync")

    def replace(_source: Path, _target: Path) -> None:
        assert steps == ["fsync"]
        raise OSError(5, "no power")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(TokensUnreadable, match="no power"):
        file.create("b", Scope.READ, None)
    assert file.path.read_bytes() == before
    assert sorted(path.name for path in file.path.parent.iterdir()) == [
        "tokens.json",
        "tokens.lock",
    ]


def test_changes_at_the_same_moment_lose_none(file: TokenFile) -> None:
    names = [f"t{number}" for number in range(16)]
    threads = [
        threading.Thread(target=file.create, args=(name, Scope.READ, None)) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token.name for token in file.read()) == sorted(names)


# --- the session key ---


def test_the_session_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = open_key(tmp_path / "auth")
    assert open_key(tmp_path / "auth") == key
    assert open_key(tmp_path / "other") != key
    assert stat.S_IMODE((tmp_path / "auth/session.key").stat().st_mode) == 0o600


def test_a_key_that_is_none_or_that_others_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "auth/session.key"
    open_key(path.parent)
    path.chmod(0o640)
    with pytest.raises(StartRefused, match="chmod 600"):
        open_key(path.parent)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(StartRefused, match="is no key; remove it"):
        open_key(path.parent)


def test_of_two_that_make_a_file_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert privatefiles.create(path, b"first")
    assert not privatefiles.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


# --- wrong tokens ---


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_wrong_tokens_are_counted_within_a_minute() -> None:
    """What was refused is not counted, so that one can go on as soon as the first is old."""
    clock = Clock()
    failures = Failures(clock)
    for _ in range(MOST):
        failures.note("a")
        clock.now += 1
    for _ in range(50):
        with pytest.raises(TooManyFailures) as refused:
            failures.note("a")
        assert refused.value.seconds == WINDOW_SECONDS - MOST
    clock.now += WINDOW_SECONDS - MOST
    failures.note("a")
    with pytest.raises(TooManyFailures):
        failures.note("a")


def test_a_bounded_number_of_addresses_is_remembered() -> None:
    """A flood of addresses forgets the oldest, and uses no more memory."""
    failures = Failures(max_addresses=100)
    for number in range(1_000):
        failures.note(str(number))
    assert len(failures) == 100


# --- the commands ---


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aggsvc", "token", *words],
            env=os.environ | {"AUTH_PATH": str(tmp_path / "auth")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_tokens_are_made_listed_and_revoked_by_command(command: Command, file: TokenFile) -> None:
    """The token alone goes to standard output, once; the list shows all but the secret."""
    made = command("create", "robot", "--scope", "write", "--expires", "30d")
    assert made.returncode == 0, made.stderr
    text = made.stdout.removesuffix("\n")
    (token,) = file.read()
    assert token.matches(text)
    assert token.scope == Scope.WRITE
    assert token.expires_at
    left = token.expires_at - datetime.now(UTC)
    assert timedelta(days=30) - left < timedelta(minutes=5)
    listed = command("list")
    assert [line.split()[:3] for line in listed.stdout.splitlines()] == [
        ["id", "name", "scope"],
        [token.id, "robot", "write"],
    ]
    assert text not in listed.stdout + made.stderr
    again = command("create", "robot", "--scope", "read")
    assert (again.returncode, again.stdout) == (1, "")
    assert "there is a token robot already" in again.stderr
    gone = command("revoke", "robot")
    assert gone.stdout == f"token robot, id {token.id}, is revoked\n"
    assert file.read() == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("create a", "Missing option '--scope'"),
        ("create a --scope all", "'all' is not one of 'read', 'write', 'admin'"),
        ("create a --scope read --expires soon", "'soon' is no span such as 30d"),
        ("create a --scope read --expires 2020-01-01", "is over already"),
        ("create a --scope read --expires 99999999w", "is too far off"),
        ("revoke a", "there is no token a"),
    ],
)
def test_a_wrong_command_is_told_in_a_sentence(command: Command, words: str, says: str) -> None:
    done = command(*words.split())
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
