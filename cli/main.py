"""The commands."""

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import asyncclick as click

from cli import render
from cli.client import Client, ClientFailed, Record, open_client
from cli.options import Address, Options, Seconds, Secret, is_overheard, json_too

AnyCommand = TypeVar("AnyCommand", bound=click.Command)

FINAL = ("processed", "partial", "failed")
STATUSES = ("uploaded", "processing", *FINAL)


class ExitStatus(IntEnum):
    """What the shell is told; where several apply, the first of FAILED, TIMED_OUT, PARTIAL."""

    PROCESSED = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    TIMED_OUT = 4
    INTERRUPTED = 130


WORST_FIRST = (ExitStatus.FAILED, ExitStatus.TIMED_OUT, ExitStatus.PARTIAL)


def examples(text: str) -> Callable[[AnyCommand], AnyCommand]:
    """Show an example below the help of a command."""

    def add(command: AnyCommand) -> AnyCommand:
        command.epilog = f"\b\nExample:\n  {text}"
        return command

    return add


@examples("aggsvc --json upload samples/readings.csv --wait")
@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--base-url",
    envvar="API_BASE_URL",
    default="http://localhost:8000",
    type=Address(),
    show_default=True,
    show_envvar=True,
    help="Where the service is.",
)
@click.option(
    "--token",
    envvar="API_TOKEN",
    type=Secret(),
    show_envvar=True,
    help="What the service asks for. Others see options, so rather set the variable.",
)
@click.option(
    "--poll-interval",
    envvar="CLI_POLL_INTERVAL",
    default=0.5,
    type=Seconds(0.01),
    show_default=True,
    show_envvar=True,
    help="Seconds between two looks at a file that is waited for.",
)
@click.option(
    "--poll-timeout",
    envvar="CLI_POLL_TIMEOUT",
    default=60.0,
    type=Seconds(0),
    show_default=True,
    show_envvar=True,
    help="Seconds to wait for a file before giving up (exit status 4).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.version_option(package_name="aggsvc")
@click.pass_context
async def cli(
    context: click.Context,
    /,
    base_url: str,
    token: str | None,
    as_json: bool,
    **polling: float,
) -> None:
    """Upload sensor CSV files, and read their aggregates and every bad row.

    Exit status: 0 all processed, 1 something failed, 2 wrong usage, 3 some rows are bad,
    4 timed out, 130 interrupted.
    """
    if token is not None and is_overheard(base_url):
        render.show_failure(f"warning: {base_url} gets the token over plain http; use https")
    context.obj = Options(base_url, token, json=as_json, **polling)


@examples("aggsvc upload samples/readings.csv --wait")
@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Wait until each is processed, and show the results.")
@json_too
@click.pass_obj
async def upload(options: Options, files: tuple[Path, ...], wait: bool) -> None:
    """Upload one or more CSV FILES."""
    sizes = sizes_of(files)
    async with open_client(options.base_url, options.token) as client:
        with render.progress_bars(wanted=not options.json) as bars:
            records = await upload_all(client, sizes, bars)
            if wait:
                records = await asyncio.gather(
                    *(attempt(wait_for, client, options, record, bars) for record in records)
                )
    for number, record in enumerate(filter(None, records)):
        if number and wait and not options.json:
            render.out.print()
        show_uploaded(record, options, wait)
    sys.exit(worst([status_of(record, wait) for record in records]))


@examples("aggsvc result 0b8f5e2c7d9a4c1e8f3a6b5d4c2e1f0a --wait")
@cli.command()
@click.argument("file_id")
@click.option("--wait", is_flag=True, help="Wait until the file is processed.")
@json_too
@click.pass_obj
async def result(options: Options, file_id: str, wait: bool) -> None:
    """Show the aggregates of a file and its first bad rows."""
    async with open_client(options.base_url, options.token) as client:
        record = await client.record(file_id)
        if wait:
            record = await wait_alone(client, options, record)
    show(record, options, render.show_record)
    sys.exit(status_of(record, wait))


@examples("aggsvc list --status failed --sort=-size_bytes")
@cli.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only files of this status.")
@click.option("--search", "q", default="", help="Only files with this in their name.")
@click.option("--sort", default="", help="An attribute, with - before it for descending.")
@click.option(
    "--limit",
    default=50,
    type=click.IntRange(1, 200),
    show_default=True,
    help="At most so many files.",
)
@click.option("--cursor", default="", help="Go on where a list ended.")
@json_too
@click.pass_obj
async def list_files(options: Options, /, limit: int, status: str | None, **others: str) -> None:
    """List files, newest first."""
    query = {"status": status or "", **others}
    async with open_client(options.base_url, options.token) as client:
        page = await client.list(limit=str(limit), **query)
    again = {"--limit": str(limit), "--status": query["status"], "--search": query["q"]}
    again |= {"--sort": query["sort"], "--cursor": page["next_cursor"] or ""}
    show(page, options, lambda page: render.show_list(page, command("list", **again)))


@examples("aggsvc errors 0b8f5e2c7d9a4c1e8f3a6b5d4c2e1f0a --format csv > errors.csv")
@cli.command()
@click.argument("file_id")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "ndjson"]),
    default="table",
    show_default=True,
    help="csv and ndjson list every error, the table the first 100.",
)
@json_too
@click.pass_obj
async def errors(options: Options, file_id: str, form: str) -> None:
    """List the bad rows of a file."""
    async with open_client(options.base_url, options.token) as client:
        if form == "table" and not options.json:
            record = await client.record(file_id)
            if record["status"] not in FINAL:
                raise ClientFailed(still(record))
            render.show_errors(record)
            return
        async for chunk in client.errors(file_id, "csv" if form == "csv" else "ndjson"):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@examples("aggsvc sensors 0b8f5e2c7d9a4c1e8f3a6b5d4c2e1f0a --sort=-max_value --limit=10")
