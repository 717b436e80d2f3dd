"""The tab for many photos: a gallery of answers to filter and to search, the chosen one's card, and files to save."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from landmark_models.page import cards
from landmark_models.page.handlers import INSTANT, PAGE_ONLY
from landmark_models.page.languages import deferred, fixed
from landmark_models.page.many_handlers import COMPUTING_MANY, Answers, ManyHandlers, Photos, stop, stopped
from landmark_models.page.many_view import ALL, View, seen_in, view
from landmark_models.page.one_photo import pick
from landmark_models.page.theme import ANNOUNCED, CARD_CSS, CARD_JS, MANY_JS

_EMPTY = deferred("Choose a picture to see its answer here.")


@dataclass(frozen=True)
class _Tab:
    """The components of the tab: what the visitor gives, what is shown of the answers, the chosen one's card."""

    uploaded: gr.File
    stop: gr.Button
    wanted: gr.Radio
    query: gr.Textbox
    status: gr.HTML
    shown: gr.Column
    gallery: gr.Gallery
    unreadable: gr.HTML
    table: gr.Dataframe
    downloads: list[gr.DownloadButton]
    card: gr.HTML
    candidates: gr.Label
    details: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What shows the answers, as `_updates` returns it."""
        return [
            self.status, self.stop, self.shown, self.wanted, self.gallery, self.unreadable, self.table, *self.downloads
        ]  # fmt: skip


def many_photos(handlers: ManyHandlers, language: gr.Textbox, kept: gr.BrowserState) -> None:
    """Lay out and connect the tab."""
    tab = _lay_out()
    # Each has one writer, so that late answers to earlier photos can't undo the choice of others.
    photos, answers = gr.State(None), gr.State(None)
    inputs = [photos, answers, tab.wanted, tab.query, language]
    # The last of several at once for certain.
    showing: dict[str, Any] = {
        "fn": _show, "inputs": inputs, "outputs": tab.outputs, **INSTANT, "trigger_mode": "always_last"
    }  # fmt: skip
    changed = _connect_work(tab, handlers, photos, answers, language, kept)
    answers.change(**showing)  # each batch; events without a queue don't tell that they have changed a state
    # The gallery forgets which photo was chosen when it is empty.
    emptied = gr.on([tab.wanted.input, tab.query.change], None, None, tab.gallery, js="() => null", **INSTANT)
    for event in (*changed, emptied):
        event.then(**showing)
    tab.gallery.change(None, js=MANY_JS)
    _connect_card(tab, photos, answers, language, [*changed[:2], emptied])


def _lay_out() -> _Tab:
    uploaded = gr.File(label=fixed("Up to 200 photos"), file_count="multiple", height=140, elem_id="photos")
    with gr.Row():
        status = gr.HTML(js_on_load=ANNOUNCED, elem_id="status", scale=4)
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
                card = gr.HTML(fixed(_EMPTY), elem_id="chosen", css_template=CARD_CSS, js_on_load=CARD_JS)
                candidates = gr.Label(
                    label=fixed("Candidates: choose one to look at it"), num_top_classes=cards.SHOWN,
                    show_heading=False, visible=False, elem_classes="candidates",
                )  # fmt: skip
                details = gr.HTML(elem_id="chosen-details", css_template=CARD_CSS, js_on_load=CARD_JS)
        with gr.Accordion(fixed("Table"), open=False):
            table = gr.Dataframe(show_search="search", wrap=True, pinned_columns=1, interactive=False, elem_id="table")
    return _Tab(
        uploaded, stop, wanted, query, status, shown, gallery, unreadable, table, downloads, card, candidates, details
    )


def _connect_work(
    tab: _Tab,
    handlers: ManyHandlers,
    photos: gr.State,
    answers: gr.State,
    language: gr.Textbox,
    kept: gr.BrowserState,
) -> list[Any]:
    """Have photos answered, again when something was taught; the events after which there is something else to show.

    The choices of photos come first.
    """
    choosing: dict[str, Any] = {
        "fn": handlers.choose, "inputs": [tab.uploaded, photos, answers, language, kept], "outputs": photos, **INSTANT,
        "preprocess": False,
    }  # fmt: skip
    cleared = tab.uploaded.clear(**choosing)
    chosen = gr.on([tab.uploaded.upload, tab.uploaded.delete, kept.change], **choosing)
    run = chosen.then(handlers.answer_many, photos, answers, show_progress_on=tab.status, **COMPUTING_MANY, **PAGE_ONLY)
    failed = run.failure(stopped, [photos, answers], answers, **INSTANT)
    # At once, also while the work is waiting for its turn.
    halted = tab.stop.click(stop, [photos, answers], answers, cancels=run, **INSTANT)
    return [cleared, chosen, failed, halted]


def _connect_card(tab: _Tab, photos: gr.State, answers: gr.State, language: gr.Textbox, blanking: list[Any]) -> None:
    """Show the card of the picture that is chosen, until one of the `blanking` events."""
    seen = gr.State(None)
    parts = [tab.card, tab.candidates, tab.details, seen]

    def choose(photos: Any, answers: Any, language: str, event: gr.SelectData) -> tuple[Any, ...]:
        seen = seen_in(event.value, photos, answers)
        if seen is None or seen.result.tags is None:
            return (gr.skip(),) * len(parts)
        return (
            f"<p class='name'>{escape(seen.result.name)}</p>{cards.headline(seen.result, seen.knows, language)}",
            gr.update(value=cards.candidates(seen.result.tags, language), visible=True),
            cards.details(seen.result, language),
            seen,
        )

    def blank() -> tuple[Any, ...]:
        return gr.update(value=fixed(_EMPTY)), gr.update(value=None, visible=False), "", None

    picked = tab.gallery.select(choose, [photos, answers, language], parts, **INSTANT)
    tab.candidates.select(pick, [seen, language], [tab.card, tab.details, seen], **INSTANT)
    # On a phone, the card is below the gallery.
    picked.then(None, js="() => document.querySelector('#chosen').scrollIntoView({block: 'nearest'})")
    for event in blanking:
        event.then(blank, outputs=parts, **INSTANT)


def _show(photos: Photos | None, answers: Answers | None, wanted: str, query: str, language: str) -> Any:
    if photos is None:  # nothing was chosen yet, or the visit was forgotten: what is shown stays
        return gr.skip()
    return _updates(view(photos, answers, wanted, query, language))


def _updates(shown: View) -> list[Any]:
    """The new values of a tab's `outputs`."""
    return [
        shown.status,
        gr.update(visible=shown.running),
        gr.update(visible=bool(shown.filters)),
        gr.update(choices=list(shown.filters)) if shown.filters else gr.skip(),
        gr.update(
            value=[(result.thumbnail, caption) for result, caption in zip(shown.results, shown.captions, strict=True)],
            visible=bool(shown.results),
        ),
        shown.unreadable,
        {"headers": list(shown.columns), "data": list(shown.rows)},
        *(
            gr.update(value=file, interactive=file is not None, visible=shown.running or file is not None)
            for file in shown.saved
        ),
    ]
