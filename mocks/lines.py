"""Sealed lines: JSON lines that prove their own integrity, as journal, snapshot and objects use.

A line is `{"crc":"xxxxxxxx","since":"xxxxxxxxxxxx","entry":{...}}` and a line feed. `crc` is the
CRC32, in hex, of all that follows its comma up to the line feed. `since` is the offset, in hex, at
which the commit that wrote the line began: all before it was on disk by then. The entry is JSON
without line ends.
"""

from zlib import crc32

PREFIX = b'{"crc":"'
_BODY = len(PREFIX) + 10
_SINCE = b'"since":"'
_ENTRY = b'","entry":'
_DIGITS = 12
_HEAD = len(_SINCE) + _DIGITS + len(_ENTRY)


def seal(entry: bytes, since: int = 0) -> bytes:
    """The line that holds the entry."""
    body = b"%b%012x%b%b}" % (_SINCE, since, _ENTRY, entry)
    return b'%b%08x",%b\n' % (PREFIX, crc32(body), body)


def unseal(line: bytes) -> tuple[int, bytes] | None:
    """`since` and the entry of a whole and sound line, else None."""
    body = line[_BODY:-1]
    if line != b'%b%08x",%b\n' % (PREFIX, crc32(body), body) or len(body) <= _HEAD:
        return None
    return int(body[len(_SINCE) : len(_SINCE) + _DIGITS], 16), body[_HEAD:-1]
