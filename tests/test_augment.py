import pytest
import torch
from conftest import noisy_photo

from train.augment import mixing, training_transform
from train.recipe import Recipe

HALF = ((0.5,) * 3, (0.5,) * 3)


def apply(seed: int, **knobs) -> torch.Tensor:
    transform = training_transform(Recipe.from_values({"image_size": 32, **knobs}), *HALF)
    torch.manual_seed(seed)
    return transform(noisy_photo((200, 40, 40), 0))


@pytest.mark.parametrize(
    "knobs",
    [
        {"augment": "none"},
        {"augment": "classic", "rotation": 10, "shear": 5, "blur": 1.0},
        {"augment": "randaugment"},
        {"augment": "trivialaugment"},
        {"augment": "classic", "random_erasing": 1.0},
    ],
)
def test_a_photo_becomes_a_normalised_tensor_that_follows_from_the_seed(knobs):
    image = apply(1, **knobs)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    assert torch.equal(image, apply(1, **knobs))
    assert torch.equal(image, apply(2, **knobs)) == (knobs["augment"] == "none")


def test_knobs_act():
    plain = {"augment": "classic", "crop_scale": 1.0, "flip": 0, "color_jitter": 0}
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"flip": 1.0}))
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"color_jitter": 0.5}))
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"rotation": 45}))
    assert apply(1, **plain | {"blur": 1.0}).std() < apply(1, **plain).std()


def test_mixing_gives_smoothed_distributions_or_nothing():
    assert mixing(Recipe(), 4) is None
    mix = mixing(Recipe(mixup=0.2, cutmix=1.0, label_smoothing=0.1), 4)
    images, targets = mix(torch.randn(8, 3, 16, 16), torch.arange(8) % 4)
    assert images.shape == (8, 3, 16, 16)
    assert targets.shape == (8, 4)
    assert targets.sum(1).tolist() == pytest.approx([1] * 8)
    assert targets.min() >= 0.1 / 4 - 1e-6
