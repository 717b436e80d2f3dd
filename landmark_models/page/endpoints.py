"""The API, which MCP serves as tools: /predict, /tag, /explain and /landmarks."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import api

from landmark_models.page.events import COMPUTING
from landmark_models.page.handlers import Handlers

__all__ = ["endpoints"]


def endpoints(handlers: Handlers, photo: gr.Image, top_k: gr.Slider) -> None:
    """Add the API to the page, with the components of `one_photo` as its parameters."""

    # Gradio describes parameters and results of an endpoint by the components of an event. The page's own events answer
    # in other shapes, so each endpoint has an event of its own, with a button and outputs that nobody sees.
    def add(name: str, handler: Callable[..., Any], inputs: Any, *outputs: gr.Component) -> None:
        gr.Button(visible=False).click(handler, inputs, list(outputs), preprocess=False, api_name=name, **COMPUTING)

    def picture() -> gr.Image:
        return gr.Image(visible=False, format="jpeg")

    add("predict", handlers.predict, [photo, top_k], gr.Label(visible=False), picture(), gr.Checkbox(visible=False))
    add("explain", handlers.explain, photo, picture())
    add("tag", handlers.tag, photo, gr.JSON(visible=False))
    api(handlers.landmarks, api_name="landmarks")
