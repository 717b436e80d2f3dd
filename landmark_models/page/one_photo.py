"""The tab for one photo: the photo, its candidates beside it, what is known of them, and photos to try."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gradio as gr

from landmark_models.page import cards
from landmark_models.page.examples import Example
from landmark_models.page.handlers import COMPUTING, INSTANT, PAGE_ONLY, Handlers, Seen
from landmark_models.page.languages import fixed
from landmark_models.page.theme import CARD_CSS, CARD_JS, EXAMPLES_CSS, EXAMPLES_JS

# A phone's rear camera, which sees what the visitor sees: not mirrored.
_CAMERA = gr.WebcamOptions(mirror=False, constraints={"video": {"facingMode": {"ideal": "environment"}}})
_EMPTY = "The answer will appear here."


def one_photo(handlers: Handlers, examples: Sequence[Example], language: gr.Textbox, tabs: gr.Tabs) -> gr.HTML:
    """Lay out and connect the tab; the component that offers `examples` is returned, to be told the language."""
    seen = gr.State(None)
    with gr.Column(elem_id="one"):
        with gr.Column(elem_id="asked"):
            photo = gr.Image(
                label=fixed("Photo"), show_label=False, sources=["upload", "webcam", "clipboard"], format="jpeg",
                height="clamp(260px, 38vh, 420px)", buttons=["fullscreen"], webcam_options=_CAMERA, elem_id="photo",
                placeholder=str(fixed("Choose or take a photo, or drop one here")),
            )  # fmt: skip
            where = gr.Checkbox(
                label=fixed("Show where the model looked"), container=False, interactive=False, elem_id="where",
                info=fixed("Bright: what speaks for this landmark. Grey: what the model didn't see."),
            )  # fmt: skip
        with gr.Column(elem_id="answered"):
            card = gr.HTML(fixed(_EMPTY), elem_id="card", css_template=CARD_CSS, js_on_load=CARD_JS)
            candidates = gr.Label(
                label=fixed("Candidates: choose one to look at it"), num_top_classes=cards.SHOWN, show_heading=False,
                visible=False, elem_id="candidates", elem_classes="candidates",
            )  # fmt: skip
            details = gr.HTML(elem_id="details", css_template=CARD_CSS, js_on_load=CARD_JS)
            with gr.Row(visible=False, elem_id="ways-out") as ways_out:
                listed = gr.Button(fixed("See all landmarks"), size="md")
        offered = gr.HTML(elem_id="examples", css_template=EXAMPLES_CSS, js_on_load=EXAMPLES_JS)

    parts = [photo, where, card, candidates, details, ways_out, seen]  # as `shown` returns them

    def answer(upload: Any, language: str) -> tuple[Any, ...]:
        return shown(handlers.answer(upload), language)

    def take(event: gr.SelectData, language: str) -> tuple[Any, ...]:
        return gr.update(value=handlers.take_example(examples, event.index)), *shown(None, language)[1:]

    def look(seen: Seen | None, where: bool, language: str) -> Any:
        alt_text = cards.alt_text(seen.result if seen else None, language, where)
        return gr.update(value=handlers.look(seen, where), alt_text=alt_text)

    def look_again(seen: Seen | None, where: bool, language: str) -> Any:
        return look(seen, where, language) if where else gr.skip()

    # Progress is shown on the card, not over the photo, where the next one may be dropped.
    answering: dict[str, Any] = {
        "fn": answer, "inputs": [photo, language], "outputs": parts, "show_progress_on": card, **COMPUTING, **PAGE_ONLY
    }  # fmt: skip
    asked = photo.upload(**answering)  # dropped, pasted, taken; `input` would fire when a camera is chosen, too
    taken = offered.select(take, [language], parts, **INSTANT)
    example = taken.then(**answering)
    for event in (asked, example):
        # Otherwise "Error" would stay on the card after the photo of a pending answer was removed.
        event.failure(gr.skip, None, card, **INSTANT)
    # One request at a time, the last one for certain: of several at once, an earlier one's answer might come last.
    latest: dict[str, Any] = {**COMPUTING, **PAGE_ONLY, "trigger_mode": "always_last"}
    looking = where.input(look, [seen, where, language], photo, show_progress="minimal", **latest)
    picked = candidates.select(pick, [seen, language], [card, details, seen], **INSTANT)
    looking_again = picked.then(look_again, [seen, where, language], photo, show_progress="hidden", **latest)
    # A late answer or heat map must not appear with another photo.
    pending = [asked, example, looking, looking_again]
    photo.clear(lambda language: shown(None, language)[1:], [language], parts[1:], cancels=pending, **INSTANT)
    offered.select(None, cancels=pending)
    listed.click(lambda: gr.Tabs(selected="landmarks"), None, tabs, **INSTANT)
    return offered


def shown(seen: Seen | None, language: str) -> tuple[Any, ...]:
    """The components of the tab for a photo that was answered, or before there is one."""
    tags = seen.result.tags if seen else None
    alt_text = cards.alt_text(seen.result if seen else None, language)
    return (
        gr.update(value=str(seen.shown), alt_text=alt_text)
        if seen and seen.converted
        else gr.update(alt_text=alt_text),
        gr.update(value=False, interactive=tags is not None),
        cards.headline(seen.result, seen.knows, language) if seen else gr.update(value=fixed(_EMPTY)),
        gr.update(value=cards.candidates(tags, language) if tags else None, visible=tags is not None),
        cards.details(seen.result, language) if seen else "",
        gr.update(visible=bool(tags and not tags.known)),
        seen,
    )


def pick(event: gr.SelectData, seen: Seen | None, language: str) -> tuple[Any, ...]:
    """The card for the candidate that was chosen."""
    count = len(seen.result.tags.predictions) if seen and seen.result.tags else 0
    if seen is None or not isinstance(event.index, int) or not 0 <= event.index < count:
        return gr.skip(), gr.skip(), gr.skip()
    seen = dataclasses.replace(seen, rank=event.index)
    return (
        cards.headline(seen.result, seen.knows, language, seen.rank),
        cards.details(seen.result, language, seen.rank),
        seen,
    )
