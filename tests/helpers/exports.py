"""The command that checks an exported file in a fresh process, run in this one, where it takes no seconds to start."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from train import exported


def in_this_process(file: Path, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    app = typer.Typer()
    app.command()(exported.command)
    result = CliRunner().invoke(app, ["-k", "1000000", str(file), *map(str, photos)])
    return map(json.loads, result.stdout.splitlines())
