"""What a person does with the answer to a photo, in a real Chromium: candidates, heat map, tags, files, examples."""

import json
import threading

import pytest
from helpers.pages import DESK, PHONE, fits, give, shown, tab_to
from helpers.photos import noisy_photo

from landmark_models.page import handlers
from landmark_models.page.examples import BUNDLED

pytestmark = pytest.mark.browser

CAPTION, OTHER = "Not a landmark", "One it doesn't know"  # of examples


def test_candidates_are_shown_at_once_and_a_chosen_one_is_described(open_page, famous_url, width, photo):
    """By the mouse and by the keyboard; the tags are only ever those of the best."""
    page = open_page(famous_url, width, has_touch=width == PHONE)
    give(page, photo, "Eiffel Tower")
    candidates, card = page.locator("#candidates"), page.locator("#card h2")
    candidates.get_by_text("Eiffel Tower").wait_for()
    second = candidates.get_by_role("button").nth(1)
    name = second.locator("dt").inner_text()
    second.tap() if width == PHONE else second.click()
    card.filter(has_text=name).wait_for()
    page.locator("#card").get_by_text("Candidate 2").wait_for()
    assert page.get_by_role("button", name="Copy the tags").count() == 0
    candidates.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    card.filter(has_text="Eiffel Tower").wait_for()
    page.get_by_role("button", name="Copy the tags").wait_for()
    assert fits(page)


def test_the_heat_map_covers_the_photo_until_there_is_another(page, photo, tmp_path):
    give(page, photo, "Red Tower")
    before = shown(page).get_attribute("src")
    box = page.locator("#photo").bounding_box()
    toggle = page.get_by_label("Show where the model looked")
    toggle.focus()
    page.keyboard.press("Space")
    page.wait_for_function("before => document.querySelector('#photo img').src !== before", arg=before)
    heat = shown(page).get_attribute("src")
    assert page.locator("#photo").bounding_box() == box
    assert shown(page).get_attribute("alt").endswith("It is coloured where the model looked for Red Tower.")
    assert page.get_by_text("Grey: what the model didn't see").is_visible()
    page.locator("#candidates button").nth(1).click()  # has a heat map of its own
    page.wait_for_function("heat => document.querySelector('#photo img').src !== heat", arg=heat)
    toggle.click()
    page.wait_for_function("before => document.querySelector('#photo img').src === before", arg=before)
    assert page.get_by_text("Grey: what the model didn't see").is_hidden()
    toggle.click()
    noisy_photo((40, 40, 200), 7).save(tmp_path / "lake.png")
    page.get_by_label("Remove Image").click()
    give(page, tmp_path / "lake.png")
    assert not toggle.is_checked()


def test_tags_are_copied_with_one_click_or_by_the_keyboard(famous, photo):
    page, tags = famous, "#EiffelTower #TourEiffel #Paris #France"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    give(page, photo, "Eiffel Tower")
    page.locator("#details").get_by_text(tags).wait_for()
    button = page.get_by_role("button", name="Copy the tags")
    button.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == tags
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as on http:// in a LAN
    page.get_by_role("button", name="Copied").wait_for(state="detached")
    page.locator("h1").click()
    tab_to(page, button)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    page.evaluate("document.querySelector('h1').outerHTML += '<textarea id=pad></textarea>'")
    page.locator("#pad").press("Control+V")
    assert page.locator("#pad").input_value() == tags


def test_tags_are_copied_in_somebody_elses_page(open_page, url, famous_url, photo):
    """A frame of another site may not use the clipboard's own interface unless that site says so."""
    page = open_page(url, DESK)
    foreign = famous_url.replace("127.0.0.1", "localhost")
    page.own.append(foreign)
    page.evaluate(
        """address => {
          const frame = document.createElement('iframe');
          Object.assign(frame, {src: address, name: 'foreign', width: 1200, height: 1600});
          document.body.replaceChildren(frame);
        }""",
        foreign,
    )
    frame = page.frame_locator("iframe")
    frame.locator("#photo input[type=file]").set_input_files(photo)
    frame.get_by_role("button", name="Copy the tags").click()
    frame.get_by_role("button", name="Copied").wait_for()
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pad'}))")
    page.locator("#pad").press("Control+V")
    assert page.locator("#pad").input_value().startswith("#EiffelTower")


def test_where_nothing_can_be_copied_the_text_is_selected(famous, photo):
    give(famous, photo, "Eiffel Tower")
    famous.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false"
    )
    famous.get_by_role("button", name="Copy the tags").click()
    field = famous.get_by_role("textbox", name="Select and copy")
    assert field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)").startswith("#Eiffel")
    assert fits(famous)
    famous.locator("h1").click()
    field.wait_for(state="detached")


def saved(page, link: str) -> str:
    if not page.get_by_role("link", name=link, exact=True).is_visible():
        page.locator("summary").get_by_text("Save").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=link, exact=True).click()
    return download.value.path().read_text(encoding="utf-8")


def test_files_are_saved_from_one_menu_and_the_map_is_a_link(famous, photo):
    give(famous, photo, "Eiffel Tower")
    annotations = json.loads(saved(famous, "JSON"))["landmarkAnnotations"]
    assert (annotations[0]["description"], annotations[0]["mid"]) == ("Eiffel Tower", "Q243")
    camera = "\n      <exif:GPSLatitude>"  # not inside the location shown
    assert camera not in saved(famous, "XMP")
    assert camera in saved(famous, "XMP with position")
    famous.get_by_role("link", name="JSON", exact=True).focus()
    famous.keyboard.press("Escape")
    assert famous.get_by_role("link", name="JSON", exact=True).is_hidden()
    link = famous.get_by_role("link", name="Map")
    assert link.get_attribute("href").startswith("https://www.openstreetmap.org/")
    assert link.get_attribute("rel") == "noopener noreferrer"


