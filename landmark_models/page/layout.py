"""The page, put together, and its API."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api
from gradio.exceptions import InvalidPathError
from gradio.utils import get_upload_folder

from landmark_models.errors import PhotoError
from landmark_models.page.facts import gradio_examples
from landmark_models.page.fetching import fetch
from landmark_models.page.handlers import COMPUTING, INSTANT, Handlers
from landmark_models.page.known_landmarks import known_landmarks
from landmark_models.page.many_photos import many_photos
from landmark_models.page.one_photo import one_photo
from landmark_models.page.refusals import PageError
from landmark_models.page.serving import Serving
from landmark_models.page.theme import PAGE_CSS, THEME, page_js
from landmark_models.page.uploads import LIFETIME, NOT_UPLOADED, SWEEP_INTERVAL, uploaded_file
from landmark_models.photo import MAX_BYTES

LAUNCH_OPTIONS: dict[str, Any] = {"theme": THEME, "css": PAGE_CSS, "max_file_size": MAX_BYTES, "ssr_mode": False}


class _Blocks(gr.Blocks):
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


def build(
    serving: Serving, examples: Mapping[Path, str] | None = None, on_gpu: Callable[[Any], Any] | None = None
) -> gr.Blocks:
    """The page, to be launched with `LAUNCH_OPTIONS`.

    The examples have captions; without any, they are Gradio's. `on_gpu` is that of `Handlers`.
    """
    examples = examples or gradio_examples()
    handlers = Handlers(serving, Path(get_upload_folder()), on_gpu)
    with _Blocks(title="Which landmark is this?", delete_cache=(SWEEP_INTERVAL, LIFETIME)) as page:
        page.queue(max_size=512)  # the page says how long the wait is
        gr.Markdown("# Which landmark is this?\nDrop a photo, paste one, or take one: the page names the landmark.")
        with gr.Tab("One photo"):
            photo, top_k = one_photo(handlers, examples)
        with gr.Tab("Many"):
            many_photos(handlers)
        with gr.Tab("Landmarks"):
            landmarks = known_landmarks(handlers)
        with gr.Accordion("About the model", open=False):
            facts = gr.Markdown(handlers.facts(), latex_delimiters=[])
        _add_api(handlers, photo, top_k)
        # The model may have changed since the page was built.
        page.load(
            lambda: (handlers.facts(), handlers.known_landmarks()), None, [facts, landmarks],
            js=page_js(list(examples.values())), **INSTANT,
        )  # fmt: skip
    return page


def _add_api(handlers: Handlers, photo: gr.Image, top_k: gr.Slider) -> None:
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
