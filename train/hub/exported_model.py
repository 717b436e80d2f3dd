"""Files of `train.export`, used as `ExportedModel("model.onnx").predict(photo)`, and evaluated."""

import json
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from landmark_models.answer import Answer, Prediction
from landmark_models.errors import LandmarkError, ModelError, PhotoError
from landmark_models.files import PART
from landmark_models.photo import open_photo
from landmark_models.rejection import KnownRule
from train.hub import SUFFIXES
from train.measure.predict import Logits, Subject

INFO = "landmark.json"  # the entry in the file that holds label_names, source and temperature

_Forward = Callable[[Tensor], Any]  # to probabilities, or to these and known


class ExportedModel:
    """A TorchScript (`.pt`), ONNX (`.onnx`) or torch.export (`.pt2`) file written by `train.export`, on the CPU.

    A TorchScript file is a program, as a pickle is: load only files that you, or somebody you trust, have written.

    `labels` are the model's labels by class index, `source` is the MODEL that was exported, and `temperature` what its
    logits are divided by.

    Raises:
        ModelError: the file does not exist, has another suffix, is damaged, or was not written by `train.export`.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file)
        suffix = Path(self.file.name.removesuffix(PART)).suffix
        if suffix not in SUFFIXES:
            raise ModelError(f"{file} isn't an exported model: its name must end in {', '.join(SUFFIXES)}.")
        if not self.file.is_file():
            raise ModelError(f"There is no exported model {file}; write one with `python -m train.export`.")
        load = {".pt": _load_torchscript, ".onnx": _load_onnx, ".pt2": _load_pt2}[suffix]
        try:
            self._forward, info_json = load(self.file)
        except LandmarkError:
            raise
        except Exception as error:  # each format has its own errors for a damaged file
            raise ModelError(
                f"{file} is damaged or not a {suffix} file, and can't be loaded: {first_line(error)}"
            ) from None
        try:
            info = json.loads(info_json)
            self.labels: list[str] = list(info["label_names"])
            self.source, self.temperature = str(info["source"]), float(info["temperature"])
        except (ValueError, LookupError, TypeError):
            raise ModelError(f"{file} has no labels in it, so `python -m train.export` didn't write it.") from None

    @torch.inference_mode()
    def probabilities(self, photo: Tensor) -> tuple[Tensor, bool]:
        """The probability of each label, float32 `(classes,)`, and whether the photo shows a landmark that is known.

        The latter is always true for files of earlier versions, which don't say.

        Raises:
            ValueError: the photo isn't uint8 `(3, H, W)`.
        """
        if photo.ndim != 3 or photo.shape[0] != 3 or photo.dtype != torch.uint8:
            raise ValueError(f"A photo is uint8 (3, H, W), not {photo.dtype} {tuple(photo.shape)}.")
        outputs = self._forward(photo.unsqueeze(0))
        probabilities, known = outputs if isinstance(outputs, tuple | list) else (outputs, None)
        return probabilities[0], True if known is None else bool(known[0])

    def predict(self, photo: Tensor, top_k: int = 5) -> Answer:
        """The `top_k` most likely landmarks (all, if the model knows fewer), most likely first; see `probabilities`.

        Raises:
            ValueError: `top_k` is below 1, or the photo isn't uint8 `(3, H, W)`.
        """
        if top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1.")
        probabilities, known = self.probabilities(photo)
        scores, indices = probabilities.topk(min(top_k, len(self.labels)))
        ranked = zip(indices.tolist(), scores.tolist(), strict=True)
        return Answer((Prediction(self.labels[index], score) for index, score in ranked), known)


def exported_subject(file: str | Path) -> Subject:
    """A file of `train.export` to evaluate: it takes photos whole, one at a time; its speed includes decoding them.

    Its logits are the logarithms of its probabilities; its scores are 0 or 1, because it applies its rule itself.
    """
    model, speeds = ExportedModel(file), [0.0]

    def predict(files: Sequence[Path], *_: Any, title: str = "predicting") -> Logits:
        rows, scores = [torch.empty(0, len(model.labels))], []
        failures: dict[int, str] = {}
        started = time.perf_counter()
        for index, photo in enumerate(tqdm(files, desc=title, unit="photo", leave=False)):
            try:
                probabilities, known = model.probabilities(photo_tensor(photo))
            except PhotoError as error:
                failures[index] = str(error)
                continue
            rows.append(probabilities.clamp_min(1e-30).log().unsqueeze(0))
            scores.append(float(known))
        speeds.append(len(files) / (time.perf_counter() - started))
        readable = [index for index in range(len(files)) if index not in failures]
        return Logits(torch.cat(rows), torch.tensor(scores), None, readable, failures)

    rule, device = KnownRule(threshold=0.5), torch.device("cpu")
    speed_of = "one photo at a time, with its decoding"
    own = len(model.labels)
    return Subject(model.labels, own, model.temperature, rule, device, predict, lambda: speeds[-1], speed_of, False)


def photo_tensor(photo: str | Path) -> Tensor:
    """An upright photo, fully decoded, as RGB uint8 `(3, H, W)`; a PhotoError if it can't be read."""
    return torch.from_numpy(np.array(open_photo(photo))).permute(2, 0, 1)


def first_line(error: Exception) -> str:
    """The beginning of what another library's exception says, for a sentence of ours."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\x1b\[[\d;]*m", "", line)[:200]  # without colours


def _load_torchscript(file: Path) -> tuple[_Forward, str | bytes]:
    extra: dict[str, Any] = {INFO: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        module = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)
    return module, extra[INFO]


def _load_pt2(file: Path) -> tuple[_Forward, str | bytes]:
    extra: dict[str, Any] = {INFO: ""}
    with file.open("rb") as opened:
        program = torch.export.load(opened, extra_files=extra)
    return program.module(), extra[INFO]


def _load_onnx(file: Path) -> tuple[_Forward, str | bytes]:
    try:
        import onnxruntime
    except ImportError:
        raise LandmarkError(f"{file} needs onnxruntime; run `pip install onnxruntime`.") from None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(photos: Tensor) -> Any:
        outputs = [torch.from_numpy(output) for output in session.run(None, {name: photos.numpy()})]
        return outputs if len(outputs) > 1 else outputs[0]

    return forward, session.get_modelmeta().custom_metadata_map.get(INFO, "")
