"""What it costs to keep fewer numbers of each taught landmark.

The dimensions are chosen by photos of other things, so the landmarks are as new to them as those of an add-on are that
is made later.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from landmark_models import LandmarkClassifier
from train.data import DataError, Photos, data_name, find_photos
from train.engine.gallery import principal_dimensions
from train.measure.figures import share
from train.measure.predict import predict_features
from train.measure.rejection import find_negatives

Right = dict[str, Tensor]  # whether photos are recognised, bool `(n,)`, by the name of their folder


def dimension_loss(
    model: str, data: Path, others: Path, dimensions: Sequence[int], elsewhere: Path | None = None
) -> dict[int, Right]:
    """Which photos of the test split of DATA, and of bare classes elsewhere, are recognised, by number of dimensions.

    The classes of DATA are taught from its training photos, and compared with each other only. All dimensions come
    first.

    Raises:
        LandmarkError: the model can't be taught, or a split is missing.
    """
    classifier = LandmarkClassifier.load(model)
    classifier.features_digest  # noqa: B018  (raises if the model has no statistics)
    train = find_photos(data, "train")
    if train is None:
        raise DataError(f"The folder {data} has no train folder.")
    tests = {f"{data_name(data)}, test": find_photos(data, "test", train.labels)}
    if elsewhere:
        tests[data_name(elsewhere)] = find_photos(elsewhere, "all", train.labels)
    whitened, targets = _whitened(classifier, train)
    means = torch.zeros(len(train.labels), whitened.shape[1]).index_add_(0, targets, whitened)
    photos = {name: _whitened(classifier, found) for name, found in tests.items() if found}
    strangers = classifier.served.whitened(predict_features(classifier, find_negatives(others), others.name)[0])
    projections = {means.shape[1]: torch.eye(means.shape[1])}
    projections |= {count: principal_dimensions([strangers], count) for count in dimensions}
    return {
        count: {name: _right(means @ rows.T, features @ rows.T, own) for name, (features, own) in photos.items()}
        for count, rows in projections.items()
    }


def _whitened(classifier: LandmarkClassifier, photos: Photos) -> tuple[Tensor, Tensor]:
    """Whitened features of the photos that can be read, float32 `(n, D)`, and their targets, `(n,)`."""
    features, readable = predict_features(classifier, photos.files(), photos.root.name)
    return classifier.served.whitened(features), torch.tensor(photos.targets)[readable]


def _right(means: Tensor, photos: Tensor, targets: Tensor) -> Tensor:
    return (photos @ nn.functional.normalize(means, dim=1).T).argmax(1) == targets


def print_dimension_loss(result: Mapping[int, Right]) -> None:
    """Print a table with a line for each number of dimensions."""
    from rich.console import Console
    from rich.table import Table

    sets = {name: len(right) for name, right in next(iter(result.values())).items()}
    table = Table("numbers", *(f"{name} ({count:,} photos)" for name, count in sets.items()))
    for dimensions, rights in result.items():
        figures = [share(right, "top1") for right in rights.values()]
        cells = [(100 * figure["top1"], *(100 * end for end in figure["top1_ci95"])) for figure in figures]
        table.add_row(f"{dimensions:,}", *(f"{top1:.1f} ({low:.1f} to {high:.1f})" for top1, low, high in cells))
    Console().print(table)
