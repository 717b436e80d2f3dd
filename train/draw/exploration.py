"""The page about photos before a model is trained on them, section by section.

Each function writes the pictures of a section and returns what the template `exploration.html.j2` needs for it.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from landmark_models.files import atomic_path, left_out_line
from landmark_models.photo import open_photo, photo_size
from train.data import PhotoCache, Photos
from train.data.scan import KINDS, Scan
from train.draw.fonts import shorten_name
from train.draw.output import Table, figure

ROWS, COLUMNS = 4, 8  # of the batch that is shown
CHANNELS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4"}
MANY_CLASSES = 60  # a picture has no room for the names of more
_THUMBNAIL = 160  # px
_SAMPLE, _SAMPLE_COLUMNS = 120, 4  # px, and how many of them side by side
_LISTED = 50  # findings of a kind on the page; scan.json has all of them


def classes_section(splits: Mapping[str, Photos], output: Path) -> dict[str, Any]:
    """How many photos each class has in each split."""
    labels = tuple(dict.fromkeys(label for photos in splits.values() for label in photos.labels))
    counts = {split: Counter(photos.labels[target] for target in photos.targets) for split, photos in splits.items()}
    _draw_counts(labels, counts, output / "classes.png")
    ranges = []
    for split, count in counts.items():
        present = [label for label in labels if count[label]]
        least, most = min(present, key=lambda label: count[label]), max(present, key=lambda label: count[label])
        ranges.append(
            f"{split}: {_photos(count[least])} of each class."
            if count[least] == count[most]
            else f"{split}: from {_photos(count[least])} of {least} to {count[most]} of {most}."
        )
        if missing := [label for label in labels if not count[label]]:
            ranges.append(f"Not in {split}: {', '.join(missing)}.")
    rows = [[label, *(count[label] for count in counts.values())] for label in labels]
    parts = ", ".join(f"{len(photos):,} {split}" for split, photos in splits.items())
    return {
        "total": f"{len(labels)} classes, {_photos(sum(map(len, splits.values())))}: {parts}.",
        "ranges": ranges,
        "table": Table("Classes", ["class", *counts], rows),
    }


def _photos(count: int) -> str:
    return f"{count:,} photo{'' if count == 1 else 's'}"


def _draw_counts(labels: Sequence[str], counts: Mapping[str, Counter[str]], file: Path) -> None:
    """Draw how many photos each class has in each split: a bar for each class, or an outline if they are many."""
    order = sorted(labels, key=lambda label: next(iter(counts.values()))[label])
    numbers = {split: np.array([count[label] for label in order]) for split, count in counts.items()}
    if len(order) <= MANY_CLASSES:
        with figure(file, 10, 1.2 + 0.2 * len(order)) as drawing:
            axes = drawing.subplots()
            left = np.zeros(len(order))
            for split, widths in numbers.items():
                axes.barh(range(len(order)), widths, left=left, label=split)
                left += widths
            names = [shorten_name(label) for label in order]
            axes.set_yticks(range(len(order)), names, fontsize=8, parse_math=False)
            axes.set(xlabel="photos", ylim=(-0.6, len(order) - 0.4))
            drawing.legend(loc="outside upper right", ncols=len(numbers))
    else:
        with figure(file, 10, 4) as drawing:
            axes = drawing.subplots()
            for split, heights in numbers.items():
                axes.stairs(np.sort(heights)[::-1], label=split)
            axes.set(xlabel="classes, by how many photos they have", ylabel="photos", xlim=(0, len(order)))
            axes.set_ylim(bottom=0)
            drawing.legend(loc="outside upper right", ncols=len(numbers))


def findings_section(found: Scan, data: Path, output: Path) -> dict[str, Any]:
    """What is wrong with the photos, and the first photos of each kind of finding."""
    by_kind = {kind: [finding for finding in found.findings if finding.kind == kind] for kind in KINDS}
    summary = []
    for kind, meaning in KINDS.items():
        count = Counter(finding.split for finding in by_kind[kind])
        summary.append([kind, *(count[split] for split in found.photos), meaning.replace("--min-side", "64 px")])
    kinds = []
    for kind, findings in by_kind.items():
        if not findings:
            continue
        is_readable = kind != "unreadable"
        if is_readable:
            paths = [path for finding in findings for path in (finding.path, finding.other) if path]
            write_strip([data / path for path in paths[: ROWS * COLUMNS]], output / f"{kind}.jpg")
        listed = findings[:_LISTED] if is_readable else findings
        rows = [[f.path, f.detail, "yes" if f.leave_out else "no"] for f in listed]
        kinds.append(
            {
                "picture": f"{kind}.jpg" if is_readable else None,
                "has_copies": bool(findings[0].other),
                "table": Table(kind.capitalize(), ["photo", "why", "left out"], rows),
                "more": len(findings) - len(listed),
            }
        )
    left_out = left_out_line(Counter(found.left_out), most=len(found.left_out))
    return {
        "table": Table("Findings", ["", *found.photos, "what it means"], summary),
        "kinds": kinds,
        "left_out": left_out,
    }


def photo_sizes(photos: Photos) -> NDArray[np.int64]:
    """Width and height of each photo when it is upright, px, `(N, 2)`, from the headers of the files alone."""
    return np.array([photo_size(file) for file in tqdm(photos.files(), desc="sizes", unit="photo", leave=False)])


def sizes_section(splits: Mapping[str, Photos], image_size: int, output: Path) -> dict[str, Any]:
    """Widths, heights and aspect ratios of photos that can be read; `image_size` is the training crop, px."""
    sizes = {split: photo_sizes(photos) for split, photos in splits.items() if len(photos)}
    rows = []
    with figure(output / "sizes.png", 12, 4) as drawing:
        scatter, sides, aspects = drawing.subplots(1, 3)
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
        drawing.legend(*sides.get_legend_handles_labels(), loc="outside upper right", ncols=len(sizes) + 1)
    small = sum(int((both.min(1) < image_size).sum()) for both in sizes.values())
    table = Table("Sizes", ["split", "", "least", "5%", "median", "95%", "most"], rows)
    return {"image_size": image_size, "small": f"{small:,}", "table": table}


def samples_section(photos: Photos, samples: int, seed: int, output: Path) -> list[dict[str, Any]]:
    """Some photos of each class, drawn at random."""
    (output / "samples").mkdir(exist_ok=True)
    generator = random.Random(seed)
    classes = []
    for number, label in enumerate(tqdm(photos.labels, desc="samples", unit="class", leave=False)):
        members = [index for index, target in enumerate(photos.targets) if target == number]
        some = photos.take(sorted(generator.sample(members, min(samples, len(members)))))
        picture = f"samples/{number:03d}.jpg"
        if len(some):
            write_strip(some.files(), output / picture, _SAMPLE_COLUMNS, _SAMPLE)
        names = ", ".join(Path(path).name for path in some.paths)
        classes.append({"label": label, "count": len(some), "picture": picture, "names": names})
    return classes


def draw_histograms(photos: Photos, cache: PhotoCache, mean: Sequence[float], std: Sequence[float], file: Path) -> None:
    """Draw the shares of pixel values, 0 to 255, in each channel, and their density after normalisation, as a PNG."""
    counts = np.zeros((3, 256))
    for photo in photos.files():
        counts += [np.bincount(channel, minlength=256) for channel in cache[photo].reshape(-1, 3).T]
    shares = counts / counts.sum(1, keepdims=True)
    edges = np.arange(257) - 0.5
    with figure(file, 12, 3.5) as drawing:
        before, after = drawing.subplots(1, 2)
        for share, (name, color), m, s in zip(shares, CHANNELS.items(), mean, std, strict=True):
            before.stairs(share, edges, color=color, label=name)
            after.stairs(share * 255 * s, (edges / 255 - m) / s, color=color, label=name)
        before.set(xlabel="pixel value", ylabel="share of pixels", title="before normalisation")
        after.set(xlabel="normalised value", ylabel="density", title="after normalisation")
        drawing.legend(*before.get_legend_handles_labels(), loc="outside upper right", ncols=3)


def draw_batch(images: Tensor, names: Sequence[str], file: Path) -> None:
    """Draw images `(ROWS * COLUMNS, 3, H, W)`, in 0..1, with their names above, as a PNG."""
    with figure(file, 1.6 * COLUMNS, 2 * ROWS) as drawing:
        for axes, image, name in zip(drawing.subplots(ROWS, COLUMNS).flat, images, names, strict=True):
            axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set_title(name, fontsize=8, parse_math=False)
            axes.set_axis_off()


def write_strip(files: Sequence[Path], file: Path, columns: int = COLUMNS, side: int = _THUMBNAIL) -> None:
    """Write square thumbnails of `side` px side by side, `columns` to a row, as a JPEG."""
    columns = min(len(files), columns)
    sheet = Image.new("RGB", (columns * side, -(-len(files) // columns) * side), "white")
    for place, photo in enumerate(files):
        row, column = divmod(place, columns)
        sheet.paste(ImageOps.fit(open_photo(photo, side), (side - 4, side - 4)), (column * side, row * side))
    with atomic_path(file) as scratch:
        sheet.save(scratch, "JPEG", quality=85)
