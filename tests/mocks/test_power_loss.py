"""Power loss and kill -9 behind every step of what the stores do, on a simulated disk.

POWER_LOSS_RUNS (default 1) says how many scripted runs there are, each by a seed of its own.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aggsvc.errors import AggsvcError, ConditionFailed, ObjectNotFound, StartRefused, StoreFull
from aggsvc.ports import FILES_SCHEMA
from mocks import journal as journal_module
from mocks.dynamodb import MockDynamoDB
from mocks.files import Files, new_file, reader, reserve
from mocks.s3 import MockS3
from tests.contracts.metadata_table import TABLE, record, scanned
from tests.contracts.object_store import BUCKET, read, stream
from tests.mocks.conftest import SmallDisk
from tests.mocks.simulated_disk import (
    TEARS,
    Crash,
    Create,
    Cut,
    Drive,
    Fate,
    MakeFolder,
    NoSyncDisk,
    Rename,
    SimulatedDisk,
    Step,
    SyncFile,
    SyncFolder,
    Unlink,
    Write,
    crashes,
    read_image,
    torn_crashes,
    write_image,
)

SEEDS = range(int(os.environ.get("POWER_LOSS_RUNS", "1")))
SAMPLES = 3  # crashes at each step of which chance decides what survives
KILLS = 6  # moments by chance at which a process is killed, in each run
LAST_KILL = 90

ITEM, OBJECT = "item", "object"
Key = tuple[str, str]  # ITEM or OBJECT, and its key there


class Lost(AssertionError):
    """A promise was broken by a crash."""


@dataclass
class Stores:
    objects: MockS3
    table: MockDynamoDB

    async def found(self, key: Key) -> Any:
        """What the stores have of the key: an object's bytes, an item, or None."""
        kind, name = key
        if kind == ITEM:
            return await self.table.get_item(TABLE, name)
        try:
            return await read(self.objects, name)
        except ObjectNotFound:
            return None

    async def keys(self) -> set[Key]:
        """All keys that the stores list."""
        objects = (await self.objects.list_objects(BUCKET)).items
        return {(OBJECT, info.key) for info in objects} | {
            (ITEM, key) for key in await scanned(self.table)
        }


@dataclass
class Change:
    """A key's change to a value (None: removed), begun and acknowledged behind so many steps."""

    begun: int
    value: Any
    acknowledged: int | None = None


@dataclass
class Ledger:
    """What was asked of the stores and what they have acknowledged, one change a key at a time."""

    drive: Drive
    changes: dict[Key, list[Change]] = field(default_factory=dict)

    async def note(self, key: Key, value: Any, doing: Awaitable[object]) -> None:
        change = Change(len(self.drive.steps), value)
        self.changes.setdefault(key, []).append(change)
        await doing
        change.acknowledged = len(self.drive.steps)

    def saw(self, key: Key, value: Any) -> None:
        """What a restarted store has shown is as good as acknowledged."""
        now = len(self.drive.steps)
        self.changes.setdefault(key, []).append(Change(now, value, now))

    def allowed(self, key: Key, moment: int) -> list[Any]:
        """The values that the key may have after a crash behind that many steps."""
        values: list[Any] = [None]
        for change in self.changes.get(key, ()):
            if change.acknowledged is not None and change.acknowledged <= moment:
                values = [change.value]
            elif change.begun <= moment:
                values.append(change.value)
        return values

    def after(self, moment: int, drive: Drive) -> "Ledger":
        """What a crash behind that many steps may have left, for the drive that has it now."""
        return Ledger(
            drive,
            {
                key: [
                    Change(0, value, None if at else 0)
                    for at, value in enumerate(self.allowed(key, moment))
                ]
                for key in self.changes
            },
        )

    def signature(self, moment: int) -> int:
        """The same for two moments between which nothing was begun or acknowledged."""
        times = (
            time
            for changes in self.changes.values()
            for change in changes
            for time in (change.begun, change.acknowledged)
        )
        return sum(time is not None and time <= moment for time in times)


