"""The parts of our convolutional networks: blocks, stages of blocks, the head."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from timm.layers import DropPath, SelectAdaptivePool2d, SqueezeExcite, get_act_layer
from timm.models import checkpoint_seq
from torch import Tensor, nn


def conv_norm_act(
    in_channels: int, channels: int, *, norm: bool, act: str | None, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    """A convolution with batch normalisation (or else a bias) and, unless `act` is None, an activation."""
    padding = kernel_size // 2
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(in_channels, channels, kernel_size, stride=stride, padding=padding, bias=not norm)
    )
    if norm:
        layers["norm"] = nn.BatchNorm2d(channels)
    if act is not None:
        layers["act"] = get_act_layer(act)(inplace=True)
    return nn.Sequential(layers)


class PlainBlock(nn.Module):
    """3x3 convolution, normalisation, activation: the unit of VGG (Simonyan and Zisserman 2015).

    Maps `(B, in_channels, H, W)` to `(B, channels, H, W)`.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: bool, act: str, se_ratio: float, drop_path: float):
        super().__init__()
        if drop_path:
            raise ValueError("drop_path_rate needs residual=True: a plain block has no shortcut.")
        self.conv = conv_norm_act(in_channels, channels, norm=norm, act=act)
        self.se = SqueezeExcite(channels, rd_ratio=se_ratio) if se_ratio else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.se(self.conv(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016), which is a 1x1 convolution where widths differ.

    Optionally squeeze-and-excitation (Hu et al. 2018) and stochastic depth (Huang et al. 2016).
    Maps `(B, in_channels, H, W)` to `(B, channels, H, W)`.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: bool, act: str, se_ratio: float, drop_path: float):
        super().__init__()
        self.conv1 = conv_norm_act(in_channels, channels, norm=norm, act=act)
        self.conv2 = conv_norm_act(channels, channels, norm=norm, act=None)
        self.se = SqueezeExcite(channels, rd_ratio=se_ratio) if se_ratio else nn.Identity()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if in_channels != channels:
            self.skip = conv_norm_act(in_channels, channels, norm=norm, act=None, kernel_size=1)
        self.act = get_act_layer(act)(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop_path(self.se(self.conv2(self.conv1(x)))) + self.skip(x))


class Stage(nn.Module):
    """Blocks of one width, then downsampling with max pooling, then dropout.

    Maps `(B, in_channels, H, W)` to `(B, channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, blocks: Sequence[nn.Module], stride: int, drop_rate: float):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.MaxPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.drop = nn.Dropout(drop_rate)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            x = checkpoint_seq(self.blocks, x)
        else:
            x = self.blocks(x)
        return self.drop(self.pool(x))


class Head(nn.Module):
    """Global pooling, optional fully connected layers, dropout, linear classifier.

    Maps `(B, C, H, W)` to logits `(B, num_classes)`, or with `pre_logits` to the features `(B, num_features)`.
    Without pooling (`pool_type=""`) and classifier, the map itself is returned.
    """

    def __init__(
        self, in_features: int, num_classes: int, pool_type: str, drop_rate: float, hidden: Sequence[int], act: str
    ):
        super().__init__()
        self.in_features = in_features
        self.global_pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type))
        width = in_features * self.global_pool.feat_mult()
        layers: list[nn.Module] = []
        for hidden_width in hidden:
            layers += [nn.Dropout(drop_rate), nn.Linear(width, hidden_width), get_act_layer(act)(inplace=True)]
            width = hidden_width
        self.hidden = nn.Sequential(*layers)
        self.num_features = width
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module
        self.reset(num_classes)

    def reset(self, num_classes: int, pool_type: str | None = None) -> None:
        """Replace the classifier (by none for `num_classes=0`) and, where given, the pooling.

        Raises:
            ValueError: the pooling doesn't fit the layers after it.
        """
        if pool_type is not None and pool_type != self.global_pool.pool_type:
            pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type))
            if pool.feat_mult() != self.global_pool.feat_mult():
                raise ValueError(f"global_pool={pool_type!r} changes the number of features; build a new model.")
            self.global_pool = pool
        if num_classes and not self.global_pool.pool_type:
            raise ValueError("A classifier needs global pooling: give global_pool, or num_classes=0.")
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.global_pool(x)
        if x.ndim == 2:
            x = self.drop(self.hidden(x))
        return x if pre_logits else self.fc(x)
