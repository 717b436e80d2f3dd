"""One file for other runtimes: a photo as a uint8 tensor in, probabilities out; TorchScript, ONNX or torch.export.

python -m train.export runs/first --format onnx --output first.onnx --photos photos/test
"""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.export import Dim
from torch.jit import TracerWarning  # type: ignore[attr-defined]
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, ModelError, reason, run_command
from landmark_models.files import atomic_path
from train.data import DataError, find_unlabelled, label_of
from train.hub.exported_model import INFO, first_line, photo_tensor
from train.hub.exported_module import Exported

__all__ = ["TOLERANCE", "Agreement", "Format", "check", "export"]

TOLERANCE = 1e-4  # of probabilities, between the file in a fresh process and the module here
_PHOTOS = 50  # that a file is checked on; of as many one may get another answer than the serving path's
_FREE = {"photos": {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}}


class Format(StrEnum):
    """What can be written, by the name that the command takes."""

    torchscript = "torchscript"
    onnx = "onnx"
    pt2 = "pt2"

    @property
    def suffix(self) -> str:
        return {"torchscript": ".pt", "onnx": ".onnx", "pt2": ".pt2"}[self]


@dataclass(frozen=True)
class Agreement:
    """How a file's answers, in a fresh process, compare on `n` photos.

    `difference` is the largest one of a probability to the module's here; `same_top1` counts the photos with the
    serving path's answer, `same_known` those that both say are known, or both are not. Of `labelled` photos, `right`
    were named rightly by the file, `right_served` as served.
    """

    n: int
    difference: float
    same_top1: int
    same_known: int
    labelled: int
    right: int
    right_served: int


def _write(module: Exported, kind: Format, file: Path, classifier: LandmarkClassifier) -> None:
    about = {"label_names": classifier.labels, "source": classifier.source, "temperature": classifier.temperature}
    write = {Format.torchscript: _write_torchscript, Format.onnx: _write_onnx, Format.pt2: _write_pt2}[kind]
    example = torch.randint(256, (2, 3, 203, 301), dtype=torch.uint8)  # 1, or two sides alike, might be taken as fixed
    try:
        write(module, example, file, json.dumps(about))
    except (OSError, LandmarkError):
        raise
    except Exception as error:  # whatever an exporter raises on a network that it can't follow, or on a full disk
        raise LandmarkError(f"{classifier.source} can't be written as {kind}: {first_line(error)}") from None


