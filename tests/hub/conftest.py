"""A run's model to upload, and a whole run to publish, each of them a test's own."""

import shutil
from pathlib import Path

import pytest

from train.run import RunFolder


@pytest.fixture
def folder(run, tmp_path) -> Path:
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "README.md").write_text("---\ntags: [landmark-classification]\n---\n")
    return folder


@pytest.fixture
def mine(evaluated, tmp_path) -> RunFolder:
    """The evaluated run, to be changed."""
    return RunFolder(shutil.copytree(evaluated.path, tmp_path / "mine"))
