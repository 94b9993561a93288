"""Packed entries: the same bytes again, in a fraction of the memory."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import orjson
from hypothesis import given

from mocks.packing import DATA, SIZE, Packer


@given(st.lists(st.binary(max_size=9_000), max_size=6))
def test_what_was_packed_comes_back_whichever_samples_were_taken_since(
    entries: list[bytes],
) -> None:
    packer = Packer()
    packed = [packer.pack(entry) for entry in entries]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(packer.unpack, packed)) == entries
    assert [one[SIZE] for one in packed] == list(map(len, entries))


def test_an_entry_like_those_before_it_takes_a_fraction_of_its_bytes() -> None:
    packer = Packer()
    for number in range(10):
        names = {f"statistic_{place}": number + place / 7 for place in range(40)}
        entry = orjson.dumps({"table": "files", "key": f"{number:032x}", "item": names})
        packed = packer.pack(entry)
    assert len(packed[DATA]) < len(entry) / 3
