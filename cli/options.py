"""The options of every command: what each may be, and what they come to."""

import math
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import asyncclick as click


@dataclass(frozen=True)
class Options:
    """The options of every command."""

    base_url: str
    token: str | None = field(repr=False)
    poll_interval: float
    poll_timeout: float
    json: bool


class Seconds(click.ParamType[float]):
    """A number of seconds that is not less than the least; NaN, which never ends, is none."""

    name = "seconds"

    def __init__(self, least: float) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error where it is none."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not seconds >= self._least:
            self.fail(f"{value!r} is no number of seconds from {self._least} up", param, ctx)
        return seconds


class Address(click.ParamType[str]):
    """The address of a service over HTTP."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address; a usage error where it is none."""
        try:
            url = urlsplit(value)
            right = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            right = False
        if not right or url.query or url.fragment:
            self.fail(f"{value!r} is no address; say http://HOST:PORT", param, ctx)
        return str(value)


class Secret(click.ParamType[str]):
    """A token, which no message shows."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The token; a usage error where it cannot be one."""
        token = str(value).strip()
        if not (token.isascii() and token.isprintable() and " " not in token and token):
            self.fail("it is no token; copy the line that `token create` has printed", param, ctx)
        return token


def is_overheard(base_url: str) -> bool:
    """Whether what is sent there crosses a network as it is."""
    url = urlsplit(base_url)
    try:
        is_here = ip_address(url.hostname or "").is_loopback
    except ValueError:
        is_here = url.hostname == "localhost"
    return url.scheme == "http" and not is_here


def _want_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.obj = replace(context.obj, json=True)


# The same as before the command, for whoever thinks of it last.
json_too = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_want_json,
    help="Print JSON, for programs.",
)
