"""Section 3 of the design: who may import whom, read from the source and not by importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("aggsvc", "mocks", "web", "cli")
FOLDERS = {"aggsvc.engine", "aggsvc.aws", "aggsvc.http", "aggsvc.api", "mocks", "web", "cli"}
ANYONE = {"aggsvc.model", "aggsvc.errors"}
EVERYTHING = {"*"}

# What each room may import besides itself, model and errors. A room is a folder of FOLDERS or a
# module of aggsvc; filetable, objects, sensorstore and series are what service and processor share.
MAY_IMPORT = {
    "aggsvc": set(),
    "aggsvc.model": set(),
    "aggsvc.errors": set(),
    "aggsvc.ports": set(),
    "aggsvc.settings": set(),
    "aggsvc.logs": set(),
    "aggsvc.digest": set(),
    "aggsvc.engine": set(),
    "aggsvc.events": set(),
    "aggsvc.throughput": {"aggsvc.events"},
    "aggsvc.filetable": {"aggsvc.ports", "aggsvc.events"},
    "aggsvc.objects": {"aggsvc.ports"},
    "aggsvc.sensorstore": {"aggsvc.engine", "aggsvc.objects"},
    "aggsvc.errorreport": {"aggsvc.engine", "aggsvc.objects"},
    "aggsvc.privatefiles": set(),
    "aggsvc.tokens": {"aggsvc.privatefiles"},
    "aggsvc.commands": {"aggsvc.settings", "aggsvc.tokens"},
    "aggsvc.processor": {
        "aggsvc.ports",
        "aggsvc.engine",
        "aggsvc.errorreport",
        "aggsvc.events",
        "aggsvc.filetable",
        "aggsvc.objects",
        "aggsvc.sensorstore",
    },
    "aggsvc.series": {"aggsvc.engine", "aggsvc.objects"},
    "aggsvc.workers": {"aggsvc.ports", "aggsvc.processor"},
    "aggsvc.idempotency": {"aggsvc.ports"},
    "aggsvc.intake": {
        "aggsvc.digest",
        "aggsvc.ports",
        "aggsvc.filetable",
        "aggsvc.idempotency",
        "aggsvc.objects",
    },
    "aggsvc.service": {
        "aggsvc.ports",
        "aggsvc.engine",
        "aggsvc.events",
        "aggsvc.filetable",
        "aggsvc.idempotency",
        "aggsvc.intake",
        "aggsvc.objects",
        "aggsvc.sensorstore",
        "aggsvc.series",
    },
    "aggsvc.recovery": {"aggsvc.ports", "aggsvc.filetable", "aggsvc.objects"},
    "aggsvc.health": {
        "aggsvc.ports",
        "aggsvc.engine",
        "aggsvc.filetable",
        "aggsvc.objects",
        "aggsvc.tokens",
        "aggsvc.workers",
    },
    "mocks": {"aggsvc.ports"},
    "aggsvc.aws": {"aggsvc.ports"},
    "aggsvc.backends": {"aggsvc.ports", "aggsvc.settings", "mocks", "aggsvc.aws"},
    "aggsvc.keys": {
        "aggsvc.backends",
        "aggsvc.engine",
        "aggsvc.health",
        "aggsvc.http",
        "aggsvc.recovery",
        "aggsvc.service",
        "aggsvc.settings",
        "aggsvc.throughput",
        "aggsvc.tokens",
        "aggsvc.workers",
    },
    "aggsvc.http": {
        "aggsvc.keys",
        "aggsvc.service",
        "aggsvc.events",
        "aggsvc.privatefiles",
        "aggsvc.tokens",
    },
    # The last two for the types of what it answers.
    "aggsvc.api": {
        "aggsvc.http",
        "aggsvc.keys",
        "aggsvc.service",
        "aggsvc.events",
        "aggsvc.health",
    },
    "web": {"aggsvc.http", "aggsvc.keys", "aggsvc.service", "aggsvc.throughput"},
    "cli": {"aggsvc.engine"},
    "aggsvc.app": EVERYTHING,
    "aggsvc.server": {"aggsvc.app", "aggsvc.http", "aggsvc.settings"},
    "aggsvc.__main__": {
        "aggsvc.app",
        "aggsvc.commands",
        "aggsvc.server",
        "aggsvc.settings",
        "aggsvc.logs",
    },
}
WITHOUT_AIOHTTP = {
    "aggsvc.model",
    "aggsvc.errors",
    "aggsvc.ports",
    "aggsvc.settings",
    "aggsvc.digest",
    "aggsvc.engine",
    "aggsvc.errorreport",
    "aggsvc.events",
    "aggsvc.throughput",
    "aggsvc.filetable",
    "aggsvc.health",
    "aggsvc.idempotency",
    "aggsvc.intake",
    "aggsvc.objects",
    "aggsvc.privatefiles",
    "aggsvc.processor",
    "aggsvc.recovery",
    "aggsvc.sensorstore",
    "aggsvc.series",
    "aggsvc.service",
    "aggsvc.tokens",
    "aggsvc.workers",
    "mocks",
}


def violations(root: Path) -> list[str]:
    """Each import that the rules forbid, as `file:line: who imports whom`."""
    found = []
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        room = room_of(module)
        if room not in MAY_IMPORT:
            found.append(f"{path.name}: no rule says what {room} may import")
            continue
        is_package = path.name == "__init__.py"
        for line, imported in imports(path.read_text(), module, is_package=is_package):
            if not allowed(room, imported):
                found.append(f"{path.relative_to(root)}:{line}: {room} imports {imported}")
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[0] in FOLDERS:
        return parts[0]
    return ".".join(parts[:2])


def imports(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """All that is imported, wherever in the source, by its absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: None if is_package and node.level == 1 else -node.level]
                if is_package and node.level > 1:
                    above = module.split(".")[: -node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield node.lineno, whole if is_module(whole) or base == "aggsvc" else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield node.lineno, ast.literal_eval(node.args[0])


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def allowed(room: str, imported: str) -> bool:
    top = imported.partition(".")[0]
    if top == "tests":
        return False
    if top == "aiohttp" or top.startswith("aiohttp_"):
        return room not in WITHOUT_AIOHTTP
    if top not in PACKAGES:
        return True
    target = room_of(imported)
    return (
        target == room
        or target in ANYONE
        or target in MAY_IMPORT[room]
        or MAY_IMPORT[room] is EVERYTHING
        or (room == "aggsvc.ports" and target == "aggsvc.model")
    )


def test_every_import_keeps_to_the_rules() -> None:
    assert violations(ROOT) == []


def test_every_room_of_the_rules_that_must_be_there_is() -> None:
    """A renamed room would otherwise go unwatched."""
    later = {"aggsvc.aws"}
    missing = [room for room in MAY_IMPORT if room not in later and not is_module(room)]
    assert missing == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("aggsvc/engine/rows.py", "from aiohttp import web"),
        ("aggsvc/engine/rows.py", "from aggsvc.ports import Item"),
        ("aggsvc/engine/rows.py", "from aggsvc import service"),
        ("aggsvc/engine/rows.py", "from ..ports import Item"),
        ("aggsvc/engine/__init__.py", "from ..ports import Item"),
        ("aggsvc/model.py", "import aggsvc.events"),
        ("aggsvc/model.py", "from .events import Event"),
        ("aggsvc/events.py", "def late():\n    import aiohttp_sse"),
        ("aggsvc/service.py", "from aggsvc.processor import Processor"),
        ("aggsvc/service.py", "import aiohttp.web"),
        ("aggsvc/workers.py", "import mocks.sqs"),
        ("aggsvc/processor.py", "from aggsvc.service import Service"),
        ("aggsvc/app.py", "import tests.oracle"),
        ("aggsvc/api/handlers.py", "from aggsvc.ports import ObjectStore"),
        ("aggsvc/new.py", ""),
        ("mocks/s3.py", "from aggsvc.settings import Settings"),
        ("mocks/s3.py", "if True:\n    import aiohttp"),
        ("mocks/s3.py", "import importlib\nimportlib.import_module('aggsvc.app')"),
        ("web/views.py", "from aggsvc.backends import Backends"),
        ("cli/main.py", "from aggsvc.service import Service"),
        ("cli/main.py", "import mocks"),
    ],
)
def test_a_forbidden_import_is_found(file: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("aggsvc/engine/rows.py", "from aggsvc.engine.batch import Batch"),
        ("aggsvc/engine/rows.py", "from .batch import Batch"),
        ("aggsvc/engine/__init__.py", "from .batch import Batch"),
        ("aggsvc/engine/rows.py", "from aggsvc.errors import FileRejected"),
        ("aggsvc/ports.py", "from aggsvc.model import Job"),
        ("aggsvc/app.py", "from aggsvc.backends import open_backends\nimport aiohttp"),
        ("aggsvc/backends.py", "from mocks import s3"),
        ("cli/main.py", "import aiohttp\nfrom aggsvc.engine import rows"),
        ("mocks/s3.py", "import asyncio, mocks.files"),
    ],
)
def test_an_import_that_is_right_is_not(file: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path) == []
