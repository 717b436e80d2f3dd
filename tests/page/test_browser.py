"""How photos come to the page, in a real Chromium: chosen, dropped, pasted, taken."""

import base64
import io
import json

import pytest
from helpers.pages import DESK, PHONE, fits, give, shown
from helpers.photos import RED_HEIC, noisy_photo
from PIL import Image

pytestmark = pytest.mark.browser


def test_a_photo_is_named_and_shown(open_page, url, width, photo):
    page = open_page(url, width)
    assert page.locator("#where").is_hidden()
    give(page, photo, "Red Tower")
    page.locator("#card").get_by_text("Best match of the 3 landmarks known here").wait_for()
    page.locator("#photo img[alt^='Photo of']").wait_for()
    page.locator("#candidates").get_by_text("Red Tower").wait_for()
    assert shown(page).evaluate("image => image.naturalWidth") == 64  # what was sent, not a copy
    assert fits(page)


def test_a_photo_that_browsers_do_not_show_is_shown(page, tmp_path):
    (tmp_path / "photo.heic").write_bytes(base64.b64decode(RED_HEIC))
    give(page, tmp_path / "photo.heic")
    page.wait_for_function("document.querySelector('#photo img')?.src.endsWith('.jpg')")
    shown(page)


def test_a_photo_of_a_few_pixels_fills_its_frame(page, tmp_path):
    noisy_photo((200, 40, 40), 1, (32, 32)).save(tmp_path / "tiny.png")
    give(page, tmp_path / "tiny.png", "Red Tower")
    image = shown(page)
    assert image.evaluate("image => image.naturalWidth") == 32
    assert image.evaluate("image => getComputedStyle(image).objectFit") == "contain"
    assert image.bounding_box()["height"] > 200


DROP = """([content, kind, place]) => {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], 'phone.heic', {type: kind}));
  document.querySelector(place).dispatchEvent(
    new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.mark.parametrize("kind", ["", "image/heic"], ids=["of no kind to the browser", "heic"])
def test_a_dropped_photo_is_named_and_another_one_dropped_on_it(page, photo, kind):
    """Where nothing is installed for HEIC, a browser says of such a file that it is of no kind."""
    page.evaluate(DROP, [RED_HEIC, kind, "#photo button[aria-label^=Drop]"])
    page.locator("#card h2").wait_for()
    give_again = base64.b64encode(photo.read_bytes()).decode()
    before = shown(page).get_attribute("src")
    page.evaluate(DROP, [give_again, "image/jpeg", "#photo .image-frame"])
    page.wait_for_function("before => ![null, before].includes(document.querySelector('#photo img')?.src)", arg=before)
    page.locator("#card h2").filter(has_text="Red Tower").wait_for()
    assert page.get_by_text("Invalid file type").count() == 0


def test_a_photo_is_pasted_anywhere_by_the_keyboard(page, photo):
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
    page.locator("h1").click()
    for _ in range(2):  # the second one replaces the first
        page.keyboard.press("Control+V")
        page.locator("#card h2").filter(has_text="Red Tower").wait_for()
        page.get_by_label("Remove Image").wait_for()


def test_the_camera_looks_forward_and_mirrors_nothing(open_page, url):
    """A phone's rear camera is asked for, and the photo isn't turned left to right."""
    page = open_page(url, PHONE)
    page.context.grant_permissions(["camera"])
    page.evaluate(
        """() => {
          window.asked = [];
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = wish => { window.asked.push(wish); return ask(wish); };
        }"""
    )
    page.get_by_label("Capture from camera").click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    assert any("environment" in json.dumps(wish.get("video")) for wish in page.evaluate("window.asked"))
    assert page.locator("#photo video.flip").count() == 0
    seen = page.evaluate(  # the test picture's left and right halves differ
        """() => {
          const video = document.querySelector('#photo video'), canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [64, 64];
          canvas.getContext('2d').drawImage(video, 0, 0, 64, 64);
          return [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data];
        }"""
    )
    page.get_by_label("capture photo").click()
    page.locator("#card h2").wait_for()
    taken = shown(page).evaluate(
        """image => {
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [64, 64];
          canvas.getContext('2d').drawImage(image, 0, 0, 64, 64);
          return [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data];
        }"""
    )
    before, after = (Image.frombytes("RGBA", (64, 64), bytes(pixels)).convert("L") for pixels in (seen, taken))
    mirrored = after.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def apart(one, other):
        return sum(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True))

    assert apart(before, after) < apart(before, mirrored)


def test_the_upload_button_opens_the_chooser_at_once_also_over_a_photo(page, photo):
    give(page, photo, "Red Tower")
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Upload file").click()
    chooser.value.set_files(photo)
    page.locator("#card h2").filter(has_text="Red Tower").wait_for()


def test_a_text_file_named_jpg_is_refused_and_the_page_still_works(page, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    give(page, tmp_path / "letter.jpg", "This photo can't be read")
    page.get_by_role("alert").get_by_text("letter.jpg is not an image that can be read").wait_for()
    assert page.locator("#where input").is_disabled()
    noisy_photo((40, 40, 200), 7).save(tmp_path / "lake.png")
    page.get_by_label("Remove Image").click()
    page.set_input_files("#photo input[type=file]", tmp_path / "lake.png")
    page.locator("#card h2").filter(has_not_text="can't be read").wait_for()


def test_an_untrusted_label_or_file_name_is_only_text(open_page, hostile_url, photo, tmp_path):
    page = open_page(hostile_url, DESK)
    page.on("dialog", lambda dialog: page.failures.append(dialog.message))
    named = tmp_path / "<img src=x onerror=alert(2)>${alert(3)}`.jpg"
    named.write_bytes(photo.read_bytes())
    give(page, named, "<img src=x onerror=alert(1)>")
    page.locator("#candidates").get_by_text("onerror").first.wait_for()
    (tmp_path / "${alert(4)}<b>.jpg").write_text("no photo")
    page.get_by_label("Remove Image").click()
    give(page, tmp_path / "${alert(4)}<b>.jpg", "This photo can't be read")
    page.get_by_role("tab", name="Landmarks").click()
    page.locator("#known").get_by_text("onerror").locator("visible=true").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
