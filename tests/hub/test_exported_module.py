from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.preprocess import serving_transform
from train.hub.exported_model import photo_tensor
from train.hub.exported_module import Exported, Preprocessing


def random_photo(height: int, width: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


@pytest.mark.parametrize(
    ("crop_mode", "interpolation"), list(product(["center", "squash", "border"], ["bilinear", "bicubic"]))
)
@pytest.mark.parametrize(("input_size", "crop_pct"), [((32, 32), 0.9), ((40, 56), 1.0), ((33, 24), 1.25)])
def test_the_preprocessing_is_the_serving_paths_to_a_level(crop_mode, interpolation, input_size, crop_pct):
    cfg = {
        "input_size": (3, *input_size), "crop_pct": crop_pct, "crop_mode": crop_mode, "interpolation": interpolation,
        "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3),
    }  # fmt: skip
    serving, exported = serving_transform(cfg), Preprocessing(cfg)
    for height, width in [(64, 48), (48, 65), (31, 97), (7, 5), (1, 3), (211, 300), (32, 32), (33, 29)]:
        photo = random_photo(height, width)
        expected = serving(Image.fromarray(photo.permute(1, 2, 0).numpy()))
        levels = (exported(photo.unsqueeze(0))[0] - expected).abs() * exported.std * 255
        assert levels.shape == (3, *input_size)
        assert levels.max() < 1.2, (height, width)  # Pillow rounds twice
        assert levels.mean() < 0.5, (height, width)


def test_a_filter_that_cannot_be_exported_is_refused():
    with pytest.raises(LandmarkError, match="'lanczos'; exports support bilinear and bicubic"):
        Preprocessing({"input_size": (3, 32, 32), "interpolation": "lanczos"})


def test_exporting_leaves_the_classifier_as_it_was(sure, photo):
    classifier = LandmarkClassifier.load(sure)
    weight = next(classifier.network.parameters())
    before = classifier.predict(photo), weight.stride(), weight.requires_grad
    probabilities, known = Exported(classifier)(photo_tensor(photo).unsqueeze(0))
    assert known.tolist() == [before[0].known]
    assert (classifier.predict(photo), weight.stride(), weight.requires_grad) == before
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.max() == pytest.approx(before[0][0].score, abs=0.01)  # the temperature is in it
