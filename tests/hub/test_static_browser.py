"""The page that runs in the browser, in a real Chromium; the runtime is npm's."""

import base64
import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.browsers import ARGUMENTS, CHROMIUM, opened_browser
from helpers.exif import ASCII, RATIONAL, gps_exif
from helpers.icc import DISPLAY_P3, profile
from helpers.images import encoded, landscape
from helpers.model_folders import renamed
from helpers.pages import DESK, PHONE, fits, tab_to
from helpers.photos import RED_HEIC, noisy_photo
from helpers.programs import absent
from helpers.runtimes import use_installed_runtime
from PIL import Image

from landmark_models import LandmarkClassifier
from landmark_models.files import sha256
from landmark_models.tagging.tags import CSV_COLUMNS, Tags
from train.benchmarks.web import ASK, START, served
from train.hub.static_space import HEADERS
from train.hub.web_page import write_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GPU_ARGUMENTS = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
RED = (200, 40, 40)  # what the model takes for the Eiffel Tower


@pytest.fixture(scope="module")
def site(famous_model, tmp_path_factory):
    """The page's folder."""
    folder = tmp_path_factory.mktemp("sites") / "page"
    with pytest.MonkeyPatch.context() as patch:
        use_installed_runtime(patch)
        write_page(str(famous_model), folder)  # the runtime is in the cache afterwards
    return folder


@pytest.fixture(scope="module")
def url(site):
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """Opens the page at an address, its model ready; in the end nobody else was asked and nothing has failed."""
    opened = []

    def open_at(url: str, width: int = PHONE, context=None, **options):
        context = context or browser.new_context(viewport={"width": width, "height": 844}, **options)
        page = context.new_page()
        page.strangers, page.failures = [], []
        context.on(
            "request", lambda r: None if r.url.startswith((url, "blob:", "data:")) else page.strangers.append(r.url)
        )
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.on("dialog", lambda dialog: page.failures.append(dialog.message))
        page.on("filechooser", lambda _: None)  # expect_file_chooser doesn't wait until choosers are intercepted
        opened.append(page)
        page.goto(url)
        page.locator("body[data-engine]").wait_for()
        return page

    yield open_at
    for page in opened:
        page.context.close()
        assert not page.strangers
        assert not page.failures


def give(page, *photos, name=None):
    """Choose photos, and wait for the answer to the first; by its name where a certain one has to come."""
    page.set_input_files("#choose", list(photos))
    heading = page.locator("#answer h2")
    (heading.filter(has_text=name) if name else heading).first.wait_for()


def saved(page, link: str) -> str:
    """The content of the file that a link of the menu saves."""
    if not page.locator(".menu[open]").count():
        page.locator("summary", has_text="Save").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=link, exact=True).click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_a_photo_is_named_tagged_and_saved_as_python_does(open_page, url, famous_model, photo):
    page = open_page(url, color_scheme="dark")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    give(page, photo, name="Eiffel Tower")
    answer = LandmarkClassifier.load(famous_model).predict(photo)
    tags = Tags.of(answer)
    page.get_by_text(answer.verdict, exact=True).wait_for()
    page.locator(".place", has_text="Tower · Paris, France").wait_for()
    assert page.locator(".candidates li").count() >= 2
    assert page.locator("#shown").get_attribute("alt") == tags.alt_text
    assert page.get_by_role("link", name="Map ↗").get_attribute("href") == tags.landmark.map_url
    page.get_by_role("button", name="Copy the tags").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == " ".join(tags.hashtags)
    assert saved(page, "XMP") == tags.xmp()
    assert saved(page, "XMP with position") == tags.xmp(camera_position=True)
    (annotations,) = json.loads(saved(page, "JSON")).values()
    for found, expected in zip(annotations, tags.annotations()["landmarkAnnotations"], strict=True):
        assert found.pop("score") == pytest.approx(expected.pop("score"), abs=0.02)
        assert found == expected
    assert fits(page)


def test_another_candidate_can_be_looked_at(open_page, url, photo):
    page = open_page(url, DESK)
    give(page, photo)
    page.locator(".candidates button").nth(1).click()
    page.get_by_text("Candidate 2 · ").wait_for()
    assert page.locator(".tags").count() == 0
    assert page.locator(".candidates button").nth(1).evaluate("button => button === document.activeElement")
    page.locator(".candidates button").first.click()
    page.locator("#answer h2", has_text="Eiffel Tower").wait_for()


