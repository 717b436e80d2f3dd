"""The tab for one photo: the photo, its candidates beside it, what is known of them, and photos to try."""

import dataclasses
from collections.abc import Callable, Sequence
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


class Turns:
    """Tells whether what was asked for last in a visit is still that: an answer, or a picture, may come too late."""

    def __init__(self) -> None:
        self._count = 0

    def take(self) -> Callable[[], bool]:
        """Begin a turn; the function tells whether it is still the last one."""
        self._count += 1
        mine = self._count
        return lambda: mine == self._count


def one_photo(
    handlers: Handlers,
    examples: Callable[[], Sequence[Example]],
    language: gr.Textbox,
    tabs: gr.Tabs,
    kept: gr.BrowserState,
) -> tuple[gr.HTML, gr.Button, gr.State]:
    """Lay out and connect the tab.

    What offers the `examples` is returned, to be told the language, the button to teach, and the photo that was seen.
    """
    parts = _layout(handlers.can_be_taught)
    seen = _connect(parts, handlers, examples, language, tabs, kept)
    return parts.offered, parts.teach, seen


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The components of the tab."""

    photo: gr.Image
    where: gr.Checkbox
    card: gr.HTML
    candidates: gr.Label
    details: gr.HTML
    ways_out: gr.Row
    listed: gr.Button
    teach: gr.Button
    offered: gr.HTML


def _layout(can_be_taught: bool) -> _Parts:
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
                teach = gr.Button(fixed("Teach it this landmark"), size="md", visible=can_be_taught)
                listed = gr.Button(fixed("See all landmarks"), size="md")
        offered = gr.HTML(elem_id="examples", css_template=EXAMPLES_CSS, js_on_load=EXAMPLES_JS)
    return _Parts(photo, where, card, candidates, details, ways_out, listed, teach, offered)


def _connect(
    parts: _Parts,
    handlers: Handlers,
    examples: Callable[[], Sequence[Example]],
    language: gr.Textbox,
    tabs: gr.Tabs,
    kept: gr.BrowserState,
) -> gr.State:
    photo, where, card = parts.photo, parts.where, parts.card
    seen, turns = gr.State(None), gr.State(Turns())
    outputs = [photo, where, card, parts.candidates, parts.details, parts.ways_out, seen]  # as `shown` returns them

    def answer(upload: Any, turns: Turns, language: str, kept: Any) -> tuple[Any, ...]:
        is_last = turns.take()
        answered = handlers.answer(upload, kept)
        return shown(answered, language) if is_last() else (gr.skip(),) * len(outputs)

    def answer_again(seen: Seen | None, turns: Turns, language: str, kept: Any) -> tuple[Any, ...]:
        if seen is None or seen.shown is None:
            return (gr.skip(),) * len(outputs)
        is_last, path = turns.take(), str(seen.shown)
        answered = handlers.answer({"path": path, "orig_name": seen.result.name}, kept)
        if not is_last():
            return (gr.skip(),) * len(outputs)
        alt_text = cards.alt_text(answered.result, language)
        return gr.update(value=path, alt_text=alt_text), *shown(answered, language)[1:]  # it may have been a heat map

    def take(event: gr.SelectData, turns: Turns, language: str) -> tuple[Any, ...]:
        turns.take()
        copy = handlers.take_example(examples(), event.index, event.value, language)
        return gr.update(value=copy), *shown(None, language)[1:]

    def clear(turns: Turns, language: str) -> tuple[Any, ...]:
        turns.take()
        return shown(None, language)[1:]

    def look(seen: Seen | None, where: bool, turns: Turns, language: str, kept: Any) -> Any:
        is_last = turns.take()
        picture = handlers.look(seen, where, language, kept)
        if seen is None or not is_last():
            return gr.skip()
        return gr.update(value=picture, alt_text=cards.alt_text(seen.result, language, seen.rank if where else None))

    def look_again(seen: Seen | None, where: bool, turns: Turns, language: str, kept: Any) -> Any:
        return look(seen, where, turns, language, kept) if where else gr.skip()

    # Progress is shown on the card, not over the photo, where the next one may be dropped.
    answering: dict[str, Any] = {
        "fn": answer, "inputs": [photo, turns, language, kept], "outputs": outputs, "show_progress_on": card,
        **COMPUTING, **PAGE_ONLY,
    }  # fmt: skip
    asked = photo.upload(**answering)  # dropped, pasted, taken; `input` would fire when a camera is chosen, too
    looking = where.input(
        look, [seen, where, turns, language, kept], photo, show_progress="minimal", **COMPUTING, **PAGE_ONLY
    )
    picked = parts.candidates.select(pick, [seen, language], [card, parts.details, seen], **INSTANT)
    looking_again = picked.then(
        look_again, [seen, where, turns, language, kept], photo, show_progress="hidden", **COMPUTING, **PAGE_ONLY
    )
    # Nobody waits any more for what is on its way; if it comes all the same, it isn't the last turn. An example's own
    # answer is left to that: cancelling takes a moment, in which the answer to the next example may have begun.
    pending = [asked, looking, looking_again]
    parts.offered.select(None, cancels=pending)
    example = parts.offered.select(take, [turns, language], outputs, **INSTANT).success(**answering)
    photo.clear(clear, [turns, language], outputs[1:], cancels=[*pending, example], **INSTANT)
    for event in (asked, example):
        # Otherwise "Error" would stay on the card after the photo of a pending answer was removed.
        event.failure(gr.skip, None, card, **INSTANT)
    parts.listed.click(lambda: gr.Tabs(selected="landmarks"), None, tabs, **INSTANT)
    kept.change(answer_again, [seen, turns, language, kept], outputs, show_progress="hidden", **COMPUTING, **PAGE_ONLY)
    return seen


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
