"""A model that `train.export` wrote, at work: `ExportedModel("model.onnx").predict(photo)`, a uint8 tensor in.

python -m train.exported model.onnx photo.jpg      # a line of JSON for each photo
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from landmark_models.classifier import Answer, Prediction
from landmark_models.errors import LandmarkError, ModelError, PhotoError, run_command
from landmark_models.files import PART
from landmark_models.photo import open_photo

__all__ = ["INFO", "SUFFIXES", "ExportedModel", "in_fresh_process", "photo_tensor"]

SUFFIXES = (".pt", ".onnx", ".pt2")
INFO = "landmark.json"  # what the file says of itself: label_names, source, temperature

_Forward = Callable[[Tensor], Any]  # to probabilities, or to these and known


class ExportedModel:
    """A TorchScript (`.pt`), ONNX (`.onnx`) or torch.export (`.pt2`) file of `train.export`, on the CPU.

    A TorchScript file is a program, as a pickle is: load only one that you, or somebody you trust, have written.

    `labels` are the model's labels by class index, `source` the MODEL that was exported, `temperature` what its logits
    are divided by.

    Raises:
        ModelError: the file does not exist, has another suffix, is damaged, or is not one of ours.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file)
        suffix = Path(self.file.name.removesuffix(PART)).suffix
        if suffix not in SUFFIXES:
            raise ModelError(f"{file} is no exported model: its name must end in {', '.join(SUFFIXES)}.")
        if not self.file.is_file():
            raise ModelError(f"There is no exported model {file}; write one by `python -m train.export`.")
        load = {".pt": _load_torchscript, ".onnx": _load_onnx, ".pt2": _load_pt2}[suffix]
        try:
            self._forward, described = load(self.file)
        except LandmarkError:
            raise
        except Exception as error:  # each format has errors of its own for a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(f"{file} is damaged, or no {suffix} file, and can't be loaded: {reason}") from None
        try:
            info = json.loads(described)
            self.labels: list[str] = list(info["label_names"])
            self.source, self.temperature = str(info["source"]), float(info["temperature"])
        except (ValueError, LookupError, TypeError):
            raise ModelError(
                f"{file} has no labels in it, so it is none that `python -m train.export` wrote."
            ) from None

    @torch.inference_mode()
    def probabilities(self, photo: Tensor) -> tuple[Tensor, bool]:
        """What the file says of an RGB photo, uint8 `(3, H, W)`.

        Returns:
            The probability of each label, float32 `(classes,)` in 0..1, and whether the photo shows one that the model
            knows; files of earlier versions, which did not say, know all.

        Raises:
            ValueError: the photo has another shape or dtype.
        """
        if photo.ndim != 3 or photo.shape[0] != 3 or photo.dtype != torch.uint8:
            raise ValueError(f"A photo is uint8 (3, H, W), not {photo.dtype} {tuple(photo.shape)}.")
        outputs = self._forward(photo.unsqueeze(0))
        probabilities, known = outputs if isinstance(outputs, tuple | list) else (outputs, None)
        return probabilities[0], True if known is None else bool(known[0])

    def predict(self, photo: Tensor, top_k: int = 5) -> Answer:
        """The `top_k` most likely landmarks (all where the model knows fewer), most likely first; see `probabilities`.

        Raises:
            ValueError: `top_k` is below 1, or the photo has another shape or dtype.
        """
        if top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1.")
        probabilities, known = self.probabilities(photo)
        scores, indices = probabilities.topk(min(top_k, len(self.labels)))
        ranked = zip(indices.tolist(), scores.tolist(), strict=True)
        return Answer((Prediction(self.labels[index], score) for index, score in ranked), known)


def photo_tensor(photo: str | Path) -> Tensor:
    """An upright photo, fully decoded, as RGB uint8 `(3, H, W)`.

    Raises:
        PhotoError: the photo can't be read.
    """
    return torch.from_numpy(np.array(open_photo(photo))).permute(2, 0, 1)


def in_fresh_process(file: Path, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What the command of this module says of each photo, with all labels: `path`, `predictions`, `error`.

    Raises:
        ModelError: the process ended before it had answered for every photo.
    """
    root = Path(__file__).parents[1]
    paths = [str(path.absolute()) for path in (file, *photos)]
    arguments = [sys.executable, "-W", "ignore", "-m", "train.exported", "-k", str(10**6), "--", *paths]
    with subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for count, line in enumerate(process.stdout, start=1):
            yield json.loads(line)
            if count == len(photos):
                return
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
    reason = said[-1].removeprefix("Error: ") if said else "it said nothing"
    raise ModelError(f"A fresh process could not use the file: {reason}")


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


def command(
    file: Annotated[Path, typer.Argument(help="A .pt, .onnx or .pt2 file of `python -m train.export`.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos to recognise.", metavar="PHOTO...", show_default=False)],
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Candidates for each photo.")] = 5,
) -> None:
    """Name the landmark in each photo by an exported model: a line of JSON for each.

    The exit status is 1 where a photo could not be read.
    """
    model = ExportedModel(file)
    failed = False
    for photo in photos:
        record: dict[str, Any] = {"path": str(photo), "predictions": [], "known": None, "error": None}
        try:
            answer = model.predict(photo_tensor(photo), top_k)
            record |= {"predictions": [vars(candidate) for candidate in answer], "known": answer.known}
        except PhotoError as error:
            record["error"], failed = str(error), True
        typer.echo(json.dumps(record))
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
