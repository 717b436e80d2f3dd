"""The page as a person with one photo uses it, in a real Chromium, on a phone's screen or on both."""

import base64
import contextlib
import io
import json
import threading

import pytest
from helpers.pages import DESK, PHONE
from helpers.photos import RED_HEIC, noisy_photo
from PIL import Image
from playwright.sync_api import TimeoutError

from landmark_models.page import handlers

pytestmark = pytest.mark.browser


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
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def tab_to(page, locator) -> None:
    for _ in range(60):
        if locator.evaluate("element => element.contains(document.activeElement)"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{locator} is not reached by the keyboard")


def test_a_photo_is_named_and_shown(open_page, url, width, photo):
    page = open_page(url, width)
    captions = "[...document.querySelectorAll('.gallery-item')].map(item => getComputedStyle(item, '::after').content)"
    assert page.evaluate(captions) == ['"Eiffel Tower"', '"A lion: not a landmark"']
    assert page.get_by_role("button", name="Why?").is_disabled()
    give(page, photo, "Red Tower")
    assert page.locator("#card").get_by_text("Best match of the 3 landmarks known here.").is_visible()
    assert page.locator("#card").get_by_text("Score ").is_visible()
    page.locator("#photo img[alt^='Photo of']").wait_for()
    before = shown(page).get_attribute("src")
    assert before.split("?")[0].endswith((".jpeg", ".jpg"))
    assert fits(page)
    page.get_by_role("button", name="Eiffel Tower").click()  # an example
    page.wait_for_function("before => document.querySelector('#photo img')?.src !== before", arg=before)
    page.locator("#card h2").wait_for()


def test_a_heic_photo_and_a_sideways_one_are_shown(page, tmp_path):
    (tmp_path / "photo.heic").write_bytes(base64.b64decode(RED_HEIC))
    give(page, tmp_path / "photo.heic")
    before = shown(page).get_attribute("src")
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    noisy_photo((200, 40, 40), 1, (320, 240)).save(tmp_path / "sideways.jpg", exif=exif)
    page.get_by_label("Remove Image").click()
    page.set_input_files("#photo input[type=file]", tmp_path / "sideways.jpg")
    page.wait_for_function(
        """before => {
          const image = document.querySelector('#photo img');
          return image && image.src !== before && image.naturalWidth > 0 && image.naturalWidth < image.naturalHeight;
        }""",
        arg=before,
    )


def test_a_photo_of_a_few_pixels_fills_its_frame(page, tmp_path):
    noisy_photo((200, 40, 40), 1, (32, 32)).save(tmp_path / "tiny.png")
    give(page, tmp_path / "tiny.png", "Red Tower")
    page.locator("#why").click()
    page.locator("#reason img").wait_for()
    for place in ("#photo", "#reason"):
        image = page.locator(f"{place} img").first
        assert image.evaluate("image => image.naturalWidth") == 32
        assert image.evaluate("image => getComputedStyle(image).objectFit") == "contain"
        assert image.bounding_box()["height"] > 200


@pytest.mark.parametrize("kind", ["", "image/heic"], ids=["of no kind to the browser", "heic"])
def test_a_dropped_photo_is_named(page, kind):
    """Where nothing is installed for HEIC, a browser says of such a file that it is of no kind."""
    page.evaluate(
        """([content, kind]) => {
          const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], 'phone.heic', {type: kind}));
          const zone = document.querySelector('#photo button[aria-label^=Drop]');
          zone.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        [RED_HEIC, kind],
    )
    page.locator("#card h2").wait_for()
    assert page.get_by_text("Invalid file type").count() == 0


def test_a_pasted_photo_is_named(page, photo):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    content = io.BytesIO()
    Image.open(photo).save(content, "PNG")
    page.evaluate(
        """async data => {
          const blob = await (await fetch(data)).blob();
          await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
        }""",
        f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}",
    )
    named = page.locator("#card h2").filter(has_text="Red Tower")
    with contextlib.suppress(TimeoutError):  # on a busy machine a click may come before the page listens
        page.get_by_label("Paste from clipboard").click()
        named.wait_for(timeout=10_000)
    if not named.is_visible():
        page.get_by_label("Paste from clipboard").click()
    named.wait_for()


def test_the_camera_takes_a_photo(page):
    page.context.grant_permissions(["camera"])
    page.get_by_label("Capture from camera").click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.get_by_label("capture photo").click()
    page.locator("#card h2").wait_for()


def test_candidates_are_a_click_away_by_proper_name_and_fewer_on_request(famous, photo):
    give(famous, photo, "Eiffel Tower")
    famous.get_by_role("button", name="Candidates").click()
    bars = famous.get_by_test_id("label-output-value").locator("xpath=..")
    bars.filter(has_text="Dead Sea").wait_for()
    assert all(name in bars.inner_text() for name in ("Eiffel Tower", "Forth Bridge", "Dead Sea"))
    # The answer to an earlier number of candidates, if there were several at once, would come after the last one's.
    famous.evaluate(
        """() => {
          const ask = window.fetch;
          let delay = 2000;
          window.fetch = async (...request) => {
            const answer = await ask(...request);
            await new Promise(done => setTimeout(done, delay = Math.max(delay - 500, 0)));
            return answer;
          };
        }"""
    )
    slider = famous.get_by_role("slider", name="Candidates")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowLeft")
    famous.locator("#answer").get_by_text("Dead Sea").wait_for(state="detached")
    famous.wait_for_timeout(2000)
    assert famous.locator("#answer").get_by_text("Dead Sea").count() == 0


def test_tags_are_copied_with_one_click_or_by_the_keyboard(famous, photo):
    page = famous
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    give(page, photo, "Eiffel Tower")
    card = page.locator("#card")
    card.get_by_role("button", name="#EiffelTower").click()
    card.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "#EiffelTower"
    page.locator("h1").click()
    tab_to(page, page.get_by_role("button", name="#TourEiffel"))
    page.keyboard.press("Enter")
    page.wait_for_function("navigator.clipboard.readText().then(text => text === '#TourEiffel')")
    card.get_by_role("button", name="Copied").first.wait_for(state="detached")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as on http:// in a LAN
    card.get_by_role("button", name="Copy all").click()
    card.get_by_role("button", name="Copied").wait_for()
    page.evaluate("document.querySelector('h1').outerHTML += '<textarea id=pad></textarea>'")
    page.locator("#pad").press("Control+V")
    assert page.locator("#pad").input_value() == "#EiffelTower #TourEiffel #Paris #France"


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
    card = frame.locator("#card")
    card.get_by_role("button", name="#EiffelTower").click()
    card.get_by_role("button", name="Copied").wait_for()
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pad'}))")
    page.locator("#pad").press("Control+V")
    assert page.locator("#pad").input_value() == "#EiffelTower"


def test_where_nothing_can_be_copied_the_text_is_selected(famous, photo):
    give(famous, photo, "Eiffel Tower")
    famous.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false"
    )
    famous.locator("#card").get_by_role("button", name="#EiffelTower").click()
    field = famous.locator("#card").get_by_role("textbox", name="Select and copy")
    assert field.input_value() == "#EiffelTower"
    assert field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == "#EiffelTower"
    assert fits(famous)
    famous.locator("h1").click()
    field.wait_for(state="detached")


def saved(page, link: str) -> str:
    with page.expect_download() as download:
        page.locator("#card").get_by_role("link", name=link, exact=True).click()
    return download.value.path().read_text(encoding="utf-8")


def test_files_are_saved_and_the_map_loads_on_a_click_only(famous, photo):
    famous.route("https://www.openstreetmap.org/**", lambda route: route.fulfill(body="<p>a map</p>"))
    give(famous, photo, "Eiffel Tower")
    annotations = json.loads(saved(famous, "JSON"))["landmarkAnnotations"]
    assert (annotations[0]["description"], annotations[0]["mid"]) == ("Eiffel Tower", "Q243")
    camera = "\n      <exif:GPSLatitude>"  # not inside the location shown
    assert camera not in saved(famous, "XMP sidecar")
    assert camera in saved(famous, "XMP with position")
    assert not famous.strangers
    famous.get_by_role("button", name="Show the map").click()
    famous.frame_locator("iframe[title=Map]").get_by_text("a map").wait_for()
    (request,) = famous.strangers
    assert request.startswith("https://www.openstreetmap.org/export/embed.html?bbox=")
    famous.strangers.clear()
    assert fits(famous)


def test_nothing_moves_when_the_answer_comes(open_page, famous_url, width, photo):
    famous = open_page(famous_url, width)

    def places():
        boxes = [famous.locator(part).bounding_box() for part in ("h1", "#photo", "#card", "#why")]
        return [(round(box["x"]), round(box["y"]), round(box["width"])) for box in boxes]

    before = places()
    give(famous, photo, "Eiffel Tower")
    famous.locator("#why:not([disabled])").wait_for()
    assert places() == before


CONTRAST = """selector => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const element = document.querySelector(selector);
  let behind = element;
  while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1) behind = behind.parentElement;
  const pair = [light(rgb(getComputedStyle(element).color)), light(rgb(getComputedStyle(behind).backgroundColor))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_readable_in_light_and_dark(open_page, famous_url, photo, theme):
    """WCAG 2.2 asks for a contrast of 4.5 to 1, and 3 to 1 for large text."""
    page = open_page(famous_url, PHONE, color_scheme=theme)
    give(page, photo, "Eiffel Tower")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 384) == (theme == "dark"), background
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_role("tab", name="Photo").click()
        for part in ("#card h2", "#card .lead", "#card .chips button", "#card .links a"):
            assert page.evaluate(CONTRAST, part) >= 4.5, part
        page.get_by_role("tab", name="Many").click()
        page.locator("#photos").wait_for()
        assert page.evaluate(CONTRAST, "button.primary") >= 4.5
        page.get_by_role("tab", name="Landmarks").click()
        page.locator("#known").wait_for()
        assert page.evaluate(CONTRAST, "#known td") >= 4.5


def test_the_keyboard_alone_suffices(open_page, famous_url, width):
    """Tab and Enter reach the tabs, the example, the tags, the files, the explanation and the candidates."""
    page = open_page(famous_url, width)
    for name, part in (("Many", "#photos"), ("Landmarks", "#known"), ("Photo", "#photo")):
        tab_to(page, page.get_by_role("tab", name=name))
        page.keyboard.press("Enter")
        page.locator(part).wait_for()
        page.locator("h1").click()
    tab_to(page, page.get_by_role("button", name="A lion: not a landmark"))
    page.keyboard.press("Enter")
    page.locator("#card h2").wait_for()
    page.locator("h1").click()
    tab_to(page, page.locator("#card").get_by_role("link").first)
    tab_to(page, page.locator("#why"))
    page.keyboard.press("Enter")
    page.locator("#reason img").wait_for()
    tab_to(page, page.get_by_role("button", name="Candidates"))


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
        self.release.wait(10)
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


def test_a_removed_photo_stays_away(page, photo, hold):
    gate = hold("read_photo", photo)
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#card").get_by_text("processing").wait_for()
    assert gate.reached.wait(30)
    with cancelled(page):
        page.get_by_label("Remove Image").click()
    gate.finish(page)
    assert page.locator("#photo img").count() == 0
    assert page.locator("#card").inner_text().strip() == "The answer will appear here."


def test_an_explanation_does_not_come_with_another_photo(page, photo, hold):
    give(page, photo, "Red Tower")
    gate = hold("explain")
    page.locator("#why:not([disabled])").click()
    assert gate.reached.wait(30)
    with cancelled(page):
        page.get_by_role("button", name="A lion: not a landmark").click()
    page.locator("#card h2").wait_for()
    gate.finish(page)
    assert page.locator("#reason img").count() == 0


def test_a_photo_has_alt_text_before_and_after_its_answer(page, photo, hold):
    gate = hold("read_photo", photo)
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#photo img[alt='Your photo']").wait_for()
    gate.release.set()
    page.locator("#photo img[alt^='Photo of']").wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_role("button", name="A lion: not a landmark").click()
    page.locator("#photo img[alt='Your photo']").wait_for()


def test_an_untrusted_label_is_only_text(open_page, hostile_url, photo):
    page = open_page(hostile_url, DESK)
    page.on("dialog", lambda dialog: page.failures.append(dialog.message))
    give(page, photo, "<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Candidates").click()
    page.locator("#answer").get_by_text("onerror").first.wait_for()
    page.get_by_role("tab", name="Landmarks").click()
    page.locator("#known").get_by_text("onerror").locator("visible=true").first.wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_a_text_file_named_jpg_is_refused_and_the_page_still_works(page, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    give(page, tmp_path / "letter.jpg", "This photo can't be read")
    page.locator("#card").get_by_text("letter.jpg is not an image that can be read").wait_for()
    assert page.get_by_role("button", name="Why?").is_disabled()
    noisy_photo((40, 40, 200), 7).save(tmp_path / "lake.png")
    page.set_input_files("#photo input[type=file]", tmp_path / "lake.png")
    page.locator("#card h2").filter(has_not_text="can't be read").wait_for()
