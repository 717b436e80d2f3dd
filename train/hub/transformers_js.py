"""What lets transformers.js run a model as it is published: the network as ONNX, and what it reads beside that.

transformers for Python and transformers.js read the same two files, and neither has a name for timm's networks that the
other takes. So `config.json` has a `model_type` that makes transformers.js run any network from pixels to logits, and
names the file that Python reads instead, `config.4.48.0.json`, which is the config without it. The file
`preprocessor_config.json` names no type of image processor, which leaves Python with timm's, but a processor that makes
transformers.js use its plain one. timm and this library read none of these names.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import resolve_data_config

from landmark_models.errors import LandmarkError
from landmark_models.files import write_json
from landmark_models.models import LoadedModel
from landmark_models.models.folder import CONFIG_FILE
from train.hub.metadata import ONNX_FILE
from train.hub.onnx_graph import INPUT, write_onnx

# In a repository, these patterns match all that `add_onnx` writes beside the config.
FILES = ["onnx/*", "preprocessor_config.json", "config.*.json"]
TOLERANCE = 1e-4  # of a logit, relative to the largest

_PYTHON_CONFIG = "config.4.48.0.json"  # named for the first version of transformers with timm's models
_MODEL_TYPE = "mobilenet_v4"  # only transformers.js has it
_PROCESSOR = "SamProcessor"  # the only one that does no more than prepare images
_LANCZOS = 1  # of its filters the one that smooths when it makes a photo smaller, as Pillow's do


def add_onnx(model: LoadedModel, folder: Path) -> None:
    """Add to a model's folder what transformers.js needs.

    Raises:
        LandmarkError: the network can't be written or run as ONNX, or its photos can't be prepared there; the folder is
            as it was.
    """
    preprocessing = _preprocessing(model.pretrained_cfg, model.source)
    file = folder / ONNX_FILE
    write_onnx(model, file)
    try:
        _check(model, file)
    except LandmarkError:
        file.unlink()
        file.parent.rmdir()
        raise
    write_json(folder / "preprocessor_config.json", preprocessing)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    write_json(folder / _PYTHON_CONFIG, config)
    config |= {
        "configuration_files": [_PYTHON_CONFIG],
        "model_type": _MODEL_TYPE,
        "id2label": dict(enumerate(model.labels)),
        "transformers.js_config": {"dtype": "fp32"},  # else browsers without WebGPU look for a file of 8-bit weights
    }
    write_json(folder / CONFIG_FILE, config)


@torch.inference_mode()
def _check(model: LoadedModel, file: Path) -> None:
    """Check that ONNX Runtime gives the network's logits; a LandmarkError if not."""
    import onnxruntime

    images = torch.rand(2, *model.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    expected = model.network(images).numpy()
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        logits = session.run(["logits"], {INPUT: images.numpy()})[0]
    except Exception as error:  # whatever it raises for operators that it lacks
        raise LandmarkError(f"ONNX Runtime can't run {model.source}: {str(error)[:200]}") from None
    difference = np.abs(logits - expected).max()
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise LandmarkError(f"As ONNX, the logits of {model.source} differ by {difference:.2g}.")


def _preprocessing(pretrained_cfg: dict[str, Any], source: str) -> dict[str, Any]:
    """The serving transform in the words of transformers.js, which has no other way to enlarge, crop or pad.

    Raises:
        LandmarkError: it can't be said in them.
    """
    config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
    rows, columns = config["input_size"][1:]
    height, width = (math.floor(side / config["crop_pct"]) for side in (rows, columns))
    if config["crop_mode"] == "squash":
        size = {"height": height, "width": width}
    elif config["crop_mode"] == "center" and rows == columns:
        size = {"shortest_edge": height}
    else:
        shape = f"crop_mode {config['crop_mode']!r} at {columns} x {rows} px"
        raise LandmarkError(f"transformers.js can't prepare photos as {source} does, with {shape}.")
    return {
        "processor_class": _PROCESSOR,
        "do_resize": True,
        "size": size,
        "resample": _LANCZOS,
        "do_center_crop": True,
        "crop_size": {"height": rows, "width": columns},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config["mean"]),
        "image_std": list(config["std"]),
    }
