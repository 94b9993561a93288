"""What a client would rather have: the fields Accept and Accept-Encoding with their q values."""

import re
from collections.abc import Iterable, Sequence

QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
# Of longer fields the rest is not read: no client has so many wishes.
MAX_WISHES = 100


def best_media_type(fields: Sequence[str], offered: Sequence[str]) -> str | None:
    """The offer that the client likes best, the earlier of equals; None where it takes none.

    Without the field, or where it is empty, all is welcome.
    """
    if not any(field.strip(" \t,") for field in fields):
        return offered[0]
    wishes = list(_wishes(fields))
    best = max(offered, key=lambda offer: _media_quality(wishes, offer))
    return best if _media_quality(wishes, best) > 0 else None


def takes_gzip(fields: Sequence[str]) -> bool:
    """Whether gzip is welcome, and no less than the bytes as they are."""
    told = dict(_wishes(fields))
    gzip = told.get("gzip", told.get("x-gzip", told.get("*", 0.0)))
    return gzip > 0 and gzip >= told.get("identity", 0.0)


def _media_quality(wishes: Iterable[tuple[str, float]], offer: str) -> float:
    """The quality of the most specific wish that the offer fits."""
    main = offer.partition("/")[0]
    told = dict(wishes)
    known = (told[name] for name in (offer, f"{main}/*", "*/*") if name in told)
    return next(known, 0.0)


def _wishes(fields: Sequence[str]) -> Iterable[tuple[str, float]]:
    """Each name in lower case with its quality; what makes no sense is left out."""
    for wish in ",".join(fields).split(",")[:MAX_WISHES]:
        name, *parameters = (text.strip().lower() for text in wish.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        if name and QUALITY.fullmatch(quality):
            yield name, float(quality)
