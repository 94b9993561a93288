"""MockS3: objects as files, one each, so that one rename makes a put whole.

A bucket is a folder under the root. An object's file holds its bytes as they are, then the trailer:

    a sealed line (mocks/lines.py) with the entry {"key", "size", "etag", "content_type"}
    4 bytes   the length of that line, big-endian
    8 bytes   b"AGGSVCO1"

The file's name is the key's UTF-8 bytes with all but a-z, 0-9, "_", "-" and dots that do not lead
percent-encoded in upper-case hex (an "s" that would begin a name like "sha256-..." too); over 200
bytes, it is "sha256-" and the key's digest in hex. A name with ".tmp-" before it is half an object,
which the next start removes. The time of last change is the file's.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

import orjson
import structlog
from sortedcontainers import SortedSet

from aggsvc.errors import InvalidRequest, ObjectNotFound, StoreUnavailable
from aggsvc.ports import CHUNK_BYTES, ObjectInfo, ObjectPage, StoredObject
from mocks.files import FileEnd, FileMissing, Files, FolderLock, NewFile, WriteGate, starting
from mocks.lines import seal, unseal

MAX_KEY = 1024
MAX_LIMIT = 1000
MAX_NAME = 200
MAX_CONTENT_TYPE = 256
MAGIC = b"AGGSVCO1"
TAIL = 8192  # more than the longest trailer: JSON may need six bytes for one of the key
HASHED = "sha256-"
TEMPORARY = ".tmp-"

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-.")
ENCODED = [chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in range(256)]

log = structlog.get_logger()


class MockS3:
    """A ports.ObjectStore in a folder that no other process may use meanwhile.

    A reader keeps the version of the object that it opened. A put that is cancelled, or fails
    before its rename, leaves nothing; after a failed fsync every put and delete is refused.
    """

    def __init__(
        self, files: Files, root: Path, lock: FolderLock, buckets: dict[str, SortedSet]
    ) -> None:
        self._files = files
        self._root = root
        self._lock = lock
        self._buckets = buckets
        self._gate = WriteGate(f"the object store at {root}")
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._warned: set[Path] = set()

    @classmethod
    async def open(cls, files: Files, root: Path) -> "MockS3":
        """Read which objects there are; raises StartRefused, DataLocked among it."""
        with starting("create", root):
            await files.make_folder(root)
        lock = await files.lock_folder(root, "aggsvc, object store")
        try:
            with starting("read", root):
                return cls(files, root, lock, await _read_buckets(files, root))
        except BaseException:
            await lock.release()
            raise

    async def close(self) -> None:
        """Let others have the folder."""
        await self._lock.release()

    async def put_object(
        self,
        bucket: str,
        key: str,
        data: AsyncIterable[bytes],
        *,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Store the object whole, durably, replacing any of that key; on any error, not at all.

        The bucket is made if need be. Only a failed fsync of the folder, after which the store is
        read-only, leaves open which version the next start finds.
        """
        self._gate.check()
        path = self._path(bucket, key)
        _check_content_type(content_type)
        await self._make_bucket(bucket)
        file = self._files.new_file(path.parent, TEMPORARY)
        try:
            trailer = await _fill(file, data, key, content_type)
            return await self._files.finish(self._publish(bucket, path, file, trailer))
        except BaseException:
            await file.drop()
            raise

    def get_object(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: tuple[int, int] | None = None,
    ) -> AbstractAsyncContextManager[StoredObject]:
        """Open the object, or bytes first to last (inclusive, cut to the end) of it.

        Raises ObjectNotFound, and InvalidRequest for a range that starts behind the end.
        """
        return self._get(bucket, key, byte_range)

    async def head_object(self, bucket: str, key: str) -> ObjectInfo:
        """Describe the object; raises ObjectNotFound."""
        path = self._existing(bucket, key)
        (end,) = await self._files.read_ends([path], TAIL)
        if not end:
            raise _not_found(bucket, key)
        return _describe(path, end, key)

    async def list_objects(
        self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000
    ) -> ObjectPage:
        """One page of at most `limit` objects in key order; none where there is no bucket.

        A file that is no sound object is left out, with one warning.
        """
        _check_limit(limit)
        keys = self._keys(bucket, prefix, start_after, limit + 1)
        page = keys[:limit]
        paths = [self._path(bucket, key) for key in page]
        ends = await self._files.read_ends(paths, TAIL)
        found = map(self._describe_or_warn, paths, ends, page)
        more = len(keys) > limit
        return ObjectPage(tuple(info for info in found if info), page[-1] if more else None)

    async def delete_object(self, bucket: str, key: str) -> None:
        """Remove the object durably; one that does not exist is no error."""
        self._gate.check()
        path = self._path(bucket, key)
        if bucket in self._buckets:
            await self._files.finish(self._remove(bucket, key, path))

    async def check(self, bucket: str) -> None:
        """Raise StoreUnavailable unless objects can be read from and put in the bucket."""
        self._gate.check()
        folder = self._root / _bucket_name(bucket)
        # A bucket that is not made yet will be in the root.
        await self._files.probe(folder if bucket in self._buckets else self._root, TEMPORARY)

    async def _make_bucket(self, bucket: str) -> None:
        if bucket not in self._buckets:
            with self._gate.watch():
                await self._files.make_folder(self._root / bucket)
            self._buckets.setdefault(bucket, SortedSet())

    async def _publish(
        self, bucket: str, path: Path, file: NewFile, trailer: "_Trailer"
    ) -> ObjectInfo:
        async with self._turn(bucket, trailer.key):
            self._gate.check()
            with self._gate.watch():
                modified = await file.publish(path)
            self._buckets[bucket].add(trailer.key)
        return trailer.info(modified)

    async def _remove(self, bucket: str, key: str, path: Path) -> None:
        async with self._turn(bucket, key):
            if key in self._buckets[bucket]:
                with self._gate.watch():
                    await self._files.remove([path], path.parent)
                self._buckets[bucket].discard(key)

    def _turn(self, bucket: str, key: str) -> asyncio.Lock:
        """The lock that keeps the index in step with the disk where writes of a key overlap."""
        return self._turns.setdefault((bucket, key), asyncio.Lock())

    @asynccontextmanager
    async def _get(
        self, bucket: str, key: str, byte_range: tuple[int, int] | None
    ) -> AsyncIterator[StoredObject]:
        path = self._existing(bucket, key)
        try:
            async with self._files.reading(path, TAIL) as reader:
                info = _describe(path, reader.end, key)
                span = _span(info, byte_range)
                yield StoredObject(info, await reader.chunks(*span, CHUNK_BYTES))
        except FileMissing:
            raise _not_found(bucket, key) from None

    def _existing(self, bucket: str, key: str) -> Path:
        path = self._path(bucket, key)
        if key not in self._buckets.get(bucket, ()):
            raise _not_found(bucket, key)
        return path

    def _path(self, bucket: str, key: str) -> Path:
        return self._root / _bucket_name(bucket) / _file_name(key)

    def _keys(self, bucket: str, prefix: str, start_after: str, limit: int) -> list[str]:
        # Python orders text by code points, which is the order of its UTF-8 bytes.
        keys = self._buckets.get(_bucket_name(bucket), SortedSet())
        first = max(prefix, start_after)
        behind = keys.irange(first, inclusive=(first != start_after, True))
        return list(islice(takewhile(lambda key: key.startswith(prefix), behind), limit))

    def _describe_or_warn(self, path: Path, end: FileEnd | None, key: str) -> ObjectInfo | None:
        try:
            return _describe(path, end, key) if end else None
        except StoreUnavailable as error:
            if path not in self._warned:
                log.warning("file left out of listings", file=str(path), error=str(error))
                self._warned.add(path)
            return None


