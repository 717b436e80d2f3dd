"""Programs that some tests need."""

import os

import pytest


def absent(what: str) -> None:
    """Skip a test for want of a program, or fail where everything has to be there."""
    (pytest.fail if os.environ.get("LANDMARK_TESTS") == "all" else pytest.skip)(f"{what} is not installed")
