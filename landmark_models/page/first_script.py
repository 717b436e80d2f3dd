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
    """Puts `first_script.js` at the top of the page; gradio adds what `launch` gets as `head` too late."""

    def __init__(self, app: ASGIApp):
        self._app, self._head = app, _head()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only the page itself: what visitors upload may be HTML, too.
        of_the_page = scope.get("path", "").removeprefix(scope.get("root_path", "")) in ("", "/")
        await self._app(scope, receive, self._with_script(send) if of_the_page else send)

    def _with_script(self, send: Send) -> Send:
        start: Message | None = None  # held back, since it states the length of a page
        held = b""  # of the page, until its head has come

        async def send_with_script(message: Message) -> None:
            nonlocal start, held
            if message["type"] == "http.response.start":
                if MutableHeaders(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                    start = message
                    return
            elif start:
                held += message.get("body", b"")
                if b"<head>" not in held and message.get("more_body", False):
                    return
                body = held.replace(b"<head>", self._head, 1)
                headers = MutableHeaders(raw=start["headers"])
                if "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + len(body) - len(held))
                await send(start)
                start, message = None, {**message, "body": body}
            await send(message)

        return send_with_script
