"""The page's API: its endpoints, the forms in which they take photos, and `/health` for load balancers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError
from gradio.utils import get_function_description, get_upload_folder
from gradio_client import handle_file
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from landmark_models.errors import PhotoError
from landmark_models.page.fetching import fetch
from landmark_models.page.first_script import FirstScript
from landmark_models.page.handlers import COMPUTING, MAX_CANDIDATES, Handlers
from landmark_models.page.languages import browser_translations
from landmark_models.page.lessons import MAX_PHOTOS, TOO_MANY
from landmark_models.page.refusals import PageError
from landmark_models.page.uploads import NOT_UPLOADED, uploaded_file

# A photo in a list; gradio's own description refers to definitions that are lost in the schemas of MCP tools.
_PHOTO = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "url": {"type": "string"},
        "meta": {"type": "object", "properties": {"_type": {"type": "string", "const": "gradio.FileData"}}},
    },
}
_LIST_TIMEOUT = 60.0  # seconds for all photos of a list that are named by their addresses

# In the code that gradio's API page offers; gradio's own sample shows no landmark.
_SAMPLE_PHOTO = "https://raw.githubusercontent.com/gradio-app/gradio/main/gradio/media_assets/images/tower.jpg"


class PageBlocks(gr.Blocks):
    """A page that takes photos in every form that its API describes, and refuses any other with a sentence.

    It opens in the language of the browser, where there are translations, else in English.
    Of what is sent and answered it keeps nothing but the states of the page's own session.
    Arguments that a request leaves out at the end get their defaults, which otherwise only gradio's own client knows.
    Beside gradio's own addresses it has `/health`, which answers with `health()` as JSON.
    """

    def __init__(self, health: Callable[[], dict[str, Any]], **options: Any):
        super().__init__(**options)
        self._health = health

    def launch(self, *arguments: Any, **options: Any) -> Any:
        async def health(_: Request) -> JSONResponse:
            return JSONResponse(self._health())

        app = {"routes": [Route("/health", health)], "middleware": [Middleware(FirstScript)]}
        return super().launch(*arguments, i18n=browser_translations(), app_kwargs=app, **options)

    async def process_api(self, block_fn: Any, inputs: list[Any], state: Any = None, *rest: Any, **options: Any) -> Any:
        try:
            return await super().process_api(block_fn, inputs, state, *rest, **options)
        finally:
            # Gradio would keep what was sent and answered, as long as the session, for links that this page hasn't.
            for config in state.config_values.values() if state else ():
                config.get("props", {}).pop("value", None)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **options: Any) -> Any:
        try:
            defaults = [getattr(component, "value", None) for component in block_fn.inputs[len(inputs) :]]
            values = zip([*inputs, *defaults], block_fn.inputs, strict=True)
            inputs = [await (_received_list if _takes_list(block) else _received)(value) for value, block in values]
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


def _describe(component: Any, meaning: str) -> None:
    """Say in the schema of the API what a parameter means, which gradio itself says over MCP alone."""
    schema = {**component.api_info(), "description": meaning}
    component.api_info = lambda: schema


def _takes_list(component: Any) -> bool:
    return isinstance(component, gr.File) and component.file_count != "single"


async def _received_list(values: Any) -> Any:
    """A list of photos, likewise, or of their addresses alone, as agents send them."""
    if not isinstance(values, list):
        return values
    photos = [{"url": value} if (value := _address(photo)) else photo for photo in values]
    if sum(isinstance(photo, dict) and not photo.get("path") for photo in photos) > MAX_PHOTOS:
        raise PageError(TOO_MANY)
    try:
        async with asyncio.timeout(_LIST_TIMEOUT):
            return [await _received_one(number, photo) for number, photo in enumerate(photos, 1)]
    except TimeoutError:
        raise PageError(f"The photos did not arrive within {_LIST_TIMEOUT:.0f} s; upload them instead.") from None


async def _received_one(number: int, photo: Any) -> Any:
    try:
        return await _received(photo)
    except (PageError, PhotoError) as error:
        sentence = error.message if isinstance(error, PageError) else error
        raise PageError(f"Photo {number}: {sentence}") from None


def _address(photo: Any) -> str | None:
    """What a photo is named by, if that is a text alone, or an address where others have a path."""
    if isinstance(photo, dict) and str(photo.get("path")).lower().startswith(("http://", "https://")):
        photo = photo["path"]  # gradio would fetch it, too, but wait for all of a list for minutes
    return photo if isinstance(photo, str) else None


def add_api(handlers: Handlers) -> None:
    """Add the API to the page."""
    # Gradio describes the parameters and results of an endpoint by the components of an event, here ones that nobody
    # sees: the page's own events take and answer other things.
    hidden: dict[str, Any] = {"visible": False}

    def add(name: str, handler: Callable[..., Any], inputs: list[gr.Component], *outputs: gr.Component) -> None:
        _, meanings, _ = get_function_description(handler)
        for component, meaning in zip(inputs, meanings.values(), strict=True):
            _describe(component, meaning)
        gr.Button(**hidden).click(handler, inputs, list(outputs), api_name=name, **COMPUTING)

    def text(label: str, example: str, **options: Any) -> gr.Textbox:
        box = gr.Textbox(label=label, **hidden, **options)
        box.example_payload = lambda: example  # type: ignore[method-assign]
        return box

    def picture(label: str) -> gr.Image:
        return gr.Image(label=label, format="jpeg", **hidden)

    photo = gr.Image(label="Photo", **hidden)
    # Not a subclass: gradio writes a .pyi file beside the module of each.
    photo.example_payload = lambda: handle_file(_SAMPLE_PHOTO)  # type: ignore[method-assign]
    top_k = gr.Number(5, label="Number of candidates", precision=0, minimum=1, maximum=MAX_CANDIDATES, **hidden)
    photos = gr.File(label="Photos", file_count="multiple", **hidden)
    photos.api_info = lambda: {"type": "array", "items": _PHOTO}  # type: ignore[method-assign]
    photos.example_payload = lambda: [handle_file(_SAMPLE_PHOTO)]  # type: ignore[method-assign]
    addon, taught = (text("Add-on", "", value="") for _ in range(2))
    lesson = [text("Name", "Town Hall"), text("Place", "Bath", value=""), text("Country", "GB", value=""), taught]
    query = text("Query", "India", value="")
    candidates = gr.Label(label="Candidates", **hidden)
    known = gr.Checkbox(label="Known", **hidden)
    add("predict", handlers.predict, [photo, top_k, addon], candidates, picture("Photo"), known)
    add("explain", handlers.explain, [photo, addon], picture("Explanation"))
    add("tag", handlers.tag, [photo, addon], gr.JSON(label="Tags", **hidden))
    add("teach", handlers.teach, [photos, *lesson], gr.JSON(label="Lesson", **hidden))
    add("landmarks", handlers.landmarks, [query], gr.JSON(label="Landmarks", **hidden))
