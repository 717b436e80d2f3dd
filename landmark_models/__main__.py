"""The command line: `landmarks predict PHOTO...`, `tag FOLDER...` and others, or `python -m landmark_models ...`."""

from typing import Annotated

import typer

from landmark_models import __version__
from landmark_models.commands.info import info
from landmark_models.commands.predict import predict
from landmark_models.commands.tag import tag
from landmark_models.commands.teach import forget, taught, teach
from landmark_models.errors import run_command

app = typer.Typer(
    help="Tell which landmark is in a photo, tag photos with it, and learn landmarks from a few photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would take longer than all the rest of --help
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"landmarks {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


for command in (predict, tag, teach, forget, taught, info):
    app.command()(command)


def main() -> None:
    """The command `landmarks`."""
    run_command(app)


if __name__ == "__main__":
    main()