def photos_of_many_kinds(folder: Path) -> list[Path]:
    """Small and large, upright and turned, with alpha, with a colour profile, grey."""
    folder.mkdir()
    blue = landscape((640, 432))  # as cameras have it, whole blocks of a JPEG
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = landscape((300, 500)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    contents = {
        "plain.jpg": encoded(blue, "JPEG", quality=95),
        "turned.jpg": encoded(blue, "JPEG", quality=95, exif=turned.tobytes()),
        "large.jpg": encoded(landscape((3000, 2001)), "JPEG", quality=95),
        "halved.jpg": encoded(landscape((500, 410)), "JPEG", quality=95),
        "large.png": encoded(landscape((1400, 900)), "PNG"),
        "clear.png": encoded(clear, "PNG"),
        "vivid.jpg": encoded(blue, "JPEG", quality=95, icc_profile=profile(DISPLAY_P3)),
        "grey.jpg": encoded(blue.convert("L"), "JPEG", quality=95),
        "tiny.webp": encoded(noisy_photo(RED, 1, (32, 24)), "WEBP", lossless=True),
        "red.jpg": encoded(noisy_photo(RED, 2, (800, 600)), "JPEG", quality=95),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def compare(page, photos: list[Path], classifier: LandmarkClassifier) -> list[float]:
    """The largest difference of a score for each photo; the best candidate and whether it is known are the same."""
    page.evaluate(START)
    differences = []
    for number, photo in enumerate(photos):
        answer, expected = page.evaluate(ASK, number), classifier.predict(photo, len(classifier.labels))
        scores = {candidate.label: candidate.score for candidate in expected}
        assert (answer["candidates"][0][0], answer["known"]) == (expected[0].label, expected.known), photo.name
        differences.append(max(abs(score - scores[label]) for label, score in answer["candidates"]))
    return differences


def test_it_answers_as_python_does_whatever_the_photo(open_page, site, famous_model, tmp_path):
    photos = photos_of_many_kinds(tmp_path / "photos")
    with served(site, photos) as url:
        differences = compare(open_page(url), photos, LandmarkClassifier.load(famous_model))
    assert max(differences) < 0.02, dict(zip([photo.name for photo in photos], differences, strict=True))


@pytest.mark.data
def test_the_embedded_model_answers_as_python_does(open_page, site, real_data, tmp_path):
    photos = sorted((real_data / "test").glob("*/*"))[::85]
    write_page("default", tmp_path / "page")
    with served(tmp_path / "page", photos) as url:
        differences = compare(open_page(url), photos, LandmarkClassifier.load("default"))
    assert len(photos) >= 10
    assert max(differences) < 0.02


@pytest.mark.nightly  # a GPU that the CPU plays takes its time
def test_a_gpu_answers_as_python_does(browser, site, famous_model, tmp_path):
    photos = photos_of_many_kinds(tmp_path / "photos")[:3]
    gpu = browser.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS[:1], *GPU_ARGUMENTS])
    context = gpu.new_context(service_workers="block")
    script = (site / "worker.js").read_text().replace("isFallbackAdapter", "isNone")  # the page would leave it alone
    context.route("**/worker.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    with served(site, photos) as url:
        page = context.new_page()
        page.goto(url)
        page.locator("body[data-engine]").wait_for(timeout=300_000)
        assert page.locator("body").get_attribute("data-engine") == "webgpu"
        assert max(compare(page, photos, LandmarkClassifier.load(famous_model))) < 0.02
    gpu.close()


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("size", "new", "crop"), [((97, 61), 40, 32), ((20, 31), 64, 64), ((64, 64), [33, 48], 32)])
def test_it_resizes_as_pillow_does(open_page, url, method, size, new, crop):
    image = landscape(size)
    width, height = (new[1], new[0]) if isinstance(new, list) else (int(new * side / min(size)) for side in size)
    expected = image.resize((width, height), getattr(Image.Resampling, method.upper()))
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    expected = np.asarray(expected.crop((left, top, left + crop, top + crop)))
    found = open_page(url).evaluate(
        """async ([data, width, height, input]) => {
          const {resized} = await import('./photo.js');
          return [...resized({data: Uint8ClampedArray.from(data), width, height}, input).data];
        }""",
        [np.asarray(image).ravel().tolist(), *size, {"size": [crop, crop], "resize": new, "filter": method}],
    )
    difference = np.abs(np.array(found).reshape(expected.shape) - expected)
    assert difference.max() <= 1  # Pillow weighs by whole numbers
    assert (difference > 0).mean() < 0.03


