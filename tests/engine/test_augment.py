from types import SimpleNamespace

import pytest
import torch
from helpers.photos import noisy_photo
from torchvision.transforms import v2

from landmark_models.preprocess import serving_transform
from train.engine.augment import DRAWS, BatchAugmentation, jitter_colors, shift, training_transform
from train.engine.updates import Engine
from train.recipe import Recipe

HALF = ((0.5,) * 3, (0.5,) * 3)
DRAWN = torch.linspace(-1, 1, 4 * DRAWS).reshape(4, DRAWS)


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
def test_the_seed_determines_the_augmented_photo(knobs):
    image = apply(1, **knobs)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
    assert torch.equal(image, apply(1, **knobs))
    assert torch.equal(image, apply(2, **knobs)) == (knobs["augment"] == "none")


def test_rotation_and_blur_have_an_effect():
    plain = {"augment": "classic", "crop_scale": 1.0}
    assert not torch.equal(apply(1, **plain), apply(1, **plain | {"rotation": 45}))
    assert apply(1, **plain | {"blur": 1.0}).float().std() < apply(1, **plain).float().std()


def test_crops_of_a_padded_photo_are_shifted_copies_of_it():
    photos = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    padded = v2.functional.pad(photos, 4, padding_mode="reflect")
    places = set()
    for down, right in torch.rand(40, 2).mul(2).sub(1).tolist():
        first, second = shift(photos, 4, torch.tensor([down, 1.0]), torch.tensor([right, -1.0]))
        found = [(y, x) for y in range(9) for x in range(9) if torch.equal(first, padded[0, :, y : y + 16, x : x + 24])]
        assert found == [(int((down + 1) * 4.5), int((right + 1) * 4.5))]
        places.update(found)
        assert torch.equal(second, padded[1, :, 8:24, :24])
    assert len(places) > 15


@pytest.mark.parametrize("augment", ["none", "classic", "randaugment"])
def test_photos_are_shifted_and_flipped_as_the_recipe_says(augment):
    batch = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8)
    draws = 2 * torch.rand(200, DRAWS) - 1
    recipe = Recipe(augment=augment, crop_padding=0.125, flip=0.3, color_jitter=0)
    images, _ = BatchAugmentation(recipe, (0.0,) * 3, (1.0,) * 3, 4)(batch, torch.zeros(200, dtype=torch.long), draws)
    shifted = shift(batch, 1, draws[:, 4], draws[:, 5]) if augment != "none" else batch
    mirrored = [torch.equal(seen, was.flip(2) / 255) for seen, was in zip(images, shifted, strict=True)]
    unchanged = [torch.equal(seen, was / 255) for seen, was in zip(images, shifted, strict=True)]
    assert all(one != other for one, other in zip(mirrored, unchanged, strict=True))
    assert sum(mirrored) == (draws[:, 3] < -0.4).sum() if augment != "none" else not any(mirrored)


def test_training_and_serving_normalise_alike():
    photo = noisy_photo((200, 40, 40), 0, (32, 32))
    cfg = {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bilinear", "mean": (0.4, 0.5, 0.6)}
    served = serving_transform({**cfg, "std": (0.1, 0.2, 0.3)})(photo)
    batch = v2.functional.pil_to_tensor(photo).unsqueeze(0)
    images, targets = BatchAugmentation(Recipe(augment="none"), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), 4)(
        batch, torch.tensor([2]), DRAWN[:1]
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
    images, _ = BatchAugmentation(Recipe(color_jitter=0.4), *HALF, 4)(batch, torch.arange(4), DRAWN)
    assert len({image.mean().item() for image in images}) == 4
    assert images.min() >= -1
    assert images.max() <= 1


def test_erasing_replaces_a_rectangle():
    batch = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    plain, _ = BatchAugmentation(Recipe(augment="none"), *HALF, 4)(batch, torch.arange(4), DRAWN)
    erased, _ = BatchAugmentation(Recipe(augment="none", random_erasing=1.0), *HALF, 4)(batch, torch.arange(4), DRAWN)
    changed = (plain != erased).float().mean().item()
    assert 0.01 < changed < 0.5


def test_mixing_gives_smoothed_distributions():
    augment = BatchAugmentation(Recipe(mixup=0.2, cutmix=1.0, label_smoothing=0.1), *HALF, 4)
    images, targets = augment(
        torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), torch.arange(8) % 4, torch.zeros(8, DRAWS)
    )
    assert images.shape == (8, 3, 16, 16)
    assert targets.shape == (8, 4)
    assert targets.sum(1).tolist() == pytest.approx([1] * 8)
    assert targets.min() >= 0.1 / 4 - 1e-6


def augmented(part: int, process: int, **knobs) -> torch.Tensor:
    """What a part of an update makes of a batch that is the same in all parts."""
    accelerator = SimpleNamespace(process_index=process, device=torch.device("cpu"))
    engine = SimpleNamespace(recipe=Recipe(), progress=SimpleNamespace(updates=3), accelerator=accelerator)
    Engine._seed(engine, part)
    augment = BatchAugmentation(Recipe(augment="none", **knobs), *HALF, 4)
    ramp = torch.arange(8 * 3 * 16 * 16).reshape(8, 3, 16, 16) % 251
    return augment(ramp.byte(), torch.arange(8) % 4, torch.zeros(8, DRAWS))[0]


@pytest.mark.parametrize("other", [(1, 0), (2, 0), (0, 1)])  # a later part of the update, or another process
def test_parts_of_an_update_erase_rectangles_of_their_own_and_mix_alike(other):
    plain, first, second = augmented(0, 0), augmented(0, 0, random_erasing=0.5), augmented(*other, random_erasing=0.5)
    assert not torch.equal((first != plain).any(1), (second != plain).any(1))
    assert torch.equal(first, augmented(0, 0, random_erasing=0.5))
    for knobs in ({"mixup": 0.4}, {"cutmix": 1.0}):
        assert torch.equal(augmented(0, 0, **knobs), augmented(*other, **knobs))
        assert not torch.equal(augmented(0, 0, **knobs), plain)
