"""What every ports.ObjectStore does. The subclass has a fixture `store`."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggsvc.engine.blocks import Source
from aggsvc.errors import InvalidRequest, ObjectNotFound
from aggsvc.ports import CHUNK_BYTES, ObjectStore

BUCKET = "uploads"
HOSTILE = [
    "../../etc/passwd",
    "/absolute",
    "..",
    ".",
    ".tmp-x",
    "a/b/c.csv",
    "a//b",
    "nul\0byte",
    "line\nend",
    "Ümläut ☃ 🎉",
    "UPPER",
    "upper",
    "sha256-" + "0" * 64,
    "%2E%2E",
    "a" * 1024,
    "é" * 512,
    "\0" * 1024,
    "CON",
    "trailing.",
    " ",
]


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(store: ObjectStore, key: str, byte_range: tuple[int, int] | None = None) -> bytes:
    async with store.get_object(BUCKET, key, byte_range=byte_range) as found:
        return b"".join([chunk async for chunk in found.chunks])


class ObjectStoreContract:
    async def test_an_object_comes_back_as_it_went_in(self, store: ObjectStore) -> None:
        put = await store.put_object(
            BUCKET, "a.csv", stream(b"ab", b"", b"c"), content_type="text/csv"
        )
        assert await read(store, "a.csv") == b"abc"
        head = await store.head_object(BUCKET, "a.csv")
        assert (head.key, head.size, head.content_type) == ("a.csv", 3, "text/csv")
        assert (put.etag, put.size) == (head.etag, 3)
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", head.last_modified)

    async def test_a_large_object_comes_in_chunks(self, store: ObjectStore) -> None:
        data = bytes(range(256)) * 4096 * 3
        await store.put_object(
            BUCKET, "large", stream(*[data[i : i + 70_000] for i in range(0, len(data), 70_000)])
        )
        async with store.get_object(BUCKET, "large") as found:
            chunks = [chunk async for chunk in found.chunks]
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) <= CHUNK_BYTES

    @pytest.mark.parametrize("size", [10, 2_000_000])
    async def test_bytes_are_put_where_they_are_wanted(self, store: ObjectStore, size: int) -> None:
        """Where a store can; and in turns with chunks."""
        data = random.Random(size).randbytes(size)
        await store.put_object(BUCKET, "a", stream(data))
        async with store.get_object(BUCKET, "a", byte_range=(1, size)) as found:
            if not isinstance(found.chunks, Source):
                return
            parts, room = [await anext(found.chunks)], bytearray(700_000)
            while count := await found.chunks.readinto(memoryview(room)):
                parts.append(bytes(room[:count]))
            assert await anext(found.chunks, None) is None
        assert b"".join(parts) == data[1:]

    async def test_an_empty_object_is_one(self, store: ObjectStore) -> None:
        await store.put_object(BUCKET, "empty", stream())
        assert await read(store, "empty") == b""
        with pytest.raises(InvalidRequest):
            await read(store, "empty", (0, 0))

    @pytest.mark.parametrize(
        ("byte_range", "expected"), [((0, 0), b"0"), ((2, 4), b"234"), ((8, 99), b"89")]
    )
    async def test_a_range_is_inclusive_and_cut_at_the_end(
        self, store: ObjectStore, byte_range: tuple[int, int], expected: bytes
    ) -> None:
        await store.put_object(BUCKET, "digits", stream(b"0123456789"))
        assert await read(store, "digits", byte_range) == expected

    @pytest.mark.parametrize("byte_range", [(10, 11), (3, 2), (-1, 2)])
    async def test_a_range_outside_is_refused(
        self, store: ObjectStore, byte_range: tuple[int, int]
    ) -> None:
        await store.put_object(BUCKET, "digits", stream(b"0123456789"))
        with pytest.raises(InvalidRequest):
            await read(store, "digits", byte_range)

    async def test_what_is_not_there_is_not_found(self, store: ObjectStore) -> None:
        for _ in range(2):
            with pytest.raises(ObjectNotFound):
                await store.head_object(BUCKET, "missing")
            with pytest.raises(ObjectNotFound):
                await read(store, "missing")
            await store.delete_object(BUCKET, "missing")
            await store.put_object(BUCKET, "other", stream(b"x"))

    async def test_a_deleted_object_is_gone(self, store: ObjectStore) -> None:
        await store.put_object(BUCKET, "a", stream(b"x"))
        await store.delete_object(BUCKET, "a")
        with pytest.raises(ObjectNotFound):
            await store.head_object(BUCKET, "a")
        assert (await store.list_objects(BUCKET)).items == ()

    async def test_a_put_replaces_and_changes_the_etag(self, store: ObjectStore) -> None:
        first = await store.put_object(BUCKET, "a", stream(b"old"))
        second = await store.put_object(BUCKET, "a", stream(b"newer"))
        assert first.etag != second.etag
        assert await read(store, "a") == b"newer"
        assert [info.size for info in (await store.list_objects(BUCKET)).items] == [5]

    async def test_a_put_that_fails_leaves_the_old_object(self, store: ObjectStore) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x" * 600_000
            raise ConnectionError("client went away")

        await store.put_object(BUCKET, "a", stream(b"old"))
        for key in ("a", "b"):
            with pytest.raises(ConnectionError):
                await store.put_object(BUCKET, key, broken())
        assert await read(store, "a") == b"old"
        assert [info.key for info in (await store.list_objects(BUCKET)).items] == ["a"]

    async def test_a_reader_keeps_the_version_it_opened(self, store: ObjectStore) -> None:
        data = b"1" * 2_000_000
        await store.put_object(BUCKET, "a", stream(data))
        async with store.get_object(BUCKET, "a") as found:
            parts = [await anext(found.chunks)]
            await store.put_object(BUCKET, "a", stream(b"2" * 3_000_000))
            await store.delete_object(BUCKET, "a")
            parts += [chunk async for chunk in found.chunks]
        assert b"".join(parts) == data

    @pytest.mark.parametrize("key", HOSTILE, ids=ascii)
    async def test_any_key_comes_back_as_it_is(self, store: ObjectStore, key: str) -> None:
        await store.put_object(BUCKET, key, stream(key.encode()))
        assert await read(store, key) == key.encode()
        assert [info.key for info in (await store.list_objects(BUCKET)).items] == [key]

    async def test_hostile_keys_do_not_meet(self, store: ObjectStore) -> None:
        for key in HOSTILE:
            await store.put_object(BUCKET, key, stream(key.encode()))
        for key in HOSTILE:
            assert await read(store, key) == key.encode()
        listed = [info.key for info in (await store.list_objects(BUCKET)).items]
        assert listed == sorted(HOSTILE, key=str.encode)

    @settings(max_examples=50, suppress_health_check=list(HealthCheck))
    @given(
        st.sets(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), max_size=5
        )
    )
    def test_random_keys_are_kept_apart(self, make_store, keys: set[str]) -> None:
        async def round_trip() -> None:
            async with make_store() as store:
                for key in keys:
                    await store.put_object(BUCKET, key, stream(key.encode()))
                listed = [info.key for info in (await store.list_objects(BUCKET)).items]
                assert listed == sorted(keys, key=str.encode)
                for key in keys:
                    assert await read(store, key) == key.encode()

        asyncio.run(round_trip())

    @pytest.mark.parametrize("key", ["", "a" * 1025, "é" * 513, "\ud800"], ids=ascii)
    async def test_what_is_no_key_is_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidRequest):
            await store.put_object(BUCKET, key, stream(b"x"))
        with pytest.raises(InvalidRequest):
            await store.head_object(BUCKET, key)
        with pytest.raises(InvalidRequest):
            await read(store, key)

    async def test_a_listing_pages_in_key_order(self, store: ObjectStore) -> None:
        keys = [f"k{i}/é" for i in range(25)] + ["z", "Z", "ß", "\U0001f389", "\uffee"]
        for key in keys:
            await store.put_object(BUCKET, key, stream(b"x"))
        seen: list[str] = []
        after = ""
        while True:
            page = await store.list_objects(BUCKET, start_after=after, limit=7)
            assert len(page.items) <= 7
            seen += [info.key for info in page.items]
            if page.next_key is None:
                break
            after = page.next_key
        assert seen == sorted(keys, key=str.encode)

    async def test_a_listing_keeps_to_its_prefix(self, store: ObjectStore) -> None:
        for key in ("a", "a/1", "a/2", "a0", "b"):
            await store.put_object(BUCKET, key, stream(b"x"))
        page = await store.list_objects(BUCKET, prefix="a/")
        assert ([info.key for info in page.items], page.next_key) == (["a/1", "a/2"], None)
        page = await store.list_objects(BUCKET, prefix="a/", start_after="a/1")
        assert [info.key for info in page.items] == ["a/2"]

    @pytest.mark.parametrize("limit", [0, 1001])
    async def test_a_limit_out_of_range_is_refused(self, store: ObjectStore, limit: int) -> None:
        with pytest.raises(InvalidRequest):
            await store.list_objects(BUCKET, limit=limit)

    async def test_puts_at_once_leave_one_of_them_whole(self, store: ObjectStore) -> None:
        bodies = [bytes([i]) * 300_000 for i in range(8)]
        await asyncio.gather(*(store.put_object(BUCKET, "a", stream(body)) for body in bodies))
        assert await read(store, "a") in bodies

    async def test_a_put_cancelled_anywhere_is_whole_or_not_at_all(
        self, store: ObjectStore
    ) -> None:
        await store.put_object(BUCKET, "a", stream(b"old"))
        new = b"n" * 600_000
        for step in range(12):
            putting = asyncio.create_task(store.put_object(BUCKET, "a", stream(new)))
            for _ in range(step):
                await asyncio.sleep(0)
            putting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await putting
            assert await read(store, "a") in (b"old", new)

    async def test_a_healthy_store_says_so(self, store: ObjectStore) -> None:
        await store.check(BUCKET)
