"""Access: who is let in at every route, by token and by session; forms of others; guessing."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, DummyCookieJar, web

from aggsvc.app import create_app
from aggsvc.http.routing import Route
from aggsvc.http.sessions import COOKIE
from aggsvc.settings import Settings
from aggsvc.tokens import Scope, TokenFile
from tests.api.conftest import Client
from tests.api.helpers import MULTIPART, assert_problem, body, json_of, part, post
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, stored_files, until
from tests.machine import within

SECURITY = (Path(__file__).parents[2] / "docs/security.md").read_text()
CSV = HEADER + GOOD_ROW
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
Headers = dict[str, str]


@dataclass
class Door:
    """A service that asks for tokens, and tokens of each kind."""

    client: Client
    file: TokenFile
    tokens: dict[str, str]

    def bearer(self, name: str) -> Headers:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    async def session(self, name: str) -> Headers:
        """Sign in; what a script of a page then sends."""
        page = await self.client.get("/ui/sign-in")
        before = cookie_of(page)
        form = {"token": self.tokens[name], "csrf_token": form_token(await page.text())}
        answer = await self.client.post(
            "/ui/sign-in", data=form, headers=before, allow_redirects=False
        )
        assert (answer.status, answer.headers["Location"]) == (303, "/ui")
        after = cookie_of(answer)
        files = await self.client.get("/ui", headers=after)
        return after | {"X-CSRF-Token": form_token(await files.text())}


def cookie_of(answer: ClientResponse) -> Headers:
    return {"Cookie": f"{COOKIE}={answer.cookies[COOKIE].value}"}


def form_token(page: str) -> str:
    found = re.search(r'<meta name="csrf-token" content="([^"]+)">', page)
    assert found, page
    return found[1]


MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
def make_door(settings: Settings, tmp_path: Path, aiohttp_client: Any) -> MakeDoor:
    async def make(**changes: Any) -> Door:
        file = TokenFile(tmp_path / "auth")
        tokens = await asyncio.to_thread(make_tokens, file)
        ours = {"auth": "on", "auth_path": tmp_path / "auth", **changes}
        app = await asyncio.to_thread(create_app, settings.model_copy(update=ours))
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
        return Door(client, file, tokens)

    return make


@pytest.fixture
async def door(make_door: MakeDoor) -> Door:
    return await make_door()


def make_tokens(file: TokenFile) -> dict[str, str]:
    made = {scope.value: file.create(scope.value, scope, None)[1] for scope in Scope}
    made["expired"] = file.create("expired", Scope.ADMIN, YESTERDAY)[1]
    made["revoked"] = file.create("revoked", Scope.ADMIN, None)[1]
    file.revoke("revoked")
    return made


# --- the router ---

KINDS = ("no token", "revoked", "expired", "read", "write", "admin", "session")


def routes(app: web.Application) -> list[web.AbstractRoute]:
    return [route for resource in app.router.resources() for route in resource]


def path_of(route: web.AbstractRoute) -> str:
    assert route.resource is not None
    return route.resource.canonical


async def outcome(client: Client, method: str, path: str, headers: Headers) -> str:
    """What access makes of a request; `yes` for whatever the handler answers."""
    url = re.sub(r"\{\w+(:[^}]*)?\}", "nonesuch", path)
    request = client.request(method, url, headers=headers, allow_redirects=False)
    async with request as answer:
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.headers.get("Location", "").startswith("/ui/sign-in?"):
            return "sign in"
        if challenge:
            assert answer.status == (403 if "insufficient_scope" in challenge else 401)
            assert ("invalid_token" in challenge) == (
                answer.status == 401 and "Authorization" in headers
            )
            return str(answer.status)
        assert answer.status not in (401, 429, 500)
        return "yes"


def described() -> dict[tuple[str, str], list[str]]:
    """The rows of the matrix of docs/security.md."""
    lines = re.findall(r"^\| `(\w+) (/\S*)` \| (.+) \|$", SECURITY, re.M)
    return {(method, path): rest.split(" | ") for method, path, rest in lines}


async def test_every_route_lets_in_whom_the_matrix_says(make_door: MakeDoor) -> None:
    """Each route x each credential gives what docs/security.md says; a route missing there fails.

    `needs` there is what the route's table says; HEAD is as GET.
    """
    door = await make_door(trust_proxy=True)
    matrix = described()
    found = {}
    credentials = {"no token": {}, "session": await door.session("read")}
    credentials |= {kind: door.bearer(kind) for kind in KINDS[1:-1]}
    for number, route in enumerate(routes(door.client.app)):
        method, path = route.method, path_of(route)
        owner = getattr(route.handler, "__self__", None)
        assert isinstance(owner, Route), f"{method} {path} is in no table of routes"
        # Each from an address of its own, so that no one of them guesses too often.
        addresses = (f"10.0.{number}.{kind}" for kind in range(len(KINDS)))
        row = [
            await outcome(
                door.client, method, path, credentials[kind] | {"X-Forwarded-For": address}
            )
            for kind, address in zip(KINDS, addresses, strict=True)
        ]
        needs = owner.needs.value if owner.needs else "nothing"
        found[method, path] = [needs, *row]
    heads = {path: found.pop(("HEAD", path)) for method, path in list(found) if method == "HEAD"}
    assert heads == {path: row for (method, path), row in found.items() if method == "GET"}
    assert found == matrix


async def test_a_route_of_no_table_is_for_the_administrator(
    settings: Settings, tmp_path: Path, aiohttp_client: Any
) -> None:
    """What nobody has described is not open by oversight."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    tokens = await asyncio.to_thread(make_tokens, TokenFile(tmp_path / "auth"))
    ours = {"auth": "on", "auth_path": tmp_path / "auth"}
    app = await asyncio.to_thread(create_app, settings.model_copy(update=ours))
    app.router.add_get("/forgotten", handler)
    client = await aiohttp_client(app)
    for name, status in (("write", 403), ("admin", 200)):
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        assert (await client.get("/forgotten", headers=headers)).status == status


