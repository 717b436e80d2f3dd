"""How the page looks and what runs in the browser: a gradio theme, and the CSS and JavaScript files beside this one."""

from importlib.resources import files

import gradio as gr

# No web fonts: the page makes no requests to third parties and looks the same without a network. The colours are darker
# than the theme's own, or lighter in the dark, where those have too little contrast for text (WCAG 2.2, 4.5 to 1).
THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    color_accent="*primary_600",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_label_text_color="*primary_700",
    block_label_text_color_dark="*primary_200",
    link_text_color_dark="*primary_300",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_700",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
)


def asset(name: str) -> str:
    """The text of a file in the folder `assets`."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


PAGE_CSS = asset("page.css") + asset("many.css")
ICON = str(files(__package__).joinpath("assets", "icon.png"))
PAGE_JS = asset("page.js").strip()  # what runs when the page opens
CARD_CSS, CARD_JS = asset("card.css"), asset("card.js")  # of a gr.HTML component
EXAMPLES_CSS, EXAMPLES_JS = asset("examples.css"), asset("examples.js")  # of another
TEACH_CSS, TEACH_JS = asset("teach.css"), asset("teach.js")  # of others, to teach
MANY_JS = asset("many.js").strip()  # what runs when the gallery changes
ANNOUNCED = "element.setAttribute('aria-live', 'polite');"  # for a gr.HTML component that a screen reader reads anew
