"""Dockerfile and compose.yaml, as far as they can be checked where no container engine runs."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncclick as click
import pytest
import yaml

from aggsvc.settings import CLIENT_NAMES, Settings
from cli.main import cli
from tests.conftest import DEADLINE
from web.assets import Assets

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
# Given by the image, for a container is reached from outside at a port that does not change.
OF_THE_IMAGE = {"HOST": "0.0.0.0", "PORT": 8000}
# What the files use of the compose specification, with the types that it allows.
SERVICE_KEYS = {
    "image": str,
    "build": dict,
    "user": str,
    "command": list,
    "entrypoint": list,
    "working_dir": str,
    "network_mode": str,
    "stop_grace_period": str,
    "profiles": list,
    "ports": list,
    "volumes": list,
    "environment": dict,
    "depends_on": dict,
    "healthcheck": dict,
}
CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")


# --- compose.yaml ---


def test_the_parts_are_those_of_the_compose_specification() -> None:
    """Each service uses keys of the specification, and depends on services that there are."""
    assert COMPOSE.keys() <= {"services", "x-image"}
    for service in SERVICES.values():
        for name, value in service.items():
            assert isinstance(value, SERVICE_KEYS[name]), name
        assert service["build"].keys() == {"context", "args"}
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how["condition"] in CONDITIONS


def test_up_starts_the_service_and_run_the_command_line() -> None:
    """`up` starts init and api; cli waits for `run`, until the service is healthy."""
    assert {name for name in SERVICES if "profiles" not in SERVICES[name]} == {"init", "api"}
    assert SERVICES["cli"]["depends_on"] == {"api": {"condition": "service_healthy"}}
    assert SERVICES["cli"]["entrypoint"] == ["aggsvc"]


def test_ports_are_published_on_this_machine_only() -> None:
    """The one port is on 127.0.0.1, at PORT."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:${PORT:-8000}:8000"]


def overridable(environment: dict[str, Any]) -> dict[str, str]:
    """The variables that the host's environment can override, with their defaults."""
    found = {}
    for name, value in environment.items():
        if OF_THE_IMAGE.get(name) != value:
            variable = VARIABLE.fullmatch(value)
            assert variable, f"{name}: {value}"
            assert variable[1] == name
            found[name] = variable[2]
    return found


def test_every_setting_can_be_overridden() -> None:
    """The api has every variable of Settings, each with its default where none is given.

    But AUTH: the container's address is for others, and the published one for this machine.
    """
    environment = SERVICES["api"]["environment"]
    assert {name.lower() for name in environment} == set(Settings.model_fields)
    given = {name.lower(): value for name, value in overridable(environment).items()}
    assert given.pop("auth") == "off"
    assert Settings(**given, host="127.0.0.1", port=8000) == Settings.model_construct()


def test_the_command_lines_settings_can_be_overridden() -> None:
    """So has the cli its own, but that it finds the service at its name."""
    found = overridable(SERVICES["cli"]["environment"])
    assert found.keys() == CLIENT_NAMES
    assert found.pop("API_BASE_URL") == "http://api:8000"
    assert found.pop("API_TOKEN") == ""
    options = {p.envvar: p.default for p in cli.params if isinstance(p, click.Option)}
    assert {name: float(value) for name, value in found.items()} == {
        name: options[name] for name in found
    }


def test_the_data_is_on_the_host() -> None:
    """The default data paths are in the folder that is ./tmp on the host."""
    folder = f"{workdir()}/tmp"
    assert SERVICES["api"]["volumes"] == [f"./tmp:{folder}"]
    settings = Settings()
    for path in (
        settings.mock_s3_root_path,
        settings.mock_dynamodb_persistence_path,
        settings.auth_path,
    ):
        assert Path(folder) in (workdir() / path).parents