def _write_torchscript(module: Exported, example: Tensor, file: Path, about: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # on its way out of PyTorch, but asked for
        warnings.filterwarnings("ignore", category=TracerWarning)  # a size that was taken as fixed fails the check
        traced = torch.jit.trace(module, example, check_trace=False)
        torch.jit.save(traced, str(file), _extra_files={INFO: about})


def _write_pt2(module: Exported, example: Tensor, file: Path, about: str) -> None:
    with file.open("wb") as opened:
        torch.export.save(
            torch.export.export(module, (example,), dynamic_shapes=_FREE), opened, extra_files={INFO: about}
        )


def _write_onnx(module: Exported, example: Tensor, file: Path, about: str) -> None:
    program = torch.onnx.export(
        module,
        (example,),
        dynamic_shapes=_FREE,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["photos"],
        output_names=["probabilities", "known"],
    )
    assert program is not None
    program.model.metadata_props[INFO] = about
    program.save(file)


def in_fresh_process(file: Path, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What `python -m train.exported` prints for each photo, with all labels: `path`, `predictions`, `error`.

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


@torch.inference_mode()
def check(file: Path, module: Exported, classifier: LandmarkClassifier, photos: Sequence[Path]) -> Agreement:
    """Compare a file in a fresh process with the module that it was made from, and with the serving path.

    Photos are fully decoded for file and module. Those that can't be read are left out, and named.

    Raises:
        LandmarkError: the file can't be loaded, or no photo can be read.
    """
    differences, alike, alike_known, labelled, right, right_served = [], 0, 0, 0, 0, 0
    answers = in_fresh_process(file, photos)
    # One after the other: two processes at once would share the cores badly.
    records = list(tqdm(answers, "in a fresh process", len(photos), False, unit="photo"))
    for photo, record in zip(photos, tqdm(records, "here", leave=False, unit="photo"), strict=True):
        if record["error"]:
            print(f"Left out: {record['error']}")
            continue
        scores = {candidate["label"]: candidate["score"] for candidate in record["predictions"]}
        there = torch.tensor([scores[label] for label in classifier.labels])
        differences.append(float((there - module(photo_tensor(photo).unsqueeze(0))[0][0]).abs().max()))
        here = classifier.predict(photo, 1)
        answer, served = record["predictions"][0]["label"], here[0].label
        alike += answer == served
        alike_known += record["known"] == here.known
        if (label := label_of(photo.parent.name)) in scores:
            labelled, right, right_served = labelled + 1, right + (answer == label), right_served + (served == label)
    if not differences:
        raise LandmarkError(f"None of the {len(photos)} photos to check {file.name} on can be read.")
    difference = float(torch.tensor(differences).max())  # NaN where one is
    return Agreement(len(differences), difference, alike, alike_known, labelled, right, right_served)


def export(model: str, kind: Format, output: Path, photos: Path | None = None) -> Agreement:
    """Write a MODEL into one file, load it again in a fresh process, and keep it where its answers are the model's.

    An earlier file of that name is replaced once the new one has passed.

    Args:
        model: `default`, a model or run folder, or `hf-hub:owner/name[@revision]`.
        kind: the format.
        output: the file to write, named as the format's suffix says.
        photos: folder of photos, searched recursively, of which 50 are compared with the serving path, too; without,
            50 synthetic ones are made, on which the top-1 is counted and not judged.

    Raises:
        LandmarkError: the model can't be had or exported, the file can't be written, or its answers differ.
    """
    if output.suffix != kind.suffix:
        raise LandmarkError(f"A file of the format {kind} must be named *{kind.suffix}, not {output.name}.")
    if output.is_dir():
        raise LandmarkError(f"The output {output} is a folder; name a file.")
    if kind is Format.onnx:
        for package in ("onnx", "onnxruntime", "onnxscript"):
            if find_spec(package) is None:
                raise LandmarkError(f"ONNX needs {package}; run `pip install onnx onnxruntime onnxscript`.")
    with tempfile.TemporaryDirectory() as folder:
        chosen = _some_of(photos) if photos else _synthetic_photos(Path(folder))
        classifier = LandmarkClassifier.load(model, engine="torch")
        module = Exported(classifier)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(output) as scratch:
                _write(module, kind, scratch, classifier)
                agreement = check(scratch, module, classifier, chosen)
                _judge(agreement, output, real=photos is not None)
        except OSError as error:
            raise LandmarkError(f"{output} can't be written: {reason(error)}.") from None
    return agreement


def _judge(agreement: Agreement, output: Path, real: bool) -> None:
    if not agreement.difference <= TOLERANCE:
        raise LandmarkError(
            f"{output} was not kept: in a fresh process its probabilities differ by up to {agreement.difference:.2g} "
            f"from the model's, more than {TOLERANCE:g}."
        )
    others = agreement.n - agreement.same_top1
    if real and others * _PHOTOS > agreement.n:
        raise LandmarkError(
            f"{output} was not kept: it names another landmark than the model as served for {others} of {agreement.n} "
            f"photos, more than one in {_PHOTOS}."
        )


def _some_of(folder: Path) -> list[Path]:
    """Photos from all over a folder, at most as many as are checked."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} of photos to check the file on.")
    found = sorted(path for paths in find_unlabelled([folder], folder) for path in paths)
    count = min(len(found), _PHOTOS)
    return [Path(found[index * len(found) // count]) for index in range(count)]


def _synthetic_photos(folder: Path) -> list[Path]:
    """Blurred noise, landscape and portrait, from tiny to larger than a network's input; written as PNG."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{index:02d}.png" for index in range(_PHOTOS)]
    for path in paths:
        colors = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        width, height = generator.integers(8, 640, 2).tolist()
        Image.fromarray(colors).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return paths


def command(
    model: Annotated[str, typer.Argument(help="default, a model or run folder, or hf-hub:owner/name\\[@revision].")],
    kind: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.torchscript,
    output: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="checkpoints/transfer_exported.pt|.onnx|.pt2")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos to check the file on, searched recursively; else synthetic.")
    ] = None,
) -> None:
    """Write a model into one file that takes a photo as a uint8 tensor and gives probabilities; check it."""
    file = output or Path("checkpoints", f"transfer_exported{kind.suffix}")
    agreement = export(model, kind, file, photos)
    n = agreement.n
    print(f"{file}: {kind}, {file.stat().st_size / 1e6:.1f} MB.")
    print(f"Checked in a fresh process on {n} {f'photos of {photos}' if photos else 'synthetic photos (no --photos)'}:")
    print(f"  probabilities differ by at most {agreement.difference:.1g} from the model's (allowed: {TOLERANCE:g});")
    print(f"  top-1 is the serving path's on {agreement.same_top1} of {n}, whose resize differs a little,")
    print(f"  and so is whether the landmark is known on {agreement.same_known} of {n}.")
    if total := agreement.labelled:
        exported, served = (100 * right / total for right in (agreement.right, agreement.right_served))
        print(
            f"  top-1 accuracy on the {total} photos in folders of the model's labels: {exported:.1f} % exported, "
            f"{served:.1f} % served, difference {exported - served:+.1f} points."
        )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))
