"""POST /files: what is refused says why in one sentence, and leaves nothing behind."""

import asyncio
import gzip
import random
from typing import Any

import pytest

from aggsvc.errors import StoreFull, StoreReadOnly, StoreUnavailable
from aggsvc.settings import Settings
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    BOUNDARY,
    MULTIPART,
    assert_problem,
    body,
    json_of,
    part,
    post,
    requests_ended,
)
from tests.conftest import GOOD_ROW, HEADER, stored_files, until
from tests.test_processor import Refusing

DATA = HEADER + GOOD_ROW * 3
WHOLE = body(part(DATA))
LARGE = body(part(HEADER + GOOD_ROW * 30_000))  # three chunks of the store


async def assert_nothing_left(client: Client, settings: Settings) -> None:
    await until(lambda: stored_files(settings.mock_s3_root_path) == [], "the clearing away")
    listing = await json_of(await client.get("/files"))
    assert listing == {"items": [], "next_cursor": None}


def with_disposition(value: str) -> bytes:
    return body(f"Content-Disposition: {value}\r\n\r\n".encode() + DATA)


BROKEN: dict[str, tuple[bytes, str]] = {
    "no field file": (body(part(DATA, "data")), "no field 'file'"),
    "no parts": (f"--{BOUNDARY}--\r\n".encode(), "no field 'file'"),
    "two files": (body(part(DATA), part(DATA)), "more than one"),
    "two files, the second empty": (body(part(DATA), part(b"")), "more than one"),
    "an empty file": (body(part(b"")), "empty"),
    "an empty body": (b"", ""),
    "no boundary in the body": (DATA, ""),
    "another boundary in the body": (body(part(DATA), boundary="other"), ""),
    "a base64 part": (
        body(part(b"c2Vuc29y", "file", "a.csv", "Content-Transfer-Encoding: base64")),
        "encoded",
    ),
    "a quoted-printable part": (
        body(part(DATA, "file", "a.csv", "Content-Transfer-Encoding: quoted-printable")),
        "encoded",
    ),
    "a part of an unknown encoding": (
        body(part(DATA, "file", "a.csv", "Content-Transfer-Encoding: x-rot13")),
        "encoded",
    ),
    "a gzipped part": (
        body(part(gzip.compress(DATA), "file", "a.csv", "Content-Encoding: gzip")),
        "encoded",
    ),
    "a nested multipart": (
        body(
            b"Content-Disposition: form-data; name=file\r\n"
            b"Content-Type: multipart/mixed; boundary=inner\r\n\r\n"
            + body(part(DATA), boundary="inner")
        ),
        "multipart within",
    ),
    "a nested multipart without boundary": (
        body(
            b"Content-Disposition: form-data; name=file\r\n"
            b"Content-Type: multipart/mixed\r\n\r\nx"
        ),
        "",
    ),
    "a huge other field before": (body(part(b"x" * 3_000_000, "note"), part(DATA)), "too large"),
    "a huge other field behind": (body(part(DATA), part(b"x" * 3_000_000, "note")), "too large"),
    "many other fields": (body(*[part(b"x" * 9_000, "note")] * 200, part(DATA)), "too large"),
    "fields without number": (body(*[part(b"", "note", None)] * 5_000, part(DATA)), "10,000 lines"),
    "a preamble without end": (b"\n" * 3_000_000 + body(part(DATA)), "too large"),
    "a boundary with something behind": (body(part(DATA + b"\r\n--frontier-not\r\n")), "not"),
    "an end with something behind": (body(part(DATA + b"\r\n--frontier--not\r\n")), "not"),
    "no Content-Disposition": (body(b"Content-Type: text/csv\r\n\r\n" + DATA), "no field 'file'"),
    "no part headers": (body(b"\r\n" + DATA), "no field 'file'"),
    "a part header without colon": (body(b"nonsense\r\n\r\n" + DATA), ""),
    "a part header without end": (b"--frontier\r\nX: " + b"x" * 200_000, ""),
    "part headers without number": (
        body(b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n" + DATA),
        "",
    ),
    "a disposition of nonsense": (with_disposition("@@@"), ""),
    "a disposition unclosed": (with_disposition('form-data; name="file'), ""),
    "a doubled name": (with_disposition("form-data; name=file; name=file"), ""),
    "a name with one quote": (with_disposition("form-data; name*0=fi'le"), ""),
    "a name in no encoding": (with_disposition("form-data; name*=nope''%66ile"), ""),
    "a control character in a header": (body(part(DATA, "file", "bell\x07.csv")), ""),
    "a filename with one quote": (
        with_disposition("form-data; name=file; filename*0=a'b.csv"),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_body_is_refused_with_one_useful_sentence(
    name: str, client: Client, settings: Settings
) -> None:
    sent, says = BROKEN[name]
    await assert_problem(await post(client, sent), 400, says)
    await assert_nothing_left(client, settings)


@pytest.mark.parametrize(
    "at", [*range(0, len(WHOLE) - 4, 3), len(WHOLE) - 5, len(WHOLE) - 4], ids=str
)
async def test_a_body_cut_short_is_refused(at: int, client: Client, settings: Settings) -> None:
    """Cut before the last boundary's end, wherever."""
    await assert_problem(await post(client, WHOLE[:at]), 400)
    await assert_nothing_left(client, settings)


@pytest.mark.parametrize("at", [300_000, 524_288, len(LARGE) - 20, len(LARGE) - 5])
async def test_a_large_body_cut_short_is_refused(
    at: int, client: Client, settings: Settings
) -> None:
    await assert_problem(await post(client, LARGE[:at]), 400, "cut short")
    await assert_nothing_left(client, settings)


async def test_a_body_of_chance_is_never_an_error_of_ours(client: Client) -> None:
    chance = random.Random(7)
    for _ in range(60):
        sent = bytearray(WHOLE)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(sent))
            sent[at : at + chance.randrange(3)] = chance.choice(
                [b"", b"\r\n", b"--", b"\0", b"\xff", b'"', b"'", b";", b"*", b"="]
            )
        answer = await post(client, bytes(sent))
        assert answer.status in (202, 400), bytes(sent)
        if answer.status == 400:
            await assert_problem(answer, 400)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "multipart/form-data"}, 400),
        ({"Content-Type": "multipart/form-data; boundary="}, 400),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 200}, 400),
        ({"Content-Type": "text/csv"}, 415),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "nonsense"}, 415),
        (MULTIPART | {"Content-Encoding": "gzip"}, 415),
        (MULTIPART | {"Content-Encoding": "deflate"}, 415),
        (MULTIPART | {"Content-Encoding": "br"}, 415),
    ],
    ids=str,
)
async def test_a_body_of_another_kind_is_refused(
    headers: dict[str, str], status: int, client: Client, settings: Settings
) -> None:
    await assert_problem(await post(client, WHOLE, headers), status, "multipart" if status == 415
                         and "Content-Encoding" not in headers else "")  # fmt: skip
    await assert_nothing_left(client, settings)


