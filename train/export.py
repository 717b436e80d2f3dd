"""One file for other runtimes: a photo as a uint8 tensor in, probabilities out; TorchScript, ONNX or torch.export.

python -m train.export runs/first --format onnx --output first.onnx --photos photos/test
python -m train.export runs/first --web site
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import LandmarkError, run_command
from train.hub import Format


def command(
    model: Annotated[
        str, typer.Argument(help="default, compact, a model or run folder, or hf-hub:owner/name\\[@revision].")
    ],
    kind: Annotated[
        Format | None, typer.Option("--format", help="What to write.", show_default=Format.torchscript)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="checkpoints/transfer_exported.pt, .onnx or .pt2")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos to check the file on, searched recursively; else synthetic.")
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(help="Folder for a page that runs the model in the browser, on any server; instead of a file."),
    ] = None,
) -> None:
    """Write a model into one file that maps a photo, a uint8 tensor, to probabilities, and check the file."""
    if web:
        if kind or output or photos:
            raise LandmarkError("--web writes a page, not a file; leave out --format, --output and --photos.")

        from train.hub.web_page import write_page

        written = write_page(model, web)
        size, first_visit, total = (n / 1e6 for n in (written.model_bytes, written.first_visit, written.total))
        print(f"{web}: a page with the model {written.name}.")
        print(f"To look at it: python -m http.server --directory {web}")
        print(f"Model: {size:.1f} MB; a first visit loads {first_visit:.1f} MB; folder: {total:.1f} MB.")
        return

    from train.hub.single_file import TOLERANCE, export

    kind = kind or Format.torchscript
    file = output or Path("checkpoints", f"transfer_exported{kind.suffix}")
    agreement = export(model, kind, file, photos)
    n = agreement.n
    print(f"{file}: {kind}, {file.stat().st_size / 1e6:.1f} MB.")
    print(
        f"Checked in a fresh process on {n} {f'photos from {photos}' if photos else 'synthetic photos (no --photos)'}:"
    )
    print(f"  probabilities differ by at most {agreement.difference:.1g} from the model's (allowed: {TOLERANCE:g});")
    print(f"  the answer is the serving path's, which resizes slightly differently, on {agreement.same_top1} of {n};")
    print(f"  both agree on whether the landmark is known on {agreement.same_known} of {n}.")
    if total := agreement.labelled:
        exported, served = (100 * right / total for right in (agreement.right, agreement.right_served))
        print(
            f"  Top-1 accuracy on the {total} photos in folders of the model's labels: {exported:.1f}% exported, "
            f"{served:.1f}% served, difference {exported - served:+.1f} points."
        )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
