"""Every command and option, as a person and as a program sees it."""

import json
import os
import re
import signal
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asyncclick.testing import CliRunner

from cli.main import cli
from tests.cli.conftest import (
    OF_THE_RUN,
    ROOT,
    SAMPLES,
    Service,
    environment,
    finish,
    start,
)
from tests.machine import program

ID = re.compile(r"\b[0-9a-f]{32}\b")
# A name that a header, a console and a page could each spoil.
ODD_NAME = "ünï [red]code[blue] %41;'x.csv"


@pytest.fixture(scope="module")
def partial(service: Service) -> str:
    """The id of samples/partial.csv in the service."""
    return service.upload(SAMPLES / "partial.csv")


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def without_run(record: Any) -> Any:
    return {name: value for name, value in record.items() if name not in OF_THE_RUN}


def curl(*arguments: str) -> Any:
    answer = subprocess.run([program("curl"), "-sf", *arguments], capture_output=True, check=True)
    return json.loads(answer.stdout)


# --- upload ---


def test_an_upload_shows_its_id(service: Service) -> None:
    """Without --wait a line with id, status and name comes out, and the status is 0."""
    done = service.run("upload", "samples/readings.csv")
    assert re.fullmatch(r"[0-9a-f]{32}  uploaded  readings\.csv\n", done.out)
    assert (done.err, done.status) == ("", 0)


def test_an_upload_that_waits_shows_the_result(service: Service) -> None:
    """With --wait the aggregates and the bad rows come out; one bad row is status 3."""
    done = service.run("upload", "samples/readings.csv", "--wait")
    shown = lines_of(done.out)
    for line in (
        "file readings.csv",
        "status partial",
        "size 220 bytes",
        "rows 6 read",
        "readings 5",
        "min 19.87",
        "max 42.0",
        "mean 25.02",
        f"stddev {statistics.pstdev([21.35, 19.87, 20.44, 42.0, 21.44])!r}",
        "first 2025-10-01T08:00:00Z",
        "sensors 3: sensor-a 2, sensor-b 2, sensor-c 1",
        "bad rows 1 missing timestamp",
        "line column reason value",
        "7 timestamp missing timestamp",
    ):
        assert line in shown
    assert (done.err, done.status) == ("", 3)


@pytest.mark.parametrize(
    ("files", "statuses", "status"),
    [
        (["clean.csv"], ["processed"], 0),
        (["readings.csv", "clean.csv"], ["partial", "processed"], 3),
        (["broken/utf-16.csv", "readings.csv"], ["failed", "partial"], 1),
    ],
)
def test_the_exit_status_is_that_of_the_worst_file(
    service: Service, files: list[str], statuses: list[str], status: int
) -> None:
    """As JSON there is a line for each file, in their order, whatever became of them."""
    done = service.run("--json", "upload", "--wait", *(f"samples/{name}" for name in files))
    assert [record["status"] for record in done.records] == statuses
    assert [record["filename"] for record in done.records] == [Path(f).name for f in files]
    assert (done.err, done.status) == ("", status)


def test_a_refused_file_does_not_keep_the_others_back(service: Service) -> None:
    """What is refused is told by name on standard error; the others are uploaded, and 1 it is."""
    done = service.run(
        "--json", "upload", "--wait", "samples/broken/empty.csv", "samples/clean.csv"
    )
    assert done.record["status"] == "processed"
    assert done.err.startswith("aggsvc: samples/broken/empty.csv: the file is empty; send")
    assert done.err.count("\n") == 1
    assert done.status == 1
    told = service.run("upload", "--wait", "samples/broken/empty.csv", "samples/clean.csv").out
    assert told.startswith("file ")  # nothing parts it from what is not there


def test_files_after_one_that_is_missing_are_not_sent(service: Service) -> None:
    """A name that is wrong is wrong usage, before anything is sent."""
    before = newest(service)
    done = service.run("upload", "samples/clean.csv", "nonesuch.csv")
    assert done.err.endswith("Error: nonesuch.csv does not exist; check the name\n")
    assert (done.out, done.status) == ("", 2)
    assert newest(service) == before


def newest(service: Service) -> list[str]:
    """The id of the last file that was uploaded, if any."""
    return [item["file_id"] for item in service.get("/files?limit=1")["items"]]


def test_a_folder_is_no_file(service: Service) -> None:
    done = service.run("upload", "samples")
    assert done.err.endswith("Error: samples is not a file; name CSV files\n")
    assert done.status == 2


def test_a_file_that_cannot_be_read_is_told(service: Service) -> None:
    """A file that fails while it is read is named with the cause."""
    done = service.run("upload", "/proc/self/mem")
    cause = "/proc/self/mem: it cannot be read (Input/output error); check the file"
    assert (done.err, done.status) == (f"aggsvc: {cause}\n", 1)