# Whether the browser has kept all that the page needs to answer.
KEPT = """async () => {
  const kept = (await (await caches.open('landmarks')).keys()).map(request => request.url);
  return ['index.html', 'model.onnx', '.wasm.gzip', '.mjs'].every(name => kept.some(url => url.includes(name)));
}"""


def test_the_second_visit_needs_no_server(open_page, browser, site, photo):
    context = browser.new_context()
    with served(site) as url:
        page = open_page(url, context=context)
        page.wait_for_function(KEPT)
    again = context.new_page()
    again.goto(url)
    give(again, photo, name="Eiffel Tower")
    again.reload()
    give(again, photo, name="Eiffel Tower")


def test_on_a_space_it_computes_with_threads(open_page, browser, site, photo):
    context = browser.new_context()
    with served(site, headers=HEADERS) as url:
        page = open_page(url, context=context)
        assert page.evaluate("crossOriginIsolated")
        page.wait_for_function(KEPT)
        page.reload()  # the files come from the cache now
        give(page, photo, name="Eiffel Tower")
        assert len(page.workers) > 1


def test_a_new_version_is_offered_and_only_what_has_changed_is_loaded(open_page, browser, site, tmp_path):
    folder = shutil.copytree(site, tmp_path / "page")
    with served(folder) as url:
        context = browser.new_context()
        page = open_page(url, context=context)
        page.wait_for_function(KEPT)
        index, worker = folder / "index.html", folder / "sw.js"
        before = sha256(index)
        index.write_text(index.read_text().replace("Which landmark is this?</h1>", "Which one is this?</h1>"))
        worker.write_text(worker.read_text().replace(before, sha256(index)))
        (folder / "model.onnx").unlink()  # it hasn't changed, so nobody asks for it
        page.reload()
        page.get_by_role("button", name="Change to it").click()
        page.locator("h1", has_text="Which one is this?").wait_for()
        page.locator("body[data-engine]").wait_for()


def test_what_cannot_be_read_is_refused_with_a_sentence(open_page, url, tmp_path):
    tall = encoded(Image.new("L", (10, 600)), "PNG")
    contents = {
        "phone.heic": (base64.b64decode(RED_HEIC), "is a HEIC photo, which this browser can't open; save it as JPEG."),
        "empty.jpg": (b"", "is empty (0 bytes)."),
        "letter.jpg": (b"Dear Sir", "is not an image that this browser can read"),
        "cut.png": (encoded(landscape(), "PNG")[:30], "is damaged and can't be decoded."),
        "tall.png": (tall, "has 10 x 600 pixels, more than 50 times as long as wide; crop it."),
        "scan.tif": (encoded(landscape(), "TIFF"), "is a TIFF image, which this browser can't open; save it as JPEG."),
        "vast.png": (encoded(Image.new("1", (20_000, 7_000)), "PNG"), "more than the 128 million that are accepted"),
    }
    page = open_page(url)
    for name, (content, sentence) in contents.items():
        (tmp_path / name).write_bytes(content)
        give(page, tmp_path / name, name="This photo can't be read")
        page.get_by_role("alert").get_by_text(f"{name} {sentence}" if sentence[0] != "m" else sentence).wait_for()