def test_what_is_not_named_has_candidates_and_a_way_on(open_page, embedded_url):
    page = open_page(embedded_url, PHONE)
    page.get_by_role("button", name=CAPTION).click()
    page.locator("#card h2").filter(has_text="None that I know for sure").wait_for()
    page.locator("#candidates button").first.wait_for()
    assert page.locator("#details a[download]").count() == 0
    page.locator("#photo img[alt='A photo in which no landmark was recognised.']").wait_for()
    page.get_by_role("button", name="See all landmarks").click()
    page.locator("#known").wait_for()
    assert page.get_by_role("tab", name="Landmarks").get_attribute("aria-selected") == "true"


def test_the_embedded_model_answers_each_example_as_its_caption_says(open_page, embedded_url):
    page = open_page(embedded_url, DESK)
    buttons = page.locator("#examples button")
    captions = [text.strip() for text in buttons.all_inner_texts()]
    assert len(captions) >= 5
    assert captions[-1] == CAPTION
    for button, caption in zip(buttons.all(), captions, strict=True):
        button.click()
        named = "None that I know for sure" if caption in (CAPTION, OTHER) else caption
        page.locator("#card h2").filter(has_text=named).wait_for()


@pytest.fixture
def hold(monkeypatch):
    """Holds back one of the handlers' steps for a photo until it is released."""
    gates = []

    def hold(step: str, photo=None) -> Gate:
        gate = Gate(getattr(handlers, step), photo.read_bytes() if photo else None)
        monkeypatch.setattr(handlers, step, gate)
        gates.append(gate)
        return gate

    yield hold
    for gate in gates:
        gate.release.set()


class Gate:
    """A step that waits for a photo with this content, or any, until it is released."""

    def __init__(self, step, content: bytes | None):
        self.step, self.content = step, content
        self.reached, self.release, self.done = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, *arguments):
        file = next(argument for argument in arguments if hasattr(argument, "read"))
        data = file.read()
        file.seek(0)
        if self.content not in (None, data):
            return self.step(*arguments)
        self.reached.set()
        self.release.wait(60)
        try:
            return self.step(*arguments)
        finally:
            self.done.set()

    def finish(self, page) -> None:
        """Let the step end, and give the page the time to show what must not come."""
        self.release.set()
        assert self.done.wait(30)
        page.wait_for_timeout(700)


def cancelled(page):
    """Waits until the server has cancelled what the page was waiting for."""
    return page.expect_response(lambda response: response.url.endswith("/cancel"))


def test_the_last_photo_is_the_one_that_is_answered(page, photo, tmp_path, hold):
    gate = hold("read_photo", photo)
    noisy_photo((40, 40, 200), 7, (60, 90)).save(tmp_path / "lake.png")
    page.set_input_files("#photo input[type=file]", photo)
    page.get_by_label("Remove Image").click()
    page.set_input_files("#photo input[type=file]", tmp_path / "lake.png")
    page.locator("#card h2").wait_for()
    if gate.reached.is_set():  # or the photo was removed before it was sent
        gate.finish(page)
    assert page.locator("#card h2").filter(has_text="Red Tower").count() == 0
    assert shown(page).evaluate("image => image.naturalWidth / image.naturalHeight") == pytest.approx(60 / 90)


def test_a_second_photo_given_before_the_first_is_answered_is_the_one_that_counts(open_page, url, photo, hold):
    """Without the first one being removed: the later photo's answer comes first, and the earlier one's not at all.

    Also when the server is slow to cancel the earlier one.
    """
    page = open_page(url, DESK)
    cancelling = []
    page.route("**/cancel", lambda route: route.continue_() if cancelling else cancelling.append(route))
    first, second = hold("read_photo", photo), hold("read_photo", BUNDLED[-1].file)
    page.set_input_files("#photo input[type=file]", photo)
    assert first.reached.wait(30)
    page.get_by_role("button", name=CAPTION).click()
    page.wait_for_function("document.querySelector('#photo img')?.src.endsWith('lion.jpg')")
    assert second.reached.wait(30)
    with cancelled(page):
        cancelling[0].continue_()
    second.finish(page)
    page.locator("#card h2").wait_for()
    name = page.locator("#card h2").inner_text()
    first.finish(page)
    assert page.locator("#card h2").inner_text() == name
    assert shown(page).get_attribute("src").endswith("lion.jpg")


def test_a_removed_photo_stays_away(page, photo, hold):
    gate = hold("read_photo", photo)
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#photo img[alt]").wait_for()
    assert gate.reached.wait(30)
    with cancelled(page):
        page.get_by_label("Remove Image").click()
    gate.finish(page)
    assert page.locator("#photo img").count() == 0
    assert page.locator("#card h2").count() == 0


def test_a_heat_map_does_not_come_with_another_photo(page, photo, hold):
    give(page, photo, "Red Tower")
    gate = hold("explain")
    page.get_by_label("Show where the model looked").click()
    assert gate.reached.wait(30)
    with cancelled(page):
        page.get_by_role("button", name=CAPTION).click()
    page.wait_for_function("document.querySelector('#photo img')?.src.endsWith('lion.jpg')")
    page.locator("#card h2").wait_for()
    source = shown(page).get_attribute("src")
    gate.finish(page)
    assert shown(page).get_attribute("src") == source
    assert not page.get_by_label("Show where the model looked").is_checked()
