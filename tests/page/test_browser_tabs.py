"""The tab for many photos, in a real Chromium."""

import base64
import io
import json
import zipfile

import pytest
from helpers.pages import DESK, PHONE
from helpers.photos import RED_HEIC, noisy_photo
from PIL import Image

pytestmark = pytest.mark.browser


def test_photos_of_every_kind_give_a_table_and_downloads(page, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    noisy_photo((200, 40, 40), 1, (320, 240)).save(tmp_path / "sideways.jpg", exif=exif)
    Image.new("RGBA", (64, 64), (40, 40, 200, 128)).save(tmp_path / "alpha.png")
    (tmp_path / "letter.jpg").write_text("no photo")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "=cmd().jpg").write_bytes(photo.read_bytes())
    (tmp_path / "phone.heic").write_bytes(base64.b64decode(RED_HEIC))
    for index in range(34):
        noisy_photo((40, 200, 40), index).save(tmp_path / f"{index:02d}.jpg")
    page.get_by_role("tab", name="Many").click()
    page.set_input_files("#photos input[type=file]", sorted(tmp_path.iterdir()))
    page.locator("#photos").get_by_text("letter").first.wait_for()
    page.get_by_role("button", name="Recognise").click()
    table = page.locator("#table")
    table.get_by_text("40 photos: ").wait_for()

    assert table.locator("tbody tr").count() == 40
    table.get_by_text("letter.jpg is not an image").wait_for()
    table.get_by_text("notes.txt is not an image").wait_for()
    table.get_by_text("2 can't be read").wait_for()
    assert table.locator("img").count() == 38
    assert table.locator("img").first.get_attribute("alt")
    for width in (DESK, PHONE):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def saved(link: str) -> bytes:
        with page.expect_download() as download:
            table.get_by_role("link", name=link, exact=True).click()
        return download.value.path().read_bytes()

    text = saved("CSV").decode()
    assert text.count("\n") == 41
    assert "'=cmd().jpg" in text
    records = [json.loads(line) for line in saved("JSON lines").splitlines()]
    assert {record["path"] for record in records} >= {"=cmd().jpg", "phone.heic", "notes.txt"}
    assert sum(record["error"] is not None for record in records) == 2
    with zipfile.ZipFile(io.BytesIO(saved("XMP sidecars (zip)"))) as archive:
        assert "=cmd().jpg.xmp" in archive.namelist()
        assert "letter.jpg.xmp" not in archive.namelist()
