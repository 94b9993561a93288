"""The command line's token: sent, never shown, and what is said where it is missing or wrong."""

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import pytest_asyncio

from aggsvc.tokens import Scope, TokenFile
from cli.options import Options, is_overheard
from tests.cli.conftest import SAMPLES, Done, finish, start
from tests.process.conftest import ServerProcess


class Door:
    """A service that asks for tokens; `run` is a command with this token."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self.url = url
        self.tokens = tokens

    def run(self, token: str, *words: str) -> Done:
        return finish(start(self.url, *words, API_TOKEN=token))

    def guess(self, times: int) -> None:
        wrong = {"Authorization": "Bearer aggsvc_wrong"}
        for _ in range(times):
            with pytest.raises(HTTPError):
                urlopen(Request(f"{self.url}/files", headers=wrong))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("door")
    file, server = TokenFile(folder / "auth"), ServerProcess(folder)
    tokens = {scope.value: file.create(scope.value, scope, None)[1] for scope in Scope}
    await server.start(AUTH="on", AUTH_PATH=str(folder / "auth"))
    yield Door(server.url, tokens)
    await server.stop()


def test_a_token_lets_the_command_line_in(door: Door) -> None:
    """By its variable, or by the option, which wins."""
    done = door.run(door.tokens["write"], "--json", "upload", str(SAMPLES / "clean.csv"))
    assert done.status == 0, done
    by_option = door.run("aggsvc_wrong", "--token", door.tokens["read"], "list")
    assert (by_option.status, by_option.err) == (0, "")
    assert "clean.csv" in by_option.out
    assert "\naccess   ok\n" in door.run(door.tokens["read"], "health").out


def test_a_refusal_is_told_in_a_sentence_with_the_cure(door: Door) -> None:
    """401, 403 and 429, and what health tells without a token."""
    missing = door.run("", "list")
    assert missing.status == 1
    assert missing.err.startswith("aggsvc: this needs a token")
    assert "--token or API_TOKEN" in missing.err
    weak = door.run(door.tokens["read"], "delete", "x")
    assert "this needs a token of the scope write; this one's is read" in weak.err
    wrong = door.run("aggsvc_wrong", "list")
    assert wrong.err.startswith("aggsvc: the token is not known")
    door.guess(10)
    slowed = door.run("aggsvc_wrong", "list")
    assert (slowed.status, len(slowed.err.splitlines())) == (1, 1)
    assert "too many wrong tokens came from this address" in slowed.err
    health = door.run("", "health")
    assert (health.status, health.out.split()) == (0, ["service", "ok"])


def test_a_token_is_never_shown(door: Door) -> None:
    """Neither in an error nor among the options that a traceback would show."""
    for words in (("--token", "a b", "list"), ("--token", "\xe9", "list")):
        done = door.run("", *words)
        assert done.status == 2
        assert "it is no token" in done.err
        assert words[1] not in done.out + done.err.replace("it is no token", "")
    assert "secret" not in repr(Options("http://x", "secret", 1.0, 1.0, json=False))
    done = door.run("aggsvc_wrong", "list")
    assert "aggsvc_wrong" not in done.out + done.err


@pytest.mark.parametrize(
    ("url", "overheard"),
    [
        ("http://localhost:8000", False),
        ("http://127.0.0.2", False),
        ("http://[::1]:8000", False),
        ("https://files.example", False),
        ("http://files.example", True),
        ("http://10.0.0.1:8000", True),
    ],
)
def test_a_token_over_plain_http_is_warned_of(url: str, overheard: bool) -> None:
    """Where it crosses a network unencrypted, one line says so."""
    assert is_overheard(url) is overheard


def test_the_warning_names_the_address_and_the_cure(tmp_path: Path) -> None:
    done = finish(start("http://nonesuch.invalid", "list", API_TOKEN="secret"))
    warning = "aggsvc: warning: http://nonesuch.invalid gets the token over plain http; use https"
    assert done.err.splitlines()[0] == warning
    assert "secret" not in done.err
