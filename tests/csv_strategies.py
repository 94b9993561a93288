"""Hypothesis strategies for CSV files: valid ones, spoilt ones, and bytes that are hardly CSV.

`files()` unites them; `chunkings(size)` and `cut(data, sizes)` say how a stream may bring them.
`readings()` are rows whose values and times have many scales, for what is computed from them.
"""

import csv
import io
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise

from hypothesis import strategies as st

BOM = b"\xef\xbb\xbf"
LINE_ENDS = (b"\n", b"\r\n", b"\r")
REQUIRED = ("sensor_id", "timestamp", "value")
QUOTING_STYLES = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE)

# An alphabet in plain sight: Hypothesis takes seconds to build that of all Unicode.
LETTERS = (
    "abcxyzABC0123456789_-./:;#=+'\\ \t\x0b\x0c\x1c\x1e\x7f\x85\xa0\xad\xe9\xdf"
    "\u0131\u017f\u0301\u0661\u200b\u2028\u2029\u3000\u6e29\ud7ff\ue000\ufeff\ufffd\uffff\U0001f321\U0010ffff"
)

# -- fields, as text ---------------------------------------------------------------------------

SPACES = st.sampled_from(
    ["", "", "", " ", "  ", "\t", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u3000", "\u2028"]
)

SENSOR_IDS = (
    "a",
    "b",
    "sensor-a",
    "sensor-b",
    "A",
    "0",
    "00",
    "caf\xe9",
    "cafe\u0301",
    "\U0001f321",
)
LONG_SENSOR_IDS = (*("s" * n for n in (255, 256, 257, 258)), *("\xe9" * n for n in (127, 128, 129)))
sensor_ids = st.integers(0, 19).flatmap(
    lambda kind: (
        st.sampled_from(LONG_SENSOR_IDS)
        if kind == 19
        else st.text(LETTERS, min_size=1, max_size=8)
        if kind > 14
        else st.sampled_from(SENSOR_IDS)
    )
)


@st.composite
def timestamps(draw: st.DrawFn) -> str:
    """A well-formed timestamp in any of the forms, mostly in range."""
    moment = draw(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)))  # noqa: DTZ001
    year = f"{moment.year:04}"
    dash = draw(st.sampled_from(["-", ""]))
    date = dash.join((year, f"{moment.month:02}", f"{moment.day:02}"))
    parts = draw(st.integers(0, 3))
    if parts == 0:
        return date
    colon = draw(st.sampled_from([":", ""]))
    clock = [f"{moment.hour:02}", f"{moment.minute:02}", f"{moment.second:02}"][: max(2, parts)]
    time = colon.join(clock)
    if parts == 3:
        time += draw(st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True))
    offset = draw(
        st.one_of(
            st.sampled_from(["", "", "Z", "z", "+00:00", "-00:00", "+05:30", "-0800", "+01"]),
            st.from_regex(r"[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?", fullmatch=True),
        )
    )
    return date + draw(st.sampled_from("Tt ")) + time + offset


EDGE_TIMESTAMPS = (
    *("0000-01-01", "00000229", "0000-02-30", "0000-12-31T23:30-01:00", "00000000", "10000-01-01"),
    *("0001-01-01T00:00+00:01", "0001-01-01T00:01+00:01", "0001-01-01T00:00:00.0000009+00:00"),
    *("9999-12-31T23:59-00:01", "9999-12-31T23:59:59.999999999Z", "9999-12-31T00:01-23:59"),
    *("99991231T000059.999999-2359", "1969-12-31T23:59:59.999999Z", "1970-01-01"),
)
odd_timestamps = st.one_of(
    st.sampled_from(EDGE_TIMESTAMPS),
    st.sampled_from(
        [
            *("2024-02-30", "2023-02-29", "20230229", "1900-02-29", "2024-13-01", "2024-00-01"),
            *("2024-01-01T24:00", "2024-01-01T23:59:60", "2024-01-01T2360", "2024-01-01T12"),
            *("2024-01-01T", "2024-01-01Z", "2024-01-01+01:00", "2024-01-01  12:30"),
            *("2024-01-01T12:30:45.", "2024-01-01T12:30:45.1234567890", "2024-01-01T12:30.5"),
            *("2024-01-01T12:30:45,5", "2024-01-01T12:3045", "2024-01-01T1230:45"),
            *("2024-01-01T12:30+24:00", "2024-01-01T12:30+05:60", "2024-01-01T12:30+053"),
            *("2024-01-01T12:30+5", "2024-01-01T12:30 Z", "2024-01-01T12:30\u221205:00"),
            *("1704067200", "2024-W01-1", "2024001", "2024-1-1", "01/02/2024", "now", "nan"),
            *("\uff12\uff10\uff12\uff14-01-01", "2024-01-0\u0661", "2024-01-01\n12:30"),
        ]
    ),
    st.from_regex(
        r"[0-9]{4}-?[0-3][0-9]-?[0-3][0-9]"
        r"([Tt ][0-2][0-9]:?[0-6][0-9](:?[0-6][0-9](\.[0-9]{0,10})?)?"
        r"(Z|z|[+-][0-9]{1,2}(:?[0-9]{1,2})?)?)?",
        fullmatch=True,
    ),
    st.text("0123456789-:.TZtz+ ", min_size=1, max_size=24),
)

