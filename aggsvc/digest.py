"""SHA-256 of a stream, hashed off the loop while the next of it arrives."""

import asyncio
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

# Less than this is hashed sooner than a thread is woken.
HOP_BYTES = 64 * 1024
# Threads of their own: uploads are not to wait for the engine's, nor for the disk's.
_threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="digest")


class Digest:
    """The digest of all that it was given."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._hashing: asyncio.Future[None] | None = None

    async def update(self, data: bytes) -> None:
        """Begin with the data once those before are done."""
        await self._settle()
        if len(data) < HOP_BYTES:
            self._hash.update(data)
        else:
            loop = asyncio.get_running_loop()
            self._hashing = loop.run_in_executor(_threads, self._hash.update, data)

    async def hexdigest(self) -> str:
        """The digest in hexadecimal digits."""
        await self._settle()
        return self._hash.hexdigest()

    async def _settle(self) -> None:
        if self._hashing is not None:
            await self._hashing
            self._hashing = None