class _Trailer(NamedTuple):
    key: str
    size: int
    etag: str
    content_type: str

    def to_bytes(self) -> bytes:
        line = seal(orjson.dumps(self._asdict()))
        return line + len(line).to_bytes(4, "big") + MAGIC

    def info(self, modified: int) -> ObjectInfo:
        seconds, nanoseconds = divmod(modified, 10**9)
        time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
        text = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return ObjectInfo(self.key, self.size, self.etag, self.content_type, text)


async def _fill(file: NewFile, data: AsyncIterable[bytes], key: str, content_type: str) -> _Trailer:
    size = 0
    async for chunk in data:
        await file.write(chunk)
        size += len(chunk)
    trailer = _Trailer(key, size, secrets.token_hex(16), content_type)
    await file.write(trailer.to_bytes())
    return trailer


async def _read_buckets(files: Files, root: Path) -> dict[str, SortedSet]:
    names = await files.names(root)
    probes = [root / name for name, folder in names if name.startswith(TEMPORARY) and not folder]
    await files.remove(probes, root)
    folders = [name for name, is_folder in names if is_folder]
    return {
        name: await _read_bucket(files, root / name) for name in folders if BUCKET.fullmatch(name)
    }


async def _read_bucket(files: Files, folder: Path) -> SortedSet:
    names = [name for name, _ in await files.names(folder)]
    temporary = [folder / name for name in names if name.startswith(TEMPORARY)]
    # Syncs the folder even where there is none: what is shown from now on must last.
    await files.remove(temporary, folder)
    hashed = [folder / name for name in names if name.startswith(HASHED)]
    ends = await files.read_ends(hashed, TAIL)
    keys, strange = await asyncio.to_thread(
        _sort_names, names, dict(zip(hashed, ends, strict=True))
    )
    if strange:
        log.warning("files that are no objects", folder=str(folder), files=strange[:10])
    return keys


