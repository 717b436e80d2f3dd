"""The page: a photo in, its landmark out.

python app.py [--model MODEL] [--port N]
LANDMARK_NAMESPACE=owner python app.py
"""

import html
import importlib.resources
import os
import sys
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

# A Space with ZeroGPU has a GPU only while a function wants one; models move to it at the start.
if ZERO_GPU := bool(os.environ.get("SPACES_ZERO_GPU")):
    import spaces  # before anything that touches CUDA

import gradio as gr
import torch
import typer
from gradio.utils import get_upload_folder
from PIL import Image

from landmark_models import LandmarkError, PhotoError, Prediction, open_photo
from landmark_models.errors import run_command
from landmark_models.hub import PREFIX
from landmark_models.photo import MAX_BYTES
from landmark_models.serving import Serving
from landmark_models.text import for_markdown

MAX_CANDIDATES = 10
SHOWN_SIDE = 1024  # least shorter side of the photo that the page shows, px, where the photo has it

# No web fonts: the page asks nothing of a third party and looks the same without network.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])

on_gpu: Any = spaces.GPU if ZERO_GPU else lambda function: function


def example_photo() -> Path:
    """Gradio's own photo of the Eiffel Tower, from the installed package."""
    return Path(str(importlib.resources.files("gradio") / "media_assets" / "images" / "tower.jpg"))


def model_facts(serving: Serving) -> str:
    """Which model is serving, why, and how accurate it was measured to be, as Markdown."""
    classifier, why = serving.now
    name = f"Model **{for_markdown(classifier.source.removeprefix(PREFIX).partition('@')[0])}**"
    if classifier.source == "default":
        name = "The embedded model"
    revision = f", revision `{classifier.revision[:12]}`," if classifier.revision else ""
    facts = [f"{name}{revision} knows {len(classifier.labels)} landmarks."]
    if test := classifier.landmark.get("test"):
        low, high = (100 * bound for bound in test["top1_ci95"])
        facts.append(
            f"Right first time on {100 * test['top1']:.1f} % of {test['n']} test photos "
            f"(95 % interval {low:.1f} to {high:.1f} %, {for_markdown(test['data'])})."
        )
    else:
        facts.append("It has no test figure.")
    return " ".join([*facts, for_markdown(why)]).strip()


def uploaded_file(photo: Any) -> Path:
    """The file that a person uploaded, from what the page or a client sent.

    Gradio checks paths only in messages of its own form, so a path elsewhere on the server is refused here.
    """
    path = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise gr.Error("There is no photo; choose one first.", title="No photo", print_exception=False)
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        raise gr.Error("This photo was not uploaded, or is gone; upload it (again).", print_exception=False)
    return file


def build(serving: Serving) -> gr.Blocks:
    """The page around what serves."""

    @on_gpu
    def predict(photo: Any, top_k: int = 5) -> tuple[dict[str, float], Image.Image, list[Prediction]]:
        """Name the landmark in a photo.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).
            top_k: number of candidates, 1 to 10.

        Returns:
            The candidates with their confidences, and the photo as it was read.
        """
        try:
            with uploaded_file(photo).open("rb") as file:
                candidates = serving.now.classifier.predict(file, MAX_CANDIDATES)
                file.seek(0)
                shown = open_photo(file, SHOWN_SIDE // 2)  # which keeps twice that, enough to look at
        except PhotoError as error:
            raise gr.Error(html.escape(str(error)), title="This photo can't be read", print_exception=False) from None
        shown.thumbnail((2 * SHOWN_SIDE, 2 * SHOWN_SIDE))
        return best(candidates, top_k), shown, candidates

    def best(candidates: list[Prediction], top_k: int) -> dict[str, float]:
        if not isinstance(top_k, int | float):
            raise gr.Error(f"The number of candidates must be from 1 to {MAX_CANDIDATES}.", print_exception=False)
        count = int(min(max(1, top_k), MAX_CANDIDATES))
        return {candidate.label: candidate.score for candidate in candidates[:count]}

    with gr.Blocks(title="Which landmark is this?", delete_cache=(1200, 1800)) as page:
        gr.Markdown("# Which landmark is this?\nDrop a photo, paste one, or take one: the page names the landmark.")
        found = gr.State([])
        with gr.Row():
            photo = gr.Image(
                label="Photo", sources=["upload", "webcam", "clipboard"], format="jpeg", height=420, elem_id="photo"
            )
            with gr.Column():
                answer = gr.Label(label="Landmark", elem_id="answer")
                top_k = gr.Slider(1, MAX_CANDIDATES, value=5, step=1, label="Candidates")
                facts = gr.Markdown(model_facts(serving), latex_delimiters=[])
        examples = gr.Examples([[str(example_photo())]], [photo], label="Example", cache_examples=False)

        # Gradio would decode and encode some photos again before we see them: `preprocess=False` hands us the file.
        seen = {"inputs": [photo, top_k], "outputs": [answer, photo, found], "preprocess": False}
        photo.input(predict, **seen, api_name="predict")
        examples.load_input_event.then(predict, **seen, api_visibility="private")
        page.load(
            lambda: model_facts(serving), None, facts, queue=False, show_progress="hidden", api_visibility="private"
        )  # the model may have changed since the page was built
        photo.clear(lambda: (None, []), None, [answer, found], queue=False, api_visibility="private")
        top_k.change(
            lambda candidates, count: best(candidates, count) if candidates else None,
            [found, top_k], answer, queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip
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
            envvar="LANDMARK_MODEL", help="default, a model or run folder, or hf-hub:owner/name\\[@revision]."
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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    serving = Serving(model or None, namespace or None, device, look_again=not ZERO_GPU)
    classifier, why = serving.now
    source = "the embedded model" if classifier.source == "default" else classifier.source
    print(f"Serving {source}. {why}".strip(), flush=True)
    page = build(serving)
    try:
        page.launch(
            server_port=port,
            theme=THEME,
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
