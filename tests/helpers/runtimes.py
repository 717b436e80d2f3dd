"""ONNX Runtime for browsers as npm has installed it, for pages that really run a model."""

import io
import os
import tarfile
from pathlib import Path

from helpers.programs import absent
from train.hub import web_runtime


def use_installed_runtime(monkeypatch) -> None:
    """Have pages take the runtime from the package in the folder that ONNXRUNTIME_WEB names, not from the network."""
    package = Path(os.environ.get("ONNXRUNTIME_WEB") or "missing") / "dist"
    if not package.is_dir():
        absent("onnxruntime-web (ONNXRUNTIME_WEB)")
    monkeypatch.setattr(web_runtime, "_downloaded", lambda: _packed(package))


def _packed(package: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for runtime in web_runtime.RUNTIMES.values():
            for name in (runtime.script, runtime.wasm):
                archive.add(package / name, f"package/dist/{name}")
    return content.getvalue()
