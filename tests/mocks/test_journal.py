"""What is special to the journal and the table on it: crashes, damage, failing disks."""

import asyncio
import errno
import gc
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aggsvc.errors import (
    ConditionFailed,
    DamagedStore,
    DataLocked,
    InvalidRequest,
    StartRefused,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from aggsvc.ports import FILES_SCHEMA
from mocks import journal as journal_module
from mocks.dynamodb import MockDynamoDB
from mocks.files import Disk
from mocks.files.reserve import FILLING, PIECE
from mocks.lines import seal, unseal
from tests.contracts.metadata_table import TABLE, listing, put, record, scanned
from tests.machine import within
from tests.mocks.conftest import FaultyDisk, SmallDisk, opened_table
from tests.test_filetable import HELD_SECONDS


async def items(path: Path) -> dict[str, Any]:
    async with opened_table(path) as table:
        return {key: await table.get_item(TABLE, key) for key in await scanned(table)}


async def written(path: Path, count: int) -> bytes:
    """The journal's bytes after `count` records, one commit each."""
    async with opened_table(path) as table:
        await put(table, *(record(f"k{i}") for i in range(count)))
    return journal_of(path).read_bytes()


def journal_of(path: Path) -> Path:
    return next(iter(path.parent.glob(f"{path.name}.journal.*")))


def names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))


@pytest.fixture
def small(monkeypatch):
    """Journals are compacted from 4 KB on, snapshots written in blocks of 1 KB."""
    monkeypatch.setattr(journal_module, "COMPACT_AT", 4096)
    monkeypatch.setattr(journal_module, "BLOCK", 1024)


def test_a_sealed_line_shows_every_flipped_bit():
    line = seal(b'{"a":1}', 77)
    assert unseal(line) == (77, b'{"a":1}')
    for at in range(len(line)):
        for bit in range(8):
            assert unseal(line[:at] + bytes([line[at] ^ 1 << bit]) + line[at + 1 :]) is None
        assert unseal(line[:at]) is None


async def test_a_restart_keeps_everything(tmp_path):
    path = tmp_path / "deep" / "db.json"
    async with opened_table(path) as table:
        await put(table, *(record(f"k{i}", size_bytes=i) for i in range(20)))
        await put(table, record("k3", version=2, status="failed", size_bytes=99))
        await table.delete_item(TABLE, "k4")
        before = await listing(table, sort="size_bytes")
    for _ in range(2):
        async with opened_table(path) as table:
            assert await listing(table, sort="size_bytes") == before
            assert await table.count_by_status(TABLE) == {"uploaded": 18, "failed": 1}
            with pytest.raises(ConditionFailed):
                await table.put_item(TABLE, record("k3"), expected_version=1)


async def test_items_of_another_table_are_kept_unseen(tmp_path, files):
    path = tmp_path / "db.json"
    await written(path, 3)
    other = await MockDynamoDB.open(files, path, {"other": FILES_SCHEMA})
    with pytest.raises(InvalidRequest):
        await other.get_item(TABLE, "k1")
    await other.put_item("other", record("x"))
    await other.close()
    assert list(await items(path)) == ["k0", "k1", "k2"]


async def test_a_journal_cut_at_any_byte_of_its_last_records_loses_only_those(tmp_path):
    path = tmp_path / "db.json"
    data = await written(path, 6)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for cut in range(ends[2], len(data)):
        journal_of(path).write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        with capture_logs() as logs:
            assert list(await items(path)) == [f"k{i}" for i in range(whole)]
        assert journal_of(path).stat().st_size == ends[whole - 1]
        torn = cut - ends[whole - 1]
        expected = [(str(journal_of(path)), ends[whole - 1], torn)] if torn else []
        assert [(log["file"], log["offset"], log["bytes"]) for log in logs] == expected


async def test_the_last_records_zeroed_from_any_byte_on_lose_only_those(tmp_path):
    """As after a power loss between the file's new size and its bytes; one commit may be so."""
    path = tmp_path / "db.json"
    data = await written(path, 6)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for start in range(ends[2], len(data)):
        journal_of(path).write_bytes(data[:start] + bytes(len(data) - start))
        whole = sum(end <= start for end in ends)
        with capture_logs() as logs:
            assert list(await items(path)) == [f"k{i}" for i in range(whole)]
        assert [(log["log_level"], log["offset"]) for log in logs] == [("warning", ends[whole - 1])]
        assert journal_of(path).stat().st_size == ends[whole - 1]


