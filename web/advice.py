"""What to do about a file that failed, by its message; the same as in the README."""

import re

# `…` stands for what differs.
ADVICE = {
    "the file has no header: it is empty or holds only blank lines": (
        "put sensor_id,timestamp,value on the first line"
    ),
    "the header has no column …; columns found: …": (
        "name the missing columns in the header; "
        "if the message says so, save the file with commas between the fields"
    ),
    "the header has more than one column …; columns found: …": (
        "rename or remove the second one; upper and lower case are the same"
    ),
    "the header is not UTF-8 (at its byte …); save the file as UTF-8": "save it as UTF-8",
    "the file is UTF-16; save it as UTF-8 and upload it again": (
        'in a spreadsheet choose "CSV UTF-8", not "Unicode text"'
    ),
    "the header has a NUL byte; is this a CSV file in UTF-8?": (
        "it is probably no CSV file, or UTF-16 or UTF-32"
    ),
    "the header has a quote that is never closed": "close the quote, or remove it",
    "the header is longer than 65,536 bytes; is this a CSV file?": (
        "it is probably no CSV file; else shorten the header"
    ),
    "no valid rows": "every row failed: the row errors say why, and docs/format.md what is allowed",
    "the file has more than … distinct sensors": (
        "check that sensor_id is the right column, or raise MAX_SENSORS"
    ),
    "processing was begun … times and never came to its end, …": (
        "the service died each time: look in the log and at the memory, then reprocess"
    ),
    "the stored upload is missing": (
        "its object is gone from MOCK_S3_ROOT_PATH: delete the file and upload it again"
    ),
    "there was no room on the service's disk for what was found in the file …": (
        "its row errors or sensors take more than there is left, in 8 tries: "
        "make room, then reprocess"
    ),
    "a store failed to read the upload or to write the result, …": (
        "in 8 tries, while it could write other things: "
        "the log's reason names the file; mend it, then reprocess"
    ),
    "an internal error ended the processing (…); see the log": (
        "a fault in aggsvc: the log has the traceback"
    ),
}
_PATTERNS = {
    re.compile(re.escape(message).replace("…", ".*"), re.DOTALL): advice
    for message, advice in ADVICE.items()
}


def advice_on(message: str) -> str | None:
    """What to do about it, as a sentence, where that is known."""
    known = (text for pattern, text in _PATTERNS.items() if pattern.fullmatch(message))
    text = next(known, None)
    return text and f"{text[0].upper()}{text[1:]}."
