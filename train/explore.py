"""Look at photos before training on them: what there is, what is wrong, what the network will see; `index.html` first.

python -m train.explore photos --output runs/explore
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from accelerate.utils import set_seed
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor
from tqdm.auto import tqdm

from landmark_models.errors import reason, run_command
from landmark_models.photo import open_photo
from landmark_models.preprocess import required_side
from landmark_models.text import for_terminal
from train.data import AugmentedPhotos, DataError, EpochSampler, PhotoCache, Photos, channel_statistics, find_photos
from train.data.folders import SPLITS
from train.data.scan import KINDS, Finding, Scan, scan
from train.data.torchvision_sets import data_folder
from train.draw.html_page import HtmlPage
from train.draw.photos import (
    CHANNELS,
    COLUMNS,
    ROWS,
    batch_figure,
    histograms,
    new_figure,
    save_figure,
    write_strip,
)
from train.engine.augment import DRAWS, BatchAugmentation, training_transform
from train.engine.network import build_network
from train.engine.photos import TrainingPhotos
from train.recipe import Recipe

__all__ = ["explore"]

_DEFAULT_RECIPE = Path(__file__).with_name("recipes") / "default.yaml"
_MEASURED = 500  # photos whose pixels are counted
_LISTED = 50  # findings of a kind on the page; scan.json has all


def explore(data: str | Path, output: str | Path, recipe: Recipe, samples: int = 8) -> Scan:
    """Look at every photo of DATA; write `output/index.html`, its pictures, `exclude.txt` and `scan.json`.

    Args:
        data: the DATA folder. Of its splits, the first of train, val, test is the one that photos are shown of and
            pixels counted in.
        output: the folder to make, or to use again; not in the data folder, where it would be a class.
        recipe: says how photos are cropped, augmented and normalised, and the seed of what is drawn.
        samples: photos of each class to show.

    Returns:
        What `python -m train.data scan` finds.

    Raises:
        LandmarkError: the data or the recipe can't be used, no photo can be read, or the output can't be written.
    """
    data, output = data_folder(data), Path(output)
    splits = {split: photos for split in SPLITS if (photos := find_photos(data, split))}
    blocker = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not blocker.is_dir():
        raise DataError(f"The output {output} can't be made: {blocker} is a file; name a folder.")
    if output.resolve().is_relative_to(data.resolve()):
        raise DataError(
            f"The output {output} is in the data folder, where its pictures would be a class; name another."
        )
    labels = tuple(dict.fromkeys(label for photos in splits.values() for label in photos.labels))
    # Only what the weights are is left open, and they may be far away.
    plain = replace(recipe, pretrained=False, average_with_pretrained=0.0, start_image_size=None)
    cfg = cast(dict[str, Any], build_network(plain, len(labels)).pretrained_cfg)

    found = scan(data)
    unreadable = {finding.path for finding in found.findings if finding.kind == "unreadable"}
    readable = {split: photos.excluding(unreadable) for split, photos in splits.items()}
    sizes = {split: _sizes(photos) for split, photos in readable.items() if len(photos)}
    shown = next(photos for photos in readable.values() if len(photos))
    page = HtmlPage(f"Photos of {data.resolve().name}")
    try:
        found.write_fix(output)
        _add_classes(page, output, splits, labels)
        _add_findings(page, output, found, data)
        _add_sizes(page, output, sizes, recipe.image_size)
        with TemporaryDirectory(dir=output, prefix=".decoded-") as folder:
            _add_pixels(page, output, shown, recipe, cfg, Path(folder))
        _add_samples(page, output, shown, samples, recipe.seed)
        page.write(output / "index.html")
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None
    return found


def _sizes(photos: Photos) -> NDArray[np.int64]:
    """Width and height of each photo as it is seen upright, px, `(N, 2)`, from the files' headers alone."""
    open_photo(photos.files()[0], 1)  # teaches Pillow the formats that it does not know by itself
    sizes = []
    for file in tqdm(photos.files(), desc="sizes", unit="photo", leave=False):
        with Image.open(file) as image:
            lying = image.format != "TIFF"  # Pillow gives its size upright
            turned = lying and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            sizes.append(image.size[::-1] if turned else image.size)
    return np.array(sizes)


