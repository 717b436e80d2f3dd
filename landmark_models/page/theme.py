"""How the page looks and what runs in the browser: a gradio theme, and the CSS and JavaScript files beside this one."""

import json
from collections.abc import Sequence
from importlib.resources import files

import gradio as gr

# No web fonts: the page makes no requests to third parties and looks the same without a network.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
    # for contrast
    link_text_color_dark="*primary_300",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_700",
)


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


PAGE_CSS = _read("page.css")
CARD_CSS, CARD_JS = _read("card.css"), _read("card.js")  # of one gr.HTML component
_PAGE_JS = _read("page.js")


def page_js(captions: Sequence[str]) -> str:
    """What runs when the page opens, given the captions of its examples."""
    return f"() => ({_PAGE_JS.strip()})({json.dumps(captions)})"
