"""The page, put together, and its API."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.about import about
from landmark_models.page.cards import examples_html
from landmark_models.page.endpoints import PageBlocks, add_api
from landmark_models.page.examples import Example, example_photos, thumbnails
from landmark_models.page.handlers import INSTANT, Handlers
from landmark_models.page.kept import browser_state
from landmark_models.page.known_landmarks import known_landmarks
from landmark_models.page.languages import ENGLISH, fixed
from landmark_models.page.many_handlers import ManyHandlers
from landmark_models.page.many_photos import many_photos
from landmark_models.page.one_photo import one_photo
from landmark_models.page.serving import Serving
from landmark_models.page.teach_handlers import TeachHandlers
from landmark_models.page.teach_tab import teach_tab
from landmark_models.page.theme import ICON, PAGE_CSS, PAGE_JS, THEME
from landmark_models.page.uploads import LIFETIME, SWEEP_INTERVAL
from landmark_models.photo import MAX_BYTES

_TITLE, _SUBTITLE = "Which landmark is this?", "Its name and place from a photo, and how far to trust the answer."
LAUNCH_OPTIONS: dict[str, Any] = {
    "theme": THEME, "css": PAGE_CSS, "favicon_path": ICON, "head": f'<meta name="description" content="{_SUBTITLE}">',
    "max_file_size": MAX_BYTES, "ssr_mode": False, "mcp_server": True,
    "run_history": False, "footer_links": ["api"],
    "state_session_capacity": 2000,  # each keeps 0.1 MB, and every call of the API without a session makes one
}  # fmt: skip


def build(
    serving: Serving,
    on_gpu: Callable[[Any], Any] | None = None,
    examples: Callable[[LandmarkClassifier], Sequence[Example]] = example_photos,
) -> gr.Blocks:
    """The page, to be launched with `LAUNCH_OPTIONS`.

    `on_gpu` is that of `Handlers`; `examples` chooses the photos to try for the model that serves.
    """
    uploads = Path(get_upload_folder())
    handlers = Handlers(serving, uploads, on_gpu)
    examples = functools.lru_cache(maxsize=1)(examples)
    small = functools.lru_cache(maxsize=1)(lambda classifier: thumbnails(examples(classifier)))
    small(handlers.current.classifier)  # now, not while the first visitor waits

    def refresh(language: str, kept: Any, request: gr.Request) -> tuple[Any, ...]:
        """What depends on the visitor's language, or on the model, which may have changed since the page was built."""
        classifier = handlers.current.classifier
        names = [example.name(language) for example in examples(classifier)]
        offered = examples_html(list(zip(names, small(classifier), strict=True)), language)
        filled = [*fill_landmarks(language, kept, request), *fill_about(language, request)]
        can_be_taught = gr.update(visible=handlers.can_be_taught)
        return language, offered, handlers.trust(language), can_be_taught, can_be_taught, *filled

    with PageBlocks(handlers.health, title=_TITLE, delete_cache=(SWEEP_INTERVAL, LIFETIME)) as page:
        page.queue(max_size=512, api_open=False)  # the page says how long the wait is; nobody goes past it
        language = gr.Textbox(ENGLISH, visible=False)  # of the visit, as the browser has chosen it
        kept = browser_state()  # what was taught in this browser
        gr.Markdown(f"# {fixed(_TITLE)}", elem_id="title")
        gr.Markdown(str(fixed(_SUBTITLE)))
        with gr.Tabs() as tabs:
            with gr.Tab(fixed("Photo"), id="photo"):
                offered, teach, seen = one_photo(
                    handlers, lambda: examples(handlers.current.classifier), language, tabs, kept
                )
                trust = gr.Markdown(elem_id="trust")
            with gr.Tab(fixed("Many"), id="many"):
                many_photos(ManyHandlers(serving, uploads, on_gpu), language, kept)
            with gr.Tab(fixed("Landmarks"), id="landmarks"):
                fill_landmarks, landmarks = known_landmarks(handlers, language, tabs, kept)
            with gr.Tab(fixed("Teach"), id="teach", visible=handlers.can_be_taught) as teaching:
                list_taught = teach_tab(
                    serving, TeachHandlers(serving, uploads, on_gpu), language, tabs, kept, teach, seen
                )
            with gr.Tab(fixed("About"), id="about"):
                fill_about, facts = about(handlers, language)
        add_api(handlers)
        page.load(None, None, None, js=PAGE_JS)
        page.load(
            refresh, [language, kept], [language, offered, trust, teaching, teach, *landmarks, *facts],
            js="(language, kept) => [document.documentElement.lang, kept]", **INSTANT,
        ).then(**list_taught)  # fmt: skip
    return page
