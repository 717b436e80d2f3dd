"""How well landmarks taught from a few photos are recognised, and what that costs the others: figures over draws."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device
from landmark_models.errors import reason
from landmark_models.files import write_json
from landmark_models.networks.served import Outputs
from landmark_models.teach import mean_addon, whitened_photos
from landmark_models.teaching import AddOn
from train.data import DataError, Photos, check_output, data_name, find_photos, print_left_out
from train.measure import TTA
from train.measure.calibration import photos_elsewhere
from train.measure.figures import share
from train.measure.predict import predict_features
from train.measure.rejection import find_negatives, is_near, kind_of
from train.measure.reuse import own_run, warn_of_rule_photos
from train.measure.taught import apart
from train.run import RunFolder

_Draw = Mapping[str, Sequence[int]]  # for each landmark to teach, the indices of its photos, in random order


def few_shot(
    model: str | Path,
    data: str | Path,
    output: str | Path,
    classes: int = 10,
    shots: Sequence[int] = (1, 5, 10),
    draws: int = 5,
    elsewhere: str | Path | None = None,
    negatives: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Teach a MODEL the classes of DATA that it doesn't know, from photos drawn from `train`, and measure on `test`.

    The test photos of known and of taught classes are answered among all of both. Each of the `draws` has other photos,
    and if more than `classes` are unknown, other classes; its first `shots` photos of each class teach. `elsewhere` is
    DATA whose `test`, or bare classes, are measured likewise, and `negatives` are photos of other things.

    Returns the content of `metrics.json`: `draws` has all figures for each draw and number of photos, shares as
    fractions; `summary` has, for each number, the mean, the least and the largest of each share.

    Raises:
        LandmarkError: the model can't be taught or knows all classes, or DATA lacks something.
    """
    check_output(output, data)
    classifier = LandmarkClassifier.load(model, best_device(), "torch")
    _ = classifier.features_digest  # its error comes before anything is computed
    shots = sorted(set(shots))
    train, test = _find(data, classifier.labels)
    plan = _plan(train, len(classifier.labels), classes, max(shots), draws, np.random.default_rng(seed))
    taught = _what_photos_teach(classifier, train, plan)
    measurement = _Measurement(classifier, train.labels, {"test": _landmarks(classifier, test, data)})
    if elsewhere is not None:
        others = photos_elsewhere(elsewhere, train.labels)
        measurement.landmarks["elsewhere"] = _landmarks(classifier, others, elsewhere)
    if negatives is not None:
        measurement.others = _others(classifier, negatives, own_run(model))
    lines = [
        {"draw": number, "photos": count} | measurement.of(_addons(classifier, draw, taught, count))
        for number, draw in enumerate(plan, start=1)
        for count in shots
    ]
    metrics = {
        "model": str(model),
        "data": data_name(data),
        "elsewhere": None if elsewhere is None else data_name(elsewhere),
        "negatives": None if negatives is None else Path(negatives).resolve().name,
        "known": len(classifier.labels),
        "unknown": list(train.labels[len(classifier.labels) :]),
        "taught": len(plan[0]),
        "seed": seed,
        "summary": {str(count): _summary([line for line in lines if line["photos"] == count]) for count in shots},
        "draws": lines,
    }
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        write_json(Path(output) / "metrics.json", metrics)
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None
    return metrics


def _find(data: str | Path, known: Sequence[str]) -> tuple[Photos, Photos]:
    """The training and the test photos of DATA; their labels are the known ones, then those that can be taught."""
    left_out: Counter[str] = Counter()
    train, test = (find_photos(data, split, left_out=left_out) for split in ("train", "test"))
    print_left_out(data, left_out)
    if train is None or test is None:
        raise DataError(f"The folder {data} needs train/, to teach from, and test/, to measure on.")
    unknown = [label for label in train.labels if label in test.labels and label not in known]
    if not unknown:
        raise DataError(
            f"The model knows all {len(test.labels)} classes of {data}, so there is none to teach. Give a model that "
            "was trained without some of them, e.g. by `train.fit --exclude` with a list of their photos."
        )
    labels = (*known, *unknown)
    return train.of_labels(labels), test.of_labels(labels)


def _plan(
    train: Photos, known: int, classes: int, most: int, draws: int, generator: np.random.Generator
) -> list[_Draw]:
    """Which classes are taught in each draw, and from which photos: `most` of each class, or all that it has."""
    members = [np.flatnonzero(np.asarray(train.targets) == target) for target in range(len(train.labels))]
    plan: list[_Draw] = []
    for _ in range(draws):
        chosen = np.sort(generator.permutation(np.arange(known, len(train.labels)))[:classes])
        photos = {train.labels[target]: generator.permutation(members[target])[:most] for target in chosen}
        plan.append({label: indices.tolist() for label, indices in photos.items()})
    return plan


def _what_photos_teach(classifier: LandmarkClassifier, train: Photos, plan: Sequence[_Draw]) -> dict[int, Tensor]:
    """What each photo of the plan teaches, float32 `(D,)`, by its index; those that can't be read are missing."""
    photos = train.take(sorted({index for draw in plan for indices in draw.values() for index in indices}))
    indices = {path: index for index, path in enumerate(train.paths)}
    features, readable = _features(classifier, photos.files(), train.root, "photos that teach", TTA.flip)
    paths = photos.take(readable).paths
    return {indices[path]: row for path, row in zip(paths, whitened_photos(classifier, features), strict=True)}


