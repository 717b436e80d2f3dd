"""How the page fits screens and people, in a real Chromium: nothing jumps, all is reached, all can be read."""

import json
import os
from pathlib import Path

import pytest
from helpers.pages import DESK, PHONE, fits, give, open_tab, shown, tab_to
from helpers.photos import noisy_photo
from helpers.programs import absent

pytestmark = pytest.mark.browser

HEIGHTS = {DESK: 800, PHONE: 844}
TABS = ("Photo", "Many", "Landmarks", "About")  # of every model; one that can be taught has another
LAST_EXAMPLE = "Not a landmark"


def top(page, selector: str) -> float:
    return page.locator(selector).first.bounding_box()["y"]


def test_the_first_screen_shows_what_matters(open_page, embedded_url, width):
    """Before a photo, all examples' names; after it, the name and the first candidate."""
    page = open_page(embedded_url, width)
    page.set_viewport_size({"width": {DESK: 1280}.get(width, width), "height": HEIGHTS[width]})
    examples = page.locator("#examples button").first.bounding_box()
    assert examples["y"] + examples["height"] <= HEIGHTS[width]
    page.locator("#examples button").first.click()
    page.locator("#card h2").wait_for()
    first = page.locator("#candidates button").first.bounding_box()
    assert first["y"] + first["height"] <= HEIGHTS[width]


def test_nothing_moves_while_an_answer_comes_over_a_slow_line(open_page, famous_url, width, tmp_path):
    """The sum of layout shifts stays below what counts as good (0.1)."""
    noisy_photo((200, 40, 40), 1, (320, 240)).save(tmp_path / "photo.jpg")
    page = open_page(famous_url, width)
    page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
    before = page.evaluate(
        """() => {
          window.shift = 0;
          new PerformanceObserver(list => list.getEntries().forEach(entry => { window.shift += entry.value; }))
            .observe({type: 'layout-shift'});
          const top = part => document.querySelector(part)?.getBoundingClientRect().top;
          const place = () => ['h1', '#photo'].map(top).join();
          window.places = new Set();
          const sample = () => { window.places.add(place()); requestAnimationFrame(sample); };
          sample();
          return place();
        }"""
    )
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": 60_000, "uploadThroughput": 60_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.set_input_files("#photo input[type=file]", tmp_path / "photo.jpg")
    page.locator("#details .actions").wait_for(timeout=60_000)
    assert page.evaluate("[...window.places]") == [before]
    assert page.evaluate("window.shift") < 0.1


@pytest.mark.parametrize("width", [320, PHONE, 640, 820, DESK])
def test_nothing_reaches_beyond_the_screen(open_page, long_url, width, photo, tmp_path):
    """Also with a landmark's name of 60 letters and a file's of 200."""
    page = open_page(long_url, width)
    named = tmp_path / f"{'long' * 49}.jpg"
    named.write_bytes(photo.read_bytes())
    give(page, named)
    for name in TABS:
        if not page.get_by_role("tab", name=name, exact=True).locator("visible=true").count():
            page.locator(".overflow-menu > button").click()
        page.get_by_role("tab", name=name, exact=True).or_(
            page.locator(".overflow-dropdown button", has_text=name)
        ).locator("visible=true").first.click()
        assert fits(page), name


def test_thumbs_hit_their_targets(open_page, famous_url, photo):
    """44 px on the photo, 24 elsewhere (WCAG 2.5.8 and 2.5.5)."""
    page = open_page(famous_url, PHONE)
    give(page, photo, "Eiffel Tower")
    # Gradio measures tabs by copies of 1 px.
    sizes = "buttons => buttons.map(b => [b.getBoundingClientRect(), b.ariaLabel || b.innerText]).map("
    sizes += "([box, name]) => [name, Math.min(box.width, box.height)]).filter(([, least]) => least > 1)"
    on_photo = page.locator("#photo button").evaluate_all(sizes)
    assert len(on_photo) >= 4
    assert all(least >= 44 for _, least in on_photo), on_photo
    for name in TABS:
        open_tab(page, name)
        small = [pair for pair in page.locator("button, summary, a.action").evaluate_all(sizes) if pair[1] < 24]
        assert not small, name