async def test_refusals_are_problems_that_say_what_is_needed(door: Door) -> None:
    """401 and 403 are RFC 9457 problems with the challenge of RFC 6750."""
    answer = await door.client.get("/files")
    await assert_problem(answer, 401, "token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="aggsvc"'
    answer = await door.client.get("/files", headers=door.bearer("expired"))
    await assert_problem(answer, 401, "expired")
    answer = await door.client.delete("/files/x", headers=door.bearer("read"))
    await assert_problem(answer, 403, "write", "read")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="aggsvc", error="insufficient_scope", scope="write"'
    )


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Basic YTpi", "Bearer \xff", "Bearer a b", "bearer x", "Digest x"],
)
async def test_an_authorization_that_is_no_token_lets_nobody_in(
    door: Door, authorization: str
) -> None:
    answer = await door.client.get("/files", headers={"Authorization": authorization})
    await assert_problem(answer, 401)


async def test_of_several_authorizations_none_counts(door: Door) -> None:
    """A proxy that looked at one of them must not have let another one in."""
    good = f"Bearer {door.tokens['read']}"
    for values in ((good, "Bearer x"), ("Bearer x", good), ("Basic YTpi", good), (good, good)):
        headers = [("Authorization", value) for value in values]
        await assert_problem(await door.client.get("/files", headers=headers), 401, "more than one")


async def test_the_scheme_may_be_in_any_case(door: Door) -> None:
    headers = {"Authorization": f"bEaReR {door.tokens['read']}"}
    assert (await door.client.get("/files", headers=headers)).status == 200


async def test_health_tells_the_status_alone_without_a_token(door: Door) -> None:
    """Whoever has a token sees each part, and whether tokens can be read."""
    answer = await door.client.get("/health")
    assert (answer.status, await json_of(answer)) == (200, {"status": "ok"})
    answer = await door.client.get("/health", headers=door.bearer("read"))
    report = await json_of(answer)
    assert report["workers"]["status"] == "ok"
    assert report["access"] == {"status": "ok", "detail": None}


# --- the file of tokens, while the service runs ---


@pytest.mark.alone
async def test_made_and_revoked_tokens_count_within_a_second(door: Door) -> None:
    """The file is read again when it has changed; no restart is needed."""
    _, text = await asyncio.to_thread(door.file.create, "late", Scope.READ, None)
    headers = {"Authorization": f"Bearer {text}"}

    async def is_known() -> bool:
        return (await door.client.get("/files", headers=headers)).status == 200

    async def is_unknown() -> bool:
        return not await is_known()

    began = time.monotonic()
    await until(is_known)
    known = time.monotonic()
    await asyncio.to_thread(door.file.revoke, "late")
    await until(is_unknown)
    assert within(known - began, 1)
    assert within(time.monotonic() - known, 1)


