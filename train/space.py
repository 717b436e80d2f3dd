"""Put the page on the Hugging Face Hub as a Space.

python -m train.space you/landmark-page --static --model default
python -m train.space you/which-landmark --zero-gpu --model hf-hub:you/landmarks
python -m train.space you/which-landmark --namespace you
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
    zero_gpu: Annotated[
        bool,
        typer.Option(
            "--zero-gpu",
            help="Run a new Space on ZeroGPU: free for two Spaces of a personal account with a verified email address, "
            "30 days after it was made; more, and those of an organization, need a paid plan.",
        ),
    ] = False,
    hardware: Annotated[
        str | None,
        typer.Option(
            help="Run a new Space on other hardware, e.g. cpu-basic: needs a paid plan (PRO, Team, Enterprise)."
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the Space as private.")] = False,
) -> None:
    """Put the page on the Hugging Face Hub as a Space, or update it there.

    A new one needs one of --static, --zero-gpu and --hardware. Later, one on a
    server keeps its hardware and model; a static one needs --static and --model
    again. Log in with `hf auth login`, or set HF_TOKEN.
    """
    if model and namespace:
        raise LandmarkError("A Space serves one model or the best of a namespace: give --model or --namespace.")
    if static + zero_gpu + bool(hardware) > 1:
        raise LandmarkError("A Space runs on one thing: give only one of --static, --zero-gpu and --hardware.")
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
    from train.hub.upload import ZERO_GPU

    publish_space(repo_id, model or None, namespace or None, private, ZERO_GPU if zero_gpu else hardware)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
