"""Augmentation as a recipe says: of each photo as it is loaded, then of the batch on the device."""

from collections.abc import Sequence

import torch
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import v2

from train.recipe import Recipe

DRAWS = 6  # random numbers in -1..1 for each photo: three for its colours, one for the flip, two for the shift


def training_transform(recipe: Recipe, size: int, interpolation: str) -> v2.Compose:
    """The transform from a uint8 tensor `(3, height, width)` to `(3, size, size)`, random by PyTorch's generator.

    `classic` is random resized crop, rotation and shear, and blur; `randaugment` is Cubuk et al. 2020 and
    `trivialaugment` Müller and Hutter 2021, both after the crop. Flips, shifts and colours are cheaper on the batch:
    see `BatchAugmentation`.
    """
    resize = v2.InterpolationMode(interpolation)  # as in serving, where sharpness would differ otherwise
    steps: list[torch.nn.Module] = []
    if recipe.augment == "none" or recipe.crop_padding:
        steps += [v2.Resize(size, resize), v2.CenterCrop(size)]
    else:
        ratio = (1 / recipe.crop_ratio, recipe.crop_ratio)
        steps.append(v2.RandomResizedCrop(size, (recipe.crop_scale, 1.0), ratio, interpolation=resize))
    if recipe.augment == "classic":
        if recipe.rotation or recipe.shear:
            bilinear = v2.InterpolationMode.BILINEAR
            steps.append(v2.RandomAffine(recipe.rotation, shear=recipe.shear or None, interpolation=bilinear))
        if recipe.blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 2.0))], recipe.blur))
    elif recipe.augment == "randaugment":
        steps.append(v2.RandAugment(magnitude=recipe.randaugment_magnitude))
    elif recipe.augment == "trivialaugment":
        steps.append(v2.TrivialAugmentWide())
    return v2.Compose(steps)


def jitter_colors(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation of a batch at once, several times faster than one photo at a time.

    As long as nothing is clipped the three commute, so no order has to be drawn. `images`, float `(B, 3, H, W)` in
    0..1, are changed in place, clipped to 0..1, and returned. The others are each image's factors `(B,)`: 1 changes
    nothing; at 0 it is black, as grey as its mean, or grey.
    """
    b, c, s = (factor.view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation))
    red, green, blue = images.unbind(1)
    gray = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)  # ITU-R 601, as in Pillow and torchvision
    rest = gray * (b * c * (1 - s)) + gray.mean((2, 3), keepdim=True) * (b * (1 - c))
    return images.mul_(b * c * s).add_(rest).clamp_(0, 1)


def shift(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    """Pad images `(B, C, H, W)` by reflection, then crop each to its old size at a place of its own.

    `padding` is px on each side, less than H and W. `down` and `right`, `(B,)`, are the place of each crop: from -1 at
    the top (left) of the padded image to 1 at its bottom (right).
    """
    count, _, height, width = images.shape
    padded = v2.functional.pad(images, [padding], padding_mode="reflect")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, places down, places right, H, W), without a copy
    top, left = (((place + 1) / 2 * (2 * padding + 1)).long().clamp(max=2 * padding) for place in (down, right))
    return windows[torch.arange(count, device=images.device), :, top, left]


class BatchAugmentation:
    """Augmentation of a whole batch, on the training device.

    Shifts with `crop_padding`, flips, colour jitter with `classic`, normalisation, random erasing (Zhong et al. 2020),
    mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019).

    It maps uint8 images `(B, 3, H, W)`, targets `(B,)` and draws in -1..1 `(B, DRAWS)` to normalised float32 images and
    targets; mixing makes these smoothed distributions `(B, num_classes)`. Erasing and mixing draw from the generators
    of Python, NumPy and PyTorch.
    """

    def __init__(self, recipe: Recipe, mean: Sequence[float], std: Sequence[float], num_classes: int):
        self.mean, self.std = list(mean), list(std)
        self.crop_padding, self.flip = (recipe.crop_padding, recipe.flip) if recipe.augment != "none" else (0.0, 0.0)
        self.color_jitter = recipe.color_jitter if recipe.augment == "classic" else 0.0
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

    def __call__(self, images: Tensor, targets: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        colors, (mirror, down, right) = draws[:, :3], draws[:, 3:].unbind(1)
        if padding := round(self.crop_padding * images.shape[-1]):
            images = shift(images, padding, down, right)
        if self.flip:
            images = torch.where((mirror < 2 * self.flip - 1).view(-1, 1, 1, 1), images.flip(3), images)
        images = images.float().div_(255)
        if self.color_jitter:
            images = jitter_colors(images, *(1 + self.color_jitter * colors).unbind(1))
        images = v2.functional.normalize(images, self.mean, self.std, inplace=True)
        if self.erasing_probability:
            images = RandomErasing(self.erasing_probability, mode="pixel", device=images.device)(images)
        return self.mix(images, targets) if self.mix else (images, targets)
