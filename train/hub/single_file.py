"""Write a model into one file for other runtimes, and check that the file answers as the model does."""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.export import Dim
from torch.jit import TracerWarning  # type: ignore[attr-defined]
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, ModelError, reason
from landmark_models.files import atomic_path
from landmark_models.text import label_of
from train.data import photos_below
from train.hub import Format
from train.hub.exported_model import INFO, first_line, photo_tensor
from train.hub.exported_module import Exported
from train.hub.onnx_graph import check_packages, program_of, save_program

TOLERANCE = 1e-4  # of probabilities, between the file in a fresh process and the module here
_PHOTOS = 50  # to check a file on; one in as many may get another answer than from the serving path
_FREE = {"photos": {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}}


@dataclass(frozen=True)
class Agreement:
    """How a file's answers, in a fresh process, compare with the model's on `n` photos."""

    n: int
    difference: float  # the largest of a probability from the module's here
    same_top1: int  # photos with the same answer as from the serving path
    same_known: int  # photos where both agree on whether the landmark is known
    labelled: int  # photos in folders of the model's labels
    right: int  # of these, named correctly by the file
    right_served: int  # of these, named correctly by the serving path


def export(model: str, kind: Format, output: Path, photos: Path | None = None) -> Agreement:
    """Write a MODEL into one file, load that in a fresh process, and keep it if it answers as the model does.

    An earlier file of that name is replaced only once the new one has passed. Of the folder `photos`, searched
    recursively, 50 are also compared with the serving path. Without it, 50 synthetic photos are made, on which the
    top-1 is counted but not judged.

    Raises:
        LandmarkError: the model isn't available or can't be exported, the file can't be written, or it answers
            differently.
    """
    if output.suffix != kind.suffix:
        raise LandmarkError(f"A file of the format {kind} must be named *{kind.suffix}, not {output.name}.")
    if output.is_dir():
        raise LandmarkError(f"The output {output} is a folder; name a file.")
    if kind is Format.onnx:
        check_packages()
    with tempfile.TemporaryDirectory() as folder:
        chosen = _sample(photos) if photos else _synthetic_photos(Path(folder))
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


def _write(module: Exported, kind: Format, file: Path, classifier: LandmarkClassifier) -> None:
    info = {"label_names": classifier.labels, "source": classifier.source, "temperature": classifier.temperature}
    write = {Format.torchscript: _write_torchscript, Format.onnx: _write_onnx, Format.pt2: _write_pt2}[kind]
    example = torch.randint(256, (2, 3, 203, 301), dtype=torch.uint8)  # 1, or equal sides, might be taken as fixed
    try:
        write(module, example, file, json.dumps(info))
    except (OSError, LandmarkError):
        raise
    except Exception as error:  # whatever an exporter raises on a network that it can't follow, or on a full disk
        raise LandmarkError(f"{classifier.source} can't be written as {kind}: {first_line(error)}") from None


def _write_torchscript(module: Exported, example: Tensor, file: Path, info: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # PyTorch is phasing it out, but users need it
        warnings.filterwarnings("ignore", category=TracerWarning)  # a size taken as fixed would fail the check
        traced = torch.jit.trace(module, example, check_trace=False)
        torch.jit.save(traced, str(file), _extra_files={INFO: info})


def _write_pt2(module: Exported, example: Tensor, file: Path, info: str) -> None:
    program = torch.export.export(module, (example,), dynamic_shapes=_FREE)
    with file.open("wb") as opened:
        torch.export.save(program, opened, extra_files={INFO: info})


def _write_onnx(module: Exported, example: Tensor, file: Path, info: str) -> None:
    program = program_of(module, example, _FREE, ["probabilities", "known"])
    save_program(program, file, **{INFO: info})


def in_fresh_process(file: Path, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The records that `python -m train.exported` prints for photos, with all labels.

    Raises:
        ModelError: the process ended before it had answered for every photo.
    """
    paths = [str(path.absolute()) for path in (file, *photos)]
    command = [sys.executable, "-W", "ignore", "-m", "train.exported", "-k", str(10**6), "--", *paths]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for count, line in enumerate(process.stdout, start=1):
            yield json.loads(line)
            if count == len(photos):
                return
        lines = process.stderr.read().decode(errors="replace").strip().splitlines()
    why = lines[-1].removeprefix("Error: ") if lines else "it printed nothing"
    raise ModelError(f"A fresh process could not use the file: {why}")


@torch.inference_mode()
def check(file: Path, module: Exported, classifier: LandmarkClassifier, photos: Sequence[Path]) -> Agreement:
    """Compare a file in a fresh process with the module that it was made from, and with the serving path.

    Photos are fully decoded for the file and the module. Unreadable ones are left out, and named; a LandmarkError if
    all are.
    """
    differences, same_top1, same_known, labelled, right, right_served = [], 0, 0, 0, 0, 0
    # One after the other, since two processes at once would compete for the cores.
    records = list(tqdm(in_fresh_process(file, photos), "in a fresh process", len(photos), False, unit="photo"))
    for photo, record in zip(photos, tqdm(records, "here", leave=False, unit="photo"), strict=True):
        if record["error"]:
            print(f"Left out: {record['error']}")
            continue
        scores = {candidate["label"]: candidate["score"] for candidate in record["predictions"]}
        exported = torch.tensor([scores[label] for label in classifier.labels])
        differences.append(float((exported - module(photo_tensor(photo).unsqueeze(0))[0][0]).abs().max()))
        served = classifier.predict(photo, 1)
        answer = record["predictions"][0]["label"]
        same_top1 += answer == served[0].label
        same_known += record["known"] == served.known
        if (label := label_of(photo.parent.name)) in scores:
            labelled, right = labelled + 1, right + (answer == label)
            right_served += served[0].label == label
    if not differences:
        raise LandmarkError(f"None of the {len(photos)} photos to check {file.name} on can be read.")
    difference = float(torch.tensor(differences).max())  # NaN if one is
    return Agreement(len(differences), difference, same_top1, same_known, labelled, right, right_served)


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


def _sample(folder: Path) -> list[Path]:
    """At most as many photos as are checked, spread over a folder."""
    found = photos_below(folder.resolve())
    count = min(len(found), _PHOTOS)
    return [found[index * len(found) // count] for index in range(count)]


def _synthetic_photos(folder: Path) -> list[Path]:
    """Blurred noise, landscape and portrait, from tiny to larger than a network's input; written as PNG."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{index:02d}.png" for index in range(_PHOTOS)]
    for path in paths:
        colors = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        width, height = generator.integers(8, 640, 2).tolist()
        Image.fromarray(colors).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return paths
