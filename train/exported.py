"""Name landmarks with a model that `train.export` wrote; a line of JSON for each photo.

python -m train.exported model.onnx photo.jpg
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from landmark_models.errors import PhotoError, run_command


def command(
    file: Annotated[Path, typer.Argument(help="A .pt, .onnx or .pt2 file written by `python -m train.export`.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos to recognise.", metavar="PHOTO...", show_default=False)],
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Candidates for each photo.")] = 5,
) -> None:
    """Name the landmark in each photo with an exported model: a line of JSON for each.

    The exit status is 1 if any photo could not be read.
    """
    from train.hub.exported_model import ExportedModel, photo_tensor

    model = ExportedModel(file)
    failed = False
    for photo in photos:
        record: dict[str, Any] = {"path": str(photo), "predictions": [], "known": None, "error": None}
        try:
            answer = model.predict(photo_tensor(photo), top_k)
            record |= {"predictions": [vars(candidate) for candidate in answer], "known": answer.known}
        except PhotoError as error:
            record["error"], failed = str(error), True
        typer.echo(json.dumps(record))
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