values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(-1000, 1000, places=2).map(str),
    st.from_regex(
        r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", fullmatch=True
    ),
)

odd_values = st.one_of(
    st.sampled_from(
        [
            *("1_000", "0x10", "1,5", "1 2", "1e", "e5", ".", "+", "-", "+-1", "1.2.3", "1e5.0"),
            *("\uff11", "\u0661", "1\u0660", "\u00bd", "\u221e", "\u22121", "1\xa0000", "1\u200b"),
            *("nan", "NaN", "-nan", "inf", "+INF", "-Infinity", "iNfInItY", "infinit", "nan(1)"),
            *("\u0131nf", "\u0130nf", "null", "true", "N/A", "1f", "1d", "1j", "1\n", "1\n2"),
            *("1e308", "-1e308", "1.7976931348623157e308", "1.7976931348623158e308"),
            *("1.7976931348623159e308", "1e309", "-1e309", "1e99999999999", "1e-99999999999"),
            *("5e-324", "-5e-324", "2.4703282292062327e-324", "2.4703282292062328e-324"),
            *("2.2250738585072011e-308", "-0.0", "-0", "0e999999", "1e16", "-1e16", "1."),
            *("9007199254740993", "9007199254740993.00000000000000000000000001", ".5", "+.5e1"),
        ]
    ),
    st.builds(lambda digit, n: digit * n, st.sampled_from("0129"), st.integers(15, 400)),
    st.builds(
        lambda zeros, exponent: f"1{'0' * zeros}e{exponent}",
        st.integers(0, 60),
        st.integers(-400, 330),
    ),
    st.text("0123456789+-.eE_ xinfNA", min_size=1, max_size=12),
)

notes = st.text(LETTERS + '",\r\n\'"', max_size=6)

# -- files, as bytes ---------------------------------------------------------------------------


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@st.composite
def as_field(draw: st.DrawFn, text: str) -> bytes:
    """Text as a field that reads back as it is, in quotes where it must be or by chance."""
    must = any(char in text for char in '",\r\n')
    return (quoted(text) if must or draw(st.integers(0, 5)) == 0 else text).encode()


@st.composite
def headers(draw: st.DrawFn) -> list[str]:
    """Column names: the required ones in any order and case, extra ones anywhere."""
    names = draw(st.permutations(REQUIRED))
    if draw(st.booleans()):
        return list(names)
    extra = draw(
        st.lists(st.sampled_from(["note", "unit", "", "note\nlong", 'say "x"']), max_size=3)
    )
    mixed = draw(st.permutations([*names, *extra]))
    style = draw(st.sampled_from([str, str.upper, str.title, lambda name: f" {name}\t"]))
    return [style(name) for name in mixed]


@st.composite
def rows(draw: st.DrawFn, header: list[str], odd: bool = False) -> list[bytes]:
    """The fields of one row under the header; all of them right unless odd."""
    fields = []
    for name in header:
        match name.strip().casefold():
            case "sensor_id":
                text = draw(sensor_ids)
            case "timestamp":
                text = draw(odd_timestamps if odd and draw(st.booleans()) else timestamps())
            case "value":
                text = draw(odd_values if odd and draw(st.booleans()) else values)
            case _:
                text = draw(notes)
        if odd or draw(st.integers(0, 5)) == 0:
            text = draw(SPACES) + text + draw(SPACES)
        fields.append(draw(as_field(text)))
    return fields