async def is_status(ask: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await ask() == wanted


@pytest.mark.parametrize("damage", [b"", b"{", b'{"tokens": [{"id": "x"}]}', b"[]", b"\xff"])
async def test_a_damaged_file_lets_nobody_in_and_health_says_so(
    door: Door, damage: bytes, logged: list[dict[str, Any]]
) -> None:
    """Neither tokens nor sessions count until it is mended; the log names the file and the cure."""
    session = await door.session("admin")
    whole = await asyncio.to_thread(door.file.path.read_bytes)
    await asyncio.to_thread(door.file.path.write_bytes, damage)

    async def status() -> int:
        return (await door.client.get("/health")).status

    await until(lambda: is_status(status, 503))
    for headers in (door.bearer("admin"), session):
        answer = await door.client.get("/files", headers=headers)
        await assert_problem(answer, 503, "the tokens cannot be read")
        assert "tokens.json" not in await answer.text()
    assert (await door.client.get("/ui/sign-in")).status == 503
    assert (await door.client.get("/files")).status == 401
    assert (await door.client.get("/health/live")).status == 200
    # It may have been read while it was half written, which is damage of another kind.
    reasons = {line["reason"] for line in logged if "tokens unreadable" in line["event"]}
    assert 1 <= len(reasons) <= 2
    assert all(str(door.file.path) in reason for reason in reasons)
    assert all("restore it from a copy" in reason for reason in reasons)
    await asyncio.to_thread(door.file.path.write_bytes, whole)
    await until(lambda: is_status(status, 200))
    assert (await door.client.get("/files", headers=door.bearer("read"))).status == 200


async def test_what_a_token_has_under_way_ends_with_it(door: Door) -> None:
    """An open event stream is cut when its token is revoked; another token's goes on."""
    async with (
        door.client.get("/events", headers=door.bearer("read")) as ended,
        door.client.get("/events", headers=door.bearer("write")) as going_on,
    ):
        await asyncio.to_thread(door.file.revoke, "read")
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(Exception, match="payload"):
                await ended.read()
        assert not going_on.content.is_eof()
        assert going_on.content.exception() is None


# --- sessions ---


async def test_a_session_may_do_what_its_token_may(door: Door) -> None:
    """The pages and the calls of their scripts are let in by the cookie, up to its scope."""
    reader, writer = await door.session("read"), await door.session("write")
    for path in ("/ui", "/files", "/health"):
        assert (await door.client.get(path, headers=reader)).status == 200
    await assert_problem(await door.client.delete("/files/x", headers=reader), 403, "write")
    await assert_problem(await door.client.delete("/files/x", headers=writer), 404)
    page = await (await door.client.get("/ui", headers=reader)).text()
    assert "Sign out read" in page


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    make_door: MakeDoor, trusted: bool
) -> None:
    """HttpOnly, SameSite, and Secure where a trusted proxy says that the browser uses TLS."""
    door = await make_door(trust_proxy=trusted)
    for said, secure in (("https", trusted), ("http, https", trusted), ("https, http", False)):
        answer = await door.client.get("/ui/sign-in", headers={"X-Forwarded-Proto": said})
        cookie = answer.cookies[COOKIE]
        assert cookie["httponly"] is True
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/"
        assert bool(cookie["secure"]) is secure, said


async def test_a_session_dies_with_its_token(door: Door) -> None:
    """Revoked, the next page asks to sign in again."""
    session = await door.session("write")
    await asyncio.to_thread(door.file.revoke, "write")

    async def gone() -> bool:
        answer = await door.client.get("/ui", headers=session, allow_redirects=False)
        return answer.headers.get("Location") == "/ui/sign-in?next=/ui"

    await until(gone)
    await assert_problem(await door.client.get("/files", headers=session), 401)


