"""How well a model recognises landmarks that it is taught from a few photos, and what that costs those it knows.

python -m train.few_shot runs/without-ten --data photos --shots 1 --shots 5 --negatives negatives --output runs/few-shot
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import run_command


def command(
    model: Annotated[
        str, typer.Argument(help="A model or run folder, or hf-hub:owner/name, trained without some classes of DATA.")
    ],
    data: Annotated[Path, typer.Option(help="Folder with train/ to teach from, and test/ to measure on, of CLASS/*.")],
    output: Annotated[Path, typer.Option(help="Folder for metrics.json; created if needed.")],
    classes: Annotated[int, typer.Option(min=1, help="Classes to teach at once; all, if no more are unknown.")] = 10,
    shots: Annotated[list[int], typer.Option(min=1, help="Photos to teach each class from; repeatable.")] = [1, 5, 10],  # noqa: B006 (typer copies it)
    draws: Annotated[int, typer.Option(min=1, help="How often photos, and classes, are drawn.")] = 5,
    elsewhere: Annotated[
        Path | None, typer.Option(help="DATA from elsewhere, to measure on its test/ or bare classes, too.")
    ] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="Photos of other things, a folder for each kind: how many are named?")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same classes and photos.")] = 0,
) -> None:
    """Teach a model the classes of DATA that it doesn't know, from a few photos each, and measure all of them."""
    from train.measure.few_shot import few_shot
    from train.measure.few_shot_tables import few_shot_heading, few_shot_tables
    from train.measure.tables import print_all

    metrics = few_shot(model, data, output, classes, shots, draws, elsewhere, negatives, seed)
    print_all(few_shot_heading(metrics), few_shot_tables(metrics))


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
