"""How an upload becomes a file: kept durably, noted, queued; and once only for a key."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, replace

import structlog

from aggsvc.digest import Digest
from aggsvc.errors import Conflict, InvalidUpload, KeyReused, StoreUnavailable
from aggsvc.filetable import FileTable
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.model import FileRecord, Job, object_key, utc_now
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Submission:
    """The record of an upload, and whether an earlier request had made it."""

    record: FileRecord
    is_replay: bool


class Intake:
    """Takes uploads in, each of them whole or not at all."""

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        keys: IdempotencyKeys,
        new_file_id: Callable[[], str],
    ) -> None:
        self._objects = objects
        self._files = files
        self._queue = queue
        self._keys = keys
        self._new_file_id = new_file_id

    async def submit(self, filename: str, data: AsyncIterable[bytes]) -> FileRecord:
        """Keep an upload durably and queue it; on any error nothing of it is left.

        But if its record has landed when it is cancelled, and cannot be removed, the file is kept.
        Raises InvalidUpload for an upload of zero bytes, and whatever `data` raises.
        """
        return await self._accept(filename, data)

    async def submit_once(
        self, key: str | None, filename: str, data: AsyncIterable[bytes]
    ) -> Submission:
        """Submit, unless the key has made a file in the last 24 hours that is still there.

        Raises as submit does; Conflict while another upload has the key; KeyReused if the key's
        file has other bytes.
        """
        if key is None:
            return Submission(await self._accept(filename, data), is_replay=False)
        with self._keys.hold(key):
            made = await self._made_by(key)
            if made is None:
                return Submission(await self._accept(filename, data, key), is_replay=False)
            return Submission(await self._replay(made, data), is_replay=True)

    async def is_used(self, key: str) -> bool:
        """Whether the key has made a file that is still there, so that it makes no other."""
        return await self._made_by(key) is not None

    async def _made_by(self, key: str) -> FileRecord | None:
        file_id = await self._keys.find(key)
        return None if file_id is None else await self._files.find(file_id)

    async def _replay(self, made: FileRecord, data: AsyncIterable[bytes]) -> FileRecord:
        """The record as it is once all of the data was seen to be the file's."""
        upload = _Upload(data)
        async for _ in upload.chunks():
            pass
        if await upload.sha256() != made.sha256:
            raise KeyReused(
                f"the Idempotency-Key belongs to the file {made.file_id}, which has other bytes; "
                "send these with a key of their own",
                "Idempotency-Key",
            )
        record = await self._files.find(made.file_id)
        if record is None:
            raise Conflict(f"the file {made.file_id} was deleted meanwhile; send it again")
        return record

    async def _accept(
        self, filename: str, data: AsyncIterable[bytes], key: str | None = None
    ) -> FileRecord:
        file_id = self._new_file_id()
        upload = _Upload(data)
        record = FileRecord(file_id, filename, 0, "", utc_now())
        try:
            info = await self._objects.put_upload(file_id, upload.chunks())
            sha256 = await upload.sha256()
            record = replace(record, size_bytes=info.size, sha256=sha256, uploaded_at=utc_now())
            if key is not None:
                await self._keys.keep(key, file_id)
            await self._files.create(record)
        except BaseException:
            await asyncio.shield(self._undo(file_id))
            raise
        await self._queue.send(job_of_request(file_id))
        log.info(
            "file accepted",
            file_id=file_id,
            object_key=record.object_key,
            status=record.status.value,
            filename=filename,
            size_bytes=info.size,
        )
        return record

    async def _undo(self, file_id: str) -> None:
        """Leave nothing of an upload. If its record is there to stay, it is a file as any other."""
        record = await self._files.find(file_id)
        try:
            if record is not None:
                await self._files.delete(record)
        except StoreUnavailable as error:  # a full disk, for one, has no room for a deletion
            log.warning("upload kept, though not answered", file_id=file_id, reason=str(error))
            await self._queue.send(job_of_request(file_id))
        else:
            # By its key: one whose folder the disk failed to keep is in no listing.
            await self._objects.remove_objects(object_key(file_id))


def job_of_request(file_id: str) -> Job:
    """A job for the file, known by the request that is being answered."""
    return Job(file_id, request_id=structlog.contextvars.get_contextvars().get("request_id"))


class _Upload:
    """The bytes of an upload on their way to the store: hashed, and refused if there are none."""

    def __init__(self, data: AsyncIterable[bytes]) -> None:
        self._data = data
        self._digest = Digest()

    async def chunks(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._data:
            size += len(chunk)
            await self._digest.update(chunk)
            yield chunk
        if size == 0:
            raise InvalidUpload("the file is empty; send a CSV file with at least a header", "file")

    async def sha256(self) -> str:
        return await self._digest.hexdigest()
