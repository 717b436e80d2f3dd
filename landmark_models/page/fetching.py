"""Photos that clients, such as MCP agents, name by address: fetched from public hosts only, limited in size and time.

Gradio itself would download any address that a client names, at any size.
"""

import asyncio
import ipaddress
import tempfile
from pathlib import Path, PurePosixPath

import httpx
from gradio import processing_utils
from gradio_client.utils import strip_invalid_filename_characters
from safehttpx import matches_domain_whitelist

from landmark_models import __version__
from landmark_models.page.refusals import PageError
from landmark_models.photo import MAX_BYTES

_TIMEOUT = 20.0  # seconds for the whole photo, with all redirects
_MAX_REDIRECTS = 10
_INSTEAD = "please upload the photo instead"
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"landmark-models/{__version__}"}


def guard_fetching() -> None:
    """Have gradio fetch photos by `fetch`, in the whole process."""
    processing_utils.async_ssrf_protected_download = fetch


async def fetch(url: str, cache_dir: str) -> str:
    """Fetch the photo at an address that a stranger gives; the result is its file, in a new folder under `cache_dir`.

    Raises:
        PageError: the address isn't valid, its host isn't public or doesn't answer in time, or it sends something that
            isn't accepted.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            content = await _get(url)
    except PageError:
        raise
    except TimeoutError:
        raise PageError(f"The photo at this address did not arrive within {_TIMEOUT:.0f} s; {_INSTEAD}.") from None
    except (httpx.HTTPError, OSError):
        raise PageError(f"The photo's address can't be reached; {_INSTEAD}.") from None
    except (httpx.InvalidURL, ValueError):  # what httpx, the resolver and ipaddress can't read
        raise PageError(f"The photo's address isn't a valid one; {_INSTEAD}.") from None
    name = strip_invalid_filename_characters(PurePosixPath(httpx.URL(url).path).name) or "photo"
    file = Path(tempfile.mkdtemp(dir=cache_dir), name)
    await asyncio.to_thread(file.write_bytes, content)
    return str(file)


async def _get(address: str) -> bytes:
    url = httpx.URL(address)
    for _ in range(1 + _MAX_REDIRECTS):
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise PageError(f"A photo's address starts with http:// or https:// and holds no password; {_INSTEAD}.")
        request = await _to_public_host(httpx.Request("GET", url, headers=_HEADERS))
        async with httpx.AsyncHTTPTransport() as transport:
            response = await transport.handle_async_request(request)
            if not response.has_redirect_location:
                return await _body(response)
            url = url.join(response.headers["Location"])
    raise PageError(f"The photo's address leads on more than {_MAX_REDIRECTS} times; {_INSTEAD}.")


async def _body(response: httpx.Response) -> bytes:
    """What a host sends, if it is accepted."""
    if response.status_code != 200:
        raise PageError(f"The photo's address answers with status {response.status_code}; {_INSTEAD}.")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise PageError(f"The server at this address sends the photo compressed, which isn't supported; {_INSTEAD}.")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise PageError(f"The photo at this address is larger than {MAX_BYTES >> 20} MiB.")
    return bytes(body)


async def _to_public_host(request: httpx.Request) -> httpx.Request:
    """The request, sent to the very IP address that was checked, even if the host's name resolves anew in between."""
    host = request.url.host
    # On a Space, the Hub's own names resolve to addresses inside it.
    trusted = matches_domain_whitelist(host, processing_utils.PUBLIC_HOSTNAME_WHITELIST)
    for *_, address in await asyncio.get_running_loop().getaddrinfo(host, None):
        if trusted or _is_public(str(address[0])):
            headers = {**request.headers, "host": request.url.netloc.decode(), "accept-encoding": "identity"}
            url = request.url.copy_with(host=str(address[0]))
            extensions = {**request.extensions, "sni_hostname": host}
            return httpx.Request(request.method, url, headers=headers, extensions=extensions)
    raise OSError(f"{host} is not public.")


def _is_public(address: str) -> bool:
    """Whether an IP address is on the public internet: not this machine, its network, nor a tunnel to either."""
    ip = ipaddress.ip_address(address)
    tunnel = isinstance(ip, ipaddress.IPv6Address) and (ip.sixtofour or ip.teredo or ip.ipv4_mapped or ip.is_site_local)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or tunnel)
