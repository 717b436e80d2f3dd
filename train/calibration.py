"""Calibrate a run's model on its validation photos: confidences that mean what they say, and a rejection rule.

Every training run ends with this; the command does it again, for example with photos of other things:

python -m train.calibration runs/first --negatives negatives/choose --validation-from wild/choose
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import run_command
from train import options


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    negatives: options.Negatives = None,
    validation_from: options.ValidationFrom = None,
) -> None:
    """Fit a model's temperature, and its rule for rejecting photos of anything else, on the run's validation photos."""
    from rich.console import Console

    from train.measure.calibration import calibrate, describe_calibration
    from train.run import RunFolder

    Console().print(describe_calibration(calibrate(RunFolder(run), negatives, validation_from)), soft_wrap=True)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
