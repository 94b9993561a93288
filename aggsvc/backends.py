"""Opens the chosen stores and queue; the only importer of mocks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aggsvc.ports import (
    FILES_SCHEMA,
    KEYS_SCHEMA,
    STATE_SCHEMA,
    JobQueue,
    MetadataTable,
    ObjectStore,
)
from aggsvc.settings import Settings
from mocks.dynamodb import MockDynamoDB
from mocks.files import Files
from mocks.s3 import MockS3
from mocks.sqs import MockSQS


@dataclass(frozen=True, slots=True)
class Backends:
    """What keeps objects and records, and what carries jobs."""

    objects: ObjectStore
    table: MetadataTable
    queue: JobQueue


@asynccontextmanager
async def open_backends(settings: Settings) -> AsyncIterator[Backends]:
    """The backends of settings.backend; raises StartRefused where they cannot be used."""
    async with AsyncExitStack() as stack:
        files = Files()
        stack.push_async_callback(files.close)
        objects = await MockS3.open(files, settings.mock_s3_root_path)
        stack.push_async_callback(objects.close)
        table = await MockDynamoDB.open(
            files,
            settings.mock_dynamodb_persistence_path,
            {
                settings.mock_dynamodb_table_name: FILES_SCHEMA,
                state_table(settings.mock_dynamodb_table_name): STATE_SCHEMA,
                keys_table(settings.mock_dynamodb_table_name): KEYS_SCHEMA,
            },
        )
        stack.push_async_callback(table.close)
        queue = MockSQS()
        stack.push_async_callback(queue.close)
        yield Backends(objects, table, queue)


def state_table(files_table: str) -> str:
    """The name of the table in which the service notes its own state."""
    return f"{files_table}_state"


def keys_table(files_table: str) -> str:
    """The name of the table of idempotency keys."""
    return f"{files_table}_keys"
