"""Our convolutional networks, plain and residual: one class, registered with timm.

import timm, landmark_models
model = timm.create_model("landmark_resnet", num_classes=50)
"""

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from landmark_models.networks.blocks import Head, PlainBlock, ResidualBlock, Stage, conv_norm_act

WeightInit = Literal["default", "normal"]


class ConvNet(nn.Module):
    """A stem, a stack of stages, a head.

    Takes float images `(B, in_chans, H, W)`, normalised as in `pretrained_cfg`, and returns logits
    `(B, num_classes)`. H and W are free, because pooling rounds up.

    Args:
        channels: width of each stage.
        depths: number of blocks in each stage.
        strides: downsampling after each stage, 1 for none.
        num_classes: width of the classifier, 0 for none.
        in_chans: channels of the image.
        global_pool: a pooling of timm's `SelectAdaptivePool2d`, or "" for none.
        stem: width of a stem of two 3x3 convolutions and max pooling, with stride 4; 0 for no stem.
        residual: residual blocks of two convolutions instead of plain blocks of one; or a flag for each stage.
        norm: batch normalisation; without it, convolutions have a bias.
        act: timm's name of the activation.
        se_ratio: squeeze-and-excitation in every block, with this share of its width; 0 for none.
        head_hidden: widths of fully connected layers between pooling and classifier.
        drop_rate: dropout before every linear layer of the head.
        stage_drop_rate: dropout after every stage.
        drop_path_rate: stochastic depth at the last block, rising linearly from 0 at the first.
        weight_init: "default" is He et al. 2015 for convolutions, with normalised residual branches starting at zero
            (Goyal et al. 2017); "normal" is a normal distribution with standard deviation 1/sqrt(fan_in) for every
            convolution and linear layer.
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
                f"channels {channels}, depths {depths}, strides {strides} and residual {residual} differ in length."
            )
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.stem = _stem(in_chans, stem, norm, act) if stem else nn.Identity()
        width, reduction = (stem, 4) if stem else (in_chans, 1)
        options: dict[str, Any] = {"norm": norm, "act": act, "se_ratio": se_ratio}
        drop_path = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        stages = []
        self.feature_info: list[dict[str, Any]] = []
        for index, (channel, depth, stride) in enumerate(zip(channels, depths, strides, strict=True)):
            block_class = ResidualBlock if residuals[index] else PlainBlock
            blocks = []
            for _ in range(depth):
                blocks.append(block_class(width, channel, drop_path=next(drop_path), **options))
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
        """Reinitialise every weight; see the class for the names."""
        if weight_init not in get_args(WeightInit):
            raise ValueError(f"weight_init={weight_init!r} is unknown; use one of {get_args(WeightInit)}.")
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
        """Patterns with which timm groups parameters by depth (layer-wise learning rates, freezing)."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.blocks\.(\d+)"
        return {"stem": r"^stem", "blocks": blocks}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only each block's input and recompute the rest in the backward pass."""
        for module in self.modules():
            if isinstance(module, Stage):
                module.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one for `num_classes` (0: none) and, where given, the pooling."""
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


def _stem(in_channels: int, channels: int, norm: bool, act: str) -> nn.Module:
    return nn.Sequential(
        conv_norm_act(in_channels, channels // 2, norm=norm, act=act, stride=2),
        conv_norm_act(channels // 2, channels, norm=norm, act=act),
        nn.MaxPool2d(2, ceil_mode=True),
    )


_SIDES = {"landmark_cnn": 224, "landmark_resnet": 224, "landmark_cnn6": 224, "landmark_net": 128}

default_cfgs = generate_default_cfgs(
    {
        f"{name}.untrained": {
            "input_size": (3, side, side), "crop_pct": 1.0, "interpolation": "bicubic", "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD, "classifier": "head.fc", "license": "apache-2.0",
        }
        for name, side in _SIDES.items()
    }
)  # fmt: skip

_CNN = {"channels": (64, 128, 256, 512, 512), "depths": (1, 1, 2, 2, 2), "strides": (2, 2, 2, 2, 2)}


def _create(variant: str, pretrained: bool, defaults: dict[str, Any], kwargs: dict[str, Any]) -> ConvNet:
    arguments = defaults | kwargs
    out_indices = tuple(range(len(arguments["channels"])))
    network: ConvNet = build_model_with_cfg(
        ConvNet, variant, pretrained, feature_cfg={"out_indices": out_indices, "flatten_sequential": True}, **arguments
    )
    if isinstance(network, ConvNet):  # the first layer depends on the arguments; timm's feature wrapper has no config
        convolutions = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
        cast(dict[str, Any], network.pretrained_cfg)["first_conv"] = next(convolutions)
    return network


@register_model
def landmark_cnn(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """The plain VGG-like net of the field's coursework: 64-128-256x2-512x2-512x2."""
    return _create("landmark_cnn", pretrained, _CNN, kwargs)


@register_model
def landmark_resnet(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """`landmark_cnn` with a residual block in place of every plain one."""
    return _create("landmark_resnet", pretrained, {**_CNN, "residual": True}, kwargs)


@register_model
def landmark_cnn6(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """Six 3x3 convolutions, each with max pooling, then three linear layers with dropout; 128 to 800 px."""
    defaults = {
        "channels": (16, 32, 64, 128, 256, 512), "depths": [1] * 6, "strides": [2] * 6,
        "head_hidden": (512, 256), "drop_rate": 0.3,
    }  # fmt: skip
    return _create("landmark_cnn6", pretrained, defaults, kwargs)


@register_model
def landmark_net(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """Ours, for small data: a stem with stride 4, few residual blocks with squeeze-and-excitation."""
    defaults = {
        "channels": (64, 128, 256, 352), "depths": (1, 2, 2, 1), "strides": (2, 2, 2, 1),
        "stem": 32, "residual": True, "se_ratio": 0.125,
    }  # fmt: skip
    return _create("landmark_net", pretrained, defaults, kwargs)
