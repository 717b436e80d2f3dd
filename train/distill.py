"""Train a small student on a large teacher's outputs for the same augmented views: `train.fit` with `--teacher`.

accelerate launch -m train.distill train/recipes/default.yaml --teacher runs/large --data photos/ --output runs/small
"""

import inspect
from typing import Any

from train import fit, options


def command(**arguments: Any) -> None:
    """Train a small model on a large one's outputs for the same augmented photos. Every knob can be set here."""
    fit.command(**arguments)


_parameters = [
    parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=default)
    for name, parameter in inspect.signature(fit.command).parameters.items()
    for default in [inspect.Parameter.empty if name == "teacher" else parameter.default]  # which makes it required
]
command.__signature__ = inspect.Signature(_parameters)  # type: ignore[attr-defined]
command.__annotations__ = fit.command.__annotations__

if __name__ == "__main__":
    options.run_in_each_process(command)
