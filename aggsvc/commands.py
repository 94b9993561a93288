"""The commands of `python -m aggsvc`: make, list and revoke tokens, also while the service runs."""

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncclick as click

from aggsvc.errors import TokenRefused, TokensUnreadable
from aggsvc.settings import read_settings
from aggsvc.tokens import Scope, Token, TokenFile

SPAN = re.compile(r"([1-9][0-9]{0,8})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Expiry(click.ParamType[datetime]):
    """A time to come: a span such as 30d, a date, or a date and time."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The time in UTC, to the second; a usage error where it is none or is over."""
        now = datetime.now(UTC).replace(microsecond=0)
        if match := SPAN.fullmatch(str(value)):
            try:
                return now + timedelta(**{UNITS[match[2]]: int(match[1])})
            except OverflowError:
                self.fail(f"{value!r} is too far off", param, ctx)
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no span such as 30d or 12h and no date 2027-01-31", param, ctx)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        if time <= now:
            self.fail(f"{value!r} is over already", param, ctx)
        return time.astimezone(UTC)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without a command: run the service until Ctrl-C.",
)
async def commands() -> None:
    """Run the service, or manage the tokens that it takes."""


@commands.group()
@click.pass_context
async def token(context: click.Context) -> None:
    """Make, list and revoke tokens; a service that runs knows within a second."""
    context.obj = TokenFile(read_settings().auth_path)


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    required=True,
    help="What it allows; write includes read, admin all.",
)
@click.option("--expires", type=Expiry(), help="30d, 12h, a date (its start, UTC); else never.")
@click.pass_obj
async def create(file: TokenFile, name: str, scope: str, expires: datetime | None) -> None:
    """Make a token and print it, once.

    Only its hash is kept: who loses it makes another.
    """
    made, text = file.create(name, Scope(scope), expires)
    until = f"expires {shown(made.expires_at)}" if made.expires_at else "never expires"
    click.echo(f"token {made.name}, id {made.id}, scope {made.scope}, {until}:", err=True)
    click.echo(text)
    click.echo("It is not shown again.", err=True)


@token.command("list")
@click.pass_obj
async def list_tokens(file: TokenFile) -> None:
    """List the tokens, without their secrets."""
    rows = [("id", "name", "scope", "created", "expires"), *map(row_of, file.read())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@token.command()
@click.argument("name_or_id")
@click.pass_obj
async def revoke(file: TokenFile, name_or_id: str) -> None:
    """Take a token away, and with it all who are signed in by it."""
    gone = file.revoke(name_or_id)
    click.echo(f"token {gone.name}, id {gone.id}, is revoked")


def row_of(token: Token) -> tuple[str, ...]:
    """A token's cells in the list."""
    expires = shown(token.expires_at) if token.expires_at else "never"
    late = " (expired)" if token.has_expired() else ""
    return token.id, token.name, token.scope, shown(token.created_at), f"{expires}{late}"


def shown(time: datetime) -> str:
    """A time for a person."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def run_command() -> int:
    """Run the command of this process's arguments; returns the exit status."""
    try:
        asyncio.run(commands.main(prog_name="python -m aggsvc", standalone_mode=True))
    except (TokenRefused, TokensUnreadable) as error:
        print(f"aggsvc: {error}", file=sys.stderr)
        return 1
    return 0
