"""Settings: read once from the environment; a bad value stops the start with a line of its own."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from aggsvc.errors import BadSettings


def _named(path: object) -> object:
    if path == "":
        raise ValueError("name a path")
    return path


def _origins(text: str) -> str:
    """The origins as a browser names them, with spaces between, or `none`."""
    wrong = [origin for origin in text.split() if not ORIGIN.fullmatch(origin)]
    if wrong or not text:
        raise ValueError("name origins such as https://example.org with spaces between, * or none")
    return text


ORIGIN = re.compile(r"none|\*|https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DataPath = Annotated[Path, BeforeValidator(_named)]
# S3's rule for the names of buckets, as far as a pattern can say it.
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]

# Names that people write for ours, as the environment of another project or an old note has them.
MEANT = {
    "PROCESSOR_WORKERS": "PROCESSOR_WORKER_COUNT",
    "MOCK_S3_ROOT": "MOCK_S3_ROOT_PATH",
    "MOCK_S3_BUCKET": "MOCK_S3_BUCKET_NAME",
    "MOCK_DB_PATH": "MOCK_DYNAMODB_PERSISTENCE_PATH",
    "MOCK_DYNAMODB_TABLE": "MOCK_DYNAMODB_TABLE_NAME",
}
OUR_PREFIXES = ("MOCK_S3_", "MOCK_DYNAMODB_", "MOCK_DB_", "PROCESSOR_", "CLI_POLL_", "AGGSVC_")


class Settings(BaseSettings):
    """The service's settings, named as in the environment but in lower case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    mock_s3_bucket_name: BucketName = "uploads"
    mock_s3_root_path: DataPath = Path("./tmp/mock_s3")
    mock_dynamodb_table_name: Annotated[str, Field(min_length=1, max_length=255)] = (
        "processing_results"
    )
    mock_dynamodb_persistence_path: DataPath = Path("./tmp/mock_db.json")
    processor_worker_count: Annotated[int, Field(ge=1, le=256)] = 4
    processor_engine: Literal["auto", "rows"] = "auto"
    processor_max_attempts: Count = 3
    max_sensors: Count = 2_000_000
    max_upload_bytes: Count = 50_000_000_000
    max_waiting_files: Count = 10_000
    max_concurrent_uploads: Count = 256
    max_connections: Count = 2_000
    header_timeout: Seconds = 20
    body_timeout: Seconds = 10
    min_upload_rate: Count = 1_000
    cors_origins: Annotated[str, AfterValidator(_origins)] = "none"
    backend: Literal["mock"] = "mock"
    auth: Literal["auto", "on", "off"] = "auto"
    auth_path: DataPath = Path("./tmp/auth")
    trust_proxy: bool = False
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)
    ] = "INFO"


# Read by the command line, so no slip of ours when the service sees them.
CLIENT_NAMES = {"API_BASE_URL", "API_TOKEN", "CLI_POLL_INTERVAL", "CLI_POLL_TIMEOUT"}


def read_settings() -> Settings:
    """The settings of this process's environment; raises BadSettings, one line per variable."""
    try:
        return Settings()
    except ValidationError as error:
        lines = (_sentence(str(e["loc"][0]), e["input"], e["msg"]) for e in error.errors())
        raise BadSettings("\n".join(lines)) from None


def misspelt(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that look like ours but are not, each with the name that was probably meant."""
    ours = {name.upper() for name in Settings.model_fields} | CLIENT_NAMES
    found = {}
    for name in environ:
        meant = MEANT.get(name) or _nearest(name, ours)
        if meant and name not in ours:
            found[name] = meant
    return found


def _nearest(name: str, ours: set[str]) -> str | None:
    if not name.startswith(OUR_PREFIXES):
        return None
    return next(iter(difflib.get_close_matches(name, sorted(ours), n=1)), None)


def _sentence(field: str, value: object, message: str) -> str:
    return f"{field.upper()}={value}: {message[0].lower()}{message[1:]}"