def test_the_keyboard_alone_suffices(open_page, famous_url, width):
    """It reaches the tabs, examples, heat map, candidates, map and files, and one sees where it is."""
    page = open_page(famous_url, width)
    tab_to(page, page.get_by_role("button", name=LAST_EXAMPLE))
    page.keyboard.press("Enter")
    page.locator("#card h2").wait_for()
    page.locator("h1").click()
    for part in (
        page.get_by_role("tab", name="Photo", exact=True),
        page.get_by_label("Remove Image"),
        page.get_by_label("Show where the model looked"),
        page.locator("#candidates button").first,
        page.get_by_role("link", name="Map"),
        page.get_by_role("button", name="Copy the tags"),
        page.locator("summary").get_by_text("Save"),
    ):
        tab_to(page, part)
        outline = page.evaluate(
            "(style => [style.outlineStyle, parseFloat(style.outlineWidth)])(getComputedStyle(document.activeElement))"
        )
        assert outline[0] != "none", part
        assert outline[1] >= 2, part
    for name in ("Many", "Landmarks", "About", "Photo"):
        tab = page.get_by_role("tab", name=name, exact=True)
        page.locator("h1").click()
        tab_to(page, tab)
        page.keyboard.press("Enter")
        page.wait_for_function("tab => tab.ariaSelected === 'true'", arg=tab.element_handle())


def test_who_wants_no_motion_gets_none(open_page, url, photo):
    page = open_page(url, PHONE, reduced_motion="reduce")
    give(page, photo)
    longest = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll('*')].flatMap(element => {
          const style = getComputedStyle(element);
          return [...style.transitionDuration.split(','), ...style.animationDuration.split(',')].map(parseFloat);
        }))"""
    )
    assert longest <= 0.001  # seconds


# Whether nothing moves but what always does.
STILL = """() => !document.getAnimations().some(
  animation => animation.playState === 'running' && animation.effect.getTiming().iterations < 99)"""

# Gradio's own faults: axe's rule, and what its element holds.
GRADIOS = {
    ("label-content-name-mismatch", "upload-container"),  # the name of a place to drop files isn't what it shows
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault(open_page, embedded_url, width, theme, photo, tmp_path):
    """Accessibility as axe-core checks it, in every state of the page."""
    axe = os.environ.get("AXE_CORE")
    if not axe or not Path(axe).is_file():
        absent("axe-core (AXE_CORE)")
    script = Path(axe).read_text(encoding="utf-8")
    page = open_page(embedded_url, width, color_scheme=theme)
    faults = {}

    def check(state: str) -> None:
        page.wait_for_function(STILL)  # an answer fades in
        page.evaluate(script)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for violation in result["violations"]:
            for node in violation["nodes"]:
                if not any(violation["id"] == rule and part in node["html"] for rule, part in GRADIOS):
                    fault = f"{violation['id']} {node['target']}"
                    faults.setdefault(fault, (state, node["failureSummary"], node["html"][:200]))

    check("empty")
    page.locator("#examples button").first.click()
    page.locator("#details .actions").wait_for()
    check("answered")
    page.locator("summary").get_by_text("Save").click()
    page.locator("#candidates button").nth(1).click()
    page.locator("#card").get_by_text("Candidate 2").wait_for()
    check("another candidate")
    before = shown(page).get_attribute("src")
    page.get_by_label("Show where the model looked").click()
    page.wait_for_function("before => document.querySelector('#photo img').src !== before", arg=before)
    check("heat map")
    page.get_by_role("button", name=LAST_EXAMPLE).click()
    page.locator("#ways-out").wait_for()
    check("not named")
    (tmp_path / "letter.jpg").write_text("no photo")
    page.get_by_label("Remove Image").click()
    give(page, tmp_path / "letter.jpg", "This photo can't be read")
    check("unreadable")
    for name in (*TABS[1:], "Teach"):
        open_tab(page, name)
        page.wait_for_timeout(500)  # a tab's components are drawn when it opens
        check(name)
    page.get_by_label("Name of the landmark").fill("A tower")
    page.set_input_files("#teach-photos input[type=file]", [photo, tmp_path / "letter.jpg"])
    page.locator("#lesson h2").wait_for()
    check("taught")
    assert not faults, json.dumps(faults, indent=1)