async def test_a_bit_flipped_anywhere_in_the_last_record_loses_only_that(tmp_path):
    """In each field of it: checksum, since, table, key, every attribute, and the line's end."""
    path = tmp_path / "db.json"
    data = await written(path, 4)
    start = data.rindex(b"\n", 0, -1) + 1
    for at in range(start, len(data)):
        flipped = data[at] ^ 1 << at % 8
        journal_of(path).write_bytes(data[:at] + bytes([flipped]) + data[at + 1 :])
        with capture_logs() as logs:
            assert list(await items(path)) == ["k0", "k1", "k2"]
        assert [(log["log_level"], log["offset"]) for log in logs] == [("warning", start)]
        assert journal_of(path).read_bytes() == data[:start]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\n", b"\xff\xfe\n\n", b'{"crc":"00000000",'])
async def test_a_torn_end_is_cut_and_appended_to(tmp_path, tail):
    path = tmp_path / "db.json"
    data = await written(path, 3)
    journal_of(path).write_bytes(data + tail)
    async with opened_table(path) as table:
        await put(table, record("k3"))
    assert list(await items(path)) == ["k0", "k1", "k2", "k3"]


async def test_a_hole_in_a_commit_that_never_ended_is_torn(tmp_path):
    path = tmp_path / "db.json"
    data = await written(path, 2)
    batch = [seal(b'{"table":"files","key":"x"}', len(data)) for _ in range(3)]
    journal_of(path).write_bytes(data + batch[0] + b"\0" * len(batch[1]) + batch[2])
    assert list(await items(path)) == ["k0", "k1"]
    assert journal_of(path).read_bytes() == data + batch[0]


async def test_a_flipped_bit_before_the_last_commit_refuses_the_start(tmp_path):
    path = tmp_path / "db.json"
    data = await written(path, 4)
    starts = [0] + [i + 1 for i, byte in enumerate(data) if byte == 10]
    for at in range(starts[1], starts[3], 3):
        journal_of(path).write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        line = starts[1] if at < starts[2] else starts[2]
        with pytest.raises(DamagedStore, match=rf"journal\.0 is damaged at byte {line}: .*restore"):
            await items(path)
    journal_of(path).write_bytes(data)
    assert len(await items(path)) == 4


async def test_what_a_crash_left_half_written_is_removed_at_open(tmp_path):
    path = tmp_path / "db.json"
    await written(path, 1)
    for name in (f".tmp-db.json-{'0' * 32}", ".tmp-db.json-mine", f".tmp-other.json-{'0' * 32}"):
        (tmp_path / name).write_bytes(b"half")
    assert len(await items(path)) == 1
    assert names(tmp_path)[:2] == [".tmp-db.json-mine", f".tmp-other.json-{'0' * 32}"]
    assert len(names(tmp_path)) == 3


async def test_compaction_keeps_the_files_as_small_as_the_state(small, tmp_path):
    path = tmp_path / "db.json"
    async with opened_table(path) as table:
        for i in range(300):
            await put(table, record(f"k{i % 5}", version=i + 1))
    assert len(names(tmp_path)) == 2
    assert sum((tmp_path / name).stat().st_size for name in names(tmp_path)) < 20_000
    assert [item["version"] for item in (await items(path)).values()] == [296, 297, 298, 299, 300]


async def test_a_crash_at_any_step_of_compaction_loses_nothing(small, tmp_path):
    path = tmp_path / "live" / "db.json"
    disk = FaultyDisk()
    copies: list[tuple[Path, set[str]]] = []
    kept: set[str] = set()

    def copy(call: str, _path: Path) -> None:
        target = tmp_path / f"{len(copies)}-{call}"
        copies.append((target / path.name, set(kept)))
        shutil.copytree(path.parent, target)

    async with opened_table(path, disk) as table:
        disk.before = copy
        for i in range(120):
            await put(table, record(f"k{i}", text="x" * 100))
            kept.add(f"k{i}")
    assert {target.parent.name.split("-")[1] for target, _ in copies} >= {
        "create",
        "rename",
        "unlink",
    }
    for target, before in copies:
        found = set(await items(target))
        assert before <= found
        assert len(names(target.parent)) <= 3
        assert found == set(await items(target))


