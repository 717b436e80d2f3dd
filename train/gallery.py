"""Teach a model any number of landmarks at once, in one pass over their photos, without training.

python -m train.gallery default --data photos/ --output world.landmarks.safetensors
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import run_command


def command(
    model: Annotated[str, typer.Argument(help="default, a model or run folder, or hf-hub:owner/name\\[@revision].")],
    data: Annotated[
        Path,
        typer.Option(help="DATA: a folder with train/ of CLASS/*, or of bare CLASS/*; hf:owner/name; torch/NAME."),
    ],
    output: Annotated[Path, typer.Option(help="The add-on to write, NAME.landmarks.safetensors.")],
    split: Annotated[str, typer.Option(help="train, val or test; bare class folders are train.")] = "train",
    dimensions: Annotated[
        int, typer.Option(min=1, help="Numbers kept of each landmark; all, if there are no more landmarks than that.")
    ] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos at a time; affects only the speed.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where an interrupted run stopped.")] = False,
) -> None:
    """Teach a model all the landmarks of a folder, a class each; `--with FILE` then adds them to its own."""
    from landmark_models import LandmarkClassifier
    from landmark_models.devices import best_device, device_name
    from train.engine.gallery import make_gallery

    classifier = LandmarkClassifier.load(model, best_device())
    made = make_gallery(classifier, data, output, split, dimensions, batch_size, resume)
    typer.echo(
        f"{output}: {len(made.addon):,} landmarks of {made.addon.vectors.shape[1]} numbers each, "
        f"{output.stat().st_size / 1e6:.1f} MB, taught from {made.photos:,} photos in {made.seconds:.0f} s "
        f"({device_name(classifier.device)}). Recognise them with --with {output}."
    )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
