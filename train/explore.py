"""Look at photos before training on them: what there is, what is wrong, what the network will see.

python -m train.explore photos --output runs/explore      # then open runs/explore/index.html
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landmark_models.errors import reason, run_command

if TYPE_CHECKING:
    from train.data.scan import Scan
    from train.recipe import Recipe

_DEFAULT_RECIPE = Path(__file__).with_name("recipes") / "default.yaml"


def explore(data: str | Path, output: str | Path, recipe: "Recipe", samples: int = 8) -> "Scan":
    """Look at every photo of DATA; write `output/index.html`, its pictures, `exclude.txt` and `scan.json`.

    Samples, pixels and the batch are from the first of the splits train, val, test. The recipe says how photos are
    cropped, augmented and normalised, and has the seed of all random draws. Returns what `train.data scan` finds.

    Raises:
        LandmarkError: the data or the recipe can't be used, no photo can be read, or the output can't be written.
    """
    from train.data import DataError, check_output, data_folder, data_name, find_splits
    from train.data.scan import scan
    from train.draw.exploration import (
        MANY_CLASSES,
        classes_section,
        findings_section,
        samples_section,
        sizes_section,
    )
    from train.draw.output import write_page
    from train.engine.preview import pretrained_cfg, preview_sections

    name, data, output = data_name(data), data_folder(data), Path(output)
    splits = find_splits(data, Counter())
    check_output(output, data)
    cfg = pretrained_cfg(recipe, len({label for photos in splits.values() for label in photos.labels}))

    found = scan(data)
    unreadable = {finding.path for finding in found.findings if finding.kind == "unreadable"}
    readable = {split: photos.excluding(unreadable) for split, photos in splits.items()}
    shown = next(photos for photos in readable.values() if len(photos))
    try:
        found.write_fix(output)
        write_page(
            output / "index.html",
            "exploration.html.j2",
            title=f'The photos in "{name}"',
            classes=classes_section(splits, output),
            findings=findings_section(found, data, output),
            sizes=sizes_section(readable, recipe.image_size, output),
            **preview_sections(shown, recipe, cfg, output),
            samples=samples_section(shown, samples, recipe.seed, output),
            classes_shown=MANY_CLASSES,
        )
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None
    return found


def command(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; hf:owner/name; torch/NAME."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for index.html and its pictures; created if needed.")],
    recipe: Annotated[
        Path, typer.Option(help="A YAML recipe, whose batches are shown.", show_default="train/recipes/default.yaml")
    ] = _DEFAULT_RECIPE,
    samples: Annotated[int, typer.Option(min=1, help="Photos of each class to show.")] = 8,
) -> None:
    """Look at photos before training on them: counts, samples, colours, sizes, copies, leaks, an augmented batch."""
    from train.data import print_left_out
    from train.recipe import Recipe

    found = explore(data, output, Recipe.read(recipe), samples)
    kinds = Counter(finding.kind for finding in found.findings)
    well = "nothing wrong with these" if found.left_out else "all is well"
    print(f"{sum(found.photos.values())} photos; " + (", ".join(f"{n} {k}" for k, n in kinds.items()) or well))
    print_left_out(data, Counter(found.left_out))
    print(f"Open {output / 'index.html'}")


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
