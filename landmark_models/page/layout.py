"""The page, put together, and its API."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from landmark_models.page.endpoints import PageBlocks, add_api
from landmark_models.page.facts import gradio_examples
from landmark_models.page.handlers import INSTANT, Handlers
from landmark_models.page.known_landmarks import known_landmarks
from landmark_models.page.many_photos import many_photos
from landmark_models.page.one_photo import one_photo
from landmark_models.page.serving import Serving
from landmark_models.page.theme import PAGE_CSS, THEME, page_js
from landmark_models.page.uploads import LIFETIME, SWEEP_INTERVAL
from landmark_models.photo import MAX_BYTES

LAUNCH_OPTIONS: dict[str, Any] = {
    "theme": THEME, "css": PAGE_CSS, "max_file_size": MAX_BYTES, "ssr_mode": False, "mcp_server": True,
    "run_history": False,
}  # fmt: skip


def build(
    serving: Serving, examples: Mapping[Path, str] | None = None, on_gpu: Callable[[Any], Any] | None = None
) -> gr.Blocks:
    """The page, to be launched with `LAUNCH_OPTIONS`.

    The examples have captions; without any, they are Gradio's. `on_gpu` is that of `Handlers`.
    """
    examples = examples or gradio_examples()
    handlers = Handlers(serving, Path(get_upload_folder()), on_gpu)
    with PageBlocks(handlers.health, title="Which landmark is this?", delete_cache=(SWEEP_INTERVAL, LIFETIME)) as page:
        page.queue(max_size=512)  # the page says how long the wait is
        gr.Markdown("# Which landmark is this?\nDrop a photo, paste one, or take one: the page names the landmark.")
        with gr.Tab("One photo"):
            one_photo(handlers, examples)
        with gr.Tab("Many"):
            many_photos(handlers)
        with gr.Tab("Landmarks"):
            landmarks = known_landmarks(handlers)
        with gr.Accordion("About the model", open=False):
            facts = gr.Markdown(handlers.facts(), latex_delimiters=[])
        add_api(handlers)
        # The model may have changed since the page was built.
        page.load(
            lambda: (handlers.facts(), handlers.known_landmarks()), None, [facts, landmarks],
            js=page_js(list(examples.values())), **INSTANT,
        )  # fmt: skip
    return page