@cli.command()
@click.argument("file_id")
@click.option("--sort", default="", help="An attribute, with - before it for descending.")
@click.option(
    "--limit",
    default=50,
    type=click.IntRange(1, 1000),
    show_default=True,
    help="At most so many sensors.",
)
@click.option("--cursor", default="", help="Go on where a list ended.")
@json_too
@click.pass_obj
async def sensors(options: Options, file_id: str, sort: str, limit: int, cursor: str) -> None:
    """Show the statistics of each sensor of a file, by name."""
    async with open_client(options.base_url, options.token) as client:
        page = await client.sensors(file_id, sort=sort, limit=str(limit), cursor=cursor)
    again = {"--limit": str(limit), "--sort": sort, "--cursor": page["next_cursor"] or ""}
    show(
        page, options, lambda page: render.show_sensors(page, command("sensors", file_id, **again))
    )


@examples("aggsvc delete 0b8f5e2c7d9a4c1e8f3a6b5d4c2e1f0a")
@cli.command()
@click.argument("file_ids", nargs=-1, required=True, metavar="FILE_ID...")
@json_too
@click.pass_obj
async def delete(options: Options, file_ids: tuple[str, ...]) -> None:
    """Delete files with all that is known of them."""
    done = []
    async with open_client(options.base_url, options.token) as client:
        for file_id in file_ids:
            deleted = await attempt(delete_one, client, file_id)
            if deleted is not None:
                show(deleted, options, render.show_deleted)
            done.append(deleted is not None)
    sys.exit(ExitStatus.PROCESSED if all(done) else ExitStatus.FAILED)


@examples("aggsvc reprocess 0b8f5e2c7d9a4c1e8f3a6b5d4c2e1f0a --wait")
@cli.command()
@click.argument("file_id")
@click.option("--wait", is_flag=True, help="Wait until the file is processed.")
@json_too
@click.pass_obj
async def reprocess(options: Options, file_id: str, wait: bool) -> None:
    """Process a file again."""
    async with open_client(options.base_url, options.token) as client:
        record = await client.reprocess(file_id)
        if wait:
            record = await wait_alone(client, options, record)
    show_uploaded(record, options, wait)
    sys.exit(status_of(record, wait))


@examples("aggsvc health")
@cli.command()
@json_too
@click.pass_obj
async def health(options: Options) -> None:
    """Ask the service how it is.

    Exit status 0 while all of it is well, else 1.
    """
    async with open_client(options.base_url, options.token) as client:
        state = await client.health()
    show(state, options, render.show_health)
    sys.exit(ExitStatus.PROCESSED if state["status"] == "ok" else ExitStatus.FAILED)


@examples("PORT=8080 aggsvc serve")
@cli.command()
async def serve() -> None:
    """Run the service here until Ctrl-C.

    Its settings come from the environment: see the README.
    """
    os.execv(sys.executable, [sys.executable, "-m", "aggsvc"])  # noqa: S606 - ours, no shell