async def test_a_gzipped_body_is_refused_and_not_unpacked(
    client: Client, settings: Settings
) -> None:
    answer = await post(client, gzip.compress(WHOLE), MULTIPART | {"Content-Encoding": "gzip"})
    await assert_problem(answer, 415, "Content-Encoding")
    await assert_nothing_left(client, settings)


async def test_a_body_without_content_type_is_refused(client: Client, settings: Settings) -> None:
    answer = await client.post("/files", data=WHOLE, skip_auto_headers=["Content-Type"])
    await assert_problem(answer, 415, "multipart/form-data")
    await assert_nothing_left(client, settings)


async def test_the_connection_can_be_used_after_a_refusal(client: Client) -> None:
    await assert_problem(await post(client, LARGE[:400_000]), 400)
    assert (await post(client, WHOLE)).status == 202


async def test_stores_that_refuse_give_503_with_retry_after(
    make_client: MakeClient, settings: Settings
) -> None:
    tables: list[Any] = []

    def refusing(inner: Any) -> Refusing:
        tables.append(Refusing(inner))
        return tables[0]

    client = await make_client(table=refusing)
    tables[0].refused = {"put_item"}
    answer = await post(client, WHOLE)
    assert answer.headers["Retry-After"].isdigit()
    await assert_problem(answer, 503, StoreUnavailable.public)
    await assert_nothing_left(client, settings)


