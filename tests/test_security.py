"""docs/security.md names tests that there are, and `make audit` never passes by default."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_row_of_the_attack_table_names_a_test() -> None:
    section = TABLE.partition("## The attack table")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    attacks = [row for row in rows if not row.startswith(("| sent |", "| --- |"))]
    assert attacks
    assert [row for row in attacks if not NAMED.search(row)] == []


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(TABLE))))
def test_each_test_that_the_security_page_names_is_there(path: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M)


def audit(pip_audit: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "audit", f"PIP_AUDIT={pip_audit}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_audit_without_its_tool_says_what_it_needs() -> None:
    run = audit("/nowhere/pip-audit")
    assert run.returncode != 0
    assert "pip-audit" in run.stderr


@pytest.mark.parametrize("status", [0, 1])
def test_an_audit_looks_up_each_lock_file_and_passes_only_if_all_do(
    status: int, tmp_path: Path
) -> None:
    tool = tmp_path / "pip-audit"
    tool.write_text(f'#!/bin/sh\necho "$@"\ncase "$*" in *bench*) exit {status};; esac\n')
    tool.chmod(0o755)
    run = audit(str(tool))
    assert (run.returncode != 0) == bool(status)
    locks = sorted(path.name for path in ROOT.glob("requirements*.lock"))
    assert sorted(re.findall(r"-r (\S+)", run.stdout)) == locks
    assert run.stdout.count("--strict") == len(locks)
    assert ("requirements-bench.lock" in run.stderr) == bool(status)