async def test_a_session_dies_when_its_token_expires(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    _, door.tokens["soon"] = await asyncio.to_thread(door.file.create, "soon", Scope.READ, soon)

    async def known() -> bool:
        return (await door.client.get("/files", headers=door.bearer("soon"))).status == 200

    await until(known)
    session = await door.session("soon")
    assert (await door.client.get("/files", headers=session)).status == 200
    monkeypatch.setattr("aggsvc.tokens.datetime", AnHourLater)
    assert (await door.client.get("/files", headers=session)).status == 401


class AnHourLater(datetime):
    """The time as it is an hour from now."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(hours=1)


async def test_pages_offer_a_session_only_what_its_token_may(door: Door) -> None:
    """Who may only read has no form but that to sign out, and is told why."""
    reads, writes = await door.session("read"), await door.session("write")

    async def page_of(path: str, headers: Headers) -> str:
        return await (await door.client.get(path, headers=headers)).text()

    assert posts_of(await page_of("/ui", writes)) == {"/ui", "/ui/sample", "/ui/sign-out"}
    paths = ["/ui"]
    for _ in range(2):
        for path in paths:
            page = await page_of(path, reads)
            assert posts_of(page) == {"/ui/sign-out"}
            assert "the token “read” has the scope <code>read</code>" in page
        answer = await post(door.client, body(part(CSV)), MULTIPART | door.bearer("write"))
        paths.append(f"/ui/files/{(await json_of(answer))['file_id']}")
    for path in paths:
        page = await page_of(path, writes)
        assert "/ui/delete" in posts_of(page)
        assert "You may only look" not in page


def posts_of(page: str) -> set[str]:
    """Where the page's forms and buttons send something."""
    forms = re.findall(r'<form[^>]* method="post"[^>]* action="([^"]+)"', page)
    return {*forms, *re.findall(r'formaction="([^"]+)"', page)}


async def test_signing_out_ends_the_session_in_the_browser(door: Door) -> None:
    session = await door.session("write")
    answer = await door.client.post("/ui/sign-out", headers=session, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/ui/sign-in")
    assert answer.cookies[COOKIE].value == ""
    assert answer.cookies[COOKIE]["max-age"] == "0"


@pytest.mark.parametrize("cookie", ["x", "gAAAAAB", "\xff\xfe", '""', "a" * 4000])
async def test_a_cookie_of_somebody_else_is_no_session(door: Door, cookie: str) -> None:
    answer = await door.client.get("/files", headers={"Cookie": f"{COOKIE}={cookie}"})
    await assert_problem(answer, 401)


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/ui/files/1?x=2", "/ui/files/1?x=2"),
        ("/ui?status=failed", "/ui?status=failed"),
        ("//evil.example", "/ui"),
        ("https://evil.example/ui", "/ui"),
        ("/ui\\evil.example", "/ui"),
        ("/uix", "/ui"),
        ("/ui/\r\nX: y", "/ui"),
        ("", "/ui"),
    ],
)
async def test_signing_in_leads_on_to_pages_of_ours_only(door: Door, wanted: str, led: str) -> None:
    page = await door.client.get("/ui/sign-in", params={"next": wanted})
    form = {"token": door.tokens["read"], "csrf_token": form_token(await page.text())}
    answer = await door.client.post(
        "/ui/sign-in",
        params={"next": wanted},
        data=form,
        headers=cookie_of(page),
        allow_redirects=False,
    )
    assert answer.headers["Location"] == led


async def test_a_wrong_token_is_told_on_the_page(door: Door) -> None:
    """The form is there again, with the reason; nothing of what was typed is."""
    page = await door.client.get("/ui/sign-in")
    form = {"token": "guess<b>", "csrf_token": form_token(await page.text())}
    answer = await door.client.post("/ui/sign-in", data=form, headers=cookie_of(page))
    text = await answer.text()
    assert answer.status == 401
    assert "the token is not known" in text
    assert "guess" not in text
    assert 'name="token"' in text


async def test_a_fragment_of_a_page_leads_the_whole_page_to_sign_in(door: Door) -> None:
    answer = await door.client.get("/ui", headers={"HX-Request": "true"}, allow_redirects=False)
    assert answer.headers["HX-Redirect"] == "/ui/sign-in"


# --- forms ---


def upload_form(token: str | None, place: str = "before") -> bytes:
    field = [] if token is None else [part(token.encode(), "csrf_token", None)]
    file = part(CSV)
    return body(*field, file) if place == "before" else body(file, *field)


