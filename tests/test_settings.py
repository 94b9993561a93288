"""The environment, read once: defaults as the design fixes them, one line for each bad value."""

from pathlib import Path

import pytest

from aggsvc.errors import BadSettings
from aggsvc.settings import CLIENT_NAMES, Settings, misspelt, read_settings

DEFAULTS = {
    "mock_s3_bucket_name": "uploads",
    "mock_s3_root_path": Path("./tmp/mock_s3"),
    "mock_dynamodb_table_name": "processing_results",
    "mock_dynamodb_persistence_path": Path("./tmp/mock_db.json"),
    "processor_worker_count": 4,
    "log_level": "INFO",
    "host": "127.0.0.1",
    "port": 8000,
    "processor_engine": "auto",
    "processor_max_attempts": 3,
    "backend": "mock",
    "auth": "auto",
    "auth_path": Path("./tmp/auth"),
    "trust_proxy": False,
    "max_sensors": 2_000_000,
    "max_upload_bytes": 50_000_000_000,
    "max_waiting_files": 10_000,
    "max_concurrent_uploads": 256,
    "max_connections": 2_000,
    "header_timeout": 20.0,
    "body_timeout": 10.0,
    "min_upload_rate": 1_000,
    "cors_origins": "none",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_are_those_of_the_design() -> None:
    assert read_settings().model_dump() == DEFAULTS


def test_each_variable_is_read_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "MOCK_S3_BUCKET_NAME": "sensors",
        "MOCK_S3_ROOT_PATH": "/data/s3",
        "MOCK_DYNAMODB_TABLE_NAME": "results",
        "MOCK_DYNAMODB_PERSISTENCE_PATH": "/data/db.json",
        "PROCESSOR_WORKER_COUNT": "2",
        "LOG_LEVEL": "debug",
        "HOST": "::1",
        "PORT": "0",
        "PROCESSOR_ENGINE": "rows",
        "PROCESSOR_MAX_ATTEMPTS": "7",
        "BACKEND": "mock",
        "AUTH": "on",
        "AUTH_PATH": "/data/auth",
        "TRUST_PROXY": "True",
        "MAX_SENSORS": "9",
        "MAX_UPLOAD_BYTES": "1000",
        "MAX_WAITING_FILES": "1",
        "MAX_CONCURRENT_UPLOADS": "2",
        "MAX_CONNECTIONS": "3",
        "HEADER_TIMEOUT": "0.5",
        "BODY_TIMEOUT": "1.5",
        "MIN_UPLOAD_RATE": "10",
        "CORS_ORIGINS": "https://example.org http://[::1]:3000",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = {name: str(value) for name, value in read_settings().model_dump().items()}
    assert found == {name.lower(): value for name, value in values.items()} | {"log_level": "DEBUG"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCK_S3_BUCKET_NAME", ""),
        ("MOCK_S3_BUCKET_NAME", "x" * 64),
        ("MOCK_S3_BUCKET_NAME", "Uploads"),
        ("MOCK_S3_BUCKET_NAME", "up"),
        ("MOCK_S3_BUCKET_NAME", "../up"),
        ("MOCK_DYNAMODB_TABLE_NAME", ""),
        ("PROCESSOR_WORKER_COUNT", "0"),
        ("PROCESSOR_WORKER_COUNT", "four"),
        ("PROCESSOR_WORKER_COUNT", ""),
        ("PROCESSOR_MAX_ATTEMPTS", "0"),
        ("PROCESSOR_MAX_ATTEMPTS", "2.5"),
        ("PROCESSOR_ENGINE", "fast"),
        ("BACKEND", "aws2"),
        ("AUTH", "yes"),
        ("AUTH_PATH", ""),
        ("TRUST_PROXY", "maybe"),
        ("LOG_LEVEL", "LOUD"),
        ("HOST", ""),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("MAX_SENSORS", "0"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "1GB"),
        ("MAX_WAITING_FILES", "0"),
        ("MAX_CONCURRENT_UPLOADS", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("HEADER_TIMEOUT", "0"),
        ("HEADER_TIMEOUT", "inf"),
        ("BODY_TIMEOUT", "-1"),
        ("BODY_TIMEOUT", "nan"),
        ("MIN_UPLOAD_RATE", "0"),
        ("CORS_ORIGINS", ""),
        ("CORS_ORIGINS", "example.org"),
        ("CORS_ORIGINS", "https://example.org/"),
        ("CORS_ORIGINS", "https://a.test,https://b.test"),
    ],
)
def test_a_bad_value_gives_one_line_that_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        read_settings()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}={value}")
    assert len(line) > len(f"{name}={value}: ")


def test_every_bad_value_gets_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("BACKEND", "y")
    with pytest.raises(BadSettings) as refused:
        read_settings()
    names = {line.partition("=")[0] for line in str(refused.value).splitlines()}
    assert names == {"PORT", "BACKEND"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PROCESSOR_WORKERS", "PROCESSOR_WORKER_COUNT"),
        ("MOCK_S3_ROOT", "MOCK_S3_ROOT_PATH"),
        ("MOCK_DB_PATH", "MOCK_DYNAMODB_PERSISTENCE_PATH"),
        ("MOCK_S3_BUCKET", "MOCK_S3_BUCKET_NAME"),
        ("PROCESSOR_WORKER_COUNTS", "PROCESSOR_WORKER_COUNT"),
        ("PROCESSOR_MAX_ATTEMPT", "PROCESSOR_MAX_ATTEMPTS"),
        ("CLI_POLL_TIME_OUT", "CLI_POLL_TIMEOUT"),
    ],
)
def test_a_misspelt_variable_is_found_with_the_name_that_was_meant(
    written: str, meant: str
) -> None:
    assert misspelt({written: "1"}) == {written: meant}


def test_our_own_names_and_those_of_others_are_not_misspelt() -> None:
    ours = {name.upper() for name in Settings.model_fields} | CLIENT_NAMES
    others = {"PATH", "HOME", "HOSTNAME", "PORTS", "SHELL"}
    assert misspelt(dict.fromkeys(ours | others, "1")) == {}
