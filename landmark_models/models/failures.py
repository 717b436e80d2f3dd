"""Failed calls to the Hugging Face Hub: which are worth retrying, and what to tell a person."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from huggingface_hub import HfApi
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

_ATTEMPTS = 3
_FIRST_WAIT = 1.0  # seconds
_MAX_WAIT = 60.0  # seconds that the Hub may ask us to wait before the next attempt
_QUICK = 3.0  # seconds; a connection that takes longer to fail isn't tried again, so that a person hears of it soon
_HTTPError = HfHubHTTPError.__bases__[0]  # httpx.HTTPError in huggingface_hub 1.x, httpx2.HTTPError in 2.x

_LOG_IN = "Run `hf auth login`, or set HF_TOKEN."
_TO_READ_IT = "log in with `hf auth login`, or set HF_TOKEN to a token that may read it."
_UNAVAILABLE = "the Hub is temporarily unavailable ({status}). Try again later."
_TRANSIENT = {
    429: "the Hub has had too many requests ({status}). Try again later.",
    **dict.fromkeys([408, 500, 502, 503, 504], _UNAVAILABLE),
}
_BY_STATUS = {
    401: f"the Hub requires a valid token. {_LOG_IN}",
    403: "the token may not do that ({status}). Use one with the right to it, or a namespace of your own.",
    **dict.fromkeys([409, 412], "somebody else changed it at the same time ({status}). Try again."),
    **_TRANSIENT,
}
_BY_TYPE: dict[type[BaseException], str] = {  # the first that matches
    HFValidationError: "that isn't a valid repository name. {error}",
    LocalTokenNotFoundError: f"you are not logged in to the Hub. {_LOG_IN}",
    TimeoutError: "the Hub does not answer at {endpoint}. Try again later.",
    OfflineModeIsEnabled: "HF_HUB_OFFLINE is set.",
    GatedRepoError: f"it is gated. Ask for access on its page, then {_TO_READ_IT}",
    RepositoryNotFoundError: f"there is none of that name, or it is private. If it is private, {_TO_READ_IT}",
    RevisionNotFoundError: "it has no such revision.",
}

_T = TypeVar("_T")


def with_retries(call: Callable[[], _T]) -> _T:
    """Call the Hub, and retry transient failures: 429, 5xx, a lost connection.

    For the calls that huggingface_hub itself makes only once. What it prints of each failed attempt is left out: the
    last failure is reported in a sentence.
    """
    with _quiet():
        for attempt in range(1, _ATTEMPTS):
            started = time.monotonic()
            try:
                return call()
            except Exception as error:
                retried_already = isinstance(error, LocalEntryNotFoundError)
                slow = _status(_cause(error)) is None and time.monotonic() - started > _QUICK
                if retried_already or slow or not is_transient(error):
                    raise
                response = getattr(_cause(error), "response", None)
                wait = response.headers.get("Retry-After", "") if response is not None else ""
                time.sleep(min(float(wait), _MAX_WAIT) if wait.isdigit() else _FIRST_WAIT * 2 ** (attempt - 1))
        return call()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep huggingface_hub's warnings about failed attempts in this thread from being printed."""
    logger, thread = logging.getLogger("huggingface_hub.utils._http"), threading.get_ident()

    def is_shown(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.levelno > logging.WARNING

    logger.addFilter(is_shown)
    try:
        yield
    finally:
        logger.removeFilter(is_shown)


def endpoint() -> str:
    """The Hub's address, as HF_ENDPOINT has it, without any user and password in it."""
    parts = urlsplit(HfApi().endpoint)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def in_background(call: Callable[[], _T]) -> Future[_T]:
    """Run a call in a daemon thread, so that it can neither block its caller nor keep the process alive.

    For the calls of huggingface_hub that have no timeout.
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
    """What is behind huggingface_hub's "not in the cache" or "error while uploading"."""
    while isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    """The HTTP status of a response that is an error."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed a moment later."""
    cause = _cause(error)
    if status := _status(cause):
        return status in _TRANSIENT
    return isinstance(cause, _HTTPError | TimeoutError) or "Consistency check" in str(cause)


def is_local(error: BaseException) -> bool:
    """Whether not the Hub but this machine failed, such as its disk, or the Hub may not be asked."""
    cause = _cause(error)
    return isinstance(cause, OSError) and not isinstance(cause, _HTTPError)


def describe_failure(what: str, error: BaseException) -> str:
    """A sentence for any error of huggingface_hub: what failed, why, and what to do. It never contains a token."""
    cause = _cause(error)
    status = _status(cause)
    text = (str(cause).strip() or type(cause).__name__).replace("\n", " ")[:300]
    why = next((why for kind, why in _BY_TYPE.items() if isinstance(cause, kind)), None) or _BY_STATUS.get(status or 0)
    if why is None and any(kind.__name__ == "TimeoutException" for kind in type(cause).__mro__):  # httpx's or httpx2's
        why = _BY_TYPE[TimeoutError]
    if why is None and status is None and isinstance(cause, _HTTPError):
        why = "the Hub can't be reached at {endpoint} ({error}). Is the network up?"
    return f"{what}: {(why or '{error}').format(status=status, error=text, endpoint=endpoint())}"
