"""What strangers send the page: uploaded files, photos at an address, and that all of it is deleted again.

uploaded_file(photo, folder)  # the path of what a component or a client sent
"""

import asyncio
import contextlib
import filecmp
import getpass
import ipaddress
import os
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from landmark_models.errors import PhotoError
from landmark_models.photo import MAX_BYTES

__all__ = ["KEPT", "PhotoTransport", "keep_sweeping", "original_name", "sweep", "upload_folder", "uploaded_file"]

KEPT = 1800.0  # seconds that an uploaded photo stays on the server, and at most ten minutes more
_PATIENCE = 20.0  # seconds for a photo at an address
_LATE = f"The photo at this address did not come within {_PATIENCE:.0f} s; upload the photo itself."


def upload_folder(parent: str | os.PathLike[str]) -> Path:
    """A folder for uploads that nobody else can read, and in which everything may be deleted.

    It is the same at the next start, so that what a killed page left is swept, too.
    """
    folder = Path(parent) / f"landmark-page-{getpass.getuser()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and (not hasattr(os, "getuid") or state.st_uid == os.getuid()):
            folder.chmod(0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix="landmark-page-"))  # somebody else's folder, or link, has that name


def uploaded_file(photo: Any, folder: Path) -> Path:
    """The file that a person uploaded into a folder, from what the page or a client sent: a mapping with its `path`.

    Gradio checks paths only in messages of its own form, so a path elsewhere on the server is refused here.

    Raises:
        PhotoError: there is none.
    """
    path = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise PhotoError("There is no photo; choose one first.")
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise PhotoError("This photo was not uploaded, or is gone; upload it (again).")
    return file


def original_name(photo: Any, file: Path) -> str:
    """What a person called a file that was uploaded."""
    name = photo.get("orig_name") if isinstance(photo, dict) else None
    name = name if isinstance(name, str) and name else file.name
    return name.encode("utf-8", "replace").decode()[-200:]


def sweep(folder: Path, keep: Sequence[Path] = (), older_than: float = KEPT) -> None:
    """Delete what people uploaded, and what was made of it, that is older than so many seconds.

    Gradio's own `delete_cache` misses files of components that an event has changed, and what came over MCP.

    Args:
        folder: where uploads go.
        keep: the page's own photos, of which Gradio has copies among the uploads.
        older_than: seconds.
    """
    limit = time.time() - older_than
    for file in sorted(folder.rglob("*"), reverse=True):  # a folder comes after what is in it
        with contextlib.suppress(OSError):
            own = any(file.name == photo.name and filecmp.cmp(file, photo, shallow=False) for photo in keep)
            if own or file.lstat().st_mtime >= limit:
                continue
            if file.is_dir() and not file.is_symlink():
                file.rmdir()  # which fails where it still holds something
            else:
                file.unlink()


def keep_sweeping(folder: Path, keep: Sequence[Path]) -> None:
    """Sweep now and every ten minutes, in the background."""

    def run() -> None:
        while True:
            sweep(folder, keep)
            time.sleep(600)

    threading.Thread(target=run, name="sweep", daemon=True).start()


class PhotoTransport(httpx.AsyncBaseTransport):
    """Fetches photos at addresses that strangers give: from public hosts alone, of limited size, in limited time.

    Gradio fetches what a client names by its address, such as an MCP client, whole and whatever its size.

    Args:
        error: the error to raise, from a sentence.
    """

    def __init__(self, error: Callable[[str], Exception] = PhotoError):
        self._error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request for a photo.

        Raises:
            PhotoError: the host is not public or does not answer, or what it sends is too large; as `error` makes it.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        transport = httpx.AsyncHTTPTransport()
        try:
            async with asyncio.timeout_at(deadline):
                response = await transport.handle_async_request(await _to_public_host(request))
        except TimeoutError:
            await transport.aclose()
            raise self._error(_LATE) from None
        except (httpx.HTTPError, OSError):
            await transport.aclose()
            raise self._error("The photo's address can't be reached; upload the photo itself.") from None
        stream = _LimitedStream(response.stream, transport, deadline, self._error)
        refused = ""
        if response.status_code != 200 and not response.has_redirect_location:
            refused = f"answers {response.status_code}"
        elif response.headers.get("Content-Encoding", "identity") != "identity":
            refused = "sends it packed"
        if refused:
            await stream.aclose()
            raise self._error(f"The photo's address {refused}; upload the photo itself.")
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


async def _to_public_host(request: httpx.Request) -> httpx.Request:
    """A request to the very address that was checked, whatever the host's name means a moment later.

    Raises:
        OSError: the host has no public address.
    """
    host = request.url.host
    for *_, address in await asyncio.get_running_loop().getaddrinfo(host, None):
        if _is_public(str(address[0])):
            headers = {**request.headers, "host": request.url.netloc.decode(), "accept-encoding": "identity"}
            url = request.url.copy_with(host=str(address[0]))
            extensions = {**request.extensions, "sni_hostname": host}
            return httpx.Request(request.method, url, headers=headers, extensions=extensions)
    raise OSError(f"{host} is not public.")


def _is_public(address: str) -> bool:
    """Whether an IP address is anybody's: neither this machine nor its network, nor a way around to them."""
    ip = ipaddress.ip_address(address)
    around = isinstance(ip, ipaddress.IPv6Address) and (ip.sixtofour or ip.teredo or ip.ipv4_mapped or ip.is_site_local)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or around)


class _LimitedStream(httpx.AsyncByteStream):
    """What a transport sends, up to `MAX_BYTES` and a deadline."""

    def __init__(
        self, stream: Any, transport: httpx.AsyncBaseTransport, deadline: float, error: Callable[[str], Exception]
    ):
        self._stream, self._transport, self._deadline, self._error = stream, transport, deadline, error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count, chunks = 0, aiter(self._stream)
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._error(_LATE) from None
            count += len(chunk)
            if count > MAX_BYTES:
                raise self._error(f"The photo at this address is larger than {MAX_BYTES >> 20} MiB.")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self._transport.aclose()
