"""Which features a taught landmark is a mean of: a digest of all that they depend on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from timm.data import resolve_data_config
from torch import nn

from landmark_models.networks.served import linear_classifier
from landmark_models.networks.statistics import FeatureStatistics

_PREPROCESSING = ("input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std")


def features_digest(
    network: nn.Module, statistics: FeatureStatistics, architecture: str, pretrained_cfg: Mapping[str, Any]
) -> str:
    """A SHA-256 of a model's whitened features: its preprocessing, its network without the classifier, its statistics.

    Its labels, temperature and rejection rule don't matter, and neither does the scale of its logits.
    """
    classifier = {id(parameter) for parameter in linear_classifier(network).parameters()}
    config = resolve_data_config({}, pretrained_cfg=dict(pretrained_cfg))
    preprocessing = {name: config[name] for name in _PREPROCESSING if name in config}
    digest = hashlib.sha256(json.dumps([architecture, preprocessing, statistics.unit], sort_keys=True).encode())
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in classifier:
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    for tensor in (statistics.mean, statistics.packed):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
