"""The tab for one photo: the photo, its answer, why, the candidates, and examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from landmark_models.page.cards import EMPTY_CARD, card_html
from landmark_models.page.handlers import COMPUTING, INSTANT, MAX_CANDIDATES, PAGE_ONLY, Handlers
from landmark_models.page.results import PhotoResult
from landmark_models.page.theme import CARD_CSS, CARD_JS

_ALT_TEXT = "Your photo"  # before it is recognised
_CARD_HEIGHT = 560  # px, so that nothing below moves when an answer comes
_ANNOUNCED = "element.setAttribute('aria-live', 'polite');"  # a screen reader reads each answer


def one_photo(handlers: Handlers, examples: Mapping[Path, str]) -> tuple[gr.Image, gr.Slider]:
    """Lay out and connect the tab; the components that hold the photo and the number of candidates are returned."""
    result = gr.State(None)
    with gr.Row():
        with gr.Column():
            photo = gr.Image(
                label="Photo", sources=["upload", "webcam", "clipboard"], format="jpeg", height=420,
                buttons=["fullscreen"], elem_id="photo", alt_text=_ALT_TEXT,
            )  # fmt: skip
        with gr.Column():
            card = gr.HTML(
                EMPTY_CARD, label="Answer", elem_id="card", min_height=_CARD_HEIGHT, css_template=CARD_CSS,
                js_on_load=_ANNOUNCED + CARD_JS,
            )  # fmt: skip
            why = gr.Button("Why?", interactive=False, elem_id="why")
            explanation = gr.Image(
                label="Where it comes from", format="jpeg", height=320, buttons=["fullscreen"], visible=False,
                interactive=False, elem_id="reason", alt_text="The photo, coloured where the answer comes from",
            )  # fmt: skip
            with gr.Accordion("Candidates", open=False):
                candidates = gr.Label(label="Landmark", elem_id="answer")
                top_k = gr.Slider(1, MAX_CANDIDATES, value=5, step=1, label="Candidates")
    # `example_labels` would replace the photos; `page_js` adds the captions.
    example = gr.Examples([[str(file)] for file in examples], [photo], label="Examples", cache_examples=False)

    card_parts = [card, photo, why, explanation]  # as `card_updates` returns them
    # Progress is shown on the card, not over the photo, where the next one may be dropped.
    answering: dict[str, Any] = {
        "fn": handlers.answer, "inputs": [photo, top_k], "outputs": [candidates, photo, result],
        "show_progress_on": card, **COMPUTING, **PAGE_ONLY,
    }  # fmt: skip
    clearing: dict[str, Any] = {
        "fn": lambda: (None, None, *card_updates(None)), "inputs": None, "outputs": [candidates, result, *card_parts],
        **INSTANT,
    }  # fmt: skip
    upload_event = photo.upload(**answering)  # dropped, pasted, taken; `input` would fire when a camera is chosen, too
    example_event = example.load_input_event.then(**clearing).then(**answering)
    for event in (upload_event, example_event):
        event.success(card_updates, result, card_parts, **INSTANT)
        # Otherwise "Error" would stay on the card after the photo of a pending answer was removed.
        event.failure(gr.skip, None, card, **INSTANT)
    why_event = why.click(handlers.explain_answer, [photo, result], explanation, **COMPUTING, **PAGE_ONLY)
    why_event.success(lambda: gr.update(visible=True), None, explanation, **INSTANT)
    # A late answer or explanation must not appear with another photo.
    pending = [upload_event, example_event, why_event]
    photo.clear(**clearing, cancels=pending)
    example.dataset.click(None, cancels=pending)
    # One request at a time, the last one for certain: of several at once, an earlier one's answer might come last.
    latest = INSTANT | {"trigger_mode": "always_last"}
    top_k.change(handlers.candidates, [result, top_k], candidates, **latest)
    return photo, top_k


def card_updates(result: PhotoResult | None) -> tuple[Any, ...]:
    """The card, the photo's alt text, whether "Why?" can be clicked, and an explanation that is hidden again."""
    tags = result.tags if result else None
    return (
        card_html(result) if result else EMPTY_CARD,
        gr.update(alt_text=tags.alt_text if tags else _ALT_TEXT),
        gr.update(interactive=tags is not None),
        gr.update(value=None, visible=False),
    )
