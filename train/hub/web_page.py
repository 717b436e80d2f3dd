"""A page that runs a model in the visitor's browser: a folder of files for any web server, or for a static Space.

write_page("default", Path("site"))

The files in `static` are the page itself; `page.json` tells it what the model knows and how to ask it.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

import landmark_models
from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError, PhotoError, reason
from landmark_models.files import sha256
from landmark_models.networks.served import parameter_count
from landmark_models.tagging.tags import Tags
from train.hub import web_facts, web_runtime
from train.hub.onnx_graph import INPUT, write_onnx

MAX_MODEL_BYTES = 15_000_000  # that a visitor should have to load, once
TOLERANCE = 0.02  # of probabilities, between the file and the model as served
REPLACED = ("examples/*", "runtime/*")  # what another version of the page may name otherwise

_WRITTEN = "sw.js"  # that alone changes when it is copied
# The photos in landmark_models/page/examples, and what they show; one shows none of the embedded model's landmarks.
_EXAMPLES = {
    "hawa_mahal.jpg": "Hawa Mahal",
    "great_wall.jpg": "Great Wall of China",
    "palais_des_papes.jpg": "Avignon palais des papes",
    "machu_picchu.jpg": "",
}


@dataclass(frozen=True)
class WrittenPage:
    """What was written: the model's name, and in bytes its size, what a first visit loads, and the whole folder."""

    name: str
    model_bytes: int
    first_visit: int
    total: int


def write_page(model: str, folder: Path, storage: str = "") -> WrittenPage:
    """Write the page for a MODEL into a folder, which may hold an earlier version of it.

    `storage` names other hosts, as in a Content-Security-Policy, to which the page's server may redirect requests for
    files of the page.

    Raises:
        LandmarkError: the model isn't available, is too large, or can't run in a browser; the runtime can't be
            downloaded; or the folder holds something else or can't be written.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "page.json").is_file())):
        raise LandmarkError(f"{folder} isn't empty, and isn't such a page; give another folder.")
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch) / "page"
        written = _build(model, new, storage)
        try:
            for old in [file for pattern in REPLACED for file in folder.glob(pattern)]:
                if not (new / old.relative_to(folder)).exists():
                    old.unlink()
            shutil.copytree(new, folder, dirs_exist_ok=True)
        except OSError as error:
            raise LandmarkError(f"{folder} can't be written: {reason(error)}.") from None
    return written


def _build(model: str, folder: Path, storage: str) -> WrittenPage:
    """Write the page into a new folder."""
    loaded = models.load(model)
    classifier = LandmarkClassifier(loaded, engine="torch")
    facts = {
        "input": web_facts.input_facts(classifier),
        "temperature": classifier.temperature,
        "threshold": classifier.known_rule.threshold,
        **web_facts.landmark_facts(classifier),
    }
    _check_size(model, 2 * parameter_count(loaded.network))  # before it is exported
    web_runtime.write_runtimes(folder / "runtime")
    network = folder / "model.onnx"
    write_onnx(loaded, network, half=True)
    size = network.stat().st_size
    _check_size(model, size)
    runtime = f"ONNX Runtime Web {web_runtime.VERSION}"
    facts |= {
        "check": {"logits": _checked(network, classifier)},
        "examples": list(_examples(classifier, folder / "examples")),
        "files": _files(folder),
        "about": {
            "trust": web_facts.trust(classifier.landmark),
            "paragraphs": list(web_facts.about(classifier, runtime)),
            "card": web_facts.card_address(classifier.source),
        },
    }
    (folder / "page.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    _copy_static(folder, storage)
    first = [path for path in folder.iterdir() if path.is_file()] + list(folder.glob("runtime/*wasm*"))
    webgpu = web_runtime.RUNTIMES["webgpu"].packed
    first_visit = sum(path.stat().st_size for path in first if path.name != webgpu)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return WrittenPage(models.name_of(classifier.source), size, first_visit, total)


def _check_size(model: str, size: int) -> None:
    if size > MAX_MODEL_BYTES:
        raise LandmarkError(
            f"{model} takes {size / 1e6:.1f} MB with its weights as float16; a page for browsers takes a model of at "
            f"most {MAX_MODEL_BYTES / 1e6:.0f} MB. Train a smaller network, or make a Space with a server."
        )


def _copy_static(folder: Path, storage: str) -> None:
    """Add the page's own files to a folder with all others, and tell the service worker the digests."""
    static = files(__package__) / "static"
    for file in static.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if storage:
        html = (folder / "index.html").read_text(encoding="utf-8")
        for directive in ("img-src 'self'", "connect-src 'self'"):
            html = html.replace(directive, f"{directive} {storage}")
        (folder / "index.html").write_text(html, encoding="utf-8")
    icon = files(landmark_models) / "page" / "assets" / "icon.png"
    (folder / "icon.png").write_bytes(icon.read_bytes())
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _WRITTEN)
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
    script = (folder / _WRITTEN).read_text(encoding="utf-8")
    script = script.replace("const FILES = {}", f"const FILES = {json.dumps(digests, indent=1)}")
    (folder / _WRITTEN).write_text(script, encoding="utf-8")


def _checked(network: Path, classifier: LandmarkClassifier) -> list[float]:
    """The file's logits for a made-up image, after a comparison with the model as served.

    The page compares a GPU's logits for the same image with them: see `check` in `static/worker.js`.
    """
    import onnxruntime

    size = tuple(classifier.pretrained_cfg["input_size"])
    pixels = np.arange(math.prod(size)) * 7919 % 1009 / 504.5 - 1
    image = pixels.astype(np.float32).reshape(1, *size)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    results = dict(zip(names, session.run(None, {INPUT: image}), strict=True))
    logits = torch.from_numpy(results["logits"])
    scaled = logits * float(results.get("scale", [1.0])[0]) / classifier.temperature
    apart = float((scaled.softmax(1) - classifier.logits(torch.from_numpy(image)).softmax(1)).abs().max())
    if not apart <= TOLERANCE:
        raise LandmarkError(
            f"{classifier.source} can't run in a browser: with weights as float16, its scores differ by {apart:.2g}."
        )
    return logits[0].tolist()


def _examples(classifier: LandmarkClassifier, folder: Path) -> Iterator[dict[str, str]]:
    """Copy photos to try into a folder: those that come with the model, or else those of the hosted page."""
    answers = {}
    for photo in models.examples(classifier.source, classifier.revision):
        with suppress(PhotoError):  # a stranger may have made it
            answers[photo] = classifier.predict(photo, 1)
    if not answers:
        bundled = Path(str(files(landmark_models))) / "page" / "examples"
        for name, label in _EXAMPLES.items():
            answer = classifier.predict(bundled / name, 1)
            if label == (answer[0].label if answer.known else ""):
                answers[bundled / name] = answer
    for photo, answer in answers.items():
        folder.mkdir(exist_ok=True)
        shutil.copyfile(photo, folder / photo.name)
        caption = Tags.of(answer).nearest if answer.known else "One it doesn't know"
        yield {"path": f"examples/{photo.name}", "caption": caption}


def _files(folder: Path) -> dict[str, Any]:
    """What the page loads to answer, with sizes in bytes."""
    runtimes = {
        kind: {
            "script": f"runtime/{runtime.script}",
            "binary": f"runtime/{runtime.packed}",
            "bytes": (folder / "runtime" / runtime.packed).stat().st_size,
        }
        for kind, runtime in web_runtime.RUNTIMES.items()
    }
    return {"model": {"path": "model.onnx", "bytes": (folder / "model.onnx").stat().st_size}, "runtimes": runtimes}