def long_row(fields: list[bytes], at: int, size: int) -> bytes:
    """The row with one field filled up so that it has exactly so many bytes."""
    rest = len(b",".join(fields)) - len(fields[at])
    filled = b"x" * max(0, size - rest)
    return b",".join([*fields[:at], filled, *fields[at + 1 :]])


def long_record(fields: list[bytes], at: int, size: int, lines: int) -> bytes:
    """The row with a quoted field over so many lines, and the record of so many bytes if it can."""
    rest = len(b",".join(fields)) - len(fields[at])
    breaks = b"\n" * (lines - 1)
    filled = b'"' + b"x" * max(0, size - rest - 2 - len(breaks)) + breaks + b'"'
    return b",".join([*fields[:at], filled, *fields[at + 1 :]])


@st.composite
def spoilt_rows(draw: st.DrawFn, header: list[str]) -> bytes:
    """A row with one thing, or none, done to it."""
    fields = draw(rows(header, odd=draw(st.booleans())))
    at = draw(st.integers(0, len(fields) - 1))
    places = {name.strip().casefold(): place for place, name in enumerate(header)}
    kind = draw(st.sampled_from(SPOILERS))
    if kind == "field":
        fields[at] = draw(st.sampled_from(ODD_FIELDS))
    elif kind in ODD:
        fields[places[kind]] = draw(as_field(draw(ODD[kind])))
    elif kind == "drop":
        del fields[at]
    elif kind == "add":
        fields.insert(at, draw(st.sampled_from([b"", b"x", b'"x\ny"'])))
    elif kind == "lines":
        fields[at] = draw(quoted_lines())
    elif kind == "limit":
        return draw(rows_at_limits(fields, at))
    row = b",".join(fields)
    if kind == "insert":
        place = draw(st.integers(0, len(row)))
        row = row[:place] + draw(st.sampled_from(INSERTS)) + row[place:]
    elif kind == "delete" and row:
        place = draw(st.integers(0, len(row) - 1))
        row = row[:place] + row[place + 1 :]
    elif kind == "replace":
        row = draw(st.sampled_from(ODD_LINES))
    return row