def test_the_folder_is_given_to_the_images_user_first() -> None:
    """What Docker makes as root is given, before the api starts, to the user that api runs as."""
    init, args = SERVICES["init"], SERVICES["api"]["build"]["args"]
    assert args == {"UID": "${UID:-1000}", "GID": "${GID:-1000}"}
    assert init["volumes"] == SERVICES["api"]["volumes"]
    assert init["user"] == "root"
    assert init["command"] == ["chown", f"{args['UID']}:{args['GID']}", f"{workdir()}/tmp"]
    how = SERVICES["api"]["depends_on"]["init"]["condition"]
    assert how == "service_completed_successfully"


def test_the_samples_are_where_the_example_looks() -> None:
    assert SERVICES["cli"]["volumes"] == [f"./samples:{workdir()}/samples:ro"]
    assert SERVICES["cli"]["working_dir"] == str(workdir())


def test_stopping_is_given_time() -> None:
    """Docker waits longer than the service takes to drain."""
    assert int(SERVICES["api"]["stop_grace_period"].removesuffix("s")) > 30


# --- Dockerfile ---


class Instruction(NamedTuple):
    """One instruction of the Dockerfile, its lines joined."""

    name: str
    text: str


def instructions() -> list[Instruction]:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    parts = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [Instruction(name, " ".join(text.split())) for name, _, text in parts]


def texts(name: str) -> list[str]:
    return [each.text for each in instructions() if each.name == name]


def workdir() -> Path:
    return Path(texts("WORKDIR")[-1])


def test_the_image_runs_as_no_root() -> None:
    """The last user is the one that was made, and what starts is the service."""
    names = [each.name for each in instructions()]
    assert texts("USER") == ["aggsvc"]
    assert names.index("USER") < names.index("CMD")
    assert "RUN" not in names[names.index("USER") :]
    assert re.search(r'useradd --uid "\$UID" --gid "\$GID" .*aggsvc', texts("RUN")[0])
    assert [json.loads(text) for text in texts("CMD")] == [["python", "-m", "aggsvc"]]


def test_the_image_is_slim_and_installs_the_lock_file() -> None:
    """Packages come from the lock file with their hashes; the rest installs nothing besides."""
    assert re.fullmatch(r"python:3\.\d+-slim", texts("FROM")[0])
    pip = [text for text in texts("RUN") if "pip install" in text]
    assert pip[0] == "python -m pip install --require-hashes -r requirements.lock"
    assert pip[1].startswith("python -m pip install --no-deps --no-build-isolation . ")
    assert len(pip) == 2


def ignored(path: Path) -> bool:
    """Whether .dockerignore keeps a file of the project out; the last line that fits counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        parts = [path, *path.parents][:-1]
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatch(part.name, pattern[3:]) for part in parts)
        else:
            fits = any(fnmatch.fnmatch(str(part), pattern) for part in parts)
        out = not line.startswith("!") if fits else out
    return out


def copy_as_the_image(folder: Path) -> None:
    """Copy what .dockerignore lets through and COPY names, to where the image has it."""
    for text in texts("COPY"):
        *sources, target = text.split()
        for source in sources:
            found = ROOT / source
            files = [path for path in found.rglob("*") if path.is_file()] or [found]
            for path in files:
                name = path.relative_to(ROOT)
                if not ignored(name):
                    inside = name if found.is_file() else Path(target, path.relative_to(found))
                    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, folder / inside)


class Image(NamedTuple):
    """What the image holds: its working folder, and where its packages are installed."""

    folder: Path
    site: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """An environment in which this project is nowhere else but in the image."""
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        paths = f"{self.site}{os.pathsep}{packages}"
        return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, **changes}


# The interpreter behind the virtual environment: it knows no editable install.
PYTHON = getattr(sys, "_base_executable", sys.executable)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image's folder, after the command of the Dockerfile that installs this project."""
    image = Image(tmp_path_factory.mktemp("image"), tmp_path_factory.mktemp("site"))
    copy_as_the_image(image.folder)
    install = next(text for text in texts("RUN") if "--no-build-isolation" in text)
    command = install.partition(" && ")[0].split()[1:]
    subprocess.run(
        [sys.executable, *command, "--quiet", "--target", image.site],
        cwd=image.folder,
        check=True,
        capture_output=True,
    )
    return image


