"""The language of the page, in Chromium."""

import pytest
from helpers.pages import DESK

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


@pytest.mark.parametrize(("browser_language", "language", "footer"), LANGUAGES)
def test_the_page_is_in_the_browsers_language_or_all_in_english(open_page, url, browser_language, language, footer):
    page = open_page(url, DESK, locale=browser_language)
    assert page.evaluate("document.documentElement.lang") == language
    assert footer in page.text_content("footer")
