"""What was left out of a folder, in words."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from landmark_models.files import left_out_line

_SHOWN = 3


def print_left_out(folder: str | Path, left_out: Counter[str]) -> None:
    """Print one line on what was left out of a folder, in the first process only; nothing if that is nothing."""
    if left_out and os.environ.get("RANK", "0") == "0":
        print(left_out_line(left_out).replace("Left out", f'Left out of "{folder}"', 1))


def some(names: Sequence[str], what: str = "") -> str:
    """The first of these names, and how many more of `what` there are."""
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more {what}".rstrip()
    return shown + more if len(names) > _SHOWN else shown
