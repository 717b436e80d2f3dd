"""The tab for many photos: a gallery of answers to filter and to search, the chosen one's card, and files to save."""

from html import escape
from typing import Any

import gradio as gr

from landmark_models.page import cards
from landmark_models.page.handlers import INSTANT, PAGE_ONLY
from landmark_models.page.languages import deferred, fixed
from landmark_models.page.many_handlers import COMPUTING_MANY, ManyHandlers, finished
from landmark_models.page.many_view import ALL, View, seen_at, view
from landmark_models.page.one_photo import pick
from landmark_models.page.theme import CARD_CSS, CARD_JS, MANY_JS

_ANNOUNCED = "element.setAttribute('aria-live', 'polite');"  # a screen reader reads each change
_EMPTY = deferred("Choose a picture to see its answer here.")


def many_photos(handlers: ManyHandlers, language: gr.Textbox) -> None:
    """Lay out and connect the tab."""
    photos, answers, seen = gr.State(None), gr.State(None), gr.State(None)
    uploaded = gr.File(label=fixed("Up to 200 photos"), file_count="multiple", height=140, elem_id="photos")
    with gr.Row():
        status = gr.HTML(js_on_load=_ANNOUNCED, elem_id="status", scale=4)
        stop = gr.Button(fixed("Stop"), size="sm", visible=False, min_width=80, scale=0)
    with gr.Column(visible=False, elem_id="answers") as shown:
        with gr.Row(equal_height=True):
            wanted = gr.Radio([("", ALL)], value=ALL, label=fixed("Show"), min_width=320, elem_id="wanted", scale=3)
            query = gr.Textbox(
                "", label=fixed("Search"), placeholder=fixed("Landmark, place, tag or file name"), min_width=220,
                scale=2, elem_id="query",
            )  # fmt: skip
        with gr.Row():
            downloads = [
                gr.DownloadButton(str(label), size="sm", interactive=False, min_width=140)
                for label in (
                    fixed("CSV"), fixed("JSON lines"), fixed("XMP sidecars (zip)"), fixed("XMP with positions (zip)"),
                )
            ]  # fmt: skip
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                gallery = gr.Gallery(
                    label=fixed("Answers"), show_label=False, allow_preview=False, object_fit="cover",
                    interactive=False, buttons=[], elem_id="gallery",
                )  # fmt: skip
                unreadable = gr.HTML(elem_id="unreadable")
            with gr.Column(scale=2, min_width=300):
                card = gr.HTML(fixed(_EMPTY), elem_id="chosen", css_template=CARD_CSS, js_on_load=_ANNOUNCED + CARD_JS)
                candidates = gr.Label(
                    label=fixed("Candidates: choose one to look at it"), num_top_classes=cards.SHOWN,
                    show_heading=False, visible=False, elem_classes="candidates",
                )  # fmt: skip
                details = gr.HTML(elem_id="chosen-details", css_template=CARD_CSS, js_on_load=CARD_JS)
        with gr.Accordion(fixed("Table"), open=False):
            table = gr.Dataframe(show_search="search", wrap=True, pinned_columns=1, interactive=False, elem_id="table")

    def updates(shown_view: View) -> list[Any]:
        """The new values of `outputs`."""
        return [
            shown_view.status,
            gr.update(visible=shown_view.running),
            gr.update(visible=bool(shown_view.filters)),
            gr.update(choices=list(shown_view.filters)) if shown_view.filters else gr.skip(),
            gr.update(
                value=[
                    (result.thumbnail, caption)
                    for result, caption in zip(shown_view.results, shown_view.captions, strict=True)
                ],
                visible=bool(shown_view.results),
            ),
            shown_view.unreadable,
            {"headers": list(shown_view.columns), "data": list(shown_view.rows)},
            *(
                gr.update(value=file, interactive=file is not None, visible=shown_view.running or file is not None)
                for file in shown_view.saved
            ),
        ]

    inputs = [photos, answers, wanted, query, language]
    outputs = [status, stop, shown, wanted, gallery, unreadable, table, *downloads]
    card_parts = [card, candidates, details, seen]
    blank: dict[str, Any] = {
        "fn": lambda: (gr.update(value=fixed(_EMPTY)), gr.update(value=None, visible=False), "", None),
        "outputs": card_parts, **INSTANT,
    }  # fmt: skip
    # The last of several at once for certain.
    showing: dict[str, Any] = {
        "fn": lambda *arguments: updates(view(*arguments)), "inputs": inputs, "outputs": outputs,
        **INSTANT, "trigger_mode": "always_last",
    }  # fmt: skip

    choosing: dict[str, Any] = {
        "fn": handlers.choose, "inputs": [uploaded, photos, answers, language], "outputs": [photos, answers], **INSTANT,
        "preprocess": False,
    }  # fmt: skip
    cleared = uploaded.clear(**choosing)
    chosen = gr.on([uploaded.upload, uploaded.delete], **choosing)
    run = chosen.then(
        handlers.answer_many, [photos, answers], answers, show_progress_on=status, **COMPUTING_MANY, **PAGE_ONLY
    )
    failed = run.failure(lambda answers: finished(answers, "stopped"), answers, answers, **INSTANT)
    stop.click(lambda photos: photos.stop(), photos, None, **INSTANT)
    answers.change(**showing)  # each batch; events without a queue don't tell that they have changed a state
    for event in (cleared, chosen, failed):
        event.then(**showing)
    for event in (cleared, chosen):
        event.then(**blank)

    # The gallery forgets which photo was chosen when it is empty.
    emptied = gr.on([wanted.input, query.change], None, None, gallery, js="() => null", **INSTANT)
    emptied.then(**showing)
    emptied.then(**blank)
    gallery.change(None, js=MANY_JS)

    def chosen_card(photos: Any, answers: Any, wanted: str, query: str, language: str, event: gr.SelectData) -> Any:
        seen = seen_at(event.index, view(photos, answers, wanted, query, language), answers)
        if seen is None or seen.result.tags is None:
            return (gr.skip(),) * len(card_parts)
        return (
            f"<p class='name'>{escape(seen.result.name)}</p>{cards.headline(seen.result, seen.knows, language)}",
            gr.update(value=cards.candidates(seen.result.tags, language), visible=True),
            cards.details(seen.result, language),
            seen,
        )

    picked = gallery.select(chosen_card, inputs, card_parts, **INSTANT)
    candidates.select(pick, [seen, language], [card, details, seen], **INSTANT)
    # On a phone, the card is below the gallery.
    picked.then(None, js="() => document.querySelector('#chosen').scrollIntoView({block: 'nearest'})")
