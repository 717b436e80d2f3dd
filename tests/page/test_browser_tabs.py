"""The tab for many photos, in a real Chromium."""

import base64
import csv
import json
import threading
import zipfile

import pytest
from helpers.pages import DESK, PHONE, fits
from helpers.photos import RED_HEIC, noisy_photo

from landmark_models.page import many_handlers, results
from landmark_models.page.many_handlers import MAX_PHOTOS

pytestmark = pytest.mark.browser


@pytest.fixture
def forty(tmp_path, photo):
    """Forty photos, of which a text and a broken JPEG are none."""
    (tmp_path / "letter.jpg").write_bytes(photo.read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "=cmd().jpg").write_bytes(photo.read_bytes())
    (tmp_path / "<img src=x onerror=alert(1)>.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "phone.heic").write_bytes(base64.b64decode(RED_HEIC))
    for index in range(35):
        noisy_photo((40, 200, 40), index, (320, 240)).save(tmp_path / f"{index:02d}.jpg")
    return sorted(tmp_path.iterdir())


def choose(page, photos):
    page.get_by_role("tab", name="Many").click()
    page.set_input_files("#photos input[type=file]", photos)


def test_many_photos_are_answered_filtered_and_saved(open_page, famous_url, forty):
    page = open_page(famous_url, DESK)
    page.get_by_role("tab", name="Many").click()
    page.locator("#photos").get_by_text(f"Up to {MAX_PHOTOS} photos").wait_for()
    choose(page, forty)
    page.locator("#status").get_by_text("40 photos: 38 named, 0 not named, 2 unreadable.").wait_for()
    pictures = page.locator("#gallery .thumbnail-lg")
    assert pictures.count() == 38
    page.locator("#gallery").get_by_role("button", name="Forth Bridge", exact=True).nth(34).wait_for()
    assert page.evaluate("[...document.querySelectorAll('#gallery img')].every(image => image.alt)")
    unreadable = page.locator("#unreadable li")
    assert unreadable.count() == 2
    assert "notes.txt is not an image" in unreadable.nth(1).inner_text()

    pictures.nth(0).click()
    page.locator("#chosen h2", has_text="Forth Bridge").wait_for()
    page.get_by_label("Search").first.fill("eiffel")
    page.wait_for_function("document.querySelectorAll('#gallery .thumbnail-lg').length === 3")
    page.locator("#chosen h2").wait_for(state="detached")
    assert page.locator("#gallery .selected").count() == 0
    page.get_by_label("Search").first.fill("")
    page.get_by_role("radio", name="Unreadable (2)").check()
    page.wait_for_function("document.querySelectorAll('#gallery .thumbnail-lg').length === 0")
    page.get_by_role("button", name="Table").click()
    page.locator("#table").get_by_text("notes.txt is not an image").first.wait_for()

    def saved(name: str):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        return download.value

    table = saved("CSV")
    assert table.suggested_filename == "landmarks.csv"
    rows = list(csv.DictReader(table.path().read_text("utf-8-sig").splitlines()))
    assert {row["path"] for row in rows} >= {"'=cmd().jpg", "<img src=x onerror=alert(1)>.jpg", "notes.txt"}
    assert len(rows) == 40
    records = [json.loads(line) for line in saved("JSON lines").path().read_text().splitlines()]
    assert sum(record["error"] is not None for record in records) == 2
    for name in ("XMP sidecars (zip)", "XMP with positions (zip)"):
        with zipfile.ZipFile(saved(name).path()) as archive:
            assert len(archive.namelist()) == 38


def test_many_photos_on_a_phone(open_page, hostile_url, forty):
    page = open_page(hostile_url, PHONE)
    choose(page, [file for file in forty if not file.name.startswith("0")])
    page.locator("#status").get_by_text("30 photos: ").wait_for()
    page.locator("#gallery img").first.wait_for()
    assert fits(page)
    page.locator("#gallery").get_by_role("button", name="<img src=x onerror=alert(1)>").first.press("Enter")
    card = page.locator("#chosen h2")
    card.wait_for()
    assert "<img src=x" in card.inner_text()
    page.wait_for_function("document.querySelector('#chosen').getBoundingClientRect().top < innerHeight")
    page.get_by_role("button", name="Table").click()
    page.locator("#table").get_by_text("10.jpg").first.wait_for()
    assert fits(page)
    assert page.locator("img[src=x]").count() == 0
    small = page.locator("#answers :is(button, input:not([type=radio]), label):visible").evaluate_all(
        "all => all.filter(it => Math.min(it.offsetWidth, it.offsetHeight) < 24).map(it => it.outerHTML.slice(0, 200))"
    )
    assert not small


@pytest.fixture
def slow(monkeypatch):
    """The photos that were read, and an event without which no more than four are."""
    go_on, read = threading.Event(), []

    def reading(file, side, really=results.read_photo):
        read.append(file)
        if len(read) > 4:
            go_on.wait(30)
        return really(file, side)

    monkeypatch.setattr(results, "read_photo", reading)
    yield read, go_on
    go_on.set()


def test_the_work_is_stopped_at_once_and_new_photos_start_anew(open_page, url, forty, slow):
    _, go_on = slow
    page = open_page(url, DESK)
    choose(page, forty)
    page.locator("#status").get_by_text("4 of 40 photos done").wait_for()
    assert page.locator("#gallery .thumbnail-lg").count() == 4
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.click()
    page.locator("#status").get_by_text("Stopped: 36 of 40 photos are left out.").wait_for()
    stop.wait_for(state="hidden")
    go_on.set()
    page.get_by_label("Remove Image").or_(page.locator("#photos").get_by_label("Clear")).first.click()
    page.locator("#status p").wait_for(state="detached")
    page.set_input_files("#photos input[type=file]", forty[2:4])
    page.locator("#status").get_by_text("2 photos: ").wait_for()
    assert page.locator("#gallery .thumbnail-lg").count() == 2


def test_work_that_waits_for_its_turn_can_be_stopped(open_page, url, forty, slow):
    first, second = open_page(url, DESK), open_page(url, DESK)
    choose(first, forty)
    first.locator("#status").get_by_text("4 of 40 photos done").wait_for()
    choose(second, forty[:6])
    second.locator("#status").get_by_text("0 of 6 photos done").wait_for()
    second.get_by_role("button", name="Stop", exact=True).click()
    second.locator("#status").get_by_text("Stopped: 6 of 6 photos are left out.").wait_for()
    first.get_by_role("button", name="Stop", exact=True).click()


def test_a_photo_that_is_removed_during_the_work_leaves_the_other_answers(open_page, url, forty, slow):
    read, go_on = slow
    page = open_page(url, DESK)
    choose(page, forty)
    page.locator("#status").get_by_text("4 of 40 photos done").wait_for()
    page.evaluate(
        """() => new MutationObserver(() => {
          window.least = Math.min(window.least ?? 99, document.querySelectorAll('#gallery .thumbnail-lg').length);
        }).observe(document.querySelector('#answers'), {childList: true, subtree: true, attributes: true})"""
    )
    page.locator("#photos").get_by_label("Remove this file").first.click()
    page.locator("#status").get_by_text("3 of 39 photos done").wait_for()
    go_on.set()
    page.locator("#status").get_by_text("39 photos: ").wait_for()
    assert page.evaluate("window.least") == 3
    assert not any(read.count(file) > 1 for file in read[:4])


def test_work_that_fails_ends_with_what_is_done(open_page, url, forty, monkeypatch):
    page = open_page(url, DESK)
    choose(page, forty[2:5])
    page.locator("#status").get_by_text("3 photos: ").wait_for()
    monkeypatch.setattr(many_handlers, "tag_photos", lambda *_: 1 / 0)
    page.locator("#photos").get_by_label("Remove this file").first.click()
    page.locator("#status").get_by_text("Stopped: 0 of 2 photos are left out.").wait_for()
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="hidden")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert download.value.path().read_text().count("\n") == 3