def _addons(classifier: LandmarkClassifier, draw: _Draw, taught: Mapping[int, Tensor], count: int) -> list[AddOn]:
    """What the first `count` photos of each landmark teach."""
    rows = {label: [taught[index] for index in photos if index in taught][:count] for label, photos in draw.items()}
    return [mean_addon(classifier, label, torch.stack(found)) for label, found in rows.items() if found]


def _landmarks(classifier: LandmarkClassifier, photos: Photos, data: str | Path) -> "_Set":
    features, readable = _features(classifier, photos.files(), data, f"photos of {Path(data).name}")
    return _Set(features, torch.tensor(photos.targets)[readable], classifier.head(features))


def _others(classifier: LandmarkClassifier, negatives: str | Path, run: RunFolder | None) -> "_Set":
    files = find_negatives(negatives)
    warn_of_rule_photos(run, files, negatives)
    near = torch.tensor([is_near(kind_of(file, negatives)) for file in files])
    features, readable = _features(classifier, files, negatives, "negatives")
    return _Set(features, near[readable], classifier.head(features))


def _features(
    classifier: LandmarkClassifier, files: Sequence[Path], data: str | Path, title: str, tta: TTA | None = None
) -> tuple[Tensor, list[int]]:
    """What `predict_features` returns, on the classifier's device; prints how many photos can't be read."""
    features, readable = predict_features(classifier, files, title, tta)
    if not readable:
        raise DataError(f"None of the {len(files)} photos in {data} can be read.")
    if unreadable := len(files) - len(readable):
        print(f"{unreadable} of the {len(files)} photos in {data} can't be read and are left out.")
    return features.to(classifier.device), readable


@dataclass(frozen=True)
class _Set:
    """Photos to measure on: features `(n, D)`, what is known of each `(n,)`, and what the model alone makes of them.

    Of landmarks, that is the index of the label; of other things, whether they look like landmarks.
    """

    features: Tensor
    targets: Tensor
    before: Outputs


@dataclass
class _Measurement:
    """The photos on which a classifier is measured with what it is taught; `labels` are what their targets index."""

    classifier: LandmarkClassifier
    labels: Sequence[str]
    landmarks: dict[str, _Set]
    others: _Set | None = None

    def of(self, addons: Sequence[AddOn]) -> dict[str, Any]:
        """The figures with these add-ons, by the photos' name."""
        classifier, own = self.classifier.with_taught(*addons), len(self.classifier.labels)
        columns = {label: column for column, label in enumerate(classifier.labels)}
        column_of = torch.tensor([columns.get(label, -1) for label in self.labels])
        figures: dict[str, Any] = {}
        for name, photos in self.landmarks.items():
            before, after = self._answers(photos.before), self._answers(classifier.head(photos.features))
            targets = column_of[photos.targets]
            parts = apart(*after, targets, own)
            if "known" in parts:
                parts["before"] = apart(*before, targets, own)["known"]
                parts["known"]["change"] = parts["known"]["top1"] - parts["before"]["top1"]
            figures[name] = parts | {
                "per_class": _per_class(after[0] == targets, targets, classifier.labels[own:], own)
            }
        if self.others:
            before, after = self._answers(self.others.before), self._answers(classifier.head(self.others.features))
            figures["others"] = _figures_of_others(self.others.targets, before, after, classifier.labels, own)
        return figures

    def _answers(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """The index of each photo's most likely label, and whether it is named, `(n,)`."""
        return outputs.logits.argmax(1), outputs.scores >= self.classifier.known_rule.threshold


def _per_class(right: Tensor, targets: Tensor, taught: Sequence[str], own: int) -> dict[str, list[int]]:
    """The photos and the right answers of each taught landmark."""
    members = {label: targets == index for index, label in enumerate(taught, start=own)}
    return {label: [int(flags.sum()), int(right[flags].sum())] for label, flags in members.items()}


def _figures_of_others(
    near: Tensor, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], labels: Sequence[str], own: int
) -> dict[str, Any]:
    """Of near and far photos of other things, the shares that are named before and after; and their nearest taught."""
    figures: dict[str, Any] = {}
    for name, members in (("near", near), ("far", ~near)):
        if members.any():
            best, named = (answer[members] for answer in after)
            figures[name] = {"n": len(best), "before": share(before[1][members], "named")} | share(named, "named")
            figures[name] |= {"change": figures[name]["named"] - figures[name]["before"]["named"]}
            figures[name] |= share(named & (best >= own), "as_taught")
    nearest = Counter(labels[index] for index in after[0].tolist() if index >= own)
    return figures | {"nearest": dict(nearest.most_common())}


def _summary(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean, the least and the largest of each share over the draws that have it, by its path in the lines."""
    values: dict[str, list[float]] = {}
    for line in lines:
        for path, value in _shares(line):
            values.setdefault(path, []).append(value)
    return {path: {"mean": sum(v) / len(v), "low": min(v), "high": max(v)} for path, v in values.items()}


def _shares(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, float):
            yield above + name, value
        elif isinstance(value, Mapping):
            yield from _shares(value, f"{above}{name}.")
