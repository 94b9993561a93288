"""What is special to MockS3: its files, cancelled and failed puts, a failing disk."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from aggsvc.errors import (
    DataLocked,
    InvalidRequest,
    StartRefused,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from mocks.files import Disk, Files
from mocks.files.new_file import UNWRITTEN
from mocks.s3 import MockS3
from tests.conftest import DEADLINE, until
from tests.contracts.object_store import BUCKET, HOSTILE, read, stream
from tests.machine import within
from tests.mocks.conftest import FaultyDisk, opened_store


def names(root: Path) -> list[str]:
    return sorted(os.listdir(root / BUCKET))


async def test_an_object_is_one_file_that_begins_with_its_bytes(store, tmp_path):
    await store.put_object(BUCKET, "id/upload.csv", stream(b"a,b\n1,2\n"))
    assert names(tmp_path / "s3") == ["id%2Fupload.csv"]
    data = (tmp_path / "s3" / BUCKET / "id%2Fupload.csv").read_bytes()
    assert data.startswith(b'a,b\n1,2\n{"crc":"')
    assert data.endswith(b"AGGSVCO1")


async def test_hostile_keys_stay_in_the_bucket_and_survive_a_restart(tmp_path):
    root = tmp_path / "deep" / "s3"
    async with opened_store(root) as store:
        before = [await store.put_object(BUCKET, key, stream(key.encode())) for key in HOSTILE]
    assert sorted(os.listdir(tmp_path)) == ["deep"]
    assert sorted(os.listdir(root)) == [".lock", BUCKET]
    assert len(names(root)) == len(HOSTILE)
    assert len({name.casefold() for name in names(root)}) == len(HOSTILE)
    async with opened_store(root) as store:
        listed = (await store.list_objects(BUCKET)).items
        assert listed == tuple(sorted(before, key=lambda info: info.key.encode()))


@pytest.mark.parametrize("bucket", ["", "ab", "a" * 64, "Upper", "../up", "a/b", ".hidden", "a_b"])
async def test_what_is_no_bucket_name_is_refused(store, bucket):
    with pytest.raises(InvalidRequest):
        await store.put_object(bucket, "a", stream(b"x"))
    with pytest.raises(InvalidRequest):
        await store.list_objects(bucket)


async def test_half_objects_are_removed_at_open(tmp_path):
    async with opened_store(tmp_path) as store:
        await store.put_object(BUCKET, "a", stream(b"x"))
    (tmp_path / BUCKET / ".tmp-0123").write_bytes(b"half")
    (tmp_path / ".tmp-4567").write_bytes(b"probe")
    async with opened_store(tmp_path) as store:
        assert names(tmp_path) == ["a"]
        assert sorted(os.listdir(tmp_path)) == [".lock", BUCKET]
        assert await read(store, "a") == b"x"


async def test_a_put_cancelled_anywhere_leaves_no_temporary_file(store, tmp_path):
    await store.put_object(BUCKET, "first", stream(b"x"))
    for step in range(40):
        putting = asyncio.create_task(store.put_object(BUCKET, "a", stream(b"x" * 300_000)))
        await asyncio.sleep(step / 20_000)
        putting.cancel()
        await asyncio.wait({putting})
        await asyncio.sleep(0.001)
        assert [name for name in names(tmp_path / "s3") if name != "a"] == ["first"]
        assert len((await store.list_objects(BUCKET)).items) == len(names(tmp_path / "s3"))


async def test_a_put_cancelled_while_data_arrives_leaves_the_old_object(store, tmp_path):
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    await store.put_object(BUCKET, "a", stream(b"old"))
    putting = asyncio.create_task(store.put_object(BUCKET, "a", endless()))
    await asyncio.sleep(0.05)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert names(tmp_path / "s3") == ["a"]
    assert await read(store, "a") == b"old"


async def test_a_full_disk_refuses_the_put_and_later_ones_work(store, disk, tmp_path):
    await store.put_object(BUCKET, "a", stream(b"old"))
    disk.room = 3
    with pytest.raises(StoreFull, match="No space left"):
        await store.put_object(BUCKET, "a", stream(b"x" * 600_000))
    with pytest.raises(StoreUnavailable):
        await store.check(BUCKET)
    assert names(tmp_path / "s3") == ["a"]
    disk.room = None
    assert await read(store, "a") == b"old"
    await store.put_object(BUCKET, "a", stream(b"new"))
    await store.check(BUCKET)


async def test_a_large_object_goes_to_the_disk_while_it_arrives(tmp_path):
    """So that the last fsync, for which the client waits, has little left to do."""

    class NotingDisk(Disk):
        begun: ClassVar[list[tuple[int, int]]] = []

        def begin_writeback(self, fd: int, start: int, size: int) -> None:
            super().begin_writeback(fd, start, size)
            self.begun.append((start, start + size))

    async with opened_store(tmp_path, NotingDisk()) as store:
        await store.put_object(BUCKET, "small", stream(b"x" * (UNWRITTEN - 1000)))
        assert NotingDisk.begun == []
        await store.put_object(BUCKET, "large", stream(*[b"x" * 1_000_000] * 30))
    starts, ends = zip(*NotingDisk.begun, strict=True)
    assert starts == (0, *ends[:-1])
    assert 30_000_000 - ends[-1] < UNWRITTEN
    assert len(starts) == 3


async def test_a_failed_fsync_makes_the_store_read_only(store, disk, tmp_path):
    await store.put_object(BUCKET, "a", stream(b"old"))
    disk.syncs_fail = True
    with pytest.raises(StoreReadOnly, match="failed to keep"):
        await store.put_object(BUCKET, "b", stream(b"x"))
    disk.syncs_fail = False
    for refused in (
        store.put_object(BUCKET, "b", stream(b"x")),
        store.delete_object(BUCKET, "a"),
        store.check(BUCKET),
    ):
        with pytest.raises(StoreReadOnly, match="read-only"):
            await refused
    assert await read(store, "a") == b"old"
    assert names(tmp_path / "s3") == ["a"]


async def test_a_damaged_trailer_is_named_wherever_a_byte_is_wrong(store, tmp_path):
    await store.put_object(BUCKET, "a", stream(b"data"))
    path = tmp_path / "s3" / BUCKET / "a"
    whole = path.read_bytes()
    for at in range(4, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreUnavailable, match=str(path)):
            await store.head_object(BUCKET, "a")
    for cut in (b"", whole[:3], whole[2:], b"x" + whole):
        path.write_bytes(cut)
        with pytest.raises(StoreUnavailable, match=str(path)):
            await read(store, "a")


async def test_files_of_others_are_left_out_with_one_warning(tmp_path):
    async with opened_store(tmp_path) as store:
        await store.put_object(BUCKET, "a", stream(b"x"))
    for name in ("Strange.txt", "strange.txt", "sha256-" + "0" * 64):
        (tmp_path / BUCKET / name).write_bytes(b"not ours")
    (tmp_path / "loose.txt").write_bytes(b"not ours")
    with capture_logs() as logs:
        async with opened_store(tmp_path) as store:
            for _ in range(2):
                listed = (await store.list_objects(BUCKET)).items
                assert [info.key for info in listed] == ["a"]
    assert [entry["log_level"] for entry in logs] == ["warning", "warning"]


async def test_puts_at_once_share_the_folder_fsync(store, disk):
    await store.put_object(BUCKET, "first", stream(b"x"))
    before = disk.folder_syncs
    await asyncio.gather(*(store.put_object(BUCKET, f"k{i}", stream(b"x")) for i in range(64)))
    assert disk.folder_syncs - before < 64


async def test_a_put_waits_until_the_bucket_that_another_makes_is_durable(tmp_path):
    class SlowDisk(Disk):
        go = threading.Event()

        def sync_folder(self, path: Path) -> None:
            if (tmp_path / BUCKET).exists() and path == tmp_path:
                self.go.wait(DEADLINE)
            super().sync_folder(path)

    async with opened_store(tmp_path, SlowDisk()) as store:
        first = asyncio.create_task(store.put_object(BUCKET, "a", stream(b"x")))
        await until((tmp_path / BUCKET).exists)
        second = asyncio.create_task(store.put_object(BUCKET, "b", stream(b"x")))
        done, _ = await asyncio.wait({first, second}, timeout=0.2)
        SlowDisk.go.set()
        assert not done
        await asyncio.gather(first, second)


async def test_puts_and_deletes_at_once_leave_index_and_disk_agreed(store, tmp_path):
    def change(i: int):
        key = f"k{i % 3}"
        return (
            store.delete_object(BUCKET, key)
            if i % 2
            else store.put_object(BUCKET, key, stream(b"x"))
        )

    await asyncio.gather(*map(change, range(200)))
    listed = [info.key for info in (await store.list_objects(BUCKET)).items]
    assert listed == names(tmp_path / "s3")


async def test_a_second_opening_names_the_holder(store, files, tmp_path):
    with pytest.raises(DataLocked, match=rf"in use by process {os.getpid()} .*stop it"):
        await MockS3.open(files, tmp_path / "s3")


async def test_another_process_is_kept_out_until_the_holder_dies(tmp_path):
    code = (
        "import asyncio, sys, pathlib\n"
        "from mocks.files import Files\n"
        "from mocks.s3 import MockS3\n"
        "async def main():\n"
        "    await MockS3.open(Files(), pathlib.Path(sys.argv[1]))\n"
        "    print('open', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    with holder:
        await asyncio.to_thread(holder.stdout.readline)
        with pytest.raises(DataLocked, match=f"process {holder.pid} "):
            async with opened_store(tmp_path):
                pass
        holder.kill()
        await asyncio.to_thread(holder.wait)
        async with opened_store(tmp_path) as store:
            await store.check(BUCKET)


async def test_a_root_that_is_a_file_refuses_the_start(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match=r"cannot .*file.*choose another place"):
        await MockS3.open(files, tmp_path / "file" / "s3")
    with pytest.raises(StartRefused, match=r"cannot .*file.*choose another place"):
        await MockS3.open(files, tmp_path / "file")


async def test_many_objects_open_fast_without_opening_them(tmp_path):
    folder = tmp_path / BUCKET
    folder.mkdir()
    for i in range(20_000):
        (folder / f"{i:032x}%2Fupload.csv").touch()
    started = time.process_time()  # other than the time gone by, however busy the machine is
    files = Files(disk=FaultyDisk())
    store = await MockS3.open(files, tmp_path)
    assert within(time.process_time() - started, 2)
    await store.close()
    await files.close()


async def test_the_loop_is_not_blocked(blockbuster_here, store):
    await store.put_object(BUCKET, "a", stream(b"x" * 600_000))
    assert len(await read(store, "a")) == 600_000
    await store.list_objects(BUCKET)
    await store.delete_object(BUCKET, "a")
    await store.check(BUCKET)


async def test_closing_twice_lets_go_once(tmp_path):
    async with opened_store(tmp_path) as store:
        await store.close()
        async with opened_store(tmp_path) as other:
            await store.close()
            with pytest.raises(DataLocked):
                async with opened_store(tmp_path):
                    pass
            await other.check(BUCKET)


async def test_no_descriptor_left_after_the_rename_is_no_failed_fsync(store, disk):
    await store.put_object(BUCKET, "before", stream(b"1"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    disk.before = lambda call, _path: (
        call == "rename" and resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    )
    try:
        await store.put_object(BUCKET, "amid", stream(b"2"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await read(store, "amid") == b"2"