class InlineFiles(Files):
    """Files without the hops to threads, which are most of the time of a small recovery."""

    async def run(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return step(*args, **kwargs)


@asynccontextmanager
async def opened(root: Path, files: Files) -> AsyncIterator[Stores]:
    """Both stores below a folder, as backends.py opens them."""
    try:
        objects = await MockS3.open(files, root / "s3")
        try:
            table = await MockDynamoDB.open(files, root / "db" / "db.json", {TABLE: FILES_SCHEMA})
            try:
                yield Stores(objects, table)
            finally:
                await table.close()
        finally:
            await objects.close()
    finally:
        await files.close()


def item(name: str, version: int, upload: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(upload).hexdigest()
    return record(name, version=version, sha256=digest, text="x" * (version * 331 % 700))


class Client:
    """One client of the stores; no other touches its keys."""

    def __init__(self, stores: Stores, ledger: Ledger, name: str, seed: int) -> None:
        self._stores = stores
        self._ledger = ledger
        self._name = name
        self._random = random.Random(f"{seed} {name}")

    async def submit_and_delete(self, rounds: int) -> None:
        """As the service does: object, then record; updates; record removed, then object."""
        for number in range(rounds):
            name = f"{self._name}-{number}"
            upload = self._random.randbytes(self._random.choice([1, 500, 3000]))
            await self._put_object(f"{name}/upload", upload)
            for version in range(1, 4):
                await self._put_item(name, item(name, version, upload), version - 1)
            if number % 2:
                await self._delete_item(name)
                await self._delete_object(f"{name}/upload")

    async def replace(self, rounds: int) -> None:
        """One object of one key after another, then none."""
        for _ in range(rounds):
            await self._put_object(self._name, self._random.randbytes(1200))
        await self._delete_object(self._name)

    async def _put_object(self, key: str, data: bytes) -> None:
        chunks = stream(data[:700], data[700:])
        doing = self._stores.objects.put_object(BUCKET, key, chunks)
        await self._ledger.note((OBJECT, key), data, doing)

    async def _delete_object(self, key: str) -> None:
        doing = self._stores.objects.delete_object(BUCKET, key)
        await self._ledger.note((OBJECT, key), None, doing)

    async def _put_item(self, key: str, value: dict[str, Any], expected: int) -> None:
        doing = self._stores.table.put_item(TABLE, value, expected_version=expected)
        await self._ledger.note((ITEM, key), value, doing)

    async def _delete_item(self, key: str) -> None:
        doing = self._stores.table.delete_item(TABLE, key)
        await self._ledger.note((ITEM, key), None, doing)


async def run(stores: Stores, ledger: Ledger, name: str, seed: int, rounds: int) -> None:
    """Clients at once, until they are done or the process dies."""
    clients = [Client(stores, ledger, f"{name}{number}", seed) for number in range(4)]
    await asyncio.gather(
        *(client.submit_and_delete(rounds) for client in clients[:3]),
        clients[3].replace(rounds),
        return_exceptions=True,
    )


class Surveyor:
    """Looks at what a crash left, in a folder of its own, with the stores' real code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: set[Any] = set()

    async def survey(self, drive: Drive, ledger: Ledger, found: Iterable[Crash]) -> None:
        """Look at what each crash left of what was done on the drive; raises Lost."""
        for crash in found:
            state = drive.root, ledger.signature(crash.moment), frozenset(crash.image.items())
            if state not in self._seen:
                self._seen.add(state)
                await self._look_at(drive, ledger, crash)

    async def _look_at(self, drive: Drive, ledger: Ledger, crash: Crash) -> None:
        write_image(crash.image, self.folder)
        try:
            async with opened(self.folder, InlineFiles(disk=NoSyncDisk())) as stores:
                await require_promises(stores, ledger, crash.moment)
                require_no_leftovers(self.folder)
        except (Lost, AggsvcError) as error:
            raise Lost(f"{error}\n{_told(drive, crash)}") from error


async def require_promises(stores: Stores, ledger: Ledger, moment: int) -> dict[Key, Any]:
    """Raise Lost unless the stores have what they may; return it."""
    found = {key: await stores.found(key) for key in ledger.changes}
    for key, value in found.items():
        if value not in ledger.allowed(key, moment):
            raise Lost(f"{key} is {_short(value)}, not {_short(ledger.allowed(key, moment))}")
    if await stores.keys() != {key for key, value in found.items() if value is not None}:
        raise Lost("the listings are not what can be read")
    for (kind, name), value in found.items():
        if kind == ITEM and value is not None:
            await _require_upload(name, value, found)
            await _require_guarded(stores, name, value)
    return found


async def _require_upload(name: str, value: Any, found: dict[Key, Any]) -> None:
    upload = found[OBJECT, f"{name}/upload"]
    if upload is None or hashlib.sha256(upload).hexdigest() != value["sha256"]:
        raise Lost(f"the record {name} has no upload")


async def _require_guarded(stores: Stores, name: str, value: Any) -> None:
    try:
        await stores.table.put_item(TABLE, value, expected_version=value["version"] - 1)
    except ConditionFailed:
        return
    raise Lost(f"the version of {name} does not guard it")


def require_busy(drive: Drive) -> None:
    """The script must have taken every kind of step, compactions among them."""
    kinds = {type(step) for step in drive.steps}
    assert kinds == {Create, Rename, Unlink, MakeFolder, Write, SyncFile, SyncFolder}
    snapshots = [s for s in drive.steps if isinstance(s, Rename) and s.path == "db/db.json"]
    assert snapshots


def require_no_leftovers(folder: Path) -> None:
    """Raise Lost if there is a temporary file."""
    left = [path for path in read_image(folder) if ".tmp-" in path]
    if left:
        raise Lost(f"left behind: {left}")


def _short(value: Any) -> str:
    return repr(value)[:150]


def _told(drive: Drive, crash: Crash) -> str:
    steps = [
        f"{at} {crash.fates.get(at, Fate.KEPT).name} {str(drive.steps[at])[:120]}"
        for at in range(crash.moment)
    ]
    return "\n".join(["after these steps:", *steps[-40:], f"there is {sorted(crash.image)}"])


@contextmanager
def many_steps() -> Iterator[None]:
    """Objects are written in many steps, and the journal is compacted again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_file, "CHUNK", 600)
        patch.setattr(reader, "SMALL", 600)
        patch.setattr(reserve, "FILLING", bytes(2000))
        patch.setattr(reserve, "PIECE", 700)
        patch.setattr(journal_module, "COMPACT_AT", 3000)
        patch.setattr(journal_module, "BLOCK", 1000)
        yield


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with capture_logs():
        yield


@pytest.fixture
def surveyor(tmp_path: Path) -> Surveyor:
    return Surveyor(tmp_path / "crash")


def new_drive(root: Path) -> Drive:
    root.mkdir()
    return Drive(root)


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    return new_drive(tmp_path / "live")


async def live(
    drive: Drive,
    ledger: Ledger,
    name: str,
    seed: int,
    *,
    disk: type[SimulatedDisk] = SimulatedDisk,
    is_killed: Callable[[Sequence[Step]], bool] | None = None,
    rounds: int = 2,
) -> None:
    """One process's life with the stores on the drive, until it has done all or is killed."""
    using = disk(drive, is_killed) if is_killed else disk(drive)
    with many_steps(), suppress(StartRefused) if is_killed else nullcontext():
        async with opened(drive.root, Files(disk=using)) as stores:
            seen = await require_promises(stores, ledger, len(drive.steps))
            for key, value in seen.items():
                ledger.saw(key, value)
            await run(stores, ledger, name, seed, rounds)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_power_loss_at_any_step_loses_nothing_that_was_acknowledged(
    drive: Drive, surveyor: Surveyor, seed: int
) -> None:
    """Nor is anything half-written visible, nor back that was deleted, nor a version wrong."""
    ledger = Ledger(drive)
    await live(drive, ledger, "k", seed)
    require_busy(drive)
    await surveyor.survey(drive, ledger, crashes(drive))
    await surveyor.survey(drive, ledger, torn_crashes(drive, random.Random(seed), SAMPLES))


class SmallSimulatedDisk(SmallDisk, SimulatedDisk):
    """A drive's disk that has room at first."""

    def __init__(self, drive: Drive) -> None:
        SimulatedDisk.__init__(self, drive)
        self.room = 100_000


async def test_a_power_loss_on_a_full_disk_loses_nothing(drive: Drive, surveyor: Surveyor) -> None:
    """Neither by what is refused and cut off again, nor by removals, which have the reserve."""
    ledger, disk = Ledger(drive), SmallSimulatedDisk(drive)
    with many_steps(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "COMPACT_AT", 1 << 30)  # it would take what is given up
        async with opened(drive.root, Files(disk=disk)) as stores:
            client = Client(stores, ledger, "k", 0)
            names = [f"k{number}" for number in range(5)]
            for name in names:
                await client._put_object(f"{name}/upload", b"x")
                await client._put_item(name, item(name, 1, b"x"), 0)
            for name in names[1:]:
                disk.room = 50
                with pytest.raises(StoreFull):
                    await client._put_item(name, item(name, 2, b"x"), 1)
                await client._delete_item(name)
                await client._delete_object(f"{name}/upload")
            assert await scanned(stores.table) == names[:1]
    cuts = {step.inode for step in drive.steps if isinstance(step, Cut)}
    assert len(cuts) == 2  # of the journal and of the reserve
    await surveyor.survey(drive, ledger, crashes(drive))
    await surveyor.survey(drive, ledger, torn_crashes(drive, random.Random(0), SAMPLES))


def behind(kind: type[Any], path: str) -> Callable[[Sequence[Step]], bool]:
    """Whether the step done last is of this kind, on a path that ends so."""
    return lambda steps: (
        bool(steps) and isinstance(steps[-1], kind) and steps[-1].path.endswith(path)
    )


def kills_by_chance(seed: int) -> Iterator[Callable[[Sequence[Step]], bool]]:
    """At moments spread over the whole run."""
    width = LAST_KILL // KILLS
    for first in range(1, LAST_KILL, width):
        moment = first + random.Random(f"{seed} {first}").randrange(width)
        yield lambda steps, moment=moment: len(steps) >= moment


def behind_records(drive: Drive, count: int) -> Callable[[Sequence[Step]], bool]:
    """Whether so many more writes of records are on the drive than now."""
    before = len(drive.steps)
    return lambda steps: sum(writes_records(step) for step in steps[before:]) >= count


def writes_records(step: Step) -> bool:
    """Whether the step writes records, to the journal or a snapshot."""
    return isinstance(step, Write) and b'"table":' in step.data


# Between a change and the fsync that makes it last.
NAMED_KILLS = [
    lambda steps: any(map(writes_records, steps)),
    behind(MakeFolder, "s3"),
    behind(MakeFolder, "db"),
    behind(MakeFolder, BUCKET),
    behind(Create, ".journal.0"),
    behind(Rename, "upload"),
    behind(Unlink, "upload"),
    behind(Create, ".journal.1"),
    behind(Rename, "db.json"),
    behind(Unlink, ".journal.0"),
]


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_power_loss_after_a_kill_and_a_restart_loses_nothing(
    tmp_path: Path, surveyor: Surveyor, seed: int
) -> None:
    """What the restarted process shows is durable, also where the killed one had not synced it."""
    for number, is_killed in enumerate([*NAMED_KILLS, *kills_by_chance(seed)]):
        drive = new_drive(tmp_path / f"live-{number}")
        ledger = Ledger(drive)
        await live(drive, ledger, "a", seed, is_killed=is_killed)
        assert is_killed(drive.steps)
        killed_at = len(drive.steps)
        await live(drive, ledger, "b", seed, rounds=1)
        await surveyor.survey(drive, ledger, crashes(drive, since=killed_at))


def has_torn_record(drive: Drive, crash: Crash) -> bool:
    """Whether a write of records, to the journal or a snapshot, is on the drive in part."""
    return any(
        fate in TEARS and writes_records(drive.steps[at]) for at, fate in crash.fates.items()
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_power_loss_amid_the_start_after_a_power_loss_loses_nothing(
    tmp_path: Path, drive: Drive, surveyor: Surveyor, seed: int
) -> None:
    """Nor does what is written after such a start, when it is started yet again."""
    ledger = Ledger(drive)
    await live(drive, ledger, "k", seed)
    generator = random.Random(seed)
    crashed = list(torn_crashes(drive, generator, SAMPLES))
    torn = [crash for crash in crashed if has_torn_record(drive, crash)]
    for number, crash in enumerate(generator.sample(crashed, 25) + generator.sample(torn, 15)):
        write_image(crash.image, tmp_path / f"again-{number}")
        again = Drive(tmp_path / f"again-{number}")
        after = ledger.after(crash.moment, again)
        await live(again, after, "", seed, rounds=0)
        await surveyor.survey(again, after, crashes(again))
        # Killed before a snapshot hides what the journal has become.
        await live(again, after, "later", seed, is_killed=behind_records(again, 3))
        await live(again, after, "", seed, rounds=0)


class NoFileSyncs(SimulatedDisk):
    def sync(self, fd: int) -> None:
        pass


class NoFolderSyncs(SimulatedDisk):
    def sync_folder(self, path: Path) -> None:
        pass


class NoBucketSyncs(SimulatedDisk):
    def sync_folder(self, path: Path) -> None:
        if path.name != BUCKET:
            super().sync_folder(path)


class NoSnapshotSyncs(SimulatedDisk):
    """Of the files only the snapshots go unsynced."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._snapshots: set[int] = set()

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._snapshots.discard(fd)
        if path.name.startswith(".tmp-db.json"):
            self._snapshots.add(fd)
        return fd

    def sync(self, fd: int) -> None:
        if fd not in self._snapshots:
            super().sync(fd)


@pytest.mark.parametrize("disk", [NoFileSyncs, NoFolderSyncs, NoBucketSyncs, NoSnapshotSyncs])
async def test_a_disk_without_some_of_the_syncs_is_found_out(
    drive: Drive, surveyor: Surveyor, disk: type[SimulatedDisk]
) -> None:
    """The tests above can fail."""
    ledger = Ledger(drive)
    await live(drive, ledger, "k", 0, disk=disk)
    with pytest.raises(Lost):
        await surveyor.survey(drive, ledger, crashes(drive))
