"""What was done, told on the page to which it leads: counts in its query, sentences on the page."""

from collections.abc import Iterable, Mapping

# What a page may be told, each with its sentence for one file and for more.
SENTENCES = {
    "deleted": ("1 file deleted", "{} files deleted"),
    "queued": ("1 file queued to be processed again", "{} files queued to be processed again"),
    "gone": ("1 was gone already", "{} were gone already"),
    "moving": (
        "1 was not queued: it is waiting or being processed",
        "{} were not queued: they are waiting or being processed",
    ),
    "left": (
        "1 was left as it was: the service takes no more now, try again later",
        "{} were left as they were: the service takes no more now, try again later",
    ),
}
MOST_DIGITS = 6


def notice_of(query: Mapping[str, str]) -> str:
    """What the page's address tells that was done, e.g. "3 files deleted, 1 was gone already"."""
    told = []
    for name, (one, more) in SENTENCES.items():
        count = query.get(name, "")
        if count.isascii() and count.isdigit() and len(count) <= MOST_DIGITS and int(count):
            told.append(one if int(count) == 1 else more.format(f"{int(count):,}"))
    return ", ".join(told)


def without_notice(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The query without what was done."""
    return [(name, text) for name, text in query if name not in SENTENCES]