# --- the same record ---


@pytest.mark.parametrize("name", ["plain.csv", ODD_NAME])
def test_curl_and_the_command_line_give_the_same(
    service: Service, tmp_path: Path, name: str
) -> None:
    """The same file, by curl and by the command line, has the same record, its name included."""
    path = tmp_path / name
    path.write_bytes((SAMPLES / "partial.csv").read_bytes())
    by_curl = curl("-F", f'file=@"{path}"', f"{service.url}/files")["file_id"]
    ours = service.json("upload", "--wait", str(path))
    theirs = service.json("result", "--wait", by_curl)
    assert theirs == curl(f"{service.url}/files/{by_curl}")
    assert ours == curl(f"{service.url}/files/{ours['file_id']}")
    assert without_run(ours) == without_run(theirs)
    assert ours["filename"] == name


def test_a_name_that_is_not_utf_8_is_sent_as_curl_sends_it(
    service: Service, tmp_path: Path
) -> None:
    """What is no UTF-8 in a name is U+FFFD, and what cannot be shown is left out."""
    path = tmp_path / os.fsdecode(b"a\xff\x1bb.csv")
    path.write_bytes((SAMPLES / "clean.csv").read_bytes())
    assert service.json("upload", str(path))["filename"] == "a\ufffdb.csv"


# --- result, list, errors ---


def test_a_result_shows_what_the_upload_showed(service: Service, partial: str) -> None:
    """The status is that of the file; more than ten bad rows are cut, with the way to all."""
    done = service.run("result", partial)
    assert f"id {partial}" in lines_of(done.out)
    assert done.out.endswith(f"and 1 more; see all with aggsvc errors {partial}\n")
    assert (done.err, done.status) == ("", 3)


def test_a_result_of_a_failed_file_says_why(service: Service) -> None:
    file_id = service.upload(SAMPLES / "broken/utf-16.csv")
    done = service.run("result", file_id, "--wait")
    assert "message the file is UTF-16; save it as UTF-8 and upload it again" in lines_of(done.out)
    assert done.status == 1


def test_a_list_is_the_apis(service: Service, partial: str) -> None:
    """As JSON a list is what the API answers, with each option passed on."""
    done = service.run("--json", "list", "--status=partial", "--search=ARTIAL", "--limit=1")
    assert done.record == service.get("/files?status=partial&q=ARTIAL&limit=1")
    assert done.status == 0
    assert service.run("list", "--status=partial", "--limit=1", "--json").record == service.get(
        "/files?status=partial&limit=1"
    )
    largest = service.json("list", "--sort=-size_bytes")["items"]
    assert [r["size_bytes"] for r in largest] == sorted(
        (r["size_bytes"] for r in largest), reverse=True
    )


def test_a_list_leads_to_the_next(service: Service, partial: str) -> None:
    """The command that is shown for more gives the next files of the same search."""
    service.upload(SAMPLES / "partial.csv")
    first = service.run("list", "--search=partial", "--sort=uploaded_at", "--limit=1")
    head, row, more = first.out.splitlines()
    assert head.split() == ["id", "file", "status", "rows", "bad"]
    assert row.split() == [partial, "partial.csv", "partial", "40", "11"]
    again = more.removeprefix("more: aggsvc ").split()
    second = service.run(*again).out.splitlines()[1]
    assert ID.search(second)
    assert partial not in second
    assert service.run("list", "--search=nonesuch").out == "no files\n"


def test_sensors_are_listed(service: Service, partial: str) -> None:
    """Every figure as the API has it; as JSON it is the answer, each option passed on."""
    shown = lines_of(service.run("sensors", partial).out)
    items = service.get(f"/files/{partial}/sensors")["items"]
    assert shown[0] == "sensor readings min max mean stddev first last"
    assert shown[1:] == [" ".join(map(str, item.values())) for item in items]
    done = service.run("--json", "sensors", partial, "--sort=-max_value", "--limit=1")
    assert done.record == service.get(f"/files/{partial}/sensors?sort=-max_value&limit=1")
    assert len(done.record["items"]) == 1
    assert done.status == 0


def test_a_list_of_sensors_leads_to_the_next(service: Service, partial: str) -> None:
    """The command that is shown for more gives the next sensors in the same order."""
    names = [
        item["sensor_id"]
        for item in service.get(f"/files/{partial}/sensors?sort=-row_count")["items"]
    ]
    first = service.run("sensors", partial, "--sort=-row_count", "--limit=1")
    _, row, more = first.out.splitlines()
    again = more.removeprefix("more: aggsvc ").split()
    second = service.run(*again).out.splitlines()[1]
    assert [row.split()[0], second.split()[0]] == names[:2]


