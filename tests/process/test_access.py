"""Access to a real process: which addresses it takes, and what a restart keeps."""

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from aggsvc.tokens import Scope, TokenFile
from tests.conftest import until
from tests.process.conftest import ServerProcess


async def token_command(folder: Path, *words: str) -> str:
    """What `python -m aggsvc token` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aggsvc", "token", *words),
        env={"AUTH_PATH": str(folder / "auth")},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().strip()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_an_address_for_others_is_refused_until_access_is_decided(
    host: str, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """One line says what to set; AUTH=off, in so many words, lets it start."""
    status, (line,) = await server.refusal(HOST=host)
    assert status == 1
    assert line.startswith(f"aggsvc: {host} lets other machines in")
    assert "AUTH=on" in line
    assert "AUTH=off" in line
    await server.start(HOST=host, AUTH="off")
    port = server.url.rpartition(":")[2]
    address = "[::1]" if host == "::" else "127.0.0.1"
    async with http.get(f"http://{address}:{port}/files") as answer:
        assert answer.status == 200


async def test_sessions_live_on_over_a_restart(server: ServerProcess, tmp_path: Path) -> None:
    """Who has signed in still is; a token that was revoked meanwhile is none."""
    on = {"AUTH": "on", "AUTH_PATH": str(tmp_path / "auth"), "HOST": "0.0.0.0"}
    text = await token_command(tmp_path, "create", "person", "--scope", "write")
    await server.start(**on)
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{server.url}/ui") as page:
            assert page.url.path == "/ui/sign-in"
            found = re.search(r'name="csrf_token" value="([^"]+)"', await page.text())
        assert found
        form = {"token": text, "csrf_token": found[1]}
        async with browser.post(f"{server.url}/ui/sign-in", data=form) as page:
            assert (page.status, page.url.path) == (200, "/ui")
        assert await server.stop() == 0
        await server.start(**on)
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        async with browser.get(f"{server.url}/files") as answer:
            assert answer.status == 200
        await token_command(tmp_path, "revoke", "person")

        async def is_signed_out() -> bool:
            async with browser.get(f"{server.url}/files") as answer:
                return answer.status == 401

        await until(is_signed_out, "the end of the session")
    assert text not in server.log()


async def test_damaged_tokens_do_not_keep_the_service_from_starting(
    server: ServerProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """It lets nobody in, and says why where whoever runs it looks."""
    file = TokenFile(tmp_path / "auth")
    text = file.create("a", Scope.ADMIN, None)[1]
    file.path.write_bytes(b"damaged")
    await server.start(AUTH="on", AUTH_PATH=str(tmp_path / "auth"))
    async with http.get(f"{server.url}/health") as answer:
        assert (answer.status, await answer.json()) == (503, {"status": "unavailable"})
    headers = {"Authorization": f"Bearer {text}"}
    async with http.get(f"{server.url}/files", headers=headers) as answer:
        assert answer.status == 503
    assert "tokens.json is damaged" in server.log()
