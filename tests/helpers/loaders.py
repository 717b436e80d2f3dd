"""How other libraries load a model, each in a fresh process that doesn't know us unless it is asked to import us."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.programs import absent

_JAVASCRIPT = """
const [library, model, photos, pixels, shape, host, cache] = process.argv.slice(1);
const { AutoModelForImageClassification, Tensor, env, pipeline } = await import(library);
env.allowLocalModels = false;
Object.assign(env, { remoteHost: host, cacheDir: cache });
const classifier = await pipeline("image-classification", model);
const predictions = [];
for (const photo of JSON.parse(photos)) predictions.push(await classifier(photo, { top_k: null }));
const { readFileSync } = await import("node:fs");
const input = new Tensor("float32", new Float32Array(readFileSync(pixels).buffer), JSON.parse(shape));
const { logits } = await classifier.model({ pixel_values: input });
console.log(JSON.stringify({ predictions, logits: logits.tolist() }));
"""

_ROOT = Path(__file__).parents[2]

_TIMM = """
import timm
network = timm.create_model(model, pretrained=True).eval()
with torch.inference_mode():
    answer["logits"] = network(pixels).tolist()
answer["labels"] = list(network.pretrained_cfg["label_names"])
"""

_TRANSFORMERS = """
import os
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
network = AutoModelForImageClassification.from_pretrained(model).eval()
with torch.inference_mode():
    answer["logits"] = network(pixel_values=pixels).logits.tolist()
answer["labels"] = [network.config.id2label[index] for index in range(network.config.num_labels)]
answer["dtype"] = str(network.dtype)
answer["pixels"] = AutoImageProcessor.from_pretrained(model)(Image.open(photo))["pixel_values"].tolist()
task = "image-classification" if os.path.isdir(model) else None  # the Hub says it
answer["predictions"] = pipeline(task, model=model)(photo, top_k=3)
"""

_ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
answer["logits"] = session.run(["logits"], {"pixel_values": pixels.numpy()})[0].tolist()
"""


def in_timm(model: str, pixels, *, ours: bool = False) -> dict:
    """What `timm.create_model(model, pretrained=True)` gives: `logits` for images `(B, 3, H, W)`, and its `labels`."""
    return _in_fresh_process(_TIMM, model, pixels, "", ours)


def in_transformers(model: str, pixels, photo: Path, *, ours: bool = False) -> dict:
    """What transformers gives: besides `in_timm`, a photo's `pixels` and its `predictions` from a pipeline."""
    return _in_fresh_process(_TRANSFORMERS, model, pixels, str(photo), ours)


def in_onnxruntime(file: str, pixels) -> dict:
    """What ONNX Runtime gives: `logits`."""
    return _in_fresh_process(_ONNX, file, pixels, "", False)


def in_transformers_js(model: str, pixels, photos: Sequence[Path], folder: Path) -> dict:
    """What transformers.js gives in node: `logits`, and all `predictions` for each photo; `folder` is for its files."""
    library = Path(os.environ.get("TRANSFORMERS_JS") or "missing") / "dist" / "transformers.node.mjs"
    if not (library.is_file() and shutil.which("node")):
        absent("transformers.js (TRANSFORMERS_JS, and node)")
    images, shape = folder / "pixels.bin", json.dumps(list(pixels.shape))
    images.write_bytes(pixels.numpy().tobytes())
    paths = json.dumps([str(photo) for photo in photos])
    words = [library, model, paths, images, shape, f"{os.environ['HF_ENDPOINT']}/", folder / "cache"]
    command = ["node", "--input-type=module", "--eval", _JAVASCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return json.loads(done.stdout)


def _in_fresh_process(program: str, model: str, pixels, photo: str, ours: bool) -> dict:
    script = (
        f"import io, json, sys\nimport numpy, torch\n{'import landmark_models' if ours else ''}\n"
        "model, photo = sys.argv[1:]\nanswer = {}\n"
        "pixels = torch.from_numpy(numpy.load(io.BytesIO(sys.stdin.buffer.read())))\n"
        f"{program}\nanswer['ours'] = 'landmark_models' in sys.modules\nprint(json.dumps(answer))\n"
    )
    environment = os.environ | ({"PYTHONPATH": str(_ROOT)} if ours else {})
    content = io.BytesIO()
    np.save(content, pixels.numpy())
    command = [sys.executable, "-c", script, model, photo]
    done = subprocess.run(command, input=content.getvalue(), capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer.pop("ours") == ours
    return answer
