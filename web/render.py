"""What every page is rendered with: templates and their filters."""

from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup

from aggsvc.http.forms import form_context
from web.assets import Assets
from web.notices import notice_of

FOLDER = Path(__file__).parent
# Beyond it a float's integer digits are not its own.
GROUPED_BELOW = 1e15
JOINERS = "\u200c\u200d"  # scripts and emoji are written with them
# The units of an age, each with its seconds.
WIDTHS = (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1), ("ms", 1e-3), ("µs", 1e-6))
AGES = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def setup_rendering(app: web.Application, assets: Assets) -> None:
    """Give the app its templates: `static`, and the filters for figures, sizes and times."""
    app[aiohttp_jinja2.APP_KEY] = _environment(assets)


@cache  # it is the same for each app of a process
def _environment(assets: Assets) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["static"] = assets.url
    environment.filters |= {
        "number": number,
        "size": size,
        "duration": duration,
        "left": left,
        "time": time,
        "instant": instant,
        "age": age,
        "utc": format_instant,
        "plain": plain,
        "brief": brief,
        "rounded": format_rounded,
        "width": format_width,
    }
    for name in environment.list_templates():
        environment.get_template(name)  # compiled now, for reading them would hold the loop
    return environment


def render(
    template: str,
    request: web.Request,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> web.Response:
    """The template as a page that loads nothing from elsewhere; it tells what was just done."""
    context = {"notice": notice_of(request.query), **form_context(request), **context}
    return aiohttp_jinja2.render_template(template, request, context, status=status)


# Each filter's element holds the plain figure, which locale.js shows as the reader has it.


def number(figure: float) -> Markup:
    """A count or a value: 1,234."""
    return Markup('<data value="%s" class="number">%s</data>') % (figure, format_number(figure))


def brief(figure: float) -> Markup:
    """A value to six digits, all of them in its title: 17.4755."""
    rounded = format_rounded(figure)
    return Markup('<data value="%s" class="brief" title="%s">%s</data>') % (figure, figure, rounded)


def size(count: int) -> Markup:
    """A number of bytes: 1.5 KiB."""
    return Markup('<data value="%s" class="size">%s</data>') % (count, format_bytes(count))


def duration(ms: float) -> Markup:
    """Milliseconds: 835 ms."""
    return Markup('<data value="%s" class="duration">%s</data>') % (ms, format_duration(ms))


def left(ms: float) -> Markup:
    """An estimate of the milliseconds until the end: about 4 s left."""
    return Markup('<data value="%s" class="left">%s</data>') % (ms, format_left(ms))


def time(moment: str) -> Markup:
    """An RFC 3339 time: 2025-10-01 08:12:10 UTC."""
    return Markup('<time datetime="%s">%s</time>') % (moment, format_utc(moment))


def instant(moment: str) -> Markup:
    """The time of a reading, with its fraction of a second: 2025-10-01 08:12:10.25 UTC."""
    shown = format_instant(moment)
    return Markup('<time datetime="%s" class="instant">%s</time>') % (moment, shown)


def age(moment: str) -> Markup:
    """How long ago an RFC 3339 time was: 3 min ago."""
    told = format_age(moment, datetime.now(UTC))
    return Markup('<time datetime="%s" class="age" title="%s">%s</time>') % (
        *(moment, format_utc(moment), told),
    )


def format_number(figure: float) -> str:
    """A figure for a person: 1,234 or 19.87, no digit lost."""
    if isinstance(figure, int) or (figure.is_integer() and abs(figure) < GROUPED_BELOW):
        return f"{int(figure):,}"
    return f"{figure:,}"


def format_rounded(figure: float) -> str:
    """A figure to six digits: 17.4755."""
    return f"{figure:,.6g}"


def format_bytes(count: int) -> str:
    """A size for a person, in powers of 1,024: 312 bytes, 1.5 KiB, 388.0 MiB."""
    if count < 1024:
        return f"{count} bytes"
    amount, units = count / 1024, iter(("KiB", "MiB", "GiB"))
    unit = next(units)
    while amount >= 1024 and unit != "GiB":
        amount, unit = amount / 1024, next(units)
    return f"{amount:,.1f} {unit}"


def format_duration(ms: float) -> str:
    """A duration for a person: 835 ms, 12.3 s, 4 min 5 s, 2 h 4 min."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1_000:.1f} s"
    minutes, seconds = divmod(round(ms / 1_000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def format_left(ms: float) -> str:
    """An estimate for a person: less than a second left, about 4 s left, about 4 min 5 s left."""
    if ms < 1_000:
        return "less than a second left"
    seconds = round(ms / 1_000)
    return f"about {f'{seconds} s' if seconds < 60 else format_duration(1_000 * seconds)} left"


def format_utc(moment: str) -> str:
    """An RFC 3339 time for a person: 2025-10-01 08:12:10 UTC."""
    return f"{moment[:10]} {moment[11:19]} UTC"


def format_instant(moment: str) -> str:
    """The same with what it has of a fraction: 2025-10-01 08:12:10.25 UTC."""
    return f"{moment[:10]} {moment[11:].removesuffix('Z')} UTC"


def format_width(seconds: float) -> str:
    """The width of a bucket of time for a person: 1 µs, 15 min, 10 days."""
    unit, length = next(each for each in WIDTHS if seconds >= each[1] * 0.999)
    count = round(seconds / length)
    return f"{count:,} {unit}{'s' if unit == 'day' and count > 1 else ''}"


def plain(text: str) -> str:
    """Text from a file with what is not to be seen, or turns the text around, spelt out."""
    return "".join(
        char if char.isprintable() or char in JOINERS else repr(char)[1:-1] for char in text
    )


def format_age(moment: str, now: datetime) -> str:
    """How long ago that was, in its largest unit: 3 min ago."""
    seconds = max(0, int((now - datetime.fromisoformat(moment)).total_seconds()))
    unit, length = next((each for each in AGES if seconds >= each[1]), AGES[-1])
    return f"{seconds // length:,} {unit} ago"
