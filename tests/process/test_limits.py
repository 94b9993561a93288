"""The limits where only a process shows them: on the pages, and with few open files allowed."""

import resource

import aiohttp

from aggsvc.server import allow_open_files
from tests.api.helpers import MULTIPART, body, part
from tests.process.conftest import ServerProcess
from tests.process.test_process import SAMPLE
from tests.raw import connected, head


async def test_the_largest_upload_holds_for_each_file_of_a_page(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    await server.start(MAX_UPLOAD_BYTES=str(len(SAMPLE)))
    url = f"{server.url}/ui"
    async with http.post(url, data=body(part(SAMPLE), part(SAMPLE)), headers=MULTIPART) as taken:
        assert taken.status == 200
    async with http.post(url, data=body(part(SAMPLE + b"\n")), headers=MULTIPART) as refused:
        assert refused.status == 413
        assert f"{len(SAMPLE):,} bytes" in await refused.text()


async def test_an_upload_too_many_is_refused_instead_of_continue(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """Though one of them only trickles."""
    await server.start(MAX_CONCURRENT_UPLOADS="1", BODY_TIMEOUT="600")
    async with connected(*server.address) as slow, connected(*server.address) as other:
        await slow.send(head("Content-Length: 1000"))
        await slow.send(body(part(SAMPLE))[:100])
        async with http.get(f"{server.url}/health/live"):
            pass  # what was sent before has come
        await other.send(head("Content-Length: 1000", "Expect: 100-continue"))
        assert (await other.refusal(503, "uploads", "(1)"))["retry-after"].isdigit()


async def test_a_stalled_body_is_408_on_each_path(server: ServerProcess) -> None:
    await server.start(BODY_TIMEOUT="0.3")
    for path in ("/files", "/ui"):
        async with connected(*server.address) as connection:
            await connection.send(head("Content-Length: 1000", path=path))
            status, fields = await connection.head()
            assert status == 408
            assert fields["connection"] == "close"


def test_as_many_open_files_are_allowed_as_the_limits_need() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        allow_open_files(700)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700, before[1])
        allow_open_files(600)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
