"""A script that runs in the browser before gradio's own, since gradio then picks the language of the page.

launch(app_kwargs={"middleware": [Middleware(FirstScript)]})
"""

import json
from importlib.resources import files

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landmark_models.page.languages import LANGUAGES

_SCRIPT = files(__package__).joinpath("first_script.js").read_text(encoding="utf-8").strip()
_HEAD = f"<head><script>({_SCRIPT})({json.dumps(LANGUAGES)})</script>".encode()


class FirstScript:
    """Puts `first_script.js` at the top of HTML pages; gradio adds what `launch` gets as `head` too late."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None  # held back, since it states the length of a page

        async def send_with_script(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/html"):
                    start = message
                    return
            elif start:
                body = message["body"]
                message["body"] = body.replace(b"<head>", _HEAD, 1)
                headers = MutableHeaders(raw=start["headers"])
                if "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + len(message["body"]) - len(body))
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, send_with_script)
