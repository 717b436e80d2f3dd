"""What happens to training photos, as a recipe says: to each (from PyTorch's generator), to batches (from NumPy's)."""

from collections.abc import Sequence

import torch
from timm.data import Mixup
from torchvision.transforms import v2

from train.recipe import Recipe

__all__ = ["mixing", "training_transform"]


def training_transform(recipe: Recipe, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """The transform from an RGB Pillow image to a normalised float32 tensor `(3, image_size, image_size)`.

    `classic` is random resized crop, flip, rotation and shear, colour jitter and blur; `randaugment` is
    Cubuk et al. 2020 and `trivialaugment` Müller and Hutter 2021, both behind crop and flip. Random erasing is
    Zhong et al. 2020.
    """
    size = recipe.image_size
    resize = v2.InterpolationMode(recipe.interpolation)  # as in serving, or the network meets another sharpness there
    steps: list[torch.nn.Module] = []
    if recipe.augment == "none":
        steps += [v2.Resize(size, resize), v2.CenterCrop(size)]
    else:
        steps.append(v2.RandomResizedCrop(size, scale=(recipe.crop_scale, 1.0), interpolation=resize))
        if recipe.flip:
            steps.append(v2.RandomHorizontalFlip(recipe.flip))
    if recipe.augment == "classic":
        if recipe.rotation or recipe.shear:
            bilinear = v2.InterpolationMode.BILINEAR
            steps.append(v2.RandomAffine(recipe.rotation, shear=recipe.shear or None, interpolation=bilinear))
        if recipe.color_jitter:
            steps.append(v2.ColorJitter(recipe.color_jitter, recipe.color_jitter, recipe.color_jitter))
        if recipe.blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 2.0))], recipe.blur))
    elif recipe.augment == "randaugment":
        steps.append(v2.RandAugment(magnitude=recipe.randaugment_magnitude))
    elif recipe.augment == "trivialaugment":
        steps.append(v2.TrivialAugmentWide())
    steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    if recipe.random_erasing:
        steps.append(v2.RandomErasing(recipe.random_erasing, value="random"))
    return v2.Compose(steps)


def mixing(recipe: Recipe, num_classes: int) -> Mixup | None:
    """Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) of whole batches, or None where the recipe has neither.

    It maps images `(B, 3, H, W)` and targets `(B,)` to mixed images and smoothed distributions `(B, num_classes)`.
    """
    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        prob=recipe.mix_probability,
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )
