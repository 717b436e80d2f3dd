import re
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from train.data import DataError, PhotoCache, find_photos, train_and_val
from train.data.location import data_folder
from train.data.torchvision_sets import SETS
from train.engine.training import fit
from train.measure.evaluation import evaluate
from train.recipe import Recipe


class Tiny:
    """Stands for CIFAR-10: three classes, one of them with a name that no folder may have."""

    classes = ("cat", "dog/wolf", "frog")
    asked = 0

    def __init__(self, root, train, download):
        Tiny.asked += 1
        root.mkdir(parents=True, exist_ok=True)
        (root / "archive.tar").touch()
        rng = np.random.default_rng(train)
        self.photos = [
            (Image.fromarray((rng.integers(0, 60, (32, 32, 3)) + 80 * target).astype(np.uint8)), target)
            for target in [0, 1, 2] * (8 if train else 3)
        ]

    def __iter__(self):
        return iter(self.photos)

    def __len__(self):
        return len(self.photos)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "CIFAR10", Tiny)
    Tiny.asked = 0
    return tmp_path / "cache"


def test_a_set_is_fetched_once_and_is_trained_and_measured_like_any_folder(cache, tmp_path):
    knobs = {"model_args": {"channels": [8], "depths": [1], "strides": [2]}, "image_size": 32, "batch_size": 8}
    recipe = Recipe.from_values({**knobs, "epochs": 1, "workers": 0, "val_fraction": 0.25, "model": "landmark_cnn"})
    run = fit(recipe, "torch/cifar10", tmp_path / "run")
    metrics = evaluate(run.path, "torch/cifar10", "test", tmp_path / "out")
    assert metrics["n"] == 9
    assert Tiny.asked == 2
    photos = find_photos("torch/CIFAR10", "train")
    assert photos.labels == ("cat", "dog-wolf", "frog")
    assert len(photos) == 24
    (stored,) = {PhotoCache.open([photos.files()[0]], 40)[photos.files()[0]].tobytes()}
    assert stored == Tiny(tmp_path, True, True).photos[0][0].tobytes()  # no pixel is lost
    assert not list((cache / "torch" / "cifar10").rglob("archive.tar"))


def test_a_failure_is_a_sentence_and_leaves_nothing(cache, monkeypatch):
    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", offline)
    with pytest.raises(DataError, match=r"CIFAR10 can't be downloaded to .*no route to host"):
        train_and_val("torch/cifar10", 0.1, 0)
    assert not list((cache / "torch").iterdir())
    with pytest.raises(DataError, match=r"nor a torchvision dataset; the datasets are: cifar10, cifar100"):
        data_folder("torch/nothing")
    for name, words in (
        ("nowhere", "nowhere."),
        ("../alice/x", "../alice/x."),
        ("alice/x", "alice/x; for a dataset of the Hub, write hf:alice/x."),
    ):
        with pytest.raises(DataError, match=f"There is no data folder {re.escape(words)}$"):
            data_folder(name)


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / "torch" / "cifar10").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert str(data_folder("torch/cifar10")) == "torch/cifar10"


def test_every_set_is_one_that_torchvision_has():
    for kind, _ in SETS.values():
        assert issubclass(getattr(datasets, kind), datasets.VisionDataset)
