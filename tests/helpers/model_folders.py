"""Model folders, read and changed."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def files(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def describe(folder, **landmark):
    """Other things in the landmark block."""
    config = json.loads((folder / "config.json").read_text())
    config["landmark"] |= landmark
    (folder / "config.json").write_text(json.dumps(config))


def forget_rule(folder):
    """As if it had never been calibrated."""
    config = json.loads((folder / "config.json").read_text())
    config["landmark"] = {
        key: value for key, value in config["landmark"].items() if key not in ("known", "calibration")
    }
    (folder / "config.json").write_text(json.dumps(config))


def figures(top1: float, n: int = 100, digest: str = "d1") -> dict:
    return {"data": "photos", "n": n, "top1": top1, "top1_ci95": [top1 - 0.05, top1 + 0.05], "digest": digest}


def renamed(model: Path, folder: Path, names: dict[str, str]) -> Path:
    """A copy of a model with other labels."""
    shutil.copytree(model, folder)
    text = (folder / "config.json").read_text()
    for label, name in names.items():
        text = text.replace(label, name)
    (folder / "config.json").write_text(text)
    return folder


def shift(folder, amount: float = 1.0):
    """Other weights: the first tensor with something added."""
    state = load_file(folder / "model.safetensors")
    name = sorted(state)[0]
    save_file(state | {name: state[name] + amount}, folder / "model.safetensors", {"format": "pt"})
