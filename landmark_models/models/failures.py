"""How calls to the Hugging Face Hub fail: what is worth another attempt, and what to tell a person."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

__all__ = ["describe_failure", "in_background", "is_transient", "with_retries"]

_ATTEMPTS = 3
_FIRST_WAIT = 1.0  # seconds
_MAX_WAIT = 60.0  # seconds that the Hub may ask us to wait before the next attempt
_PASSING = frozenset([408, 429, 500, 502, 503, 504])  # status codes that may be gone a moment later
_HTTPError = HfHubHTTPError.__bases__[0]  # of the HTTP library that this huggingface_hub is built on

_T = TypeVar("_T")


def with_retries(call: Callable[[], _T]) -> _T:
    """What a call to the Hub returns, tried again where its failure may pass: 429, 5xx, a lost connection.

    For the calls that huggingface_hub itself makes only once.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except Exception as error:
            tried_again_already = isinstance(error, LocalEntryNotFoundError)
            if tried_again_already or not is_transient(error):
                raise
            response = getattr(_cause(error), "response", None)
            asked = response.headers.get("Retry-After", "") if response is not None else ""
            time.sleep(min(float(asked), _MAX_WAIT) if asked.isdigit() else _FIRST_WAIT * 2 ** (attempt - 1))
    return call()


def in_background(call: Callable[[], _T]) -> Future[_T]:
    """What a call will return, which is made in a thread that keeps nobody from leaving.

    For the calls of huggingface_hub that wait for an answer for ever.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return future


def _cause(error: BaseException) -> BaseException:
    """What huggingface_hub means by "not in the cache" or "error while uploading", whatever it was."""
    while isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    response = getattr(_cause(error), "response", None)
    return None if response is None else int(response.status_code)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed a moment later."""
    cause, status = _cause(error), _status(error)
    if status:
        return status in _PASSING
    return isinstance(cause, _HTTPError | TimeoutError) or "Consistency check" in str(cause)


def describe_failure(what: str, error: BaseException) -> str:
    """What failed, why, and what to do, for whatever huggingface_hub raises. Holds no token."""
    cause, status = _cause(error), _status(error)
    match cause:
        case HFValidationError():
            why = f"that is no name of a repository. {cause}"
        case LocalTokenNotFoundError():
            why = "nobody is logged in to the Hub. Log in by `hf auth login`, or set HF_TOKEN."
        case TimeoutError():
            why = "the Hub does not answer. Try again later."
        case OfflineModeIsEnabled():
            why = "HF_HUB_OFFLINE is set."
        case GatedRepoError():
            why = "it is gated. Ask for access on its page, then log in by `hf auth login` or set HF_TOKEN."
        case RepositoryNotFoundError():
            why = "there is none of that name, or it is private. If so, log in by `hf auth login`, or set HF_TOKEN."
        case RevisionNotFoundError():
            why = "it has no such revision."
        case _ if status == 401:
            why = "the Hub wants a valid token. Log in by `hf auth login`, or set HF_TOKEN."
        case _ if status == 403:
            why = "the token may not do that (403). Take one with the right to it, or a namespace of your own."
        case _ if status in (409, 412):
            why = f"somebody else changed it at the same time ({status}). Try again."
        case _ if status == 429:
            why = "the Hub has had too many requests (429). Try again later."
        case _ if status in _PASSING:
            why = f"the Hub is not well ({status}). Try again later."
        case _ if isinstance(cause, _HTTPError) and status is None:
            why = f"the Hub can't be reached ({str(cause) or type(cause).__name__}). Is the network up?"
        case _:
            why = f"{str(cause) or type(cause).__name__}".strip().replace("\n", " ")[:300]
    return f"{what}: {why}"
