from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from helpers.photos import noisy_photo
from PIL import Image

from landmark_models import LandmarkClassifier, models
from landmark_models.explain import NoExplanationError, explain, heat_map
from landmark_models.preprocess import crop_box, serving_transform
from landmark_models.teach import teach


def classifier(network, size=64) -> LandmarkClassifier:
    settings = {
        "input_size": (3, size, size),
        "crop_pct": 1.0,
        "crop_mode": "center",
        "interpolation": "bilinear",
    }
    settings |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    config = {"architecture": "a_network", "label_names": ["red", "blue"], "landmark": {}, "pretrained_cfg": settings}
    return LandmarkClassifier(models.LoadedModel(network.eval(), config, "a test's own", Path("none")))


class Colors(torch.nn.Module):
    """Knows red from blue, by the mean over the photo."""

    num_features = 3

    def __init__(self, channels_last: bool = False):
        super().__init__()
        self.channels_last = channels_last
        self.layer = torch.nn.Linear(3, 2)
        self.layer.weight.data = torch.tensor([[9.0, -4.0, -9.0], [-9.0, -4.0, 9.0]])

    def forward_features(self, x):
        x = torch.nn.functional.avg_pool2d(x, 8)
        return x.permute(0, 2, 3, 1) if self.channels_last else x

    def forward_head(self, x):
        return self.layer(x.mean((1, 2) if self.channels_last else (2, 3)))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def colored(size=(64, 64)) -> Image.Image:
    """Grey, with a red square at the top left and a blue one at the bottom right."""
    image = Image.new("RGB", size, (90, 90, 90))
    side = min(size) // 4
    image.paste((255, 0, 0), (0, 0, side, side))
    image.paste((0, 0, 255), (size[0] - side, size[1] - side, size[0], size[1]))
    return image


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_heat_is_where_the_label_is(channels_last):
    model = classifier(Colors(channels_last))
    image = model.transform(colored())
    red, blue = heat_map(model, image, "red"), heat_map(model, image, "blue")
    assert red.shape == (8, 8)
    assert (red.max(), red.min()) == (1.0, 0.0)
    assert red[:2, :2].min() > 0.9
    assert red[6:, 6:].max() < 0.1
    assert blue[6:, 6:].min() > 0.9
    assert blue[:2, :2].max() < 0.1
    with pytest.raises(ValueError, match="doesn't know 'green'"):
        heat_map(model, image, "green")


def test_the_overlay_has_the_photos_shape_and_greys_what_was_cropped():
    shown = explain(classifier(Colors()), colored((256, 128)), "red")  # its red square lies outside the central crop
    assert shown.size == (256, 128)
    pixels = np.asarray(shown).astype(int)
    outside = pixels[:, :60]
    assert (outside.max(axis=2) == outside.min(axis=2)).all()
    inside = explain(classifier(Colors()), colored((128, 128)), "red")
    hot, plain = (np.asarray(image).astype(int)[40:60, 70:90] for image in (inside, colored((128, 128))))
    assert abs(hot - plain).max() < 40  # little heat away from the square


def test_the_overlay_of_a_large_picture_is_small():
    picture = Image.new("RGB", (5000, 2500))
    shown = explain(classifier(Colors()), picture)
    assert 1024 < shown.width <= 2048
    assert shown.width / shown.height == pytest.approx(2, abs=0.01)
    assert picture.size == (5000, 2500)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@torch.no_grad()
def test_the_heat_follows_the_formula_of_grad_cam(name):
    """Channels weighted by how much they raise the label's logit, summed, negative parts cut off (Selvaraju 2017)."""
    torch.manual_seed(0)
    model = classifier(timm.create_model(name, num_classes=2), size=96)
    image = torch.rand(3, 96, 96)
    features = model.network.forward_features(image[None])
    each_raised = features + torch.eye(features.shape[1])[..., None, None]  # these heads are linear, so 1 is as good
    weights = model.network.forward_head(each_raised)[:, 1] - model.network.forward_head(features)[0, 1]
    expected = torch.einsum("c,chw->hw", weights, features[0]).relu()
    assert expected.max() > 0
    assert heat_map(model, image, "blue") == pytest.approx((expected / expected.max()).numpy(), abs=1e-3)


