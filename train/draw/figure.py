"""The one place that makes and saves matplotlib figures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_models.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure"]


@contextmanager
def figure(file: Path, width: float, height: float) -> "Iterator[Figure]":
    """A new figure of this size in inches, saved as a PNG with 100 dots per inch when the block ends.

    Raises:
        OSError: the file can't be written; an existing one is left alone.
    """
    from matplotlib.figure import Figure  # takes a while to import, and not every command draws

    drawing = Figure(figsize=(width, height), layout="constrained")
    yield drawing
    with atomic_path(file) as scratch, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing", UserWarning
        )  # the tables beside it show the names in full
        drawing.savefig(scratch, dpi=100, format="png")
