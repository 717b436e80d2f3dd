"""Split a folder of photos into two halves that share no source: one to choose on, one to report on.

python -m train.data halves wild60 --output halves/wild60     # halves/wild60/choose/ and halves/wild60/report/
"""

import csv
import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from landmark_models.errors import reason
from landmark_models.files import PART, find_photos_below
from train.data import DataError
from train.data.exclusions import listed_path
from train.data.labels import nfc
from train.data.left_out import print_left_out

HALVES = ("choose", "report")
_COLUMNS = ("repository", "source")  # of sources.csv; the first one present is used


def read_repositories(folder: Path) -> dict[str, str]:
    """The repository of each photo, by its path in the folder, from the column `repository` of `sources.csv`.

    It prints how many photos the table doesn't list.

    Raises:
        DataError: the table is missing, or a photo that it lists is.
    """
    table = folder / "sources.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        column = next(name for name in _COLUMNS if rows and name in rows[0])
        listed = {nfc(listed_path(row["file"])): row[column] for row in rows}
    except (KeyError, TypeError, StopIteration, ValueError, csv.Error, OSError):
        raise DataError(
            f"{table} must be a table with the columns `file` and `repository`. Without it, a "
            "source could end up in both halves."
        ) from None
    entries = [os.path.relpath(entry.path, folder) for entry in find_photos_below(folder) if not entry.error]
    there = {name: name for name in listed if (folder / name).is_file()} | {nfc(name): name for name in entries}
    if missing := [name for name in listed if name not in there]:
        raise DataError(f"{table} lists {missing[0]}, which is missing ({len(missing)} in all).")
    if others := len(there.keys() - listed.keys()):
        print_left_out(folder, Counter({f"photo that {table.name} doesn't list": others}))
    return {there[name]: repository for name, repository in listed.items()}


def split_halves(repositories: Mapping[str, str], seed: int = 0) -> dict[str, str]:
    """The half of each photo. Whole repositories are assigned, the largest first, so that each class is split evenly.

    The same photos and seed give the same halves.
    """
    photos = defaultdict(list)
    for file, repository in sorted(repositories.items()):
        photos[repository].append(file)
    order = sorted(photos)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda repository: -len(photos[repository]))
    counts: dict[str, Counter[str]] = {half: Counter() for half in HALVES}
    result: dict[str, str] = {}
    for repository in order:
        classes = Counter(Path(file).parts[0] for file in photos[repository])

        def surplus(half: str, classes: Counter[str] = classes) -> tuple[int, int]:
            return sum(counts[half][name] * count for name, count in classes.items()), counts[half].total()

        half = min(HALVES, key=surplus)
        counts[half] += classes
        result |= dict.fromkeys(photos[repository], half)
    return result


def write_halves(folder: str | Path, output: str | Path, seed: int = 0) -> dict[str, int]:
    """Create `output/choose` and `output/report`, with links to the folder's photos; return how many are in each.

    Raises:
        DataError: the folder has no table of sources, the output isn't empty, or it can't be written.
    """
    folder, output = Path(folder).resolve(), Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} exists and isn't an empty folder; choose another --output.")
    repositories = read_repositories(folder)
    halves = split_halves(repositories, seed)
    scratch = output.with_name(output.name + PART)
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        for file, half in halves.items():
            link = scratch / half / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(folder / file)
        for half in HALVES:
            rows = [[file, source] for file, source in sorted(repositories.items()) if halves[file] == half]
            with (scratch / half / "sources.csv").open("w", newline="", encoding="utf-8") as table:
                csv.writer(table).writerows([["file", "repository"], *rows])
        if output.is_dir():
            output.rmdir()
        scratch.rename(output)
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None
    return dict(Counter(halves.values()))