def test_only_what_is_needed_is_copied(image: Image) -> None:
    """The image has the packages and what pip needs; no data, tests or caches."""
    top = {path.name for path in image.folder.iterdir()} - {"build", "aggsvc.egg-info"}
    assert top == {"README.md", "pyproject.toml", "requirements.lock"} | {
        "aggsvc",
        "mocks",
        "web",
        "cli",
    }
    assert not list(image.folder.glob("[amwc]*/**/__pycache__"))


@contextmanager
def running(
    image: Image, folder: Path, data: Path, **changes: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The image's CMD, started in that folder."""
    settings = {
        "HOST": "127.0.0.1",
        "PORT": "0",
        "MOCK_S3_ROOT_PATH": str(data / "s3"),
        "MOCK_DYNAMODB_PERSISTENCE_PATH": str(data / "db.json"),
        **changes,
    }
    command = [PYTHON, *json.loads(texts("CMD")[0])[1:]]
    with (
        (data / "log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env=image.environment(**settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            banner = re.match(r"aggsvc listens on (http://\S+) ", process.stdout.readline())
            assert banner, (data / "log").read_text()
            yield banner[1], process
        finally:
            process.kill()


def status_of(url: str) -> int:
    with urllib.request.urlopen(url) as answer:
        return int(answer.status)


# To compile with less care takes half as long.
HASTY = {"NUMBA_OPT": "0", "NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"}


# The image runs what was copied; that what is installed is compiled, too, would tell no more.
@pytest.mark.parametrize(("where", "engine"), [("as copied", "auto"), ("as installed", "rows")])
def test_nothing_is_missing_in_the_image(
    image: Image, tmp_path: Path, where: str, engine: str
) -> None:
    """Service, pages, static files and command line work with what the image has alone."""
    folder = image.folder if where == "as copied" else tmp_path
    sample = ROOT / "samples/readings.csv"
    with running(image, folder, tmp_path, PROCESSOR_ENGINE=engine, **HASTY) as (url, _):
        done = subprocess.run(
            [PYTHON, image.site / "bin/aggsvc", "--json", "upload", "--wait", sample],
            cwd=folder,
            env=image.environment(API_BASE_URL=url, CLI_POLL_TIMEOUT="inf"),
            check=False,
            capture_output=True,
        )
        assert done.returncode == 3, done
        file_id = json.loads(done.stdout)["file_id"]
        for path in ("/ui", f"/ui/files/{file_id}", *static_files()):
            assert status_of(url + path) == 200


def static_files() -> list[str]:
    return Assets(ROOT / "web/static").urls()


def test_the_projects_own_folder_is_not_used(image: Image, tmp_path: Path) -> None:
    """What these tests import comes from the image, and not from here."""
    for folder, expected in ((image.folder, image.folder), (tmp_path, image.site)):
        code = "import aggsvc, cli, mocks, web; print(aggsvc.__file__, cli.__file__)"
        done = subprocess.run(
            [PYTHON, "-c", code],
            cwd=folder,
            env=image.environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        assert all(Path(name).is_relative_to(expected) for name in done.stdout.split())


def test_the_health_check_says_whether_the_service_is_up(image: Image, tmp_path: Path) -> None:
    """The image's HEALTHCHECK ends with 0 while the service is well, and otherwise not."""
    command = json.loads(texts("HEALTHCHECK")[0].partition("CMD ")[2])
    with running(image, image.folder, tmp_path) as (url, process):
        env = image.environment(PORT=url.rpartition(":")[2])
        check = [PYTHON, *command[1:]]
        assert subprocess.run(check, env=env, check=False).returncode == 0
        process.terminate()
        assert process.wait(DEADLINE) == 0
    down = subprocess.run(check, env=env, check=False, capture_output=True)
    assert down.returncode != 0