async def test_a_form_counts_only_with_the_token_of_its_session(
    door: Door, settings: Settings
) -> None:
    """In its field or in the header; without it nothing of an upload is kept."""
    session, other = await door.session("write"), await door.session("write")
    token, cookie = session.pop("X-CSRF-Token"), session
    wrong: list[tuple[bytes, Headers]] = [
        (upload_form(None), {}),
        (upload_form(""), {}),
        (upload_form("\xe9"), {}),
        (upload_form(other["X-CSRF-Token"]), {}),
        (upload_form(token, "after"), {}),
        (upload_form(token), {"X-CSRF-Token": "x"}),
    ]
    for path in ("/ui", "/files"):
        for data, more in wrong:
            answer = await door.client.post(
                path, data=data, headers=cookie | MULTIPART | more, allow_redirects=False
            )
            assert answer.status == 403, (path, data, await answer.text())
    for path in ("/ui/delete", "/ui/reprocess", "/ui/sign-out"):
        for form in ({"file_id": "x"}, {"file_id": "x", "csrf_token": other["X-CSRF-Token"]}):
            answer = await door.client.post(path, data=form, headers=cookie, allow_redirects=False)
            assert answer.status == 403, path
        answer = await door.client.post(path, data=body(part(b"x")), headers=cookie | MULTIPART)
        assert answer.status == 403, path
    await assert_problem(await door.client.delete("/files/x", headers=cookie), 403)
    listed = await json_of(await door.client.get("/files", headers=cookie))
    assert listed["items"] == []
    assert stored_files(settings.mock_s3_root_path) == []

    for data, more in ((upload_form(token), {}), (upload_form(None), {"X-CSRF-Token": token})):
        answer = await door.client.post(
            "/ui", data=data, headers=cookie | MULTIPART | more, allow_redirects=False
        )
        assert (answer.status, answer.headers.get("Location")) == (303, "/ui")
    answer = await door.client.post(
        "/ui/delete", data={"file_id": "x", "csrf_token": token}, headers=cookie
    )
    assert answer.status == 200


async def test_signing_in_needs_a_form_of_ours_too(door: Door) -> None:
    """Else another site could sign a browser in as somebody else."""
    answer = await door.client.post("/ui/sign-in", data={"token": door.tokens["admin"]})
    assert answer.status == 403
    assert COOKIE not in answer.cookies


async def test_a_form_that_is_too_large_or_unreadable_is_refused(door: Door) -> None:
    session = await door.session("write")
    del session["X-CSRF-Token"]
    answer = await door.client.post("/ui/delete", data={"a": "b" * 300_000}, headers=session)
    assert answer.status == 413
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=none"}
    answer = await door.client.post("/ui/delete", data=b"a=b", headers=session | kind)
    assert answer.status in (400, 415)


# --- origins ---

HOST = "aggsvc.example:8000"
OWN = (
    {},
    {"Origin": f"http://{HOST}"},
    {"Origin": f"HTTP://{HOST.upper()}"},
    {"Referer": f"http://{HOST}/ui?x"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    {"Sec-Fetch-Site": "none"},
)
FOREIGN = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://aggsvc.example:8001"},
    {"Origin": f"http://{HOST}.evil.example"},
    {"Origin": f"http://evil.example/{HOST}"},
    {"Origin": f"http://{HOST}@evil.example"},
    {"Origin": "http://[::"},
    {"Referer": "http://evil.example/ui"},
    {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"},
    {"Sec-Fetch-Site": "same-site"},
)


@pytest.mark.parametrize("auth", ["off", "on"])
async def test_another_sites_page_changes_nothing(make_door: MakeDoor, auth: str) -> None:
    """Whatever a browser says of where a request comes from, with access on or off."""
    door = await make_door(auth=auth)
    sender = await door.session("write") if auth == "on" else {}
    for headers in OWN + FOREIGN:
        for method, path in (("DELETE", "/files/x"), ("POST", "/ui/reprocess"), ("POST", "/files")):
            answer = await door.client.request(
                method, path, headers=sender | headers | {"Host": HOST}, allow_redirects=False
            )
            assert (answer.status == 403) is (headers in FOREIGN), (method, path, headers)
        answer = await door.client.get("/files", headers=sender | headers | {"Host": HOST})
        assert answer.status == 200


async def test_until_access_is_decided_no_name_of_the_dns_is_answered(make_door: MakeDoor) -> None:
    """To a browser a page whose name was led to this machine is of the service's own origin."""
    door = await make_door(auth="auto")
    calls = (("GET", "/files"), ("GET", "/ui"), ("GET", "/health"), ("POST", "/files"))
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "evil.example.",
                 "127.0.0.1.evil.example", "xlocalhost.example", "[::1", "0x7f.1"):  # fmt: skip
        for method, path in calls:
            sent = {"Host": host, "Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}"}
            answer = await door.client.request(method, path, headers=sent)
            assert answer.status == 403, (host, path)
            assert "set AUTH=on or AUTH=off" in await answer.text(), (host, path)
    for host in ("localhost", "LOCALHOST:8000", "localhost.", "a.localhost:1", "127.0.0.1:8000",
                 "[::1]:8000", "192.0.2.7", "api", "host.docker.internal"):  # fmt: skip
        assert (await door.client.get("/files", headers={"Host": host})).status == 200, host


