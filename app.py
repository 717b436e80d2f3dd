"""The page: a photo in, its landmark out.

python app.py [--model MODEL] [--port N]
LANDMARK_NAMESPACE=owner python app.py
"""

import contextlib
import html
import importlib.resources
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any

# A Space with ZeroGPU has a GPU only while a function wants one; models move to it at the start.
if ZERO_GPU := bool(os.environ.get("SPACES_ZERO_GPU")):
    import spaces  # before anything that touches CUDA

from landmark_models.page.uploads import upload_folder

# Read when gradio is imported. Uploads have a folder of their own, since what is old in it is deleted.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
UPLOADS = upload_folder(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)

import gradio as gr
import typer
from gradio import processing_utils
from PIL import Image

from landmark_models import LandmarkError, PhotoError, models, open_photo, photo_position
from landmark_models.devices import best_device
from landmark_models.errors import run_command
from landmark_models.explain import NoExplanationError
from landmark_models.explain import explain as explained
from landmark_models.page.batch import Tagged, tag_photos
from landmark_models.page.cards import EMPTY, answer_html, table_html
from landmark_models.page.serving import Serving
from landmark_models.page.theme import BEHAVIOUR, FRAMES, SPOKEN, STYLE, when_opened
from landmark_models.page.uploads import KEPT, PhotoTransport, keep_sweeping, original_name, uploaded_file
from landmark_models.photo import DECODED_MARGIN, MAX_BYTES
from landmark_models.tagging.gazetteer import search
from landmark_models.tagging.tags import Tags

MAX_CANDIDATES = 10
MAX_PHOTOS = 200  # at once
ALT_TEXT = "Your photo"  # before it is recognised
CARD_HEIGHT = 560  # px, so that nothing below moves when an answer comes
_PROGRESS = gr.Progress()
SHOWN_SIDE = 1024  # least shorter side of the photo that the page shows, px, where the photo has it
LANDMARK_EXAMPLE = "Eiffel Tower"
GRADIO_EXAMPLES = {"tower.jpg": LANDMARK_EXAMPLE, "lion.jpg": "A lion: not a landmark"}  # with captions

# No web fonts: the page asks nothing of a third party and looks the same without network.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
    # for contrast
    link_text_color_dark="*primary_300",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_700",
)

on_gpu: Any = spaces.GPU if ZERO_GPU else lambda function: function


def gradio_examples() -> dict[Path, str]:
    """Photos that come with the installed gradio, each with its caption: a landmark and things that are none."""
    folder = Path(str(importlib.resources.files("gradio") / "media_assets" / "images"))
    return {folder / name: caption for name, caption in GRADIO_EXAMPLES.items()}


def example_photos(serving: Serving) -> dict[Path, str]:
    """The photos in the model's own folder `examples`, then Gradio's, each with its caption.

    Of Gradio's only those that the model answers as their captions say: it may know other landmarks.
    """
    classifier = serving.now.classifier
    own = models.examples(classifier.source, classifier.revision)
    examples = {photo: f"Example {number}" for number, photo in enumerate(own, start=1)}
    for photo, caption in gradio_examples().items():
        answer = classifier.predict(photo, 1)
        if Tags.of(answer).name == caption if answer.known else caption != LANDMARK_EXAMPLE:
            examples[photo] = caption
    return examples


def _said(sentence: str) -> gr.Error:
    return gr.Error(html.escape(sentence), print_exception=False)