@pytest.mark.parametrize(
    ("kind", "status"), [(StoreUnavailable, 503), (StoreReadOnly, 503), (StoreFull, 507)]
)
async def test_where_the_data_lie_is_logged_and_not_told(
    make_client: MakeClient,
    logged: list[dict[str, Any]],
    kind: type[StoreUnavailable],
    status: int,
) -> None:
    tables: list[Refusing] = []

    class Telling(Refusing):
        async def _refuse(self, *_args: Any, **_options: Any) -> None:
            raise kind("cannot read /srv/secret/db.json: Input/output error")

    def telling(inner: Any) -> Refusing:
        tables.append(Telling(inner))
        return tables[0]

    client = await make_client(table=telling)
    tables[0].refused = {"query", "check"}
    answers = [await client.get(path) for path in ("/files", "/health")]
    assert [answer.status for answer in answers] == [status, 503]
    assert "Retry-After" in answers[1].headers
    for answer in answers:
        text = await answer.text()
        assert "secret" not in text
        assert kind.public in text
    told = [line["event"] for line in logged if "/srv/secret/db.json" in line.get("reason", "")]
    assert {"request refused", "store unavailable"} <= {*told}


HEAD = (
    b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=frontier\r\n"
)
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(LARGE)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def sent_until(fraction: float, *, chunked: bool) -> bytes:
    some = LARGE[: int(len(LARGE) * fraction)]
    if not chunked:
        return LENGTH + some
    return CHUNKED + b"".join(
        b"%x\r\n%b\r\n" % (len(some[at : at + 50_000]), some[at : at + 50_000])
        for at in range(0, len(some), 50_000)
    )


HANG_UPS = {
    "in the request line": b"POST /fi",
    "in the headers": HEAD,
    "before the body": LENGTH,
    "before the chunked body": CHUNKED,
    "in a boundary": LENGTH + LARGE[:5],
    "in the part's headers": LENGTH + LARGE[:30],
    "in a chunk's size": CHUNKED + b"ff",
    "in a chunk": CHUNKED + b"ffff\r\n--frontier\r\n",
    "in a chunk that is none": CHUNKED + b"zz\r\n--frontier\r\n",
    **{
        f"at {fraction:.0%}, {'chunked' if chunked else 'length'}": sent_until(
            fraction, chunked=chunked
        )
        for fraction in (0.01, 0.5, 0.999)
        for chunked in (False, True)
    },
    "before the last chunk": sent_until(1, chunked=True),
}


@pytest.mark.parametrize("abort", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("name", HANG_UPS)
async def test_a_client_that_hangs_up_leaves_nothing(
    name: str, abort: bool, client: Client, settings: Settings
) -> None:
    _, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(HANG_UPS[name])
    await writer.drain()
    server = client.server.handler
    await until(lambda: bool(server.connections), "the connection")
    if abort:
        writer.transport.abort()
    else:
        writer.close()
        await writer.wait_closed()
    await until(lambda: not server.connections, "the hang-up")
    await requests_ended()
    await assert_nothing_left(client, settings)


async def test_a_client_that_stops_in_the_middle_and_goes_on_is_served(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    for at in range(0, len(LARGE), 200_000):
        writer.write((LENGTH if at == 0 else b"") + LARGE[at : at + 200_000])
        await writer.drain()
        await asyncio.sleep(0.02)
    assert b"202" in await reader.readline()
    writer.close()
    await writer.wait_closed()