def test_the_box_of_a_photo_that_cannot_be_read_is_small_and_takes_another_one(open_page, url, photo, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    page = open_page(url)
    give(page, tmp_path / "letter.jpg", name="This photo can't be read")
    reason = page.get_by_role("alert").bounding_box()
    assert reason["y"] + reason["height"] < 500
    with page.expect_file_chooser() as chooser:
        page.locator("#hint").click()
    chooser.value.set_files(photo)
    page.locator("#answer h2", has_text="Eiffel Tower").wait_for()
    assert not page.locator("#hint").is_visible()
    page.locator("#shown").click()
    assert page.locator("#strip li").count() == 2


def test_the_card_of_a_model_is_linked(open_page, site, tmp_path):
    folder = shutil.copytree(site, tmp_path / "page")
    page_json, worker = folder / "page.json", folder / "sw.js"
    facts, before = json.loads(page_json.read_text()), sha256(page_json)
    facts["about"]["card"] = "https://huggingface.co/owner/name"
    page_json.write_text(json.dumps(facts))
    worker.write_text(worker.read_text().replace(before, sha256(page_json)))
    with served(folder) as url:
        page = open_page(url)
        page.locator("#about summary").click()
        link = page.get_by_role("link", name="The model on Hugging Face ↗")
        link.wait_for()
        assert [link.get_attribute(name) for name in ("href", "target", "rel")] == [
            "https://huggingface.co/owner/name",
            "_blank",
            "noopener noreferrer",
        ]


def test_labels_and_file_names_are_only_text(open_page, site, famous_model, photo, tmp_path):
    hostile = "<img src=x onerror=alert(1)>"
    model = renamed(famous_model, tmp_path / "hostile", {"Eiffel Tower": hostile})
    write_page(str(model), tmp_path / "page")
    named = tmp_path / "<img src=x onerror=alert(2)>.jpg"
    named.write_bytes(photo.read_bytes())
    (tmp_path / "<b>.jpg").write_text("no photo")
    with served(tmp_path / "page") as url:
        page = open_page(url)
        give(page, named, name=hostile)
        page.locator("#known summary").click()
        page.locator("#known li", has_text=hostile).wait_for()
        assert "&lt;img src=x" in saved(page, "XMP")
        give(page, tmp_path / "<b>.jpg", named, name="This photo can't be read")
        page.locator("#strip").get_by_text(hostile).last.wait_for()
        assert page.locator("img[src=x]").count() == 0


def test_several_photos_are_answered_one_after_another(open_page, url, photo, tmp_path):
    noisy_photo((40, 40, 200), 7).save(tmp_path / "lake.png")
    (tmp_path / "letter.jpg").write_text("no photo")
    page = open_page(url)
    give(page, photo, name="Eiffel Tower")
    assert not page.locator("#summary").is_visible()
    give(page, tmp_path / "lake.png", tmp_path / "letter.jpg", name="Dead Sea")  # they are added to the first
    strip = page.locator("#strip button")
    strip.nth(2).filter(has_text="Can't be read").wait_for()
    strip.nth(1).filter(has_text="Dead Sea").wait_for()
    page.get_by_role("status").get_by_text("2 of 3 named, 1 can't be read", exact=True).wait_for()
    assert strip.nth(2).inner_text().split("\n") == ["letter.jpg", "Can't be read"]
    strip.first.click()
    page.locator("#answer h2", has_text="Eiffel Tower").wait_for()
    assert strip.first.get_attribute("aria-pressed") == "true"
    assert fits(page)


# Whether the screen's edge cuts a tile of the strip, so that one sees that there are more.
CUT = """() => {
  const strip = document.querySelector('#strip'), edge = strip.getBoundingClientRect().right;
  const tiles = [...strip.children].map(tile => tile.getBoundingClientRect());
  return tiles.some(({left, right}) => edge - left > 15 && right - edge > 15);
}"""


def test_a_row_of_photos_looks_as_if_it_went_on_and_is_cleared(open_page, url, photo, tmp_path):
    page = open_page(url)
    give(page, *[photo] * 4, placed(photo, tmp_path / "far.jpg", 27, 78))
    page.get_by_role("status").get_by_text("4 of 5 named, 1 not recognised", exact=True).wait_for()
    for width in (320, 360, PHONE, 430):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate(CUT), width
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#choose").evaluate("input => input === document.activeElement")
    assert page.locator("#strip li, #answer *").count() == 0
    assert page.locator("#hint").is_visible()
    assert not page.locator("#several, #shown").filter(visible=True).count()
    give(page, photo, name="Eiffel Tower")
    assert page.locator("#strip li").count() == 1


def test_the_table_of_several_photos_is_pythons(open_page, url, famous_model, photo, tmp_path):
    named = tmp_path / '=1+1, "x".jpg'
    named.write_bytes(photo.read_bytes())
    grey = tmp_path / "grey.png"
    noisy_photo((128, 128, 128), 3).save(grey)
    (tmp_path / "letter.jpg").write_text("no photo")
    photos = [named, placed(photo, tmp_path / "far.jpg", 27, 78), placed(photo, tmp_path / "near.jpg", 49, 2), grey]
    page = open_page(url)
    give(page, *photos, tmp_path / "letter.jpg")
    page.locator("#strip").get_by_text("Can't be read").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save all as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
        *rows, unread = csv.DictReader(file)
    assert tuple(unread) == CSV_COLUMNS
    assert (unread["path"], unread["name"]) == ("letter.jpg", "")
    assert unread["error"].startswith("letter.jpg is not an image")
    classifier = LandmarkClassifier.load(famous_model)
    for row, each in zip(rows, photos, strict=True):
        expected = Tags.of(classifier.predict(each)).row(each.name)
        assert float(row.pop("score")) == pytest.approx(float(expected.pop("score")), abs=0.02)
        assert row == expected


GIVE = """([content, way]) => {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], 'red.jpg', {type: 'image/jpeg'}));
  const init = {dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true};
  document.body.dispatchEvent(way === 'drop' ? new DragEvent('drop', init) : new ClipboardEvent('paste', init));
}"""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted_anywhere(open_page, url, photo, way):
    page = open_page(url)
    page.evaluate(GIVE, [base64.b64encode(photo.read_bytes()).decode(), way])
    page.locator("#answer h2", has_text="Eiffel Tower").wait_for()


def test_it_works_by_the_keyboard_alone(open_page, url, photo):
    page = open_page(url, DESK)
    tab_to(page, page.locator("#choose"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    page.locator("#answer h2").wait_for()
    tab_to(page, page.locator(".candidates button").nth(1))
    page.keyboard.press("Enter")
    page.get_by_text("Candidate 2 · ").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    save = page.locator("summary", has_text="Save")
    tab_to(page, save)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="XMP", exact=True))
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Escape")
    assert save.evaluate("summary => summary === document.activeElement")
    tab_to(page, page.locator("#known summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Search"))
    page.keyboard.type("forth")
    assert page.locator("#known li:visible a").all_inner_texts() == ["Forth Bridge"]


def placed(photo: Path, file: Path, latitude: int, longitude: int) -> Path:
    """A copy of a photo that was taken somewhere, in whole degrees north and east."""
    degrees = [[(value, 1), (0, 1), (0, 1)] for value in (latitude, longitude)]
    exif = gps_exif((RATIONAL, degrees[0]), (ASCII, "N"), (RATIONAL, degrees[1]), (ASCII, "E"))
    Image.open(photo).save(file, exif=exif)
    return file


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_the_photos_own_position_counts(open_page, url, famous_model, photo, tmp_path, kind):
    page = open_page(url)
    far = placed(photo, tmp_path / f"far.{kind}", 27, 78)
    km = Tags.of(LandmarkClassifier.load(famous_model).predict(far)).distance_km
    give(page, far, name="Not sure")
    page.get_by_text(f"the photo itself says that it was taken {km:,.0f} km from there").wait_for()
    assert page.locator(".tags").count() == 0
    give(page, placed(photo, tmp_path / f"near.{kind}", 49, 2), name="Eiffel Tower")
    page.get_by_text("The photo's own position agrees: ").wait_for()
    page.locator("summary", has_text="Save").click()
    page.get_by_role("link", name="XMP", exact=True).wait_for()
    assert page.get_by_role("link", name="XMP with position").count() == 0


def test_a_page_whose_model_is_gone_says_so(browser, site, tmp_path):
    folder = shutil.copytree(site, tmp_path / "page")
    (folder / "model.onnx").unlink()
    with served(folder) as url:
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("alert").get_by_text("The model can't be loaded: model.onnx isn't there (404).").wait_for()
        page.close()


def test_other_hosts_are_out_of_reach(open_page, url):
    blocked = open_page(url).evaluate("fetch('http://127.0.0.1:9/').then(() => false, () => true)")
    assert blocked


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_axe_finds_no_fault(open_page, url, width, theme, photo, tmp_path):
    axe = os.environ.get("AXE_CORE")
    if not axe or not Path(axe).is_file():
        absent("axe-core (AXE_CORE)")
    script = Path(axe).read_text(encoding="utf-8")
    page = open_page(url, width, color_scheme=theme)
    faults = {}

    def check(state: str) -> None:
        page.evaluate(script)
        for violation in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
            for node in violation["nodes"]:
                faults.setdefault(f"{violation['id']} {node['target']}", (state, node["failureSummary"]))

    check("empty")
    give(page, photo)
    page.locator("summary", has_text="Save").click()
    check("answered")
    (tmp_path / "letter.jpg").write_text("no photo")
    give(page, tmp_path / "letter.jpg", photo, name="This photo can't be read")
    page.locator("#strip").get_by_text("Eiffel Tower").last.wait_for()
    page.locator("#known summary").click()
    page.locator("#about summary").click()
    check("several, all open")
    noisy_photo((128, 128, 128), 3).save(tmp_path / "grey.png")
    give(page, tmp_path / "grey.png")
    check("another answer")
    assert not faults, json.dumps(faults, indent=1)
