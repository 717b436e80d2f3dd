"""A network as ONNX for browsers and other runtimes: preprocessed images in, its own logits and our rule's score out.

What reads the file finds labels, preprocessing, temperature and threshold in the model's `config.json`.
"""

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils import parametrize

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path
from landmark_models.models import LoadedModel
from landmark_models.networks.served import ServedNetwork
from landmark_models.rejection import KnownRule
from train.hub.exported_model import first_line

OPSET = 18
INPUT = "pixel_values"  # as transformers and transformers.js call it

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_FEWEST = 1024  # numbers in a matrix that is worth storing as float16


class Graph(nn.Module):
    """A model as one module, from images `(B, 3, H, W)`, preprocessed as its `pretrained_cfg` says.

    Its outputs are named in `outputs`: `logits` `(B, classes)`, the network's own, as timm and transformers give them;
    where the model has statistics of its features `scale` `(B,)`, what serving multiplies the logits by; and `score`
    `(B,)`, which the model's rule compares with its threshold. Probabilities are softmax(logits * scale / temperature).

    Raises:
        LandmarkError: the network can't be served with its rule or its statistics.
    """

    def __init__(self, model: LoadedModel):
        super().__init__()
        temperature = float(model.landmark.get("temperature", 1.0))
        rule = KnownRule.from_config(model.landmark)
        try:
            served = ServedNetwork(copy.deepcopy(model.network), temperature, rule, model.statistics)
        except ValueError as error:
            raise LandmarkError(f"{model.source} can't be served: {error}.") from None
        self.outputs = ["logits", "scale", "score"] if served.has_statistics else ["logits", "score"]
        if served.has_statistics:
            parametrize.register_parametrization(served, "whitening", _Triangle())
        self.served = served.eval().requires_grad_(False)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        served = self.served
        body = served.body(pixel_values)
        logits = served.plain_logits(body)
        if not served.has_statistics:
            return logits, served.score(served.rule.score, body, logits / served.temperature)
        scale = served.factors(body)
        served_logits = logits * scale.unsqueeze(1) / served.temperature
        return logits, scale, served.score(served.rule.score, body, served_logits)


class _Triangle(nn.Module):
    """An upper triangular matrix `(D, D)`, stored as a rectangle of half its size without the zeros.

    With h = (D + 1) // 2, row i of the rectangle `(h, D + 1)` holds column i of the triangle, of i + 1 numbers, and
    backwards from its end that of column D - 1 - i.
    """

    def forward(self, rectangle: Tensor) -> Tensor:
        rows, width = rectangle.shape[0], rectangle.shape[1] - 1
        above = rectangle[:, :width].tril()
        below = rectangle.flip(0, 1)[2 * rows - width :, :width].tril(rows)
        return torch.cat([above, below]).T

    def right_inverse(self, triangle: Tensor) -> Tensor:
        lower, width = triangle.T, triangle.shape[0]
        rectangle = triangle.new_zeros((width + 1) // 2, width + 1)
        for i in range(len(rectangle)):
            rectangle[i, : i + 1] = lower[i, : i + 1]
            j = width - 1 - i
            if j != i:
                rectangle[i, i + 1 :] = lower[j, : j + 1].flip(0)
        return rectangle


def check_packages() -> None:
    """Check that the packages which write ONNX are there; a LandmarkError if one isn't."""
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise LandmarkError(f"ONNX needs {package}; run `pip install {' '.join(_PACKAGES)}`.")


def program_of(module: nn.Module, example: Tensor, free: dict[str, Any], names: list[str], **options: Any) -> Any:
    """A module of one argument as a `torch.onnx.ONNXProgram`, its weights inside.

    `free` maps the argument's name to its dynamic dimensions; `names` are those of the outputs.
    """
    program = torch.onnx.export(
        module,
        (example,),
        dynamic_shapes=free,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=list(free),
        output_names=names,
        **options,
    )
    assert program is not None
    return program


def save_program(program: Any, file: Path, **facts: str) -> None:
    """Write an ONNX program with these facts as its metadata, and without where its code lies on this machine."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(program.model)
    program.model.metadata_props.clear()
    program.model.metadata_props.update(facts)
    program.save(file)


def write_onnx(model: LoadedModel, file: Path, *, half: bool = False) -> None:
    """Write a model as ONNX: `pixel_values`, float32 `(batch, 3, H, W)`, to the outputs of `Graph`, all float32.

    Weights that are float16 numbers, as those of models with `half_weights` are, take half the space, which changes
    nothing. With `half`, the others are rounded to float16 too. All are widened when the file is loaded.

    Raises:
        LandmarkError: a package is missing, the network can't be followed, or the file can't be written.
    """
    check_packages()
    graph = Graph(model).eval()
    example = torch.zeros(2, *model.pretrained_cfg["input_size"])  # a batch of 1 might be taken as fixed
    free = {INPUT: {0: Dim("batch")}}
    try:
        program = program_of(graph, example, free, graph.outputs, opset_version=OPSET, optimize=False)
        _narrow(program.model, lossy=half)  # before optimizing, which would fold normalisation into weights
        program.optimize()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as scratch:
            save_program(program, scratch)
    except OSError as error:
        raise LandmarkError(f"{file} can't be written: {reason(error)}.") from None
    except Exception as error:  # whatever the exporter raises on a network that it can't follow
        raise LandmarkError(f"{model.source} can't be written as ONNX: {first_line(error)}") from None


def _narrow(model: Any, lossy: bool) -> None:
    """Store large float32 matrices of an `onnx_ir.Model` as float16: those of float16 numbers, or with `lossy` all.

    A cast widens each again. Weights beyond float16's range stay as they are.
    """
    import onnx_ir as ir

    graph = model.graph
    for name, value in list(graph.initializers.items()):
        weights = torch.from_numpy(value.const_value.numpy())
        if weights.dtype != torch.float32 or weights.ndim < 2 or weights.numel() < _FEWEST:
            continue
        narrow = weights.half()
        if not (narrow.isfinite().all() if lossy else torch.equal(narrow.float(), weights)):
            continue
        stored = ir.val(f"{name}.half", const_value=ir.tensor(narrow.numpy(), name=f"{name}.half"))
        graph.register_initializer(stored)
        cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT})
        graph.insert_before(graph[0], cast)
        value.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[name]
