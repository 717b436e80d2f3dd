"""The exceptions that mean "a person can mend this", and how a command reports them."""

import os
import sys
from collections.abc import Callable


class LandmarkError(Exception):
    """Something that the caller can put right. Its text is a sentence: what is wrong, with what, and what to do."""


class PhotoError(LandmarkError):
    """A photo that can't be used: no image, truncated, too large, empty, of an unknown format."""


class ModelError(LandmarkError):
    """A model that can't be had or can't be trusted."""


def reason(error: BaseException) -> str:
    """Why something failed, in words without a path: the system's own for an `OSError`, else the exception's text."""
    return getattr(error, "strerror", None) or str(error)


def run_command(command: Callable[[], object]) -> None:
    """Run a command line; a `LandmarkError` becomes one sentence on standard error and exit status 1.

    Of several processes that one launcher started on a machine, those after the first say which they are.
    """
    try:
        command()
    except LandmarkError as error:
        rank = os.environ.get("LOCAL_RANK", "0")
        print(f"Error: {error}" if rank == "0" else f"Process {rank}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(130) from None
