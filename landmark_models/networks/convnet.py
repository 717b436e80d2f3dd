"""Our convolutional networks, plain and residual: one class, registered with timm.

import timm, landmark_models
model = timm.create_model("landmark_resnet", num_classes=50)
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import (
    DropPath,
    SelectAdaptivePool2d,
    SqueezeExcite,
    get_act_layer,
)
from timm.models import build_model_with_cfg, checkpoint_seq, generate_default_cfgs, register_model
from torch import Tensor, nn

__all__ = ["ConvNet", "Head", "PlainBlock", "ResidualBlock", "Stage"]

WeightInit = Literal["default", "normal"]


def _conv_norm_act(
    in_channels: int, channels: int, *, norm: bool, act: str | None, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    """A convolution, batch normalisation (or a bias in its place) and, unless `act` is None, an activation."""
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
            raise ValueError("drop_path_rate needs residual=True: a plain block has no path around it to keep.")
        self.conv = _conv_norm_act(in_channels, channels, norm=norm, act=act)
        self.se = SqueezeExcite(channels, rd_ratio=se_ratio) if se_ratio else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.se(self.conv(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a way around them (He et al. 2016), a 1x1 convolution where widths differ.

    Optionally squeeze-and-excitation (Hu et al. 2018) and stochastic depth (Huang et al. 2016).
    Maps `(B, in_channels, H, W)` to `(B, channels, H, W)`.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: bool, act: str, se_ratio: float, drop_path: float):
        super().__init__()
        self.conv1 = _conv_norm_act(in_channels, channels, norm=norm, act=act)
        self.conv2 = _conv_norm_act(channels, channels, norm=norm, act=None)
        self.se = SqueezeExcite(channels, rd_ratio=se_ratio) if se_ratio else nn.Identity()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if in_channels != channels:
            self.skip = _conv_norm_act(in_channels, channels, norm=norm, act=None, kernel_size=1)
        self.act = get_act_layer(act)(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop_path(self.se(self.conv2(self.conv1(x)))) + self.skip(x))


class Stage(nn.Module):
    """Blocks of one width, then down-sampling by max pooling, then dropout.

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
    Without pooling (`pool_type=""`) and classifier the map itself is handed on.
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
        """Put a fresh classifier in (none for `num_classes=0`) and, where given, another pooling.

        Raises:
            ValueError: the pooling does not fit the layers behind it.
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


class ConvNet(nn.Module):
    """A stem, a stack of stages, a head.

    Takes float images `(B, in_chans, H, W)`, normalised as `pretrained_cfg` says, and returns logits
    `(B, num_classes)`. H and W are free: pooling rounds up.

    Args:
        channels: width of each stage.
        depths: number of blocks in each stage.
        strides: down-sampling behind each stage, 1 for none.
        num_classes: width of the classifier, 0 for none.
        in_chans: channels of the image.
        global_pool: any pooling of timm's `SelectAdaptivePool2d`, or "" for none.
        stem: width of a stem of two 3x3 convolutions and max pooling, which reduces by 4; 0 for no stem.
        residual: residual blocks of two convolutions instead of plain blocks of one; or which stages have them.
        norm: batch normalisation; without it the convolutions have a bias.
        act: activation, by timm's name.
        se_ratio: squeeze-and-excitation in every block, this part of its width wide; 0 for none.
        head_hidden: widths of fully connected layers between pooling and classifier.
        drop_rate: dropout before every linear layer of the head.
        stage_drop_rate: dropout behind every stage.
        drop_path_rate: stochastic depth at the last block, rising linearly from 0 at the first.
        weight_init: "default" is He et al. 2015 for convolutions, and a residual branch that starts at zero where
            normalised (Goyal et al. 2017); "normal" is a normal distribution with standard deviation
            1/sqrt(fan_in) for every convolution and linear layer.
    """

    def __init__(
        self,
        channels: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[int],
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        stem: int = 0,
        residual: bool | Sequence[bool] = False,
        norm: bool = True,
        act: str = "relu",
        se_ratio: float = 0.0,
        head_hidden: Sequence[int] = (),
        drop_rate: float = 0.0,
        stage_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        weight_init: WeightInit = "default",
    ):
        super().__init__()
        residuals = [residual] * len(channels) if isinstance(residual, bool) else list(residual)
        if not len(channels) == len(depths) == len(strides) == len(residuals) > 0:
            raise ValueError(
                f"channels {channels}, depths {depths}, strides {strides}, residual {residual} must be of one length."
            )
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate

        self.stem: nn.Module = nn.Identity()
        width, reduction = in_chans, 1
        if stem:
            self.stem = nn.Sequential(
                _conv_norm_act(in_chans, stem // 2, norm=norm, act=act, stride=2),
                _conv_norm_act(stem // 2, stem, norm=norm, act=act),
                nn.MaxPool2d(2, ceil_mode=True),
            )
            width, reduction = stem, 4

        drop_path = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        stages = []
        self.feature_info: list[dict[str, Any]] = []
        for index, (channel, depth, stride) in enumerate(zip(channels, depths, strides, strict=True)):
            block_class = ResidualBlock if residuals[index] else PlainBlock
            blocks = []
            for _ in range(depth):
                blocks.append(
                    block_class(width, channel, norm=norm, act=act, se_ratio=se_ratio, drop_path=next(drop_path))
                )
                width = channel
            stages.append(Stage(blocks, stride, stage_drop_rate))
            reduction *= stride
            self.feature_info.append({"num_chs": channel, "reduction": reduction, "module": f"stages.{index}"})
        self.stages = nn.Sequential(*stages)
        self.num_features = width
        self.head = Head(width, num_classes, global_pool, drop_rate, head_hidden, act)
        self.head_hidden_size = self.head.num_features
        self.init_weights(weight_init)

    @torch.jit.ignore
    def init_weights(self, weight_init: WeightInit = "default") -> None:
        """Draw every weight afresh. See the class for the names.

        Raises:
            ValueError: the name is neither.
        """
        if weight_init not in get_args(WeightInit):
            raise ValueError(f"weight_init={weight_init!r} is not known; take one of {get_args(WeightInit)}.")
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                if weight_init == "normal":
                    nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                elif isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif weight_init == "default" and isinstance(module, ResidualBlock):
                for layer in module.conv2:
                    if isinstance(layer, nn.BatchNorm2d):
                        nn.init.zeros_(layer.weight)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How timm groups the parameters by depth (layer-wise learning rates, freezing)."""
        return {
            "stem": r"^stem",
            "blocks": r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.blocks\.(\d+)",
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only each block's input, compute it again going backward."""
        for module in self.modules():
            if isinstance(module, Stage):
                module.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh classifier for `num_classes` (0: none), and another pooling where given."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images `(B, in_chans, H, W)` to the last feature map `(B, num_features, H', W')`."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature map to logits, or with `pre_logits` to the classifier's input `(B, head_hidden_size)`."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def _cfg(input_size: int, first_conv: str) -> dict[str, Any]:
    return {
        "input_size": (3, input_size, input_size),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": "head.fc",
        "license": "apache-2.0",
    }


default_cfgs = generate_default_cfgs(
    {
        "landmark_cnn.untrained": _cfg(224, "stages.0.blocks.0.conv.conv"),
        "landmark_resnet.untrained": _cfg(224, "stages.0.blocks.0.conv1.conv"),
        "landmark_cnn6.untrained": _cfg(224, "stages.0.blocks.0.conv.conv"),
        "landmark_net.untrained": _cfg(128, "stem.0.conv"),
    }
)


def _create(variant: str, pretrained: bool, defaults: dict[str, Any], kwargs: dict[str, Any]) -> ConvNet:
    arguments = defaults | kwargs
    out_indices = tuple(range(len(arguments["channels"])))
    network: ConvNet = build_model_with_cfg(
        ConvNet, variant, pretrained, feature_cfg={"out_indices": out_indices, "flatten_sequential": True}, **arguments
    )
    if isinstance(network, ConvNet):  # its arguments decide what comes first; timm's wrapper for features has no config
        convolutions = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
        cast(dict[str, Any], network.pretrained_cfg)["first_conv"] = next(convolutions)
    return network


@register_model
def landmark_cnn(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """The plain VGG-like net of the field's coursework: 64-128-256x2-512x2-512x2."""
    defaults = {"channels": (64, 128, 256, 512, 512), "depths": (1, 1, 2, 2, 2), "strides": (2, 2, 2, 2, 2)}
    return _create("landmark_cnn", pretrained, defaults, kwargs)


@register_model
def landmark_resnet(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """`landmark_cnn` with a residual block in the place of every plain one."""
    defaults = {
        "channels": (64, 128, 256, 512, 512),
        "depths": (1, 1, 2, 2, 2),
        "strides": (2, 2, 2, 2, 2),
        "residual": True,
    }
    return _create("landmark_resnet", pretrained, defaults, kwargs)


@register_model
def landmark_cnn6(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """Six 3x3 convolutions, each with max pooling, then three linear layers with dropout; 128 to 800 px."""
    defaults = {
        "channels": (16, 32, 64, 128, 256, 512),
        "depths": (1, 1, 1, 1, 1, 1),
        "strides": (2, 2, 2, 2, 2, 2),
        "head_hidden": (512, 256),
        "drop_rate": 0.3,
    }
    return _create("landmark_cnn6", pretrained, defaults, kwargs)


@register_model
def landmark_net(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """Ours, for small data: a stem that reduces by 4, few residual blocks with squeeze-and-excitation."""
    defaults = {
        "channels": (64, 128, 256, 352),
        "depths": (1, 2, 2, 1),
        "strides": (2, 2, 2, 1),
        "stem": 32,
        "residual": True,
        "se_ratio": 0.125,
    }
    return _create("landmark_net", pretrained, defaults, kwargs)