async def test_a_journal_or_snapshot_that_is_missing_is_named(small, tmp_path):
    path = tmp_path / "db.json"
    await written(path, 60)
    snapshot, journal = path.read_bytes(), journal_of(path)
    path.unlink()
    with pytest.raises(DamagedStore, match=r"db\.json is missing; restore it"):
        await items(path)
    path.write_bytes(snapshot)
    journal.unlink()
    with pytest.raises(DamagedStore, match=rf"{journal} is missing; restore it"):
        await items(path)


async def test_damage_anywhere_in_a_snapshot_refuses_the_start(small, tmp_path):
    path = tmp_path / "db.json"
    await written(path, 60)
    data = path.read_bytes()
    for at in range(0, len(data), 101):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(DamagedStore, match=rf"{path} is damaged at byte \d+"):
            await items(path)
    for wrong in (b"", b"{}", data[:-1], data[: data.rindex(b"\n", 0, -1) + 1], data + b"\0"):
        path.write_bytes(wrong)
        with pytest.raises(DamagedStore, match=rf"{path} is damaged at byte \d+"):
            await items(path)


async def test_damage_at_the_end_of_an_earlier_journal_refuses_the_start(tmp_path):
    path = tmp_path / "db.json"
    data = await written(path, 3)
    path.with_name("db.json.journal.1").write_bytes(b"")
    path.with_name("db.json.journal.0").write_bytes(data[:-1])
    with pytest.raises(DamagedStore, match=r"journal\.0 is damaged"):
        await items(path)


async def test_writers_at_once_share_an_fsync(table, disk):
    before = disk.syncs
    await asyncio.gather(*(put(table, record(f"k{i}")) for i in range(100)))
    assert disk.syncs - before <= 3


async def test_a_cancelled_writer_neither_loses_nor_doubles_its_write(tmp_path):
    path = tmp_path / "db.json"
    async with opened_table(path) as table:
        writers = [asyncio.create_task(put(table, record(f"k{i}"))) for i in range(20)]
        await asyncio.sleep(0)
        for writer in writers[::2]:
            writer.cancel()
        await asyncio.wait(writers)
        await put(table, record("k99"))
        assert len(await scanned(table)) == 21
    assert journal_of(path).read_bytes().count(b"\n") == 21
    assert len(await items(path)) == 21