SPOILERS = (
    *("none", "none", "field", "field", "drop", "add", "lines", "lines", "insert", "insert"),
    *("insert", "delete", "replace", "limit", "timestamp", "timestamp", "value", "value"),
)
ODD = {"timestamp": odd_timestamps, "value": odd_values}
INSERTS = (
    *(b'"', b'"', b'""', b'"""', b",", b'",', b',"', b"\n", b"\r", b"\r\n", b'"\n', b'\n"', b" "),
    *(b"\0", b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xf0\x9f", BOM),
)
ODD_FIELDS = (
    *(b"", b" ", b'""', b'"', b'" "', b'"""', b'""""', b'"a"b', b'"a" ', b' "a"', b'a"b', b'a""'),
    *(b"\xa0", b"\xc2\xa0", b"\0", b"\xff", b"\xe3\x80\x80", b'"a,b"', b"'a'", b"\\", b'\\"'),
    *(b'"a\n"', b'"\r"', b'"a\r\nb" x', b'"a\n', b'a\n"'),
)
ODD_LINES = (
    *(b"", b" ", b"\t", b'""', b'"', b",", b",,", b",,,", b'"",""', b'","', b"\xff", b"\0", b"#"),
    *(b"sensor_id,timestamp,value", b'"\n"', b'"\n\n', b"a,2024-01-01,1", b'a,2024-01-01,"1'),
    *(b'b,2024-01-01,2"', b'x",2024-01-01,"2'),
)


@st.composite
def quoted_lines(draw: st.DrawFn) -> bytes:
    """A quoted field over several lines, whose end may be missing or bad."""
    pieces = st.sampled_from([b"", b"x", b",", b'""', b"1", b"a,2024-01-01,1", b"\xc3\xa9", b'"'])
    parts = draw(st.lists(st.tuples(pieces, st.sampled_from(LINE_ENDS)), min_size=1, max_size=4))
    body = b"".join(piece + end for piece, end in parts) + draw(pieces)
    return b'"' + body + draw(st.sampled_from([b'"', b'"', b'"', b'"', b"", b'" ', b'"x', b'""']))


@st.composite
def rows_at_limits(draw: st.DrawFn, fields: list[bytes], at: int) -> bytes:
    """A row, or a record over lines, just under, at, or just over a limit."""
    size = draw(st.sampled_from([0, 65_534, 65_535, 65_536, 65_537, 65_538]))
    lines = draw(st.sampled_from([1, 1, 1, 2, 100, 101] if size else [99, 100, 101]))
    if lines == 1:
        quote = draw(st.sampled_from([b"", b'"']))
        return long_row([quote + fields[0], *fields[1:]], at, size)
    return long_record(fields, at, size, lines)


@st.composite
def joined(draw: st.DrawFn, records: list[bytes]) -> bytes:
    """Records with line ends of one kind or mixed, blank lines between, a last line end or none."""
    ends = draw(
        st.sampled_from([*((end,) for end in LINE_ENDS), LINE_ENDS, (b"\n", b"\n\n", b"\r\r\n")])
    )
    end = st.sampled_from(ends) if len(ends) > 1 else st.just(ends[0])
    data = b"".join(record + draw(end) for record in records[:-1])
    last = records[-1] + draw(st.sampled_from([b"", ends[0]])) if records else b""
    start = draw(st.sampled_from([b"", b"", b"", BOM, b"\n", BOM + b"\r\n\r"]))
    return start + data + last


@st.composite
def valid_files(draw: st.DrawFn) -> bytes:
    """Files without a bad row, but for a sensor_id that is blank, too long or holds line ends."""
    header = draw(headers())
    head = b",".join(draw(as_field(name)) for name in header)
    body = [b",".join(draw(rows(header))) for _ in range(draw(st.integers(0, 6)))]
    return draw(joined([head, *body]))


@st.composite
def nearly_valid_files(draw: st.DrawFn) -> bytes:
    """Files with a good header, any of whose rows may be spoilt."""
    header = draw(headers())
    head = b",".join(draw(as_field(name)) for name in header)
    kinds = draw(st.lists(spoilt_rows(header), max_size=6))
    short = [row for row in kinds if len(row) < 2_000]
    many = st.lists(st.sampled_from(short), max_size=40) if short else st.just(kinds)
    body = draw(st.one_of(st.just(kinds), st.just(kinds), many))
    return draw(joined([head, *body]))


@st.composite
def files_at_limits(draw: st.DrawFn) -> bytes:
    """Files with a record near a limit between rows that are plain."""
    header = draw(headers())
    head = b",".join(draw(as_field(name)) for name in header)
    near = draw(rows_at_limits(draw(rows(header)), draw(st.integers(0, len(header) - 1))))
    after = b",".join(draw(rows(header)))
    return draw(joined([head, near, after]))


@st.composite
def spoilt_headers(draw: st.DrawFn) -> bytes:
    """Files whose header has something done to it."""
    header = draw(headers())
    fields = [draw(as_field(name)) for name in header]
    at = draw(st.integers(0, len(fields) - 1))
    head = draw(
        st.sampled_from(
            [
                b",".join(fields[:at] + fields[at + 1 :]),
                *(b",".join([*fields, field]) for field in fields),
                b",".join([*fields, b'"note']),
                b",".join([*fields, b'"no\nte" x']),
                b",".join([*fields, b'"' + b"\n" * 99 + b'"']),
                b",".join([*fields, b'"' + b"\n" * 100 + b'"']),
                b",".join([*fields, b"\0"]),
                b",".join([*fields, b"\xff"]),
                b"\xff\xfe" + b",".join(fields),
                b"\xfe\xff" + b",".join(fields),
                b";".join(fields),
                b",".join([b"\xc3\xa9", *fields]),
                *(long_row([*fields, b""], len(fields), size) for size in (65_536, 65_537)),
                *(long_record([*fields, b""], len(fields), size, 2) for size in (65_536, 65_537)),
            ]
        )
    )
    body = draw(st.lists(spoilt_rows(header), max_size=2))
    return draw(joined([head, *body]))


BITS = (
    *(b",", b",", b'"', b'"', b'"', b"\n", b"\n", b"\r", b"\r\n", b"1", b"0", b".", b"-", b" "),
    *(b"a", b"e", b"T", b"Z", b":", b"2024-01-01", b"a,2024-01-01,1", b"a,2024-01-01,1\n", b"\0"),
    *(b"\xff", b"\xe9", b"\xc3\xa9", b"\xe2\x80\xa8", BOM, b'""', b'",', b',"', b'"\n', b";"),
)
soups = st.one_of(
    st.lists(st.sampled_from(BITS), max_size=60).map(b"".join),
    st.lists(st.one_of(st.sampled_from(BITS), st.binary(max_size=3)), max_size=30).map(b"".join),
    st.binary(max_size=80),
)


@st.composite
def arbitrary_files(draw: st.DrawFn) -> bytes:
    """Bytes of every kind, mostly those that mean something in CSV, after a good header or none."""
    head = draw(
        st.sampled_from(
            [b"sensor_id,timestamp,value\n", b"sensor_id,timestamp,value,note\r\n", b""]
        )
    )
    return head + draw(soups)


@st.composite
def written_files(draw: st.DrawFn) -> bytes:
    """What Python's csv.writer writes, in each of its quoting styles."""
    out = io.StringIO(newline="")
    quoting = draw(st.sampled_from(QUOTING_STYLES))
    writer = csv.writer(
        out,
        quoting=quoting,
        escapechar="\\" if quoting == csv.QUOTE_NONE else None,
        lineterminator=draw(st.sampled_from(["\r\n", "\n", "\r"])),
    )
    writer.writerow([*REQUIRED, "note"])
    for _ in range(draw(st.integers(0, 6))):
        value = draw(st.one_of(st.floats(), st.integers(-(10**6), 10**6), values))
        writer.writerow([draw(sensor_ids), draw(timestamps()), value, draw(notes)])
    return out.getvalue().encode()


def files() -> st.SearchStrategy[bytes]:
    """Files of every kind."""
    return st.one_of(
        valid_files(),
        nearly_valid_files(),
        nearly_valid_files(),
        nearly_valid_files(),
        files_at_limits(),
        arbitrary_files(),
        written_files(),
        spoilt_headers(),
    )


# -- readings ----------------------------------------------------------------------------------

GREATEST = 1.7976931348623157e308
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST_US = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
LAST_US = (datetime(9999, 12, 31, 23, 59, 59, 999999, UTC) - EPOCH) // MICROSECOND
# All widths of buckets, and some that are none.
SPANS_US = (
    *(0, 1, 3, 10, 100, 10**3, 10**4, 10**5, 10**6, 5 * 10**6, 15 * 10**6, 60 * 10**6),
    *(300 * 10**6, 900 * 10**6, 3_600 * 10**6, 10_800 * 10**6, 21_600 * 10**6, 43_200 * 10**6),
    *(day * 86_400 * 10**6 for day in (1, 7, 10, 100, 365, 1_000, 10_000)),
)


def decimals(exponent: int) -> st.SearchStrategy[str]:
    """Numbers of up to three digits that end at the same decimal place."""
    digits = st.integers(-999, 999)
    return st.one_of(
        digits.map(lambda n: f"{n}e{exponent}"),
        digits.map(lambda n: f"{Decimal(n).scaleb(exponent):f}"),
    )


def multiples(digit: int, exponent: int) -> st.SearchStrategy[str]:
    """Multiples of a width of bins and the doubles beside them."""
    exact = st.integers(-130, 130).map(lambda n: float(f"{n * digit}e{exponent}"))
    nearby = st.tuples(exact, st.sampled_from([-math.inf, math.inf])).map(
        lambda place: math.nextafter(*place)
    )
    return st.one_of(exact, nearby).map(repr)


def offsets(base: float, step: float) -> st.SearchStrategy[str]:
    """Values that differ little, far from zero."""
    return st.integers(-100, 100).map(lambda n: repr(base + n * step))


finite = st.floats(allow_nan=False, allow_infinity=False)
long_decimals = st.tuples(st.integers(-(10**40), 10**40), st.integers(-60, 5)).map(
    lambda place: f"{place[0]}e{place[1]}"
)
value_kinds = st.one_of(
    st.integers(-12, 12).map(decimals),
    st.tuples(st.sampled_from([1, 2, 5]), st.integers(-9, 9)).map(lambda place: multiples(*place)),
    st.tuples(
        st.sampled_from([1e9, -1e9, 1e15, 123456.789, -1e300, 1e-300]),
        st.sampled_from([0.0, 1e-9, 1e-6, 0.1, 0.125, 1.0, 1e290, 1e-310]),
    ).map(lambda place: offsets(*place)),
    st.just(st.integers(-(10**6), 10**6).map(str)),
    st.just(st.integers(-(2**53), 2**53).map(lambda n: repr(n * 5e-324))),
    st.just(st.integers(-3, 3).map(lambda n: repr(n * 5e-324))),
    st.just(st.sampled_from([0.0, -0.0, GREATEST, -GREATEST, 1e308, -1e308, 1.5e307]).map(repr)),
    st.just(st.floats(1e306, GREATEST).map(repr)),
    st.just(finite.map(repr)),
    st.just(long_decimals),
    finite.map(lambda value: st.just(repr(value))),
)


def moments_near(base: int, span: int) -> st.SearchStrategy[int]:
    """Moments that are some spans from the base, or just beside those."""
    near = st.integers(-600, 600).map(lambda n: base + n * span)
    beside = st.tuples(near, st.sampled_from([-1, 0, 0, 1])).map(sum)
    return beside.map(lambda moment: min(max(moment, FIRST_US), LAST_US))


anywhere = st.integers(FIRST_US, LAST_US)
bases = st.one_of(anywhere, st.sampled_from([FIRST_US, LAST_US, 0, -1, 1_700_000_000_000_000]))
moment_kinds = st.one_of(
    st.tuples(bases, st.sampled_from(SPANS_US)).map(lambda place: moments_near(*place)),
    st.sampled_from(SPANS_US).map(lambda span: moments_near(0, span)),
    st.just(anywhere),
)


def timestamp_of(moment: int) -> str:
    """The moment, in microseconds since the epoch, as a file may write it."""
    time = EPOCH + moment * MICROSECOND
    return time.isoformat().replace("+00:00", "Z")


@st.composite
def readings(draw: st.DrawFn, max_size: int = 40) -> list[bytes]:
    """Rows of `sensor_id,timestamp,value`, all of them readings, with values of one kind or two."""
    texts = st.one_of(draw(st.lists(value_kinds, min_size=1, max_size=2)))
    times = draw(moment_kinds).map(timestamp_of)
    some = draw(st.lists(st.sampled_from(SENSOR_IDS), min_size=1, max_size=3))
    row = st.tuples(st.sampled_from(some), times, texts).map(lambda row: ",".join(row).encode())
    return draw(st.lists(row, max_size=max_size))


def file_of(rows: list[bytes]) -> bytes:
    """A plain file of such rows."""
    return b"".join(row + b"\n" for row in [b"sensor_id,timestamp,value", *rows])


# -- streams -----------------------------------------------------------------------------------


def chunkings(size: int) -> st.SearchStrategy[list[int]]:
    """Sizes of chunks that a stream of so many bytes may come in; some of them empty."""
    return st.one_of(
        st.just([size]),
        st.sampled_from([1, 2, 3, 7, 64, 4096]).map(partial(even_chunks, size)),
        st.lists(st.integers(0, size), max_size=8).map(partial(chunks_between, size)),
    )


def even_chunks(size: int, width: int) -> list[int]:
    """Chunks of one width, but never more than some hundreds."""
    width = max(width, size // 256)
    return chunks_between(size, list(range(0, size, width or 1)))


def chunks_between(size: int, places: list[int]) -> list[int]:
    """The sizes of the chunks that cuts at these places leave."""
    bounds = [0, *sorted(places), size]
    return [end - start for start, end in pairwise(bounds)]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The chunks of these sizes; whatever the sizes leave over is the last one."""
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data] if data else chunks
