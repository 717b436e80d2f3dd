"""Put the page on the Hugging Face Hub as a Space.

python -m train.space you/which-landmark --model hf-hub:you/landmarks
python -m train.space you/which-landmark --namespace you
python -m train.space you/landmark-page --static --model default
"""

from typing import Annotated

import typer

from landmark_models.errors import LandmarkError, run_command


def command(
    repo_id: Annotated[str, typer.Argument(help="The Space to create, or to update: owner/name.")],
    model: Annotated[str | None, typer.Option(help="The model that it serves: hf-hub:owner/name\\[@revision].")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Without a model: whose best model on the Hub it serves; else the embedded one.")
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static",
            help="Run the model in the visitor's browser: no server, free for every account. --model may be any MODEL.",
        ),
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Create the Space as private.")] = False,
    hardware: Annotated[
        str, typer.Option(help="Of a new Space: zero-a10g (ZeroGPU) is free, cpu-basic and others need a paid plan.")
    ] = "zero-a10g",
) -> None:
    """Put the page on the Hugging Face Hub as a Space. Log in with `hf auth login`, or set HF_TOKEN."""
    if static:
        if not model:
            raise LandmarkError("A static Space takes its model along: name it with --model.")

        from train.hub.static_space import publish_static_space

        publish_static_space(repo_id, model, private)
        return

    from landmark_models.models import on_hub

    if model and not on_hub(model):
        raise LandmarkError(f"A Space serves a model from the Hub, hf-hub:owner/name, not {model}; publish it first.")

    from train.hub.spaces import publish_space

    publish_space(repo_id, model or None, namespace or None, private, hardware)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
