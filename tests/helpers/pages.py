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


# In a real browser, with a `page` of Playwright's:


def give(page, photo, name=None) -> None:
    """Choose a photo, and wait for its answer; by name where a certain one has to come."""
    page.set_input_files("#photo input[type=file]", photo)
    heading = page.locator("#card h2")
    (heading.filter(has_text=name) if name else heading).wait_for()


def shown(page):
    """The photo beside the answer, loaded."""
    image = page.locator("#photo img[alt]")
    image.wait_for()
    page.wait_for_function("document.querySelector('#photo img').naturalWidth > 0")
    return image


def fits(page) -> bool:
    """Whether nothing reaches beyond the screen's sides."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def tab_to(page, locator) -> None:
    """Go to an element by the Tab key."""
    for _ in range(60):
        if locator.evaluate("element => element.contains(document.activeElement)"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{locator} is not reached by the keyboard")


def open_tab(page, name: str) -> None:
    """Open one of the page's tabs."""
    page.get_by_role("tab", name=name, exact=True).click()
