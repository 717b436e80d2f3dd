"""The tabs of landmarks and about the model, in a real Chromium."""

import pytest
from helpers.pages import DESK, PHONE, fits

pytestmark = pytest.mark.browser


def test_a_landmark_is_searched_and_chosen(open_page, famous_url, width):
    page = open_page(famous_url, width)
    page.get_by_role("tab", name="Landmarks").click()
    known = page.locator("#known")
    other = known.get_by_role("gridcell", name="Dead Sea")
    other.wait_for()
    page.locator("#known-query").get_by_label("Search").fill("tour eiffel")  # an alias, which the table doesn't show
    other.wait_for(state="detached")
    known.get_by_role("gridcell", name="Paris, France").click()  # any cell of its row
    card = page.locator("#landmark")
    card.get_by_role("heading", name="Eiffel Tower").wait_for()
    assert card.get_by_role("link", name="Map").get_attribute("href").startswith("https://www.openstreetmap.org/")
    page.wait_for_function("document.querySelector('#landmark h2').getBoundingClientRect().bottom <= innerHeight")
    for cell in known.get_by_role("gridcell").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert fits(page)


@pytest.mark.parametrize(
    ("name", "text"),
    [("eiffel+tower", "Eiffel Tower"), ("%3Cimg+src%3Dx%3E", "isn't one of these")],
    ids=["known", "not"],
)
def test_an_address_opens_the_card_of_its_landmark(open_page, famous_url, name, text):
    page = open_page(famous_url, PHONE)
    page.goto(f"{famous_url}?landmark={name}")
    page.locator("#landmark").get_by_text(text).wait_for()
    assert page.get_by_role("tab", name="Landmarks").get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_model_is_described_with_code_to_paste(open_page, url, width):
    page = open_page(url, width)
    page.get_by_role("tab", name="About").click()
    page.get_by_text("knows 3 landmarks").wait_for()
    for snippet in (f'client = Client("{url.rstrip("/")}")', f"API={url}gradio_api", f'"{url}gradio_api/mcp/"'):
        page.get_by_text(snippet).wait_for()
    assert page.get_by_label("Copy").count() == 3
    assert fits(page)
