"""The API, which MCP serves as tools: /predict, /tag, /explain and /landmarks."""

import gradio as gr
from gradio.events import api

from landmark_models.page.events import COMPUTING
from landmark_models.page.handlers import Handlers

__all__ = ["endpoints"]


def endpoints(handlers: Handlers, photo: gr.Image, top_k: gr.Slider) -> None:
    """Add the API to the page, with the components of `one_photo` as its parameters."""
    # Gradio describes parameters and results of an endpoint by the components of an event. The page's own events answer
    # in other shapes, so each endpoint has an event of its own, of a button and with outputs that nobody sees.
    for name, handler, inputs, outputs in (
        ("predict", handlers.predict, [photo, top_k], [gr.Label, gr.Image, gr.Checkbox]),
        ("explain", handlers.explain, photo, [gr.Image]),
        ("tag", handlers.tag, photo, [gr.JSON]),
    ):
        hidden = [kind(visible=False, **({"format": "jpeg"} if kind is gr.Image else {})) for kind in outputs]
        gr.Button(visible=False).click(handler, inputs, hidden, preprocess=False, api_name=name, **COMPUTING)
    api(handlers.landmarks, api_name="landmarks")