async def test_a_full_disk_refuses_writes_until_there_is_room(table, disk, tmp_path):
    await put(table, record("k1"))
    for room in (0, 1, 50):
        disk.room = room
        results = await asyncio.gather(
            *(put(table, record("k1", version=v)) for v in (2, 3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreFull, StoreFull]
        disk.room = None
        assert (await table.get_item(TABLE, "k1"))["version"] == 1
        await table.put_item(TABLE, record("k1"), expected_version=1)
    await table.check()
    await table.close()
    assert (await items(tmp_path / "db.json"))["k1"]["version"] == 1


async def test_a_full_disk_has_room_for_removals_and_for_nothing_else(tmp_path):
    """For hundreds of them; what one does not need of the reserve is taken back at once."""
    path, disk = tmp_path / "db.json", SmallDisk(200_000)
    async with opened_table(path, disk) as table:
        await put(table, *(record(f"k{i}") for i in range(301)))
        disk.room = 0
        for i in range(200):
            await table.delete_item(TABLE, f"k{i}")
            with pytest.raises(StoreFull):
                await put(table, record("new"))
            assert disk.room == 0
        await asyncio.gather(*(table.delete_item(TABLE, f"k{i}") for i in range(200, 300)))
        assert await scanned(table) == ["k300"]
    assert set(await items(path)) == {"k300"}
    assert names(tmp_path) == ["db.json.journal.0"]


class SharedDisk(SmallDisk):
    """A small disk on which another takes what is given up, but for some bytes."""

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self.room = min(self.room, 200)


async def test_a_reserve_that_is_used_up_is_taken_again_when_there_is_room(tmp_path):
    path, disk = tmp_path / "db.json", SharedDisk(200_000)
    keys = [f"k{i:02}" for i in range(20)]
    async with opened_table(path, disk) as table:
        await put(table, *map(record, keys))
        disk.room = 0
        with suppress(StoreFull):
            for key in keys:
                await table.delete_item(TABLE, key)
        left = await scanned(table)
        assert 2 < len(left) < len(keys) - 4
        disk.room = 100_000
        for version in (2, 3):  # the second waits for what the first has made due
            await put(table, record(left[0], version=version))
        assert disk.room < 100_000 - len(FILLING) + PIECE
        disk.room = 0
        await table.delete_item(TABLE, left[0])
        disk.room = 0
        await table.delete_item(TABLE, left[1])
    assert sorted(await items(path)) == left[2:]


class LimitedDisk(Disk):
    """A disk with room, on which a file may have so many bytes; it notes what is cut to where."""

    def __init__(self) -> None:
        super().__init__()
        self.most: int | None = None
        self.cuts: set[int] = set()

    def write(self, fd: int, data: bytes) -> None:
        if self.most is not None and os.fstat(fd).st_size + len(data) > self.most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        super().write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        self.cuts.add(size)
        super().truncate(fd, size)


async def test_a_log_that_may_not_grow_takes_nothing_of_the_reserve(tmp_path):
    """A limit of the process, which no room that is made can lift."""
    path, disk = tmp_path / "db.json", LimitedDisk()
    async with opened_table(path, disk) as table:
        await put(table, record("a"))
        disk.most = size = (tmp_path / "db.json.journal.0").stat().st_size
        for _ in range(3):
            with pytest.raises(StoreFull):
                await table.delete_item(TABLE, "a")
        assert disk.cuts <= {size}
        disk.most = None
        await table.delete_item(TABLE, "a")
    assert not await items(path)


@pytest.mark.parametrize("call", ["create", "unlink"])
async def test_a_reserve_that_cannot_be_held_keeps_nobody_from_writing(tmp_path, disk, call):
    def fail(name: str, path: Path) -> None:
        if name == call and ".tmp-" in path.name:
            raise OSError(28, "No space left on device")

    disk.before = fail
    async with opened_table(tmp_path / "db.json", disk) as table:
        await put(table, record("a"), record("b"))
        await table.delete_item(TABLE, "a")
        disk.room = 0
        for removal in (table.delete_item(TABLE, "b"), put(table, record("c"))):
            with pytest.raises(StoreFull):
                await removal
    assert set(await items(tmp_path / "db.json")) == {"b"}
    assert len(names(tmp_path)) == 1


async def test_a_write_beside_a_removal_takes_nothing_of_the_reserve(tmp_path):
    path, disk = tmp_path / "db.json", SmallDisk(200_000)
    async with opened_table(path, disk) as table:
        await put(table, record("a"))
        disk.room = 0
        for _ in range(10):
            both = table.delete_item(TABLE, "a"), put(table, record("b"))
            results = await asyncio.gather(*both, return_exceptions=True)
            assert [type(result) for result in results] == [StoreFull, StoreFull]
        await table.delete_item(TABLE, "a")
    assert not await items(path)


async def test_a_reserve_whose_size_cannot_be_told_keeps_nobody_from_writing(tmp_path, monkeypatch):
    """As on a network's file system that does not know a file without a name any more."""
    fstat = os.fstat

    def stale(fd: int) -> os.stat_result:
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.startswith(str(tmp_path)) and name.endswith("(deleted)"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", stale)
    async with opened_table(tmp_path / "db.json") as table:
        await put(table, record("a"), record("b"))
        await table.delete_item(TABLE, "a")
    assert set(await items(tmp_path / "db.json")) == {"b"}


async def test_what_is_stacked_on_a_failed_write_fails_with_it(table, disk):
    await put(table, record("a"))
    disk.room = 10
    first = asyncio.create_task(table.put_item(TABLE, record("a", version=2), expected_version=1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(table.put_item(TABLE, record("a", version=3), expected_version=2))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [StoreFull, StoreFull]
    disk.room = None
    await table.put_item(TABLE, record("a", version=2), expected_version=1)


async def test_a_reader_sees_only_what_is_on_disk(table):
    writing = asyncio.create_task(put(table, record("a")))
    await asyncio.sleep(0)
    assert await table.get_item(TABLE, "a") is None
    await writing
    assert await table.get_item(TABLE, "a") is not None


async def test_a_failed_fsync_makes_the_table_read_only(table, disk):
    await put(table, record("a"))
    disk.syncs_fail = True
    with pytest.raises(StoreReadOnly, match="failed to keep"):
        await put(table, record("b"))
    disk.syncs_fail = False
    for refused in (put(table, record("c")), table.delete_item(TABLE, "a"), table.check()):
        with pytest.raises(StoreReadOnly, match="read-only"):
            await refused
    assert await scanned(table) == ["a"]


async def test_a_compaction_that_fails_loses_nothing_and_is_tried_again(small, tmp_path):
    path = tmp_path / "db.json"
    disk = FaultyDisk()
    failing = True

    def fail(call: str, path: Path) -> None:
        if failing and call == "rename":
            raise OSError(28, "No space left on device")

    disk.before = fail
    with capture_logs() as logs:
        async with opened_table(path, disk) as table:
            await put(table, *(record(f"k{i}") for i in range(60)))
            failing = False
            await put(table, *(record(f"k{i}") for i in range(60, 200)))
    assert {log["event"] for log in logs} == {"compaction failed"}
    assert len(names(tmp_path)) == 2
    assert len(await items(path)) == 200


async def test_a_second_opening_names_the_holder(table, files, tmp_path):
    with pytest.raises(DataLocked, match=f"process {os.getpid()} .*stop it"):
        await MockDynamoDB.open(files, tmp_path / "db.json", {})
    other = await MockDynamoDB.open(files, tmp_path / "other.json", {})
    await other.close()


async def test_a_path_that_cannot_be_used_refuses_the_start(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match=r"cannot .*file.*choose another place"):
        await MockDynamoDB.open(files, tmp_path / "file" / "db.json", {})
    with pytest.raises(StartRefused, match=r"cannot .*choose another place"):
        await MockDynamoDB.open(files, tmp_path, {})


async def test_a_closed_table_refuses_writes(tmp_path):
    async with opened_table(tmp_path / "db.json") as table:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        await put(table, record("a"))


async def test_the_loop_is_not_blocked(blockbuster_here, small, table):
    await asyncio.gather(*(put(table, record(f"k{i}")) for i in range(100)))
    await table.query(TABLE, search="nothing")
    await table.check()


async def test_100_000_items_open_fast_and_never_hold_the_loop(tmp_path, stall):
    path = tmp_path / "db.json"
    lines = []
    for i in range(100_000):
        key = f"k{i:06d}"
        item = f'{{"file_id":"{key}","version":1,"uploaded_at":"{i}","filename":"{i}.csv"}}'
        lines.append(seal(f'{{"table":"files","key":"{key}","item":{item}}}'.encode()))
    path.with_name("db.json.journal.0").write_bytes(b"".join(lines))
    gc.disable()  # as the service does while it starts
    started = time.process_time()  # other than the time gone by, however busy the machine is
    async with opened_table(path) as table:
        took = time.process_time() - started
        gc.enable()
        gc.freeze()
        assert within(took, 5)
        stalls = [await compact(table, path, stall) for _ in range(2)]
        assert within(max(stalls), HELD_SECONDS)
    assert sorted(names(tmp_path)) == ["db.json", "db.json.journal.2"]


async def compact(table: MockDynamoDB, path: Path, stall: Callable[[], float]) -> float:
    """Write until the next snapshot is there; the longest work that held the loop meanwhile."""
    before = path.stat().st_ino if path.exists() else None
    await asyncio.sleep(0.05)
    stall()
    await table.query(TABLE, search="nothing")
    while not path.exists() or path.stat().st_ino == before or len(names(path.parent)) > 2:
        await put(table, record("k1", text="x" * 390_000))
    return stall()
