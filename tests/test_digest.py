"""Digests of streams."""

import hashlib
import time

import pytest

from aggsvc.digest import HOP_BYTES, Digest


@pytest.mark.parametrize("sizes", [[], [0], [1, 2], [HOP_BYTES - 1, HOP_BYTES, 7, 900_000] * 3])
async def test_it_is_the_digest_of_all_the_pieces_in_order(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    digest = Digest()
    for piece in pieces:
        await digest.update(piece)
    assert await digest.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


async def test_large_pieces_are_hashed_off_the_loop() -> None:
    piece = bytes(1024 * 1024)
    began = time.thread_time()
    hashlib.sha256(piece * 64).digest()
    inline = time.thread_time() - began
    digest = Digest()
    began = time.thread_time()
    for _ in range(64):
        await digest.update(piece)
    await digest.hexdigest()
    assert time.thread_time() - began < inline / 2
