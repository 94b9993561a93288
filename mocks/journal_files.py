"""The files of a journal (mocks/journal.py): how they are named, and what a crash may have left."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

from aggsvc.errors import DamagedStore
from mocks.lines import PREFIX, unseal

FORMAT = "aggsvc-table"
VERSION = 1

Take = Callable[[bytes], None]

log = structlog.get_logger()


class Recovered(NamedTuple):
    """What the files are; `first` and `last` are the generations of the journals in use."""

    first: int
    last: int
    last_size: int | None
    snapshot_size: int
    leftovers: list[Path]


class _Line(NamedTuple):
    """A line of a file: its entry, or None if it is damaged."""

    offset: int
    entry: bytes | None


def recover(path: Path, take: Take) -> Recovered:
    """Take each entry of the state in turn; raises DamagedStore."""
    names = [entry.name for entry in path.parent.iterdir()]
    generations = sorted(_generations(path, names))
    first, snapshot_size = _read_snapshot(path, take) if path.name in names else (0, 0)
    live = [g for g in generations if g >= first]
    _require_whole(path, first, live, has_snapshot=path.name in names)
    last_size = None
    for generation in live:
        last_size = _read_journal(path, generation, take, is_last=generation == live[-1])
    leftovers = [path.with_name(name) for name in names if _is_temporary(path, name)]
    leftovers += [journal_path(path, g) for g in generations if g < first]
    last = live[-1] if live else first
    return Recovered(first, last, last_size, snapshot_size, leftovers)


def _require_whole(path: Path, first: int, live: list[int], *, has_snapshot: bool) -> None:
    if not live and not has_snapshot:
        return
    missing = next(g for g in range(first, first + len(live) + 1) if g not in live)
    if live and missing > live[-1]:
        return
    lost = journal_path(path, missing) if has_snapshot or first in live else path
    raise DamagedStore(
        f"{lost} is missing; restore it from a copy, "
        f"or move {path.name} and {path.name}.journal.* away to start empty"
    )


def _read_snapshot(path: Path, take: Take) -> tuple[int, int]:
    """Take the snapshot's entries; its generation and size."""
    lines = _read_lines(path)
    header = _parse_header(path, next(lines, _Line(0, None)).entry)
    count = 0
    for line in lines:
        if line.entry is None:
            raise _damaged(path, line.offset, "a line's checksum is wrong")
        take(line.entry)
        count += 1
    size = path.stat().st_size
    if count != header["entries"]:
        raise _damaged(path, size, f"it has {count} of {header['entries']} entries")
    return header["generation"], size


def _parse_header(path: Path, entry: bytes | None) -> dict[str, int]:
    header = orjson.loads(entry) if entry else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _damaged(path, 0, "it does not begin with a snapshot's header")
    if header["version"] != VERSION:
        raise _damaged(path, 0, f"its version is {header['version']}, only {VERSION} can be read")
    return header


def _read_journal(path: Path, generation: int, take: Take, *, is_last: bool) -> int:
    """Take the journal's entries; the size up to which they are sound."""
    journal = journal_path(path, generation)
    for line in _read_lines(journal):
        if line.entry is None:
            _require_torn(path, journal, line.offset, is_last=is_last)
            return line.offset
        take(line.entry)
    return journal.stat().st_size


def _require_torn(path: Path, journal: Path, offset: int, *, is_last: bool) -> None:
    """Raise DamagedStore unless a crash can have left what is there from the offset on."""
    with journal.open("rb") as file:
        file.seek(offset)
        rest = file.read()
    if not is_last or any(since > offset for since in _sinces(rest)):
        raise _damaged(journal, offset, "a line's checksum is wrong", store=path)
    log.warning("torn end of journal cut off", file=str(journal), offset=offset, bytes=len(rest))


def _sinces(data: bytes) -> Iterator[int]:
    """`since` of every sound line in damaged data, wherever it begins."""
    for match in re.finditer(re.escape(PREFIX), data):
        end = data.find(b"\n", match.start()) + 1
        found = unseal(data[match.start() : end])
        if found:
            yield found[0]


def _read_lines(path: Path) -> Iterator[_Line]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            found = unseal(line)
            yield _Line(offset, found[1] if found else None)
            offset += len(line)


def _damaged(file: Path, offset: int, what: str, store: Path | None = None) -> DamagedStore:
    name = (store or file).name
    return DamagedStore(
        f"{file} is damaged at byte {offset}: {what}; restore it from a copy, "
        f"or move {name} and {name}.journal.* away to start empty"
    )


def snapshot_header(generation: int, entries: int) -> bytes:
    """The entry that a snapshot begins with."""
    return orjson.dumps(
        {"format": FORMAT, "version": VERSION, "generation": generation, "entries": entries}
    )


def journal_path(path: Path, generation: int) -> Path:
    """The journal of that generation beside the snapshot at path."""
    return path.with_name(f"{path.name}.journal.{generation}")


def _generations(path: Path, names: list[str]) -> Iterator[int]:
    pattern = re.compile(re.escape(path.name) + r"\.journal\.(0|[1-9][0-9]*)")
    return (int(match[1]) for name in names if (match := pattern.fullmatch(name)))


def temporary_prefix(path: Path) -> str:
    """What the names of half-written files begin with."""
    return f".tmp-{path.name}-"


def _is_temporary(path: Path, name: str) -> bool:
    prefix = temporary_prefix(path)
    return name.startswith(prefix) and bool(re.fullmatch("[0-9a-f]{32}", name[len(prefix) :]))
