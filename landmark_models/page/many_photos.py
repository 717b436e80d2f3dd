"""The tab for many photos: a table of answers, with files to save."""

import gradio as gr

from landmark_models.page.handlers import COMPUTING_MANY, Handlers
from landmark_models.page.theme import CARD_CSS, CARD_JS


def many_photos(handlers: Handlers) -> None:
    """Lay out and connect the tab."""
    photos = gr.File(label="Photos", file_count="multiple", height=160, elem_id="photos")
    recognise = gr.Button("Recognise", variant="primary")
    table = gr.HTML(label="Answers", elem_id="table", min_height=120, css_template=CARD_CSS, js_on_load=CARD_JS)

    recognise.click(handlers.answer_many, photos, table, api_visibility="private", **COMPUTING_MANY)
