"""Exceptions for what a person can fix, and how a command reports them."""

import errno
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn


class LandmarkError(Exception):
    """Something the caller can fix. Its text is a sentence: what is wrong, with what, and what to do."""


class PhotoError(LandmarkError):
    """A photo that can't be used: not an image, truncated, too large, empty, or in an unsupported format."""


class ModelError(LandmarkError):
    """A model that isn't available or can't be trusted."""


class UnavailableError(ModelError):
    """A model that the Hub doesn't send at the moment, and that isn't in the local cache."""


def reason(error: BaseException) -> str:
    """Why something failed, without a path: the system's words for an `OSError`, otherwise the exception's text."""
    return getattr(error, "strerror", None) or str(error)


def run_command(command: Callable[[], object]) -> None:
    """Run a command line; a `LandmarkError` becomes one sentence on standard error and exit status 1.

    Of several processes that a launcher started on a machine, all but the first also print which one they are. Text
    that the output's encoding lacks is printed as escapes. A reader that stops early, such as `head`, ends the command
    with status 1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Pillow warns about odd metadata and about large images; here a photo is either read or refused with a sentence.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        try:
            command()
        finally:
            _flush()
    except BrokenPipeError:
        raise SystemExit(1) from None
    except LandmarkError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"The output can't be written: {reason(error)}.")
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(sentence: str) -> NoReturn:
    rank = os.environ.get("LOCAL_RANK", "0")
    print(f"Error: {sentence}" if rank == "0" else f"Process {rank}: {sentence}", file=sys.stderr)
    raise SystemExit(1) from None


def _flush() -> None:
    """Write what was printed, while it can still be reported if that fails."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or Python would try again, and complain, as it ends
        os.close(nowhere)
        raise
