"""The page: a photo in, its landmark out.

python app.py [--model MODEL] [--with FILE ...] [--teach FILE] [--port N]
LANDMARK_NAMESPACE=owner python app.py
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from landmark_models.errors import LandmarkError, run_command
from landmark_models.page.environment import (
    check_address,
    has_screen,
    provide_caches,
    requested_port,
    return_freed_memory,
    seconds_on_gpu,
    server_name,
)
from landmark_models.page.uploads import keep_sweeping, remove_when_stopped, upload_folder

# Read by gradio when it is imported. Uploads get a folder of their own, since everything old in it is deleted.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
try:
    UPLOADS = upload_folder(os.environ.get("GRADIO_TEMP_DIR"))
    requested_port()
except LandmarkError as error:
    sys.exit(f"Error: {error}")
os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)
HOST = os.environ.pop("GRADIO_SERVER_NAME", None)  # or gradio would look for a free port there, in IPv4 alone
provide_caches(UPLOADS.parent / "cache")

# A Space with ZeroGPU has a GPU only while a function needs one; models move to it at the start.
if ZERO_GPU := bool(os.environ.get("SPACES_ZERO_GPU")):
    import spaces  # before anything that touches CUDA

import typer

from landmark_models import models
from landmark_models.commands.options import With
from landmark_models.devices import best_device
from landmark_models.page.fetching import guard_fetching
from landmark_models.page.layout import LAUNCH_OPTIONS, build
from landmark_models.page.serving import Serving
from landmark_models.teaching import load_addon
from landmark_models.teaching.taught_file import TaughtFile


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
    addons: With = None,
    teach: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="LANDMARK_TEACH",
            help="Keep what visitors teach in this file, for everybody's answers; anybody may also forget it. "
            "By default, only each visitor's own browser keeps it.",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; by default the first free one from 7860.")
    ] = None,
) -> None:
    """Open a page that names the landmark in a photo.

    It opens even if the model isn't available: the last copy that worked serves then, else the embedded model.
    """
    remove_when_stopped(UPLOADS)
    return_freed_memory()
    check_address(HOST, port)
    serving = Serving(
        model or None,
        namespace or None,
        best_device(),
        keep_checking=not ZERO_GPU,
        addons=[load_addon(source) for source in addons or []],
        taught=TaughtFile(teach) if teach else None,
    )
    classifier, why = serving.current
    source = classifier.source
    if source in models.EMBEDDED:
        source = "the embedded model" if source == "default" else f"the embedded model {source}"
    print(f"Serving {source}. {why}".strip(), flush=True)
    keep_sweeping(UPLOADS)
    guard_fetching()
    page = build(serving, partial(spaces.GPU, duration=seconds_on_gpu) if ZERO_GPU else None)
    try:
        page.launch(
            server_name=server_name(HOST),
            server_port=port,
            inbrowser=has_screen(),
            **LAUNCH_OPTIONS,
        )
    except OSError as error:
        raise LandmarkError(f"The page can't be opened: {error}") from None


if __name__ == "__main__":
    run_command(lambda: typer.run(main))
