"""Pages, read as a browser or a client of the API would."""

import html
from html.parser import HTMLParser

import httpx

PHONE, DESK = 390, 1440  # widths of a screen, px


class Reader(HTMLParser):
    """What a browser makes of a page: its tags with their attributes, and its text."""

    def __init__(self, content: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def post(url, photo, top_k=3) -> str:
    """What the endpoint answers over plain HTTP."""
    event = httpx.post(f"{url}gradio_api/call/predict", json={"data": [photo, top_k]}).json()["event_id"]
    return html.unescape(httpx.get(f"{url}gradio_api/call/predict/{event}", timeout=30).text)
