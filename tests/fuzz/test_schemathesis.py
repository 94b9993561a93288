"""The API against its own description: Schemathesis makes requests of it, right and wrong ones."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from aggsvc.tokens import Scope, TokenFile
from tests.process.conftest import ServerProcess, server

__all__ = ["server"]

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Examples a call and phase; `make fuzz-test` takes more of them.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
LEAST_CASES = 10 * EXAMPLES


async def fuzz(url: str, folder: Path, *headers: str) -> tuple[Any, str]:
    """Schemathesis's report and text on the service; each of the headers is sent along."""
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        *(f"{url}/openapi.json", "--checks", "all", "--continue-on-failure"),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-database", "none"),
        *("--request-timeout", "20", "--report", "json", "--report-json-path", str(report)),
        *(part for header in headers for part in ("--header", header)),
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text, _ = await process.communicate()
    assert report.exists(), text.decode()
    return json.loads(report.read_text()), text.decode()


async def test_what_is_described_is_what_is_answered(server: ServerProcess, tmp_path: Path) -> None:
    """All checks, each call but the endless one, from edge cases to chains of linked calls."""
    await server.start()
    assert_faultless(await fuzz(server.url, tmp_path), server)


async def test_the_same_with_access_on_and_a_token(server: ServerProcess, tmp_path: Path) -> None:
    """Without the token, which a check tries too, nobody is let in."""
    tokens = TokenFile(tmp_path / "auth")
    _, token = tokens.create("fuzz", Scope.ADMIN, None)
    await server.start(AUTH="on", AUTH_PATH=str(tmp_path / "auth"))
    found = await fuzz(server.url, tmp_path, f"Authorization: Bearer {token}")
    assert_faultless(found, server)


def assert_faultless(found: tuple[Any, str], server: ServerProcess) -> None:
    report, text = found
    print(text[text.find("SUMMARY") :])
    assert (report["failures"], report["errors"]) == ([], []), text
    assert (report["exit_code"], report["complete"]) == (0, True), text
    operations = report["operations"]
    assert operations["tested"] == operations["total"] - 1
    assert report["phases"]["coverage"]["status"] == "success"
    assert report["phases"]["fuzzing"]["status"] == "success"
    assert report["phases"]["stateful"]["status"] == "success"
    assert report["test_cases"]["generated"] >= LEAST_CASES
    assert "request broke" not in server.log()
