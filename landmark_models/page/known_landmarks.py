"""The tab that lists what the model knows."""

import gradio as gr

from landmark_models.page.handlers import Handlers


def known_landmarks(handlers: Handlers) -> gr.Dataframe:
    """Lay out the tab; the table is returned, since the model may change between two visits."""
    return gr.Dataframe(
        handlers.known_landmarks(), headers=["Name", "Kind", "Place", "Country"], show_search="search",
        interactive=False, label="What it knows", elem_id="known",
    )  # fmt: skip
