"""The tab to teach, in a real Chromium."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from helpers.pages import DESK, PHONE, fits, give, open_tab
from PIL import Image

pytestmark = pytest.mark.browser

PHOTOS = files("gradio").joinpath("media_assets", "images")
KEY = "taught-landmarks"  # where the browser keeps it


@pytest.fixture(scope="module")
def lions(tmp_path_factory) -> list[Path]:
    """Six views of one thing."""
    folder = tmp_path_factory.mktemp("lions")
    whole = Image.open(str(PHOTOS.joinpath("lion.jpg"))).convert("RGB")
    for number, (left, top) in enumerate([(0, 0), (20, 5), (40, 10), (10, 30), (30, 40), (45, 20)]):
        whole.crop((left, top, left + 205, top + 210)).save(folder / f"lion{number}.jpg")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A photo of something else."""
    file = tmp_path_factory.mktemp("other") / "tree.jpg"
    Image.open(str(PHOTOS.joinpath("groot.jpeg"))).convert("RGB").save(file)
    return file


def teach(page, name: str, photos: list[Path]) -> None:
    page.get_by_label("Name of the landmark").fill(name)
    page.set_input_files("#teach-photos input[type=file]", photos)
    page.locator("#lesson h2", has_text=name).wait_for()


def test_a_landmark_is_taught_recognised_saved_loaded_and_forgotten(open_page, embedded_url, lions, other, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    page = open_page(embedded_url, PHONE)
    give(page, other, "None that I know for sure")
    page.get_by_role("button", name="Teach it this landmark").click()
    tiles = page.locator("#teach-shown li img")
    tiles.wait_for()
    assert tiles.get_attribute("alt") == "tree.jpg"
    teach(page, "The lion", [*lions[:5], tmp_path / "letter.jpg"])
    page.locator("#lesson").get_by_text("Taught from 6 photos").wait_for()
    page.wait_for_function("document.querySelector('#lesson h2').getBoundingClientRect().top < innerHeight")
    page.locator("#teach-shown").get_by_text("letter.jpg is not an image").wait_for()
    assert "Unlike the rest" in page.locator("#teach-shown li").first.inner_text()
    assert fits(page)
    page.get_by_role("button", name="Remove tree.jpg").press("Enter")
    page.locator("#lesson").get_by_text("Taught from 5 photos").wait_for()
    page.locator("#lesson").get_by_text("of 5 left-out photos found").wait_for()
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Remove ")
    small = page.locator("#teach-shown button, #taught button, #taught a").evaluate_all(
        "all => all.filter(it => Math.min(it.offsetWidth, it.offsetHeight) < 24).map(it => it.outerHTML)"
    )
    assert not small

    page.get_by_role("button", name="Recognise a photo").click()  # the photo that is still there is answered anew
    page.locator("#card h2", has_text="None that I know for sure").wait_for()
    page.get_by_label("Remove Image").click()
    give(page, lions[5], "The lion")
    assert "Taught from 5 photos" in page.locator("#card").inner_text()
    page.locator("#candidates").get_by_text("The lion (taught)").wait_for()
    before = page.locator("#photo img").get_attribute("src")
    page.get_by_label("Show where the model looked").click()
    page.wait_for_function("before => document.querySelector('#photo img').src !== before", arg=before)

    open_tab(page, "Teach")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a file").click()
    assert download.value.suggested_filename == "The-lion.landmarks.safetensors"
    download.value.save_as(tmp_path / "lion.landmarks.safetensors")

    second = open_page(embedded_url, DESK)
    give(second, lions[5], "None that I know for sure")  # what the first browser keeps, this one doesn't know
    open_tab(second, "Teach")
    second.locator("#taught").get_by_text("Nothing yet.").wait_for()
    second.get_by_label("Name of the landmark").fill("Mine")
    second.get_by_role("button", name="Teach", exact=True).click()
    second.locator("#lesson").get_by_text("Choose photos of the landmark.").wait_for()  # the first one's aren't its own
    loaded = second.get_by_role("button", name="Load a file")
    with second.expect_file_chooser() as chooser:
        loaded.click()
    chooser.value.set_files(tmp_path / "lion.landmarks.safetensors")
    second.locator("#taught").get_by_text("5 photos").wait_for()
    open_tab(second, "Photo")
    second.locator("#card h2", has_text="The lion").wait_for()
    open_tab(second, "Landmarks")
    second.locator("#known-query").get_by_label("Search").fill("lion")
    second.locator("#known [role=gridcell]", has_text="The lion").first.click()
    second.locator("#landmark").get_by_text("Taught from 5 photos.").wait_for()

    page.get_by_role("button", name="Forget The lion").click()
    page.locator("#taught").get_by_text("Nothing yet.").wait_for()
    open_tab(page, "Photo")
    page.locator("#card h2", has_text="None that I know for sure").wait_for()


def test_what_is_taught_outlives_a_visit_and_what_was_tampered_with_does_no_harm(open_page, embedded_url, lions):
    page = open_page(embedded_url, DESK)
    open_tab(page, "Teach")
    page.get_by_role("button", name="Teach", exact=True).click()
    page.locator("#lesson").get_by_text("Give the landmark a name.").wait_for()
    name = "<img src=x onerror=alert(1)>"
    teach(page, name, lions[:3])
    for width in (320, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        assert fits(page)
    page.wait_for_function("key => localStorage.getItem(key)", arg=KEY)
    kept = page.evaluate("key => localStorage.getItem(key)", KEY)

    def reopened():
        page.reload()
        page.locator("#examples button").first.wait_for()
        open_tab(page, "Teach")
        return page.locator("#taught")

    reopened().get_by_text("3 photos").wait_for()
    assert page.locator("img[src=x]").count() == 0
    for tampered in (kept[:-8], "x", json.dumps({"a": "b"})):
        page.evaluate("([key, text]) => localStorage.setItem(key, text)", [KEY, tampered])
        reopened().get_by_text("Nothing yet.").wait_for()
    open_tab(page, "Photo")
    give(page, lions[5], "None that I know for sure")
