"""The page as a person uses it, in a real Chromium."""

import base64
import shutil

import pytest
from conftest import noisy_photo
from PIL import Image
from test_photo import RED_HEIC

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=[390, 1440])
def page(browser, url, request):
    """The page at a phone's and at a desk's width; anything it asks of another host is an error."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    strangers, failures = [], []
    page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else strangers.append(r.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(url)
    page.get_by_text("Which landmark is this?").wait_for()
    yield page
    context.close()
    assert not strangers
    assert not failures


def named(page, text):
    """The name of the landmark, large."""
    return page.locator("#card h2").filter(has_text=text)


def test_a_dropped_photo_is_named_and_shown(page, photo):
    page.set_input_files("#photo input[type=file]", photo)
    named(page, "Red Tower").wait_for()
    assert page.locator("#card").get_by_text("%").first.is_visible()
    shown = page.locator("#photo img")
    shown.wait_for()
    assert shown.get_attribute("src").split("?")[0].endswith((".jpeg", ".jpg"))
    page.locator("#photo img[alt^='Photo of']").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_candidates_are_a_click_away_and_fewer_on_request(page, photo):
    page.set_input_files("#photo input[type=file]", photo)
    named(page, "Red Tower").wait_for()
    page.get_by_role("button", name="Candidates").click()
    bars = page.get_by_test_id("label-output-value").locator("xpath=..")
    bars.filter(has_text="Blue Lake").wait_for()
    assert all(name in bars.inner_text() for name in ("Red Tower", "Green Bridge", "Blue Lake"))
    slider = page.get_by_role("slider", name="Candidates")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowLeft")
    page.locator("#answer").get_by_text("Blue Lake").wait_for(state="detached")


def test_tags_are_copied_with_one_click_and_files_saved(page, photo):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_input_files("#photo input[type=file]", photo)
    named(page, "Red Tower").wait_for()
    page.locator("#card").get_by_role("button", name="#RedTower").click()
    page.locator("#card").get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "#RedTower"
    with page.expect_download() as download:
        page.locator("#card").get_by_role("link", name="XMP sidecar").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("<?xpacket")


def test_nothing_above_or_beside_the_answer_moves_when_it_comes(page, photo):
    def places():
        boxes = [page.locator(part).bounding_box() for part in ("#photo", "#card", "h1")]
        return [(round(box["x"]), round(box["y"]), round(box["width"])) for box in boxes]

    page.locator("#photo").wait_for()
    before = places()
    page.set_input_files("#photo input[type=file]", photo)
    named(page, "Red Tower").wait_for()
    assert places() == before


def test_the_keyboard_alone_suffices(page, photo):
    """Tab and Enter reach the example, the tag, the reason and the tabs."""

    def tab_to(locator):
        for _ in range(60):
            if locator.evaluate("element => element.contains(document.activeElement)"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{locator} is not reached by the keyboard")

    tab_to(page.get_by_role("button", name="tower").or_(page.locator(".gallery-item")).first)
    page.keyboard.press("Enter")
    page.locator("#card h2").wait_for()
    page.locator("h1").click()
    tab_to(page.locator("#card").get_by_role("link").first)
    tab_to(page.locator("#why"))
    page.keyboard.press("Enter")
    page.locator("#reason img").wait_for()


def test_why_shows_where_the_answer_comes_from(page, photo):
    assert page.get_by_role("button", name="Why?").is_disabled()
    page.set_input_files("#photo input[type=file]", photo)
    named(page, "Red Tower").wait_for()
    page.get_by_role("button", name="Why?").click()
    page.locator("#reason img").wait_for()


def test_many_photos_of_every_kind_make_a_table(page, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    noisy_photo((200, 40, 40), 1, (320, 240)).save(tmp_path / "sideways.jpg", exif=exif)
    Image.new("RGBA", (64, 64), (40, 40, 200, 128)).save(tmp_path / "alpha.png")
    (tmp_path / "letter.jpg").write_text("no photo")
    (tmp_path / "=cmd().jpg").write_bytes(photo.read_bytes())
    (tmp_path / "phone.heic").write_bytes(base64.b64decode(RED_HEIC))
    for index in range(35):
        noisy_photo((40, 200, 40), index).save(tmp_path / f"{index:02d}.jpg")
    page.get_by_role("tab", name="Many").click()
    page.set_input_files("#photos input[type=file]", sorted(tmp_path.iterdir()))
    page.locator("#photos").get_by_text("letter").first.wait_for()
    page.get_by_role("button", name="Recognise").click()
    table = page.locator("#table")
    table.get_by_text("40 photos: ").wait_for()
    assert table.locator("tbody tr").count() == 40
    table.get_by_text("letter.jpg is not an image").wait_for()
    assert table.locator("img").first.get_attribute("alt")
    with page.expect_download() as download:
        table.get_by_role("link", name="CSV").click()
    text = download.value.path().read_text()
    assert text.count("\n") == 41
    assert "'=cmd().jpg" in text
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_what_the_model_knows_is_listed_and_described(page):
    page.get_by_role("tab", name="Landmarks").click()
    known = page.locator("#known")
    known.get_by_text("Green Bridge").locator("visible=true").first.wait_for()
    known.get_by_placeholder("Search").fill("lake")
    known.get_by_text("Green Bridge").locator("visible=true").first.wait_for(state="detached")
    known.get_by_text("Blue Lake").locator("visible=true").first.wait_for()
    page.get_by_role("button", name="About the model").click()
    page.get_by_text("knows 3 landmarks").wait_for()


def test_the_example_answers_on_a_click(page):
    page.get_by_role("button", name="tower").or_(page.locator(".gallery-item")).first.click()
    page.locator("#card h2").wait_for()


def test_a_text_named_jpg_is_explained_and_the_page_goes_on(page, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    page.set_input_files("#photo input[type=file]", tmp_path / "letter.jpg")
    page.get_by_text("letter.jpg is not an image that can be read").wait_for()
    assert "Traceback" not in page.content()
    noisy_photo((40, 40, 200), 7).save(tmp_path / "lake.png")
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.set_input_files("#photo input[type=file]", tmp_path / "lake.png")
    page.locator("#card h2").wait_for()
