"""The page's API, and the forms in which it takes photos."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api
from gradio.exceptions import InvalidPathError
from gradio.utils import get_upload_folder

from landmark_models.errors import PhotoError
from landmark_models.page.fetching import fetch
from landmark_models.page.handlers import COMPUTING, Handlers
from landmark_models.page.refusals import PageError
from landmark_models.page.uploads import NOT_UPLOADED, uploaded_file


class PageBlocks(gr.Blocks):
    """A page that takes photos in every form that its API describes, and refuses any other with a sentence.

    Arguments that a request leaves out at the end get their defaults, which otherwise only gradio's own client knows.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **options: Any) -> Any:
        try:
            defaults = [getattr(component, "value", None) for component in block_fn.inputs[len(inputs) :]]
            inputs = [await _received(value) for value in [*inputs, *defaults]]
            return await super().preprocess_data(block_fn, inputs, *arguments, **options)
        except gr.Error:
            raise
        except PhotoError as error:
            raise PageError(str(error)) from None
        except InvalidPathError:
            raise PageError(NOT_UPLOADED) from None
        except Exception:  # whatever gradio and pydantic raise
            raise PageError(
                'These aren\'t the arguments that this endpoint takes; see "Use via API" at the foot of the page.'
            ) from None


async def _received(value: Any) -> Any:
    """An argument of a request; a photo that it holds or names by its `url` alone becomes an upload."""
    url = value.get("url") if isinstance(value, dict) and not value.get("path") else None
    if not isinstance(url, str):
        return value
    url = url.strip()
    if url.lower().startswith(("http://", "https://")):
        path = await fetch(url, get_upload_folder())
    else:
        path = str(await asyncio.to_thread(uploaded_file, value, Path(get_upload_folder())))
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}


def add_api(handlers: Handlers, photo: gr.Image, top_k: gr.Slider) -> None:
    """Add the API to the page, with the components of `one_photo` as its parameters."""

    # Gradio describes parameters and results of an endpoint by the components of an event. The page's own events answer
    # in other shapes, so each endpoint has an event of its own, with a button and outputs that nobody sees.
    def add(name: str, handler: Callable[..., Any], inputs: Any, *outputs: gr.Component) -> None:
        gr.Button(visible=False).click(handler, inputs, list(outputs), api_name=name, **COMPUTING)

    def picture() -> gr.Image:
        return gr.Image(visible=False, format="jpeg")

    add("predict", handlers.predict, [photo, top_k], gr.Label(visible=False), picture(), gr.Checkbox(visible=False))
    add("explain", handlers.explain, photo, picture())
    add("tag", handlers.tag, photo, gr.JSON(visible=False))
    api(handlers.landmarks, api_name="landmarks")