def test_there_is_no_heat_if_nothing_speaks_for_a_label():
    model = classifier(Colors())
    assert heat_map(model, torch.zeros(3, 64, 64), "red").max() == 0


def test_a_network_without_a_map_says_so():
    model = classifier(timm.create_model("test_vit", num_classes=2, img_size=64))
    with pytest.raises(NoExplanationError, match="keeps no map"):
        explain(model, colored())


@pytest.mark.parametrize(
    "name", ["landmark_cnn", "landmark_resnet", "test_resnet", "test_efficientnet", "test_convnext"]
)
def test_our_networks_and_timms_are_explained(name):
    model = classifier(timm.create_model(name, num_classes=2), size=96)
    assert heat_map(model, torch.rand(3, 96, 96)).ndim == 2
    assert all(parameter.grad is None for parameter in model.network.parameters())


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (160, 160)])
def test_the_region_is_what_the_transform_shows(mode, size):
    """A white dot at each corner of the region, a little inside, must come out near the corners of the input."""
    cfg = {"input_size": (3, 64, 64), "crop_pct": 0.8, "crop_mode": mode, "interpolation": "bilinear"}
    left, top, right, bottom = crop_box(cfg, size)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
    image = Image.new("RGB", size)
    for x, y in ((x0 + 5, y0 + 5), (x1 - 6, y1 - 6)):
        image.paste((255, 255, 255), (round(x) - 4, round(y) - 4, round(x) + 5, round(y) + 5))
    seen = serving_transform({**cfg, "mean": (0, 0, 0), "std": (1, 1, 1)})(image)[0].numpy()
    for x, y in ((x0 + 5, y0 + 5), (x1 - 6, y1 - 6)):
        column, row = (x - left) / (right - left) * 64, (y - top) / (bottom - top) * 64
        assert seen[min(int(row), 63), min(int(column), 63)] > 0.5


def test_the_heat_of_a_taught_landmark_is_where_its_photos_are_alike(teachable):
    """It follows the cosine to what was taught, by finite differences in the channels of the feature map."""
    model = LandmarkClassifier.load(teachable.model)
    photos = [noisy_photo((220, 210, 40), seed, (96, 96)) for seed in range(4)]
    taught = model.with_taught(teach(model, "Yellow House", photos).addon)
    picture = photos[0].copy()
    picture.paste((30, 30, 160), (0, 0, 48, 96))
    image = taught.transform(picture)
    network, mean = taught.network, torch.nn.functional.normalize(taught.taught.mean("Yellow House"), dim=0)

    def cosines(maps):
        return taught.served.directions(network.forward_head(maps, pre_logits=True)) @ mean

    with torch.no_grad():
        features = network.forward_features(image[None])
        step = 0.01 * torch.eye(features.shape[1])[..., None, None]
        expected = torch.einsum("c,chw->hw", cosines(features + step) - cosines(features - step), features[0]).relu()
    assert expected.max() > 0
    assert heat_map(taught, image, "Yellow House") == pytest.approx((expected / expected.max()).numpy(), abs=0.02)
    assert taught.predict(photos[0])[0].label == "Yellow House"
    best = heat_map(taught, taught.transform(photos[0]))
    assert (best == heat_map(taught, taught.transform(photos[0]), "Yellow House")).all()
    own = heat_map(taught, image, "Red Tower")
    assert (own == heat_map(model, image, "Red Tower")).all()
    with pytest.raises(ValueError, match="doesn't know 'Yellow House'"):
        heat_map(model, image, "Yellow House")
