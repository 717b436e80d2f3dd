"""Photos that clients, such as MCP agents, name by address: fetched from public hosts only, limited in size and time.

Gradio itself would download any address that a client names, at any size.
"""

import asyncio
import ipaddress

import httpx
from gradio import processing_utils

from landmark_models.page.handlers import PageError
from landmark_models.photo import MAX_BYTES

_TIMEOUT = 20.0  # seconds for the whole photo
_INSTEAD = "please upload the photo instead"


def guard_fetching() -> None:
    """Have gradio fetch photos through a `PhotoTransport`, in the whole process."""
    processing_utils.async_transport = PhotoTransport()  # type: ignore[assignment]


class PhotoTransport(httpx.AsyncBaseTransport):
    """Fetches photos at addresses that strangers give."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request for a photo.

        Raises:
            PageError: the host isn't public, doesn't answer in time, or sends something that isn't accepted.
        """
        try:
            async with asyncio.timeout(_TIMEOUT), httpx.AsyncHTTPTransport() as transport:
                response = await transport.handle_async_request(await _to_public_host(request))
                return httpx.Response(response.status_code, headers=response.headers, content=await _body(response))
        except TimeoutError:
            raise PageError(f"The photo at this address did not arrive within {_TIMEOUT:.0f} s; {_INSTEAD}.") from None
        except (httpx.HTTPError, OSError):
            raise PageError(f"The photo's address can't be reached; {_INSTEAD}.") from None


async def _body(response: httpx.Response) -> bytes:
    """What a host sends, if it is accepted."""
    if response.status_code != 200 and not response.has_redirect_location:
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
    for *_, address in await asyncio.get_running_loop().getaddrinfo(host, None):
        if _is_public(str(address[0])):
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
