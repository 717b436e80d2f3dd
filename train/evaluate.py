"""How good a model is on photos that it hasn't seen: figures with intervals, as JSON, as tables, and as a page.

python -m train.evaluate default --data photos/ --split test --output runs/test
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landmark_models.commands.options import With
from landmark_models.errors import run_command
from train import options
from train.measure import TTA, Kind

if TYPE_CHECKING:
    from train.measure.predict import Subject


def open_exported(model: str | Path) -> "Subject | None":
    """The file of `train.export` that this names; None if it names a MODEL."""
    from landmark_models.models import EMBEDDED, on_hub
    from train.hub import SUFFIXES
    from train.hub.exported_model import exported_subject

    is_model = str(model) in EMBEDDED or on_hub(str(model)) or Path(model).is_dir()
    return None if is_model or Path(model).suffix not in SUFFIXES else exported_subject(model)


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="default, compact, a model or run folder, hf-hub:owner/name\\[@revision], or a FILE of train.export."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; hf:owner/name; torch/NAME."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for metrics.json and the report; created if needed.")],
    split: Annotated[str, typer.Option(help="train, val, test, or all for bare class folders.")] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos at a time; affects only the speed.")] = 64,
    exclude: options.Exclude = None,
    tta: Annotated[
        TTA | None,
        typer.Option(help="Average over each photo and its mirror image, or over ten crops; not recorded in the run."),
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photos that show none of the landmarks, with a folder for each kind: "
            "measure how well they are rejected."
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Measure on blurred, noisy, dark, ... photos, too; takes six times as long."),
    ] = False,
    kind: Annotated[
        Kind,
        typer.Option("--as", help="Record a run's figures as its test figures, or as those on photos from elsewhere."),
    ] = Kind.test,
    addons: With = None,
) -> None:
    """Measure a model on photos that it hasn't seen.

    With --with, known and taught landmarks are measured apart, and nothing is recorded in the run.
    """
    from train.measure.evaluation import evaluate
    from train.measure.tables import print_tables

    exported = open_exported(model)
    arguments = (model, data, split, output, batch_size, exclude, tta, negatives, robustness, kind, exported)
    print_tables(evaluate(*arguments, addons=addons or []))


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