def sizes_of(files: Sequence[Path]) -> dict[Path, int]:
    """Each file's size; refuses, before anything is sent, what is no file."""
    for path in files:
        if not path.exists():
            raise click.UsageError(f"{render.plain(str(path))} does not exist; check the name")
        if not path.is_file():
            raise click.UsageError(f"{render.plain(str(path))} is not a file; name CSV files")
    return {path: path.stat().st_size for path in files}


async def attempt(
    step: Callable[..., Awaitable[Record]], client: Client, *arguments: Any
) -> Record | None:
    """What the step returns; where it fails, say why and return None, so that others go on."""
    if None in arguments:
        return None
    try:
        return await step(client, *arguments)
    except ClientFailed as error:
        render.show_failure(str(error))
        return None


async def upload_all(
    client: Client, sizes: dict[Path, int], bars: render.Bars
) -> list[Record | None]:
    """Upload the files one after another; on Ctrl-C say what becomes of those that are sent."""
    records: list[Record | None] = []
    try:
        for path, size in sizes.items():
            records.append(await attempt(upload_one, client, path, size, bars))
    except asyncio.CancelledError:
        for record in filter(None, records):
            render.show_failure(still(record))
        raise
    return records


async def upload_one(client: Client, path: Path, size: int, bars: render.Bars) -> Record:
    """Upload a file under a bar."""
    bar = bars.add("uploading", path.name, size)
    try:
        return await client.upload(path, lambda sent: bars.advance(bar, sent))
    except ClientFailed as error:
        raise ClientFailed(f"{path}: {error}") from None
    except asyncio.CancelledError:
        render.show_failure(f"{path} was being sent; `aggsvc list` shows whether it is kept")
        raise


async def delete_one(client: Client, file_id: str) -> Record:
    """Delete a file; returns its id."""
    await client.delete(file_id)
    return {"file_id": file_id}


async def wait_for(client: Client, options: Options, record: Record, bars: render.Bars) -> Record:
    """The record once it is final, or as it is when the time is up."""
    bar = bars.add("processing", record["filename"], record["size_bytes"])
    deadline = time.monotonic() + options.poll_timeout
    try:
        while record["status"] not in FINAL and (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(options.poll_interval, left))
            record = await client.record(record["file_id"])
            bars.reach(bar, record["progress"]["bytes_read"])
    except ClientFailed as error:
        raise ClientFailed(f"{record['filename']}, id {record['file_id']}: {error}") from None
    except asyncio.CancelledError:
        render.show_failure(still(record))
        raise
    return record


async def wait_alone(client: Client, options: Options, record: Record) -> Record:
    """As `wait_for`, under a bar of its own."""
    with render.progress_bars(wanted=not options.json) as bars:
        return await wait_for(client, options, record, bars)


def show(data: Record, options: Options, for_person: Callable[[Record], None]) -> None:
    """Show data as JSON or for a person, as the options say."""
    if options.json:
        render.show_json(data)
    else:
        for_person(data)


def show_uploaded(record: Record, options: Options, wait: bool) -> None:
    """The record where it was waited for, else its id and status."""
    if wait:
        show(record, options, render.show_record)
    else:
        show(record, options, render.show_accepted)


def command(*words: str, **options: str) -> str:
    """A command of ours as it is typed, with those options that have a value."""
    given = (f"{name}={value}" for name, value in options.items() if value)
    return shlex.join(("aggsvc", *words, *given))


def status_of(record: Record | None, waited: bool) -> ExitStatus:
    """What a record means for the exit status; one that moves is well unless it was waited for."""
    if record is None or record["status"] == "failed":
        return ExitStatus.FAILED
    if record["status"] == "partial":
        return ExitStatus.PARTIAL
    if record["status"] == "processed" or not waited:
        return ExitStatus.PROCESSED
    render.show_failure(still(record))
    return ExitStatus.TIMED_OUT


def still(record: Record) -> str:
    """What to do about a file that is not processed yet."""
    return (
        f"{record['filename']} is still {record['status']}; "
        f"look again with `aggsvc result {record['file_id']} --wait`"
    )


def worst(statuses: Sequence[ExitStatus]) -> ExitStatus:
    """The one status that stands for all."""
    return next((bad for bad in WORST_FIRST if bad in statuses), ExitStatus.PROCESSED)
