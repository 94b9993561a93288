"""What a test needs of the machine beyond Python."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, but fails on CI, which installs it."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed on this machine"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return path
