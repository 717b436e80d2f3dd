"""What happens to training photos, as a recipe says: to each as it is read, then to the batch on the device."""

from collections.abc import Sequence

import torch
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import v2

from train.recipe import Recipe

__all__ = ["BatchAugmentation", "training_transform"]


def training_transform(recipe: Recipe) -> v2.Compose:
    """The transform from an RGB Pillow image to a uint8 tensor `(3, image_size, image_size)`.

    `classic` is random resized crop, flip, rotation and shear, colour jitter and blur; `randaugment` is
    Cubuk et al. 2020 and `trivialaugment` Müller and Hutter 2021, both behind crop and flip. What is random is drawn
    from PyTorch's generator.
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
    return v2.Compose([*steps, v2.PILToTensor()])


class BatchAugmentation:
    """Normalisation, random erasing (Zhong et al. 2020), mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019).

    It maps uint8 images `(B, 3, H, W)` and targets `(B,)` to normalised float32 images and, where it mixes, smoothed
    distributions `(B, num_classes)`. What is random is drawn from the generators of Python, NumPy and PyTorch.
    """

    def __init__(self, recipe: Recipe, mean: Sequence[float], std: Sequence[float], num_classes: int):
        self.mean, self.std = list(mean), list(std)
        self.erasing_probability = recipe.random_erasing
        self.mix: Mixup | None = None
        if recipe.mixup or recipe.cutmix:
            self.mix = Mixup(
                mixup_alpha=recipe.mixup,
                cutmix_alpha=recipe.cutmix,
                prob=recipe.mix_probability,
                label_smoothing=recipe.label_smoothing,
                num_classes=num_classes,
            )

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        images = v2.functional.normalize(images.float().div_(255), self.mean, self.std, inplace=True)
        if self.erasing_probability:
            images = RandomErasing(self.erasing_probability, mode="pixel", device=images.device)(images)
        return self.mix(images, targets) if self.mix else (images, targets)
