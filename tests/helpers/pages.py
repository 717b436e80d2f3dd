"""Pages, read as a browser or a client of the API would."""

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


def call(url: str, endpoint: str, *arguments) -> str:
    """What an endpoint answers over plain HTTP, its texts as a client decodes them."""
    event = httpx.post(f"{url}gradio_api/call/{endpoint}", json={"data": arguments}).json()["event_id"]
    return httpx.get(f"{url}gradio_api/call/{endpoint}/{event}", timeout=30).text


def post(url: str, photo, top_k=3) -> str:
    """What `/predict` answers over plain HTTP."""
    return call(url, "predict", photo, top_k)
