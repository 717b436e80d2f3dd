"""The language of the page, in Chromium."""

import re

import pytest
from helpers.pages import DESK

from landmark_models.page.languages import catalog
from landmark_models.tagging.gazetteer import search

pytestmark = pytest.mark.browser

# The language of the browser, the page's, and what gradio writes over its API in that language.
LANGUAGES = [
    ("en-GB", "en", "Use via API or MCP"),
    ("de-AT", "de", "Über API oder MCP nutzen"),
    ("es-MX", "es", "Usar mediante API o MCP"),
    ("fr-CA", "fr", "Utiliser via API ou MCP"),
    ("hi-IN", "hi", "API या MCP के ज़रिए इस्तेमाल करें"),
    ("it-IT", "en", "Use via API or MCP"),
    ("ja-JP", "en", "Use via API or MCP"),
    ("pt-BR", "en", "Use via API or MCP"),
    ("zh-TW", "en", "Use via API or MCP"),
]

# What a visitor sees or hears: texts, and the texts of attributes. Code, what says that it is English, and gradio's
# announcements, which come and go, are left out.
TEXTS = """() => {
  const shown = element => element.checkVisibility({visibilityProperty: true}) && !element.closest(
    'script, style, code, .cm-content, [role=status], [lang]:not(html)');
  const texts = [document.title], nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) if (shown(nodes.currentNode.parentElement)) texts.push(nodes.currentNode.data);
  for (const element of document.body.querySelectorAll('*'))
    if (shown(element))
      for (const name of ['aria-label', 'title', 'placeholder', 'alt']) texts.push(element.getAttribute(name) ?? '');
  return texts.map(text => text.trim()).filter(text => text);
}"""

# Names, hashtags, formats, programs and files, which are the same in every language.
KEPT = re.compile(
    r"Hawa Mahal|XMP|JSON|CSV|curl|Python \(pip install gradio_client\)|famous|(#\w+ ?)+|[\d.]+\sKB|letter|[\w.]*\.jpg"
)


def known_in(language: str) -> set[str]:
    """The names, kinds and places of the model's landmarks."""
    rows = search(["Eiffel Tower", "Forth Bridge", "Dead Sea"], language=language)
    return {text for row in rows for text in (row["name"], row["kind"], f"{row['place']}, {row['country']}")}


def texts_of_all_tabs(page, photo, unreadable) -> dict[str, set[str]]:
    """The texts of the page by state: before and after a photo, and in each other tab."""

    def shown() -> set[str]:
        page.locator("#card .eta-bar, .progress-text").first.wait_for(state="detached")
        return set(page.evaluate(TEXTS))

    states = {"empty": shown()}
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#candidates button").first.wait_for()
    states["answered"] = shown()
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#photos input[type=file]", [photo, unreadable])
    page.locator("#unreadable li").wait_for()
    page.locator("#gallery img").wait_for()
    page.locator("#status progress").wait_for(state="detached")  # both photos are done
    states["many"] = shown()
    page.get_by_role("tab").nth(2).click()
    page.locator("#known [role=gridcell]").nth(8).wait_for()  # three rows of three
    states["landmarks"] = shown()
    page.get_by_role("tab").nth(3).click()
    page.locator("#about h2").first.wait_for()
    states["about"] = shown()
    return states


@pytest.fixture
def texts(open_page, famous_url, photo, tmp_path):
    """The texts that a browser in a language sees, by state."""
    (tmp_path / "letter.jpg").write_text("no photo")
    return lambda language: texts_of_all_tabs(
        open_page(famous_url, DESK, locale=language), photo, tmp_path / "letter.jpg"
    )


@pytest.mark.parametrize(("browser_language", "language", "footer"), LANGUAGES)
def test_the_page_is_in_the_browsers_language_or_all_in_english(open_page, url, browser_language, language, footer):
    page = open_page(url, DESK, locale=browser_language)
    assert page.evaluate("document.documentElement.lang") == language
    assert footer in page.text_content("footer")


@pytest.mark.parametrize("language", ["de-DE", "es-ES", "fr-FR", "hi-IN"])
def test_no_text_of_ours_or_of_gradio_is_in_english(texts, language):
    the_same = {message.id for message in catalog(language[:2]) if message.id == message.string}
    the_same |= known_in("en") & known_in(language[:2])
    english = texts("en-GB")
    for state, seen in texts(language).items():
        words = {text for text in seen & english[state] - the_same if re.search("[A-Za-z]{2}", text)}
        assert not {text for text in words if not KEPT.fullmatch(text)}, state


def test_no_text_of_the_tab_to_teach_is_in_english(open_page, embedded_url, photo, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")

    def texts(language: str) -> set[str]:
        page = open_page(embedded_url, DESK, locale=language)
        page.get_by_role("tab").nth(3).click()
        page.locator("#teach-name input, #teach-name textarea").fill("Hawa Mahal")
        page.set_input_files("#teach-photos input[type=file]", [photo, tmp_path / "letter.jpg"])
        page.locator("#lesson h2").wait_for()
        page.locator("#taught li").wait_for()
        return set(page.evaluate(TEXTS))

    english = texts("en-GB")
    assert "Taught from 1 photo" in english
    for language in ("de-DE", "es-ES", "fr-FR", "hi-IN"):
        the_same = {message.id for message in catalog(language[:2]) if message.id == message.string}
        words = {text for text in texts(language) & english - the_same if re.search("[A-Za-z]{2}", text)}
        assert not {text for text in words if not KEPT.fullmatch(text)}, language


def test_a_browser_in_another_language_sees_english_throughout(texts):
    assert texts("it-IT") == texts("en-GB")


def test_what_visitors_name_is_not_translated(open_page, url, photo, tmp_path):
    (tmp_path / "logo.jpg").write_bytes(photo.read_bytes())
    page = open_page(url, DESK, locale="de-DE")
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#photos input[type=file]", tmp_path / "logo.jpg")
    assert page.locator("#photos .filename .stem").inner_text() == "logo"
    page.evaluate("document.body.append('constructor', document.createElement('button'))")
    page.evaluate("document.body.lastChild.ariaLabel = 'Download'")
    page.get_by_label("Herunterladen").wait_for()
    assert page.evaluate("document.body.lastChild.previousSibling.data") == "constructor"