def _add_classes(page: HtmlPage, output: Path, splits: Mapping[str, Photos], labels: Sequence[str]) -> None:
    counts = {split: Counter(photos.labels[target] for target in photos.targets) for split, photos in splits.items()}
    page.add_heading("Classes")
    parts = ", ".join(f"{len(photos):,} {split}" for split, photos in splits.items())
    page.add_text(f"{len(labels)} classes, {sum(map(len, splits.values())):,} photos: {parts}.")
    for split, count in counts.items():
        most, least = max(labels, key=lambda x: count[x]), min(labels, key=lambda x: count[x])
        page.add_text(f"{split}: from {count[least]} photos ({least}) to {count[most]} ({most}).")
        if missing := [label for label in labels if not count[label]]:
            page.add_text(f"Not in {split}: {', '.join(missing)}.")
    figure = new_figure(10, 1.5 + 0.2 * len(labels))
    axes = figure.subplots()
    order = sorted(labels, key=lambda label: counts[next(iter(counts))][label])
    left = np.zeros(len(order))
    for split, count in counts.items():
        widths = np.array([count[label] for label in order])
        axes.barh(range(len(order)), widths, left=left, label=split)
        left += widths
    axes.set_yticks(range(len(order)), [_name(label, 40) for label in order], fontsize=8, parse_math=False)
    axes.set(xlabel="photos", ylim=(-0.6, len(order) - 0.4))
    axes.legend()
    save_figure(figure, output / "classes.png")
    page.add_picture("classes.png", "Bars: photos of each class in each split")
    page.add_table(["class", *counts], [[label, *(count[label] for count in counts.values())] for label in labels])


def _add_findings(page: HtmlPage, output: Path, found: Scan, data: Path) -> None:
    by_kind: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for finding in found.findings:
        by_kind[finding.kind].append(finding)
    page.add_heading("What is wrong")
    page.add_text("As `python -m train.data scan` finds it; photos that look mislabelled need not be.")
    rows = []
    for kind, meaning in KINDS.items():
        count = Counter(finding.split for finding in by_kind[kind])
        rows.append([kind, *(count[split] for split in found.photos), meaning.replace("--min-side", "64 px")])
    page.add_table(["", *found.photos, "what it means"], rows)
    page.add_link("exclude.txt", "exclude.txt: what to leave out, for --exclude of train.fit")
    page.add_link("scan.json", "scan.json: everything that was found")
    for kind, findings in by_kind.items():
        if not findings:
            continue
        page.add_heading(kind.capitalize())
        if kind != "unreadable":
            paths = [path for finding in findings for path in (finding.path, finding.other) if path]
            beside_it = ", each beside the one that it copies" if findings[0].other else ""
            write_strip([data / path for path in paths[: ROWS * COLUMNS]], output / f"{kind}.jpg")
            page.add_picture(f"{kind}.jpg", f"Photos: {kind}", f"The first of those listed below{beside_it}.")
        listed = findings if kind == "unreadable" else findings[:_LISTED]
        page.add_table(
            ["photo", "why", "left out"], [[f.path, f.detail, "yes" if f.leave_out else "no"] for f in listed]
        )
        if len(listed) < len(findings):
            page.add_text(f"... and {len(findings) - len(listed)} more in scan.json.")


def _add_sizes(page: HtmlPage, output: Path, sizes: Mapping[str, NDArray[np.int64]], image_size: int) -> None:
    page.add_heading("Sizes")
    rows = []
    figure = new_figure(12, 4)
    scatter, sides, aspects = figure.subplots(1, 3)
    for split, both in sizes.items():
        width, height = both.T
        what = {"width, px": width, "height, px": height, "shorter side, px": both.min(1), "aspect": width / height}
        for name, values in what.items():
            low, middle, high = np.percentile(values, [5, 50, 95])
            numbers = (values.min(), low, middle, high, values.max())
            rows.append([split, name, *(f"{n:.2f}" if name == "aspect" else f"{n:,.0f}" for n in numbers)])
        scatter.scatter(width, height, s=4, alpha=0.4, label=split)
        sides.hist(both.min(1), bins=40, histtype="step", label=split)
        aspects.hist(width / height, bins=np.geomspace(1 / 4, 4, 41), histtype="step", label=split)
    scatter.set(xlabel="width, px", ylabel="height, px")
    sides.axvline(image_size, color="gray", linestyle=":", label="training crop")
    sides.set(xlabel="shorter side, px", ylabel="photos")
    aspects.set(xscale="log", xlabel="width / height", ylabel="photos")
    aspects.set_xticks([1 / 4, 1 / 2, 3 / 4, 1, 4 / 3, 2, 4], ["1:4", "1:2", "3:4", "1", "4:3", "2:1", "4:1"])
    aspects.minorticks_off()
    for axes in (scatter, sides, aspects):
        axes.legend()
    save_figure(figure, output / "sizes.png")
    small = sum(int((both.min(1) < image_size).sum()) for both in sizes.values())
    caption = f"Photos whose shorter side is below the recipe's training crop of {image_size} px: {small:,}."
    page.add_picture("sizes.png", "Widths and heights, shorter sides, aspect ratios", caption)
    page.add_table(["split", "", "least", "5 %", "median", "95 %", "most"], rows)


