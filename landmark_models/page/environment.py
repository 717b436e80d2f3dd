"""What the page needs of the machine before it starts: caches that can be written, and an address to open.

For containers whose user has no name and no home, and whose file system may be read-only but for /tmp.
"""

import contextlib
import ctypes
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

from landmark_models.errors import LandmarkError, reason

_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 7860
_M_MMAP_THRESHOLD = -3  # as in glibc's malloc.h
_LARGE = 8 * 2**20  # bytes, less than the blocks that Pillow keeps a large photo in


def provide_caches(folder: Path) -> None:
    """Have libraries keep their caches in a folder if the user's own place for them can't be written.

    It must run before they are imported. Models that lie in a read-only cache are still used from there.
    """
    # Unlike this function, Path.expanduser raises where the home isn't known.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    if not _is_writable(cache):
        if (hub := cache / "huggingface").is_dir():
            os.environ.setdefault("HF_HOME", str(hub))
        os.environ["XDG_CACHE_HOME"] = str(folder)
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def _is_writable(folder: Path) -> bool:
    """Whether a folder, made first if need be, can be written; a relative one stands for a home that isn't known."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def return_freed_memory() -> None:
    """Have glibc give the memory of a large photo back to the system once it is freed, rather than keep it for later.

    Otherwise each thread that decodes may keep hundreds of megabytes. Other systems' allocators stay as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def has_screen() -> bool:
    """Whether a browser can be opened here: not on a Space, nor on a server without a display."""
    if os.environ.get("SPACE_ID"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def requested_port() -> int | None:
    """The port that GRADIO_SERVER_PORT names, if it does.

    Raises:
        LandmarkError: it isn't the number of a port.
    """
    text = os.environ.get("GRADIO_SERVER_PORT")
    if text is not None and not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise LandmarkError(f"GRADIO_SERVER_PORT is {text!r}, which isn't a port: a number from 1 to 65535.")
    return int(text) if text else None


def server_name(host: str | None) -> str | None:
    """GRADIO_SERVER_NAME as gradio takes it: an IPv6 address in brackets."""
    return f"[{host}]" if host and ":" in host and not host.startswith("[") else host or None


def seconds_on_gpu(*arguments: Any) -> int:
    """How long a call with these arguments may hold the GPU that ZeroGPU lends it, in seconds, by its number of photos.

    A visitor must have so much of the day's quota left; a shorter call waits less, a longer one may be ended.
    """
    lists = [getattr(argument, "files", argument) for argument in arguments]
    return 10 + max([1, *(len(photos) for photos in lists if isinstance(photos, list | tuple))]) // 4


def check_address(host: str | None = None, port: int | None = None) -> None:
    """Check that the page can be opened at a GRADIO_SERVER_NAME, if there is one, and a port, if one is given.

    Raises:
        LandmarkError: it can't, and why.
    """
    host = host or _DEFAULT_HOST
    number = port or requested_port() or _DEFAULT_PORT
    try:
        found = socket.getaddrinfo(host.strip("[]"), number, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LandmarkError(
            f"GRADIO_SERVER_NAME is {host!r}, which doesn't resolve to an address ({reason(error)}); "
            "name one of this machine's, such as 127.0.0.1, or 0.0.0.0 for all of them."
        ) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                return  # the next free port is opened
            raise LandmarkError(f"The page can't be opened: {_why_closed(error, host, number)}.") from None


def _why_closed(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken; choose another with --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not open port {port} ({reason(error)}); choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"GRADIO_SERVER_NAME is {host!r}, which isn't an address of this machine"
    return f"{host}, port {port}: {reason(error)}"
