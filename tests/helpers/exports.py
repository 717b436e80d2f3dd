"""The command that checks an exported file in a fresh process, run in this one, where it takes no seconds to start."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from helpers.programs import invoke
from train import exported


def in_this_process(file: Path, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    return map(json.loads, invoke(exported.command, "-k", 10**6, file, *photos).stdout.splitlines())
