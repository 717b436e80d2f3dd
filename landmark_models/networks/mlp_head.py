"""Any timm network with fully connected layers before its classifier.

import timm, landmark_models
model = timm.create_model("landmark_mlp", backbone="vgg19", hidden=[4096, 1024], num_classes=50)
"""

from collections.abc import Sequence
from typing import Any

import timm
from timm.models import load_pretrained, register_model
from torch import nn

ARCHITECTURE = "landmark_mlp"


def put_mlp_head(network: nn.Module, hidden: Sequence[int], drop_rate: float = 0.0) -> nn.Module:
    """Replace a timm network's linear classifier, in place, with fully connected layers, ReLU and dropout.

    `hidden` are the widths of the layers before the new classifier. Dropout comes before each linear layer but the
    first, which follows the network's own dropout.

    Raises:
        ValueError: the classifier isn't a linear layer.
    """
    own: Any = network
    classifier = own.get_classifier()
    names = [name for name, module in network.named_modules() if module is classifier]
    if not isinstance(classifier, nn.Linear) or not names:
        raise ValueError(
            f"its classifier is {type(classifier).__name__}, not the linear layer that an MLP could replace"
        )
    layers: list[nn.Module] = []
    width = classifier.in_features
    for hidden_width in hidden:
        layers += [nn.Linear(width, hidden_width), nn.ReLU(inplace=True), nn.Dropout(drop_rate)]
        width = hidden_width
    network.set_submodule(names[0], nn.Sequential(*layers, nn.Linear(width, classifier.out_features)))
    own.pretrained_cfg["architecture"] = ARCHITECTURE
    return network


@register_model
def landmark_mlp(
    pretrained: bool = False,
    backbone: str = "resnet34",
    hidden: Sequence[int] = (512,),
    pretrained_cfg: dict[str, Any] | None = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """The architecture `backbone` of timm's registry with its classifier replaced by an MLP.

    Pretrained weights are those of the whole network, which timm finds in a model folder or on the Hub.
    """
    if not timm.is_model(backbone) or backbone.split(".")[0] == ARCHITECTURE:  # neither Hub nor folder names
        raise ValueError(f"backbone={backbone!r} isn't another architecture in timm's registry")
    if pretrained_cfg is not None and "num_classes" in pretrained_cfg:  # from a model folder, which has it nowhere else
        kwargs.setdefault("num_classes", pretrained_cfg["num_classes"])
    network = timm.create_model(backbone, pretrained=False, **kwargs)
    put_mlp_head(network, hidden, kwargs.get("drop_rate") or 0.0)
    if pretrained_cfg is not None:
        network.pretrained_cfg = {"architecture": ARCHITECTURE, **pretrained_cfg, **(pretrained_cfg_overlay or {})}
    if pretrained:
        if pretrained_cfg is None:
            raise ValueError(f"{ARCHITECTURE} has no pretrained weights of its own")
        load_pretrained(network, network.pretrained_cfg, network.num_classes)
    return network
