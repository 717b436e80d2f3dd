"""The tab to teach a landmark: its name, photos of it, how well it will be recognised, and what was taught by now."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from landmark_models.files import PHOTO_SUFFIXES
from landmark_models.page.handlers import INSTANT, PAGE_ONLY
from landmark_models.page.kept import knowing
from landmark_models.page.languages import deferred, fixed
from landmark_models.page.refusals import ShownError
from landmark_models.page.serving import Serving
from landmark_models.page.teach_handlers import COMPUTING_LESSONS, TeachHandlers, Work
from landmark_models.page.teach_view import lesson_html, photos_html, taught_html
from landmark_models.page.theme import ANNOUNCED, CARD_CSS, TEACH_CSS, TEACH_JS
from landmark_models.teaching import AddOnError

# The language of the page is known to the browser before it is to the server.
_IN_LANGUAGE = "(work, kept, language) => [work, kept, document.documentElement.lang]"
# On a phone, what was taught is below the photos.
_IN_SIGHT = "() => document.querySelector('#lesson :is(h2, [role=alert])')?.scrollIntoView({block: 'nearest'})"
_INTRODUCTION = deferred(
    "Teach the model a landmark that it doesn't know, from 3 to 30 photos of it. It takes seconds."
)


@dataclass(frozen=True)
class _Tab:
    """The components of the tab: what the visitor gives, and what is shown of it."""

    name: gr.Textbox
    place: gr.Textbox
    country: gr.Textbox
    uploaded: gr.File
    photos: gr.HTML
    teach: gr.Button
    another: gr.Button
    recognise: gr.Button
    lesson: gr.HTML
    taught: gr.HTML
    loaded: gr.UploadButton


def _lay_out() -> _Tab:
    gr.Markdown(str(fixed(_INTRODUCTION)))
    with gr.Row():
        with gr.Column(scale=6, min_width=320):
            name = gr.Textbox("", label=fixed("Name of the landmark"), max_length=100, elem_id="teach-name")
            with gr.Accordion(fixed("Place and country, if you like"), open=False, elem_id="teach-place"), gr.Row():
                place = gr.Textbox("", label=fixed("Place"), max_length=100, min_width=140)
                country = gr.Textbox("", label=fixed("Country"), max_length=100, min_width=140)
            # The types have phones offer the camera, too.
            uploaded = gr.File(
                label=fixed("Photos of it: drop them all at once"), file_count="multiple", height=140,
                file_types=["image", *sorted(PHOTO_SUFFIXES)], elem_id="teach-photos",
            )  # fmt: skip
            photos = gr.HTML(elem_id="teach-shown", css_template=TEACH_CSS, js_on_load=TEACH_JS)
            with gr.Row():
                teach = gr.Button(fixed("Teach"), variant="primary", size="md", min_width=120)
                another = gr.Button(fixed("Next landmark"), size="md", min_width=120, visible=False)
        with gr.Column(scale=5, min_width=320):
            lesson = gr.HTML(elem_id="lesson", css_template=CARD_CSS, js_on_load=ANNOUNCED)
            with gr.Row(elem_classes="indented"):
                recognise = gr.Button(fixed("Recognise a photo"), variant="primary", size="md", visible=False, scale=0)
            taught = gr.HTML(elem_id="taught", css_template=CARD_CSS + TEACH_CSS, js_on_load=TEACH_JS)
            with gr.Row(elem_classes="indented"):
                loaded = gr.UploadButton(
                    str(fixed("Load a file")), size="md", file_types=[".safetensors"], scale=0, min_width=140
                )
    return _Tab(name, place, country, uploaded, photos, teach, another, recognise, lesson, taught, loaded)


def teach_tab(
    serving: Serving,
    handlers: TeachHandlers,
    language: gr.Textbox,
    tabs: gr.Tabs,
    kept: gr.BrowserState,
    take_along: gr.Button,
    seen: gr.State,
) -> dict[str, Any]:
    """Lay out and connect the tab; the button `take_along`, of another tab, begins with the photo that is `seen`.

    The event that lists what was taught by now is returned, for when the page opens.
    """
    tab = _lay_out()
    work = gr.State(Work())  # changed in place, so that no event writes it
    facts = [tab.name, tab.place, tab.country]
    working = [tab.photos, tab.lesson, tab.another, tab.recognise]  # as `shown` returns them

    def shown(work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        classifier = knowing(serving.current.classifier, kept)
        taught = work.lesson is not None
        return (
            photos_html(work, language),
            lesson_html(work, classifier, handlers.for_everybody, language),
            gr.update(visible=taught or bool(work.photos)),
            gr.update(visible=taught),
        )

    def listed(kept: Any, language: str) -> str:
        return taught_html(handlers.known(kept), handlers.for_everybody, language)

    def opened(work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        now = handlers.checked(work, kept, language)
        return (gr.skip() if now == kept else now), listed(now, language), *shown(work, now, language)

    def add(uploaded: Any, work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        handlers.add(uploaded, work, language)
        return None, *shown(work, kept, language)

    # Not called `teach`: gradio would give that name to it rather than to the API's own.
    def learn(work: Work, name: str, place: str, country: str, kept: Any, language: str) -> tuple[Any, ...]:
        now = handlers.teach(work, name, place, country, kept, language)
        return (gr.skip() if now == kept else now), listed(now, language), *shown(work, now, language)

    def learn_if_ready(work: Work, name: str, *others: Any) -> tuple[Any, ...]:
        ready = name and (work.photos or work.lesson) and not work.problem
        return learn(work, name, *others) if ready else (gr.skip(),) * (2 + len(working))

    def act(chosen: gr.SelectData, work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        now = kept
        if chosen.value == "remove":
            work.remove(chosen.index)
        elif chosen.value == "forget":
            now = handlers.forget(str(chosen.index), work, kept)
        elif chosen.value == "forget-others":
            now = handlers.forget_others(kept)
        return (gr.skip() if now == kept else now), listed(now, language), *shown(work, now, language)

    def begin(work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        work.begin()
        return "", "", "", *shown(work, kept, language)

    def begin_with(seen: Any, work: Work, kept: Any, language: str) -> tuple[Any, ...]:
        handlers.take_along(seen, work)
        return gr.Tabs(selected="teach"), "", "", "", *shown(work, kept, language)

    def load(uploaded: Any, kept: Any, language: str) -> tuple[Any, ...]:
        try:
            now = handlers.load(uploaded, kept, language)
        except AddOnError as error:
            raise ShownError(str(error)) from None
        return now, listed(now, language)

    teaching: dict[str, Any] = {
        "inputs": [work, *facts, kept, language], "outputs": [kept, tab.taught, *working],
        "show_progress_on": tab.lesson, **COMPUTING_LESSONS, **PAGE_ONLY,
    }  # fmt: skip
    added = tab.uploaded.upload(
        add, [tab.uploaded, work, kept, language], [tab.uploaded, *working], show_progress_on=tab.photos,
        **COMPUTING_LESSONS, **PAGE_ONLY,
    )  # fmt: skip
    added.success(learn_if_ready, **teaching).success(None, js=_IN_SIGHT)
    gr.on([tab.teach.click, tab.name.submit], learn, **teaching).success(None, js=_IN_SIGHT)
    acting: dict[str, Any] = {
        "fn": act, "inputs": [work, kept, language], "outputs": [kept, tab.taught, *working], **INSTANT
    }  # fmt: skip
    tab.photos.select(**acting).success(learn_if_ready, **teaching)
    tab.taught.select(**acting)
    tab.another.click(begin, [work, kept, language], [*facts, *working], **INSTANT)
    take_along.click(begin_with, [seen, work, kept, language], [tabs, *facts, *working], **INSTANT)
    tab.recognise.click(lambda: gr.Tabs(selected="photo"), None, tabs, **INSTANT)
    tab.loaded.upload(load, [tab.loaded, kept, language], [kept, tab.taught], preprocess=False, **INSTANT)
    listing: dict[str, Any] = {
        "fn": opened, "inputs": [work, kept, language], "outputs": [kept, tab.taught, *working], "js": _IN_LANGUAGE,
        **INSTANT,
    }  # fmt: skip
    kept.change(**listing)
    return listing