@pytest.mark.parametrize("auth", ["off", "on"])
async def test_once_access_is_decided_any_name_is_answered(make_door: MakeDoor, auth: str) -> None:
    door = await make_door(auth=auth)
    sent = {"Host": "files.example"} | (door.bearer("read") if auth == "on" else {})
    assert (await door.client.get("/files", headers=sent)).status == 200


async def test_behind_a_trusted_proxy_the_host_is_what_it_says(make_door: MakeDoor) -> None:
    door = await make_door(trust_proxy=True)
    headers = {
        **door.bearer("write"),
        "Origin": "https://files.example",
        "X-Forwarded-Host": "files.example",
    }
    assert (await door.client.delete("/files/x", headers=headers)).status == 404
    headers["X-Forwarded-Host"] = "files.example, inner.example"
    assert (await door.client.delete("/files/x", headers=headers)).status == 403


async def test_pages_of_the_origins_that_cors_names_may_send(make_door: MakeDoor) -> None:
    """They have no cookie; their scripts send a token."""
    door = await make_door(cors_origins="https://a.example https://b.example")
    for origin, status in (("https://b.example", 404), ("https://c.example", 403), ("none", 403)):
        headers = door.bearer("write") | {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        assert (await door.client.delete("/files/x", headers=headers)).status == status


async def test_what_a_token_may_see_is_kept_by_no_proxy(door: Door) -> None:
    """An answer that may be asked for again by its tag is for this client alone."""
    data = body(part(CSV))
    sent = await door.client.post("/files", data=data, headers=door.bearer("write") | MULTIPART)
    path = sent.headers["Location"]

    async def is_private() -> bool:
        answer = await door.client.get(path, headers=door.bearer("read"))
        return answer.headers["Cache-Control"] == "private, no-cache"

    await until(is_private)


# --- guessing ---


async def test_guessing_is_slowed_for_the_address_that_guesses(make_door: MakeDoor) -> None:
    """Ten a minute are answered 401, more 429; other addresses and right tokens are not held up."""
    door = await make_door(trust_proxy=True)

    async def guess(address: str, text: str = "aggsvc_wrong") -> ClientResponse:
        headers = {"Authorization": f"Bearer {text}", "X-Forwarded-For": f"1.1.1.1, {address}"}
        return await door.client.get("/files", headers=headers)

    for _ in range(10):
        assert (await guess("10.0.0.1")).status == 401
    refused = await guess("10.0.0.1")
    await assert_problem(refused, 429, "too many wrong tokens")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (await guess("10.0.0.2")).status == 401
    assert (await guess("10.0.0.1", door.tokens["read"])).status == 200
    assert (await guess("10.0.0.1", door.tokens["expired"])).status == 401


async def test_guessing_on_the_sign_in_page_is_slowed_as_well(door: Door) -> None:
    page = await door.client.get("/ui/sign-in")
    cookie, form = cookie_of(page), {"csrf_token": form_token(await page.text())}

    async def guess(token: str) -> ClientResponse:
        return await door.client.post(
            "/ui/sign-in", data=form | {"token": token}, headers=cookie, allow_redirects=False
        )

    statuses = [(await guess(f"guess {number}")).status for number in range(11)]
    assert statuses == [401] * 10 + [429]
    answer = await guess("once more")
    assert int(answer.headers["Retry-After"]) > 0
    assert "too many wrong tokens" in await answer.text()
    assert (await guess(door.tokens["read"])).status == HTTPStatus.SEE_OTHER


async def test_requests_without_a_token_are_no_guesses(door: Door) -> None:
    for _ in range(12):
        assert (await door.client.get("/files")).status == 401


# --- off ---


async def test_with_access_off_nobody_is_asked(client: Client) -> None:
    """Pages and API are open, nothing is said of tokens, and signing in leads to the files."""
    page = await client.get("/ui")
    text = await page.text()
    assert page.status == 200
    assert '<meta name="csrf-token" content="">' in text
    assert 'name="csrf_token"' not in text
    assert "Sign out" not in text
    assert COOKIE not in page.cookies
    for method, path in (("GET", "/ui/sign-in"), ("POST", "/ui/sign-in")):
        answer = await client.request(method, path, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/ui")
    headers = {"Authorization": "Bearer nonsense"}
    assert (await client.get("/files", headers=headers)).status == 200
