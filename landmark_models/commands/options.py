"""Options that several commands share."""

from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option("--model", help="default, compact, a model or run folder, or hf-hub:owner/name[@revision].")
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="FILE",
        envvar="LANDMARK_WITH",
        help="Taught landmarks: a file of `landmarks teach`, or hf-hub:owner/name; repeatable. LANDMARK_WITH may name "
        "several, with spaces between them.",
    ),
]
