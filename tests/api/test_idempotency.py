"""Idempotency-Key: a request that is sent again makes no second file."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse

from aggsvc.backends import keys_table
from aggsvc.errors import StoreUnavailable
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.keys import BACKENDS, SERVICE
from aggsvc.model import TIME_FORMAT
from aggsvc.settings import Settings
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    MULTIPART,
    assert_problem,
    body,
    json_of,
    part,
    post,
    settled,
    upload,
)
from tests.conftest import DEADLINE, GOOD_ROW, HEADER, Parts, Through, opened_parts, until

DATA = HEADER + GOOD_ROW
OTHER = DATA + GOOD_ROW
KEYS = "processing_results_keys"


async def send(client: Client, key: str, data: bytes = DATA, name: str = "a.csv") -> ClientResponse:
    headers = MULTIPART | {"Idempotency-Key": key}
    return await post(client, body(part(data, "file", name)), headers)


async def listed(client: Client) -> list[Any]:
    answer = await client.get("/files")
    items: list[Any] = (await json_of(answer))["items"]
    return items


async def kept_keys(client: Client) -> list[Any]:
    """The items of the table of keys."""
    assert client.app is not None
    return list((await client.app[BACKENDS].table.scan(KEYS)).items)


async def until_held(client: Client, key: str) -> None:
    """Wait until an upload with the key is being received."""
    assert client.app is not None
    keys = client.app[SERVICE]._keys
    await until(lambda: key in keys._held, "the upload")


async def test_the_same_key_and_bytes_give_the_same_file_and_say_so(client: Client) -> None:
    first = await send(client, "k1")
    again = await send(client, "k1", name="other-name.csv")
    assert (first.status, again.status) == (202, 202)
    record = await json_of(first)
    assert (await json_of(again))["file_id"] == record["file_id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [one["file_id"] for one in await listed(client)] == [record["file_id"]]


async def test_a_replay_shows_the_record_as_it_is_now(client: Client) -> None:
    file_id = (await json_of(await send(client, "k1")))["file_id"]
    done = await settled(client, file_id)
    assert await json_of(await send(client, "k1")) == done


async def test_other_bytes_under_a_key_are_422_and_leave_nothing(client: Client) -> None:
    file_id = (await json_of(await send(client, "k1")))["file_id"]
    await assert_problem(await send(client, "k1", OTHER), 422, file_id, "key of their own")
    assert len(await listed(client)) == 1
    assert (await send(client, "k2", OTHER)).status == 202


async def test_without_a_key_the_same_bytes_are_two_files(client: Client) -> None:
    await upload(client, DATA)
    await upload(client, DATA)
    assert len(await listed(client)) == 2
    assert await kept_keys(client) == []


async def test_a_key_whose_upload_is_still_being_received_is_409_until_it_ends(
    client: Client,
) -> None:
    go = asyncio.Event()
    whole = body(part(DATA))

    async def slowly() -> AsyncIterator[bytes]:
        yield whole[:-10]
        await go.wait()
        yield whole[-10:]

    headers = MULTIPART | {"Idempotency-Key": "k1"}
    first = asyncio.create_task(client.post("/files", data=slowly(), headers=headers))

    await until_held(client, "k1")
    await assert_problem(await send(client, "k1"), 409, "still being received")
    go.set()
    made = await json_of(await asyncio.wait_for(first, DEADLINE))
    assert (await json_of(await send(client, "k1")))["file_id"] == made["file_id"]


async def test_of_many_with_one_key_at_once_one_file_comes(client: Client) -> None:
    answers = await asyncio.gather(*(send(client, "k1") for _ in range(20)))
    assert {answer.status for answer in answers} <= {202, 409}
    assert 202 in [answer.status for answer in answers]
    assert len(await listed(client)) == 1


async def test_a_key_is_forgotten_when_its_file_is_deleted(client: Client) -> None:
    first = (await json_of(await send(client, "k1")))["file_id"]
    await send(client, "k2", OTHER)
    assert (await client.delete(f"/files/{first}")).status == 204
    assert [item["key"] for item in await kept_keys(client)] == ["k2"]
    again = await send(client, "k1", OTHER)
    assert again.status == 202
    assert (await json_of(again))["file_id"] != first


async def test_an_upload_that_was_refused_leaves_its_key_free(client: Client) -> None:
    await assert_problem(await send(client, "k1", b""), 400, "empty")
    assert (await send(client, "k1")).status == 202
    await assert_problem(await send(client, "k1", b""), 400, "empty")


@pytest.mark.parametrize("key", ["", "a" * 256, "two words", "tab\tinside", "schlüssel"])
async def test_a_key_that_is_none_is_400(client: Client, key: str) -> None:
    await assert_problem(await send(client, key), 400, "Idempotency-Key", "1 to 255 visible ASCII")
    assert await listed(client) == []


@pytest.mark.parametrize("key", ["!", "~" * 255, '"8e03978e-40d5-43e8-bc93-6894a57f9324"'])
async def test_a_key_of_1_to_255_visible_characters_is_taken(client: Client, key: str) -> None:
    assert (await send(client, key)).status == 202
    assert (await send(client, key)).headers["Idempotency-Replayed"] == "true"


async def test_two_keys_in_one_request_are_400(client: Client) -> None:
    headers = [*MULTIPART.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await client.post("/files", data=body(part(DATA)), headers=headers)
    await assert_problem(answer, 400, "Idempotency-Key")


# --- the same on the service's parts, where time and failures can be had ---


async def once(parts: Parts, key: str, data: bytes = DATA) -> tuple[str, bool]:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    sent = await parts.service.submit_once(key, "a.csv", chunks())
    return sent.record.file_id, sent.is_replay


def short_lived(parts: Parts, seconds: float) -> None:
    """Keep keys for so long only."""
    keys = IdempotencyKeys(parts.table, KEYS, kept_for=timedelta(seconds=seconds))
    parts.service._keys = keys
    parts.idempotency = keys


async def test_a_key_is_kept_over_a_restart(settings: Settings) -> None:
    assert keys_table(settings.mock_dynamodb_table_name) == KEYS
    async with opened_parts(settings) as parts:
        file_id, _ = await once(parts, "k1")
    async with opened_parts(settings) as parts:
        assert await once(parts, "k1") == (file_id, True)


async def test_a_key_is_kept_for_24_hours(parts: Parts) -> None:
    await once(parts, "k1")
    (item,) = (await parts.table.scan(KEYS)).items
    (record,) = (await parts.files.list()).items
    assert item["expires_at"][:10] > record.uploaded_at[:10]
    assert item["expires_at"][11:16] in (record.uploaded_at[11:16], _next_minute(record))


def _next_minute(record: Any) -> str:
    hours, minutes = map(int, record.uploaded_at[11:16].split(":"))
    hours, minutes = divmod((hours * 60 + minutes + 1) % 1440, 60)
    return f"{hours:02}:{minutes:02}"


async def test_an_expired_key_makes_a_new_file(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await once(parts, "k1")
    assert await once(parts, "k1") == (first, True)
    tomorrow = (datetime.now(UTC) + timedelta(hours=24)).strftime(TIME_FORMAT)
    with monkeypatch.context() as then:
        then.setattr("aggsvc.idempotency.utc_now", lambda: tomorrow)
        second, is_replay = await once(parts, "k1", OTHER)
    assert (second != first, is_replay) == (True, False)
    assert await once(parts, "k1", OTHER) == (second, True)


async def test_the_sweep_removes_expired_keys_and_no_others(parts: Parts) -> None:
    await once(parts, "stays")
    short_lived(parts, 0)
    for number in range(230):
        await parts.idempotency.keep(f"goes-{number}", "f" * 32)
    assert await parts.idempotency.sweep() == 230
    assert [item["key"] for item in (await parts.table.scan(KEYS)).items] == ["stays"]
    assert await parts.idempotency.sweep() == 0


async def test_a_delete_leaves_a_key_that_has_made_another_file_meanwhile(parts: Parts) -> None:
    class Late(Through):
        """A table that has answered a query some time before the asker hears of it."""

        async def query(self, *args: Any, **options: Any) -> Any:
            page = await self.inner.query(*args, **options)
            await parts.idempotency.keep("k1", "another")
            return page

    file_id, _ = await once(parts, "k1")
    await IdempotencyKeys(Late(parts.table), KEYS).forget(file_id)
    assert await parts.idempotency.find("k1") == "another"


async def test_a_record_that_cannot_be_written_leaves_the_key_free(settings: Settings) -> None:
    """So does a crash between key and record: the key leads to nothing."""

    class NoRecords(Through):
        refuses = True

        async def put_item(self, table: str, item: Any, **options: Any) -> None:
            if self.refuses and table != KEYS:
                raise StoreUnavailable("the disk is gone")
            await self.inner.put_item(table, item, **options)

    async with opened_parts(settings, table=NoRecords) as parts:
        with pytest.raises(StoreUnavailable):
            await once(parts, "k1")
        assert await parts.idempotency.find("k1") is not None
        parts.table.refuses = False
        file_id, is_replay = await once(parts, "k1", OTHER)
        assert not is_replay
        assert await once(parts, "k1", OTHER) == (file_id, True)
        assert len((await parts.files.list()).items) == 1


async def test_a_file_deleted_while_its_upload_is_sent_again_is_409(
    make_client: MakeClient,
) -> None:
    client = await make_client()
    file_id = (await json_of(await send(client, "k1")))["file_id"]
    whole = body(part(DATA))

    async def slowly() -> AsyncIterator[bytes]:
        yield whole[:-10]
        await until_held(client, "k1")
        assert (await client.delete(f"/files/{file_id}")).status == 204
        yield whole[-10:]

    headers = MULTIPART | {"Idempotency-Key": "k1"}
    answer = await client.post("/files", data=slowly(), headers=headers)
    await assert_problem(answer, 409, file_id, "deleted meanwhile")
    assert (await send(client, "k1")).status == 202


async def test_keys_in_hand_are_let_go_whatever_happens(parts: Parts) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            await parts.service.submit_once("k1", "a.csv", broken())
    gc.collect()
    assert (await once(parts, "k1"))[1] is False
