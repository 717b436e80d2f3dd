"""Exceptions for what a person can fix, and how a command reports them."""

import os
import sys
import warnings
from collections.abc import Callable


class LandmarkError(Exception):
    """Something the caller can fix. Its text is a sentence: what is wrong, with what, and what to do."""


class PhotoError(LandmarkError):
    """A photo that can't be used: not an image, truncated, too large, empty, or in an unsupported format."""


class ModelError(LandmarkError):
    """A model that isn't available or can't be trusted."""


def reason(error: BaseException) -> str:
    """Why something failed, without a path: the system's words for an `OSError`, otherwise the exception's text."""
    return getattr(error, "strerror", None) or str(error)


def run_command(command: Callable[[], object]) -> None:
    """Run a command line; a `LandmarkError` becomes one sentence on standard error and exit status 1.

    Of several processes that a launcher started on a machine, all but the first also print which one they are.
    """
    # Pillow warns about odd metadata and about large images; here a photo is either read or refused with a sentence.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        command()
    except LandmarkError as error:
        rank = os.environ.get("LOCAL_RANK", "0")
        print(f"Error: {error}" if rank == "0" else f"Process {rank}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(130) from None