def _sort_names(
    names: Sequence[str], hashed: dict[Path, FileEnd | None]
) -> tuple[SortedSet, list[str]]:
    """The keys that the names stand for, and the names that stand for none."""
    found = {name: _decode(name) for name in names if not name.startswith((TEMPORARY, HASHED))}
    found |= {path.name: _hashed_key(path, end) for path, end in hashed.items()}
    keys = SortedSet(key for key in found.values() if key is not None)
    return keys, sorted(name for name, key in found.items() if key is None)


def _decode(name: str) -> str | None:
    try:
        key = unquote_to_bytes(name).decode()
        return key if _file_name(key) == name else None
    except (UnicodeError, InvalidRequest):
        return None


def _hashed_key(path: Path, end: FileEnd | None) -> str | None:
    try:
        key = _parse_trailer(path, end)[0].key if end else None
        return key if key and _file_name(key) == path.name else None
    except (StoreUnavailable, InvalidRequest):
        return None


def _file_name(key: str) -> str:
    raw = _key_bytes(key)
    name = "".join([ENCODED[byte] for byte in raw])
    if name.startswith((".", HASHED)):
        name = f"%{raw[0]:02X}{name[1:]}"
    return name if len(name) <= MAX_NAME else HASHED + hashlib.sha256(raw).hexdigest()


def _key_bytes(key: str) -> bytes:
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("A key must be UTF-8; this one has a lone surrogate") from None
    if not 1 <= len(raw) <= MAX_KEY:
        raise InvalidRequest(f"A key must have 1 to {MAX_KEY} bytes of UTF-8, not {len(raw)}")
    return raw


def _bucket_name(bucket: str) -> str:
    if not BUCKET.fullmatch(bucket):
        raise InvalidRequest(
            f"{bucket!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens, "
            "with a letter or digit at either end"
        )
    return bucket


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be 1 to {MAX_LIMIT}, not {limit}")


def _check_content_type(content_type: str) -> None:
    if not content_type.isascii() or len(content_type) > MAX_CONTENT_TYPE:
        raise InvalidRequest(f"A content type must be ASCII of at most {MAX_CONTENT_TYPE} bytes")


def _describe(path: Path, end: FileEnd, key: str) -> ObjectInfo:
    trailer, length = _parse_trailer(path, end)
    if trailer.key != key or trailer.size + length != end.size:
        raise _damaged(path, "its trailer belongs to another object")
    return trailer.info(end.modified)


def _parse_trailer(path: Path, end: FileEnd) -> tuple[_Trailer, int]:
    """The trailer and its length, its own 12 last bytes included."""
    if end.tail[-8:] != MAGIC:
        raise _damaged(path, "it does not end as an object does")
    length = int.from_bytes(end.tail[-12:-8], "big")
    found = unseal(end.tail[-12 - length : -12])
    if not found:
        raise _damaged(path, "its trailer's checksum is wrong")
    return _Trailer(**orjson.loads(found[1])), length + 12


def _damaged(path: Path, what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path} is damaged: {what}; restore it from a copy, or delete this object"
    )


def _not_found(bucket: str, key: str) -> ObjectNotFound:
    return ObjectNotFound(f"there is no object {key!r} in the bucket {bucket}")


def _span(info: ObjectInfo, byte_range: tuple[int, int] | None) -> tuple[int, int]:
    """Start and length of the bytes asked for."""
    if byte_range is None:
        return 0, info.size
    first, last = byte_range
    if not 0 <= first <= last or first >= info.size:
        raise InvalidRequest(f"bytes {first}-{last} are not in an object of {info.size} bytes")
    return first, min(last + 1, info.size) - first
