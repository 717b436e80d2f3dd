"""A script that runs in the browser before gradio's own: it picks the language of the page.

launch(app_kwargs={"middleware": [Middleware(FirstScript)]})
"""

import json

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landmark_models.page.languages import LANGUAGES, deferred, in_language
from landmark_models.page.theme import asset

# The page's title, and what gradio's components have in English only: tooltips, names for screen readers, a few texts.
_ENGLISH_ONLY = (
    deferred("Which landmark is this?"),
    deferred("Capture from camera"),
    deferred("capture photo"),
    deferred("Click to Access Webcam"),
    deferred("Click to upload or drop files"),
    deferred("Close"),
    deferred("Code input container"),
    deferred("Connection Lost"),
    deferred("Copy"),
    deferred("Copy table data"),
    deferred("Dismiss"),
    deferred("Download"),
    deferred("Enter text to search the table"),
    deferred("Exit fullscreen mode"),
    deferred("File upload"),
    deferred("Fold line"),
    deferred("Fullscreen"),
    deferred("grant webcam access"),
    deferred("Gradio footer navigation"),
    deferred("logo"),
    deferred("More tabs"),
    deferred("Open cell menu"),
    deferred("Paste from clipboard"),
    deferred("processing |"),
    deferred("Remove Image"),
    deferred("Remove this file"),
    deferred("Search..."),
    deferred("select input source"),
    deferred("select source"),
    deferred("Table actions"),
    deferred("Upload file"),
    deferred("Unfold line"),
    deferred("Uploading"),
)


def _head() -> bytes:
    texts = {code: {text: in_language(code)(text) for text in _ENGLISH_ONLY} for code in LANGUAGES}
    script = asset("first_script.js").strip()
    return f"<head><script>({script})({json.dumps(texts)})</script>".encode()


class FirstScript:
    """Puts `first_script.js` at the top of HTML pages; gradio adds what `launch` gets as `head` too late."""

    def __init__(self, app: ASGIApp):
        self._app, self._head = app, _head()

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
                message["body"] = body.replace(b"<head>", self._head, 1)
                headers = MutableHeaders(raw=start["headers"])
                if "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + len(message["body"]) - len(body))
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, send_with_script)
