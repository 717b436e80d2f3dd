import pytest
import torch
from conftest import noisy_photo
from torchvision.transforms import v2

from landmark_models.preprocess import serving_transform
from train.augment import BatchAugmentation, jitter_colors, training_transform
from train.recipe import Recipe

HALF = ((0.5,) * 3, (0.5,) * 3)
DRAWS = torch.linspace(-1, 1, 12).reshape(4, 3)


def apply(seed: int, **knobs) -> torch.Tensor:
    transform = training_transform(Recipe.from_values(knobs), 32, "bicubic")
    torch.manual_seed(seed)
    return transform(v2.functional.pil_to_tensor(noisy_photo((200, 40, 40), 0)))


@pytest.mark.parametrize(
    "knobs",
    [
        {"augment": "none"},
        {"augment": "classic", "rotation": 10, "shear": 5, "blur": 1.0},
        {"augment": "randaugment"},
        {"augment": "trivialaugment"},
    ],
)
def test_a_photo_becomes_a_tensor_that_follows_from_the_seed(knobs):
    image = apply(1, **knobs)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
    assert torch.equal(image, apply(1, **knobs))
    assert torch.equal(image, apply(2, **knobs)) == (knobs["augment"] == "none")


def test_knobs_act():
    plain = {"augment": "classic", "crop_scale": 1.0, "flip": 0, "color_jitter": 0}
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"flip": 1.0}))
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"rotation": 45}))
    assert apply(1, **plain | {"blur": 1.0}).float().std() < apply(1, **plain).float().std()


def test_crops_from_a_padded_photo_are_shifts_of_what_is_served():
    served = apply(0, augment="none")
    padded = v2.functional.pad(served, 4, padding_mode="reflect")
    places = set()
    for seed in range(30):
        crop = apply(seed, augment="classic", crop_padding=0.125, flip=0)
        found = [(y, x) for y in range(9) for x in range(9) if torch.equal(crop, padded[:, y : y + 32, x : x + 32])]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15
    assert torch.equal(apply(0, augment="none", crop_padding=0.125), served)


def test_a_batch_is_normalised_as_it_is_served():
    photo = noisy_photo((200, 40, 40), 0, (32, 32))
    cfg = {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bilinear", "mean": (0.4, 0.5, 0.6)}
    served = serving_transform({**cfg, "std": (0.1, 0.2, 0.3)})(photo)
    batch = v2.functional.pil_to_tensor(photo).unsqueeze(0)
    images, targets = BatchAugmentation(Recipe(augment="none"), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), 4)(
        batch, torch.tensor([2]), DRAWS[:1]
    )
    assert torch.allclose(images[0], served, atol=1e-5)
    assert targets.tolist() == [2]


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
def test_colors_are_jittered_as_torchvision_does(name, factor):
    images = 0.3 + 0.3 * torch.rand(2, 3, 16, 16)  # so that nothing needs clipping
    factors = {key: torch.ones(2) for key in ("brightness", "contrast", "saturation")}
    factors[name][1] = factor
    expected = getattr(v2.functional, f"adjust_{name}")(images[1], factor)
    jittered = jitter_colors(images.clone(), **factors)
    assert torch.allclose(jittered[1], expected, atol=1e-3)
    assert torch.allclose(jittered[0], images[0], atol=1e-6)


def test_each_photo_of_a_batch_gets_colors_of_its_own():
    batch = torch.full((4, 3, 8, 8), 100, dtype=torch.uint8)
    images, _ = BatchAugmentation(Recipe(color_jitter=0.4), *HALF, 4)(batch, torch.arange(4), DRAWS)
    assert len({image.mean().item() for image in images}) == 4
    assert images.min() >= -1
    assert images.max() <= 1


def test_erasing_replaces_a_rectangle():
    batch = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    plain, _ = BatchAugmentation(Recipe(augment="none"), *HALF, 4)(batch, torch.arange(4), DRAWS)
    erased, _ = BatchAugmentation(Recipe(augment="none", random_erasing=1.0), *HALF, 4)(batch, torch.arange(4), DRAWS)
    changed = (plain != erased).float().mean().item()
    assert 0.01 < changed < 0.5


def test_mixing_gives_smoothed_distributions():
    augment = BatchAugmentation(Recipe(mixup=0.2, cutmix=1.0, label_smoothing=0.1), *HALF, 4)
    images, targets = augment(
        torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), torch.arange(8) % 4, torch.zeros(8, 3)
    )
    assert images.shape == (8, 3, 16, 16)
    assert targets.shape == (8, 4)
    assert targets.sum(1).tolist() == pytest.approx([1] * 8)
    assert targets.min() >= 0.1 / 4 - 1e-6