def _add_pixels(
    page: HtmlPage, output: Path, photos: Photos, recipe: Recipe, cfg: dict[str, Any], folder: Path
) -> None:
    """The histograms, and a batch; photos are decoded into `folder`."""
    chosen = random.Random(recipe.seed).sample(range(len(photos)), min(_MEASURED, len(photos)))
    sampler = EpochSampler(
        photos.targets, ROWS * COLUMNS, recipe.seed, recipe.balanced_sampling, lambda epoch: recipe.image_size
    )
    items = [item for item, _ in zip(sampler, range(ROWS * COLUMNS), strict=False)]
    files = photos.take(sorted({*chosen, *(index for index, _, _ in items)})).files()
    cache = PhotoCache.open(files, max(recipe.image_size, required_side(cfg)), folder)
    some = photos.take(chosen)
    measured = channel_statistics(some, cache)
    mean, std = TrainingPhotos(some, some, {}, {}).normalization(recipe, cache, cfg)

    page.add_heading("Colours")
    save_figure(histograms(some, cache, mean, std), output / "histograms.png")
    page.add_picture(
        "histograms.png",
        "Histograms of red, green and blue before and after normalisation",
        f"Pixels of {len(some)} photos drawn at random, before and after the recipe's normalisation.",
    )
    columns = zip(CHANNELS, *measured, mean, std, strict=True)
    rows = [[c, *(f"{x:z.3f}" for x in (m, s, a, b, (m - a) / b, s / b))] for c, m, s, a, b in columns]
    headers = ["channel", "mean", "sd", "recipe's mean", "recipe's sd", "mean after", "sd after"]
    page.add_table(headers, rows)

    page.add_heading("A batch as the network will see it")
    transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
    augmented = AugmentedPhotos(photos, cache, transform_to, DRAWS)
    batch = BatchAugmentation(recipe, mean, std, len(photos.labels))
    set_seed(recipe.seed)
    tensors, targets, draws = zip(*(augmented[item] for item in items), strict=True)
    rows_of = [slice(start, start + COLUMNS) for start in range(0, len(items), COLUMNS)]
    seen = [batch(torch.stack(tensors[row]), torch.tensor(targets[row]), torch.stack(draws[row])) for row in rows_of]
    images, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    images = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    save_figure(batch_figure(images, [_target(target, photos.labels) for target in labels]), output / "batch.png")
    mixed = " Mixup and cutmix are drawn for a batch; here each row is one." if batch.mix else ""
    page.add_picture(
        "batch.png",
        "Augmented training photos with their labels",
        f"Cropped to {recipe.image_size} px and augmented ({recipe.augment}) as the recipe says; colours are shown "
        f"without the normalisation.{mixed}",
    )


def _target(target: Tensor, labels: Sequence[str]) -> str:
    """What the network is to answer: a label, or the two labels of a mixed image with their shares."""
    if not target.ndim:
        return _name(labels[int(target)], 24)
    shares, indices = target.topk(min(2, len(labels)))
    parts = zip(shares.tolist(), indices.tolist(), strict=True)
    return "\n".join(f"{share:.0%} {_name(labels[index], 20)}" for share, index in parts if share >= 0.05)


def _add_samples(page: HtmlPage, output: Path, photos: Photos, samples: int, seed: int) -> None:
    page.add_heading("Samples of each class")
    page.add_text("Drawn at random; the middle square of each.")
    folder = output / "samples"
    folder.mkdir(exist_ok=True)
    draw = random.Random(seed)
    bar = tqdm(photos.labels, desc="samples", unit="class", leave=False)
    for number, label in enumerate(bar):
        members = [index for index, target in enumerate(photos.targets) if target == number]
        some = photos.take(sorted(draw.sample(members, min(samples, len(members)))))
        if not len(some):
            page.add_text(f"{label}: no photo that can be read.")
            continue
        write_strip(some.files(), folder / f"{number:03d}.jpg")
        names = ", ".join(Path(path).name for path in some.paths)
        page.add_picture(f"samples/{number:03d}.jpg", f"{len(some)} photos of {label}", f"{label}: {names}")


def _name(label: str, width: int) -> str:
    return shorten(for_terminal(label), width, placeholder="…")


def command(
    data: Annotated[
        Path, typer.Argument(help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; or torch/NAME.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for index.html and its pictures; made, or used again.")],
    recipe: Annotated[
        Path, typer.Option(help="A YAML recipe, whose batches are shown.", show_default="train/recipes/default.yaml")
    ] = _DEFAULT_RECIPE,
    samples: Annotated[int, typer.Option(min=1, help="Photos of each class to show.")] = 8,
) -> None:
    """Look at photos before training on them: counts, samples, colours, sizes, copies, leaks, an augmented batch."""
    found = explore(data, output, Recipe.read(recipe), samples)
    kinds = Counter(finding.kind for finding in found.findings)
    print(f"{sum(found.photos.values())} photos; " + (", ".join(f"{n} {k}" for k, n in kinds.items()) or "all is well"))
    print(f"Open {output / 'index.html'}")


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
