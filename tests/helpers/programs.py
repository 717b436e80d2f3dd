"""Programs that some tests need, and our own commands."""

import os

import pytest
import typer
from typer.testing import CliRunner


def invoke(command, *words: object):
    """What a command of one function answers to these words."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words])


def absent(what: str) -> None:
    """Skip a test for want of a program, or fail where everything but LANDMARK_WITHOUT has to be there."""
    is_needed = os.environ.get("LANDMARK_TESTS") == "all"
    is_needed = is_needed and what.split()[0] not in os.environ.get("LANDMARK_WITHOUT", "").split()
    (pytest.fail if is_needed else pytest.skip)(f"{what} is not installed")
