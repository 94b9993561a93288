"""The machine code kept for the next start: where that fails, it is made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from aggsvc.engine import kept_code
from aggsvc.engine.jit import compiled

numba = pytest.importorskip("numba")

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
}


def doubled(number: int) -> int:
    return number + number


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the code of `doubled` is kept, by now."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kept_code._warn.cache_clear()
    assert compiled(doubled)(21) == 42
    (index,) = tmp_path.rglob("*.nbi")
    return index.parent


def hits(function: object) -> int:
    """How often its code was found rather than made."""
    return sum(function.stats.cache_hits.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_code_is_made_again_and_kept(kept: Path, suffix: str, damage: str) -> None:
    """As a crash may leave its index or the code itself; one warning tells of it."""
    (path,) = kept.glob(f"*.{suffix}")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = compiled(doubled)
    with capture_logs() as logs:
        assert (again(21), hits(again)) == (42, 0)
    assert ["made again" in line["event"] for line in logs] == [True]
    third = compiled(doubled)
    assert (third(21), hits(third)) == (42, 1)


def test_code_that_cannot_be_kept_is_run_all_the_same(kept: Path) -> None:
    function = compiled(doubled)
    shutil.rmtree(kept)
    kept.write_bytes(b"a file where the folder was")
    with capture_logs() as logs:
        assert function(21) == 42
    assert "cannot be kept" in logs[-1]["event"]
