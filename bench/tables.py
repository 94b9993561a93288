"""Tables that are plain text and Markdown at once, and the page that keeps the last of them."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under the header; all columns but the first are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        shown = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(shown)} |"

    return "\n".join(map(line, (header, ruler, *rows)))


def verdict(reached: float, at_least: float) -> str:
    """A ratio beside its goal."""
    sign = "met" if reached >= at_least else "MISSED"
    return f"{reached:.2f} x, goal {at_least:g} x: {sign}"


def limit(found: float, at_most: float, unit: str) -> str:
    """A figure beside the most that it may be."""
    return f"at most {at_most:.3g} {unit}: {'met' if found <= at_most else 'MISSED'}"


def keep(name: str, text: str, page: Path = PAGE) -> None:
    """Put the text between the page's markers of that name, in place of what was there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page.name} has no part between {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def machine(*packages: str) -> str:
    """One line on the machine, Python and the packages' versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{cores()} cores of {_processor()}, {memory:.0f} GiB of memory, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {versions}."
    )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