def build(serving: Serving, examples: Mapping[Path, str] | None = None) -> gr.Blocks:
    """The page around what serves, with example photos by their captions; without, Gradio's."""
    examples = examples or gradio_examples()

    @contextlib.contextmanager
    def sentences() -> Iterator[None]:
        """Show what can't be done with a photo as a sentence in the page."""
        try:
            yield
        except (PhotoError, NoExplanationError) as error:
            raise _said(str(error)) from None

    @on_gpu
    def predict(photo: Any, top_k: int = 5) -> tuple[dict[str, float], Image.Image, bool]:
        """Name the landmark in a photo.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).
            top_k: number of candidates, 1 to 10.

        Returns:
            The candidates with their confidences, the photo as it was read, and whether it shows a landmark that the
            model knows.
        """
        with sentences():
            tags, shown = look(photo)
        return {candidate.label: candidate.score for candidate in tags.predictions[: count(top_k)]}, shown, tags.known

    def look(photo: Any) -> tuple[Tags, Image.Image]:
        with uploaded_file(photo, UPLOADS).open("rb") as file:
            tags = recognise(file)
            file.seek(0)
            shown = open_photo(file, math.ceil(SHOWN_SIDE / DECODED_MARGIN))
        shown.thumbnail((2 * SHOWN_SIDE, 2 * SHOWN_SIDE))
        shown.info.clear()  # gradio would pass the photo's metadata on
        return tags, shown

    def see(photo: Any, top_k: int) -> tuple[dict[str, float] | None, Image.Image | None, Tagged]:
        try:
            name = original_name(photo, uploaded_file(photo, UPLOADS))
            tags, shown = look(photo)
        except PhotoError as error:  # which stays on the page, while the next photo may be dropped
            return None, None, Tagged("", error=str(error))
        return tags.named(count(top_k)), shown, Tagged(name, tags)

    def recognise(file: IO[bytes]) -> Tags:
        candidates = serving.now.classifier.predict(file, MAX_CANDIDATES)
        file.seek(0)
        return Tags.of(candidates, photo_position(file))

    def tell(seen: Tagged | None) -> tuple[Any, ...]:
        """Card, alt text of the photo, whether why can be asked, and the reason, which is shown when it is."""
        named = seen is not None and seen.tags is not None
        text = answer_html(seen) if seen else EMPTY
        alt_text = gr.update(alt_text=seen.tags.alt_text if named else ALT_TEXT)
        return text, alt_text, gr.update(interactive=named), gr.update(value=None, visible=False)

    def count(top_k: Any) -> int:
        if not isinstance(top_k, int | float):
            raise _said(f"The number of candidates must be from 1 to {MAX_CANDIDATES}.")
        return int(min(max(1, top_k), MAX_CANDIDATES))

    @on_gpu
    def tag(photo: Any) -> dict[str, Any]:
        """Tag a photo: landmark, place, Wikidata id, hashtags, alt text, a verdict, and whether its own GPS agrees.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).

        Returns:
            `landmarkAnnotations` as Google Cloud Vision has them, `known`, whether the photo shows a landmark that the
            model knows, `verdict`, the same in a sentence, with how often such answers were right, `hashtags` and
            `altText`; `name` and `place`, null where none was recognised; `distanceKm` and `agrees`, null where the
            photo has no GPS.
        """
        with sentences(), uploaded_file(photo, UPLOADS).open("rb") as file:
            tags = recognise(file)
        return tags.record()

    @on_gpu
    def explain(photo: Any) -> Image.Image:
        """Show where in a photo its answer comes from.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).

        Returns:
            The photo, coloured where the most likely landmark was seen; grey is what the model did not look at.
        """
        return where(photo, None)

    def where(photo: Any, seen: Tagged | None) -> Image.Image:
        classifier, label = serving.now.classifier, seen.tags.best.label if seen and seen.tags else None
        with sentences(), uploaded_file(photo, UPLOADS).open("rb") as file:
            return explained(classifier, file, label if label in classifier.labels else None)

    @on_gpu
    def recognise_many(photos: Any, progress: gr.Progress = _PROGRESS) -> str:
        """Name the landmarks in many photos.

        Args:
            photos: the photos.
            progress: where to say how far it is.

        Returns:
            A table, as HTML.
        """
        if not isinstance(photos, list) or not photos:
            raise _said("There are no photos; choose some first.")
        if len(photos) > MAX_PHOTOS:
            raise _said(f"{len(photos)} photos at once are too many; take {MAX_PHOTOS}.")
        with sentences():
            paths = [uploaded_file(photo, UPLOADS) for photo in photos]
            files = [(original_name(photo, path), path) for photo, path in zip(photos, paths, strict=True)]
            results = tag_photos(serving.now.classifier, files)
            return table_html(list(progress.tqdm(results, total=len(files), unit="photos")))

    def landmarks(query: str = "") -> list[dict[str, str]]:
        """List the landmarks that the model knows.

        Args:
            query: only those whose name, other names, kind, place or country hold this text.

        Returns:
            For each its label, name, kind, place, country and Wikidata id.
        """
        return search(serving.now.classifier.labels, query)

    def table() -> list[list[str]]:
        return [[row[column] for column in ("name", "kind", "place", "country")] for row in landmarks()]

    processing_utils.async_transport = PhotoTransport(_said)  # which is how gradio fetches a photo at an address
    with gr.Blocks(title="Which landmark is this?", delete_cache=(600, int(KEPT))) as page:
        page.queue(max_size=512)  # the page says how long the wait is
        gr.Markdown("# Which landmark is this?\nDrop a photo, paste one, or take one: the page names the landmark.")
        found = gr.State(None)
        with gr.Tab("One photo"):
            with gr.Row():
                with gr.Column():
                    photo = gr.Image(
                        label="Photo", sources=["upload", "webcam", "clipboard"], format="jpeg", height=420,
                        buttons=["fullscreen"], elem_id="photo", alt_text=ALT_TEXT,
                    )  # fmt: skip
                with gr.Column():
                    card = gr.HTML(
                        EMPTY, label="Answer", elem_id="card", min_height=CARD_HEIGHT, css_template=STYLE,
                        js_on_load=SPOKEN + BEHAVIOUR,
                    )  # fmt: skip
                    why = gr.Button("Why?", interactive=False, elem_id="why")
                    reason = gr.Image(
                        label="Where it comes from", format="jpeg", height=320, buttons=["fullscreen"], visible=False,
                        interactive=False, elem_id="reason", alt_text="The photo, coloured where the answer comes from",
                    )  # fmt: skip
                    with gr.Accordion("Candidates", open=False):
                        answer = gr.Label(label="Landmark", elem_id="answer")
                        top_k = gr.Slider(1, MAX_CANDIDATES, value=5, step=1, label="Candidates")
            # `example_labels` would stand in the photos' place; the captions come with `when_opened`.
            offered = gr.Examples([[str(file)] for file in examples], [photo], label="Examples", cache_examples=False)
        with gr.Tab("Many"):
            photos = gr.File(label="Photos", file_count="multiple", height=160, elem_id="photos")
            go = gr.Button("Recognise", variant="primary")
            results = gr.HTML(
                label="Answers", elem_id="table", min_height=120, css_template=STYLE, js_on_load=BEHAVIOUR
            )
        with gr.Tab("Landmarks"):
            known = gr.Dataframe(
                table(), headers=["Name", "Kind", "Place", "Country"], show_search="search", interactive=False,
                label="What it knows", elem_id="known",
            )  # fmt: skip
        with gr.Accordion("About the model", open=False):
            facts = gr.Markdown(serving.now.facts, latex_delimiters=[])

        model: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": min(os.cpu_count() or 1, 4)}
        unlisted: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "multiple"}
        private: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | unlisted
        # Gradio would decode and encode some photos again before we see them: `preprocess=False` hands us the file.
        seen: dict[str, Any] = (
            {
                "inputs": [photo, top_k],
                "outputs": [answer, photo, found],
                "show_progress_on": card,  # not over the photo, where the next one may be dropped
                "preprocess": False,
            }
            | model
            | unlisted
        )
        told = [card, photo, why, reason]
        blank = {"fn": lambda: (None, None, *tell(None)), "inputs": None, "outputs": [answer, found, *told]} | private
        asked = photo.upload(on_gpu(see), **seen)  # dropped, pasted, taken; to choose the camera is an input, too
        asked_example = offered.load_input_event.then(**blank).then(on_gpu(see), **seen)
        for event in (asked, asked_example):
            event.success(tell, found, told, **private)
            # Or "Error" would stay where the answer to a removed photo was due.
            event.failure(gr.skip, None, card, **private)
        asked_why = why.click(on_gpu(where), [photo, found], reason, preprocess=False, **model | unlisted)
        asked_why.success(lambda: gr.update(visible=True), None, reason, **private)
        under_way = [asked, asked_example, asked_why]
        photo.clear(**blank, cancels=under_way)
        offered.dataset.click(None, cancels=under_way)
        top_k.change(
            lambda tagged, number: tagged.tags.named(count(number)) if tagged and tagged.tags else None,
            [found, top_k], answer, **private,
        )  # fmt: skip
        # The model may have changed since the page was built.
        opened = when_opened(list(examples.values()))
        page.load(lambda: (serving.now.facts, table()), None, [facts, known], js=opened, **private)
        go.click(recognise_many, photos, results, preprocess=False, api_visibility="private", **model)
        outputs = [gr.Label(visible=False), gr.Image(visible=False, format="jpeg"), gr.Checkbox(visible=False)]
        gr.Button(visible=False).click(predict, [photo, top_k], outputs, preprocess=False, api_name="predict", **model)
        gr.Button(visible=False).click(
            explain, photo, gr.Image(visible=False, format="jpeg"), preprocess=False, api_name="explain", **model
        )
        gr.Button(visible=False).click(tag, photo, gr.JSON(visible=False), preprocess=False, api_name="tag", **model)
        gr.api(landmarks, api_name="landmarks")
    return page


