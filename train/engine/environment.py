"""What a run is made with: command, commit, versions, device."""

import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from landmark_models.devices import device_name

__all__ = ["environment"]

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "pillow", "numpy")


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """The content of a run's `environment.json`."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "device": device_name(accelerator.device),
        "processes": accelerator.num_processes,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _commit() -> str | None:
    """The commit of this code, followed by "+" if tracked files have changed since; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