def test_a_file_without_readings_has_no_sensors(service: Service) -> None:
    file_id = service.upload(SAMPLES / "broken/header-only.csv")
    assert service.run("sensors", file_id) == ("no sensors\n", "", 0)
    assert "sensors 0" in lines_of(service.run("result", file_id).out)


def test_errors_are_listed(service: Service, partial: str) -> None:
    """A table for a person, and every error as CSV or JSON lines as the API has them."""
    table = service.run("errors", partial)
    assert len(table.out.splitlines()) == 12
    assert lines_of(table.out)[1] == "6 value invalid value N/A"
    as_csv = service.run("errors", partial, "--format", "csv")
    assert as_csv.out.startswith("row_number,line_number,column,reason,value\n5,6,value,invalid")
    as_json = service.run("--json", "errors", partial)
    record = service.get(f"/files/{partial}")
    assert as_json.records == record["errors"]
    assert service.run("errors", partial, "--format=ndjson") == as_json
    assert {table.status, as_csv.status, as_json.status} == {0}


def test_a_file_without_errors_has_none(service: Service) -> None:
    file_id = service.upload(SAMPLES / "clean.csv")
    assert service.run("errors", file_id) == ("no bad rows\n", "", 0)


# --- reprocess, delete, health ---


def test_reprocess_and_delete(service: Service) -> None:
    """A file is processed again, and then gone; of several, one that is unknown gives 1."""
    file_id = service.upload(SAMPLES / "readings.csv")
    again = service.run("reprocess", file_id)
    assert again == (f"{file_id}  uploaded  readings.csv\n", "", 0)
    assert service.json("result", file_id, "--wait")["status"] == "partial"
    assert service.json("reprocess", file_id, "--wait")["status"] == "partial"
    done = service.run("delete", file_id, "nonesuch")
    assert done.out == f"{file_id}  deleted\n"
    assert done.err == "aggsvc: there is no file with the id 'nonesuch'\n"
    assert done.status == 1
    other = service.upload(SAMPLES / "readings.csv")
    assert service.run("--json", "delete", other) == (f'{{"file_id":"{other}"}}\n', "", 0)


def test_health(service: Service) -> None:
    done = service.run("health")
    assert lines_of(done.out)[:2] == ["objects ok", "table ok"]
    assert done.status == 0
    assert service.json("health")["status"] == "ok"


# --- help ---


def shown_example(command: str) -> str:
    """The example that a command's help shows."""
    example = re.search(r"Example:\n +(.+)", str(cli.commands[command].epilog))
    assert example, f"the help of {command} has no example"
    return example[1]


@pytest.mark.parametrize("command", sorted(set(cli.commands) - {"serve"}))
async def test_the_example_in_the_help_works(
    service: Service, tmp_path: Path, command: str
) -> None:
    """Each help shows an example; it works as it stands, but for the id."""
    text = await CliRunner().invoke(cli, [command, "--help"], prog_name="aggsvc")
    assert shown_example(command) in text.output
    example = shown_example(command)
    if ID.search(example):
        example = ID.sub(service.upload(SAMPLES / "readings.csv"), example)
    example = example.replace("> ", f"> {tmp_path}/")
    done = subprocess.run(
        ["bash", "-c", example],
        check=False,
        cwd=ROOT,
        env=environment(service.url),
        capture_output=True,
    )
    wanted = 3 if "--wait" in example else 0
    assert (done.returncode, done.stderr) == (wanted, b""), done
    assert done.stdout or list(tmp_path.iterdir())


def test_the_help_of_all_names_each_command(service: Service) -> None:
    text = service.run("--help").out
    assert all(re.search(rf"^  {name}\s", text, re.M) for name in cli.commands)
    assert "Example:" in text
    assert "Exit status: 0 all processed, 1" in text


def test_serve_runs_the_service(service: Service, tmp_path: Path) -> None:
    """The example of serve, on a free port: the service answers until Ctrl-C."""
    assert shown_example("serve") == "PORT=8080 aggsvc serve"
    data = {
        "PORT": "0",
        "MOCK_S3_ROOT_PATH": str(tmp_path / "s3"),
        "MOCK_DYNAMODB_PERSISTENCE_PATH": str(tmp_path / "db.json"),
    }
    process = start(service.url, "serve", **data)
    assert process.stdout
    banner = re.match(rb"aggsvc listens on (http://\S+) ", process.stdout.readline())
    assert banner
    address = banner[1].decode()
    own = Service(address)
    assert own.run("list").out == "no files\n"
    assert own.run("--base-url", f"{address}/", "list", API_BASE_URL="http://x.invalid").status == 0
    process.send_signal(signal.SIGINT)
    assert finish(process).status == 0