def has_screen() -> bool:
    """Whether a browser can be opened here: not on a Space, nor on a server without a display."""
    if os.environ.get("SPACE_ID"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(
    model: Annotated[
        str | None,
        typer.Option(
            envvar="LANDMARK_MODEL", help="default, compact, a model or run folder, or hf-hub:owner/name\\[@revision]."
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(envvar="LANDMARK_NAMESPACE", help="Without a model: whose best model on the Hub to serve."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; without, the first free one from 7860.")
    ] = None,
) -> None:
    """Open a page that names the landmark in a photo.

    It opens also where the model can't be had: then the last copy that served does, else the embedded model.
    """
    device = best_device()
    serving = Serving(model or None, namespace or None, device, look_again=not ZERO_GPU)
    classifier, why = serving.now
    source = classifier.source
    if source in models.EMBEDDED:
        source = "the embedded model" if source == "default" else f"the embedded model {source}"
    print(f"Serving {source}. {why}".strip(), flush=True)
    examples = example_photos(serving)
    keep_sweeping(UPLOADS, list(examples))
    page = build(serving, examples)
    try:
        page.launch(
            server_port=port,
            theme=THEME,
            css=FRAMES,
            max_file_size=MAX_BYTES,
            inbrowser=has_screen(),
            ssr_mode=False,
            footer_links=["api"],
        )
    except OSError:
        taken = f"port {port} is" if port else "ports 7860 to 7959 are"
        raise LandmarkError(f"The page can't be opened: {taken} taken; choose another with --port.") from None


if __name__ == "__main__":
    run_command(lambda: typer.run(main))
