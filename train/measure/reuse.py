"""Which of the photos that a model is measured on were used to make it: figures on those are too good."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from landmark_models import models
from landmark_models.files import sha256, write_json
from train.data import Photos
from train.run import RunFolder


def own_run(model: str | Path) -> RunFolder | None:
    """The run that a MODEL is, if it is one; a MODEL's name is meant even if a folder has it."""
    run = RunFolder(model)
    is_run = str(model) not in models.EMBEDDED and not models.on_hub(str(model)) and run.recipe.is_file()
    return run if is_run else None


def used_photos(run: RunFolder, photos: Photos) -> dict[str, int]:
    """How many of the photos trained the run (`train`), chose or calibrated it (`val`), and chose its rule (`rule`)."""
    split = run.split() or {}
    sizes = split.get("bytes", {})
    same = {path for path in photos.paths if sizes.get(path) == (photos.root / path).stat().st_size}
    used = {part: len(same.intersection(split.get(part, ()))) for part in ("train", "val")}
    used["rule"] = rule_photos_among(run, photos.files())
    return {part: count for part, count in used.items() if count}


def describe_used(used: dict[str, int], total: int) -> str:
    """A sentence about what `used_photos` returned for `total` photos, if it isn't nothing."""
    uses = {"train": "trained this model", "val": "chose or calibrated it", "rule": "chose its rule"}
    parts = [f"{count} {uses[part]}" for part, count in used.items()]
    return f"Of these {total} photos, {' and '.join(parts)}: its figures on them are too good, and are not recorded."


def note_rule_photos(run: RunFolder, **groups: Iterable[Path]) -> None:
    """Keep digests of the photos beside the validation split on which a run's rule was chosen, by what they are."""
    with run.writing():
        write_json(run.rule_photos, {name: sorted({sha256(file) for file in files}) for name, files in groups.items()})


def rule_photos_among(run: RunFolder, files: Iterable[Path]) -> int:
    """How many of the photos chose the run's rule."""
    if not run.rule_photos.is_file():
        return 0
    groups: dict[str, Any] = json.loads(run.rule_photos.read_text(encoding="utf-8"))
    known = {digest for digests in groups.values() for digest in digests}
    return sum(sha256(file) in known for file in files) if known else 0


def warn_of_rule_photos(run: RunFolder | None, files: Sequence[Path], folder: str | Path) -> int:
    """How many of the photos of other things in a folder chose the run's rule; says so if any did."""
    reused = rule_photos_among(run, files) if run else 0
    if reused:
        print(f"Warning: {reused} of the {len(files)} photos in {folder} chose the rule: figures on them are too good.")
    return reused
