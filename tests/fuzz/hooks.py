"""What the description cannot say of a request: Schemathesis does not send the rest of these."""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Whether it can be right or wrong by the description alone."""
    query = case.query or {}
    return has_plain_names(case.body) and not pages_of_a_list(query) and not stretch(query)


def has_plain_names(body: Any) -> bool:
    """Other fields of a form are read past, but a header holds no control character."""
    return not isinstance(body, dict) or all(
        name.isascii() and name.isprintable() for name in body if isinstance(name, str)
    )


def pages_of_a_list(query: Any) -> bool:
    """A list that comes whole has no pages."""
    return query.get("format") in ("csv", "ndjson") and "limit" in query


def stretch(query: Any) -> bool:
    """A stretch of time begins before it ends."""
    return "from" in query and "to" in query
