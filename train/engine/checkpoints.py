"""Checkpoints that a run can go on from: written beside and renamed, the last two kept, damage noticed.

checkpoints = Checkpoints(run.path / "checkpoints", accelerator)
checkpoints.of(engine)
checkpoints.load_latest()
checkpoints.save()
"""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from landmark_models.errors import LandmarkError
from landmark_models.files import sha256
from train.engine.updates import Engine

__all__ = ["Checkpoints"]

_KEPT = 2
_MANIFEST = "manifest.json"


class Checkpoints:
    """The folders `update-NNNNNNNN` under one folder, each with an engine's whole state after that many updates.

    accelerate writes network, optimizer and gradient scaler; schedule, moving average and progress are added. They
    hold pickles, and are read by the run that wrote them alone.
    """

    def __init__(self, folder: Path, accelerator: Accelerator):
        self.folder = folder
        self.accelerator = accelerator
        self.engine: Engine | None = None
        accelerator.register_for_checkpointing(self)

    def of(self, engine: Engine | None) -> None:
        """Save and load this engine from now on; with None let go of the last one."""
        self.engine = engine

    def state_dict(self) -> dict[str, Any]:
        assert self.engine is not None
        return {
            "schedule": self.engine.schedule.state_dict(),
            "ema": self.engine.ema.state_dict() if self.engine.ema else None,
            "progress": self.engine.progress.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.engine is not None
        self.engine.schedule.load_state_dict(state["schedule"])
        if self.engine.ema:
            self.engine.ema.load_state_dict(state["ema"])
        self.engine.progress.load_state_dict(state["progress"])

    def found(self) -> list[Path]:
        """The checkpoints' folders, the newest first."""
        return sorted(self.folder.glob("update-*"), reverse=True)

    def save(self) -> None:
        """Write a checkpoint of where the engine stands, then remove all but the last two. Every process calls it.

        Raises:
            OSError, RuntimeError: it can't be written; the earlier ones are still there.
        """
        assert self.engine is not None
        scratch = self.folder / ".writing"
        target = self.folder / f"update-{self.engine.progress.updates:08d}"
        main = self.accelerator.is_main_process
        if main:
            for leftover in (scratch, self.folder / ".replaced"):
                shutil.rmtree(leftover, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self.accelerator.save_state(str(scratch))
            self.accelerator.wait_for_everyone()
            if main:
                digests = {file.name: sha256(file) for file in sorted(scratch.iterdir())}
                (scratch / _MANIFEST).write_text(json.dumps(digests, indent=1), encoding="utf-8")
                if target.exists():
                    target.rename(self.folder / ".replaced")
                scratch.rename(target)
        finally:
            if main:
                shutil.rmtree(scratch, ignore_errors=True)
                shutil.rmtree(self.folder / ".replaced", ignore_errors=True)
        if main:  # whatever claims to be later than what was just written was damaged, and passed over
            found = self.found()
            for old in found[: found.index(target)] + found[found.index(target) + _KEPT :]:
                shutil.rmtree(old)

    def load_latest(self) -> Path | None:
        """Put the engine where the newest whole checkpoint says; damaged ones are named. None where there is none.

        Raises:
            LandmarkError: there are checkpoints, and each is damaged.
        """
        found = self.found()
        for checkpoint in found:
            if damage := _damage(checkpoint):
                self.accelerator.print(f"The checkpoint {checkpoint} is damaged ({damage}); taking the one before it.")
                continue
            self.accelerator.load_state(str(checkpoint))
            self.accelerator.step = 0  # parts accumulated so far: none, however many parts there were
            return checkpoint
        if found:
            raise LandmarkError(f"No checkpoint under {self.folder} is whole; train anew into another --output.")
        return None


def _damage(checkpoint: Path) -> str | None:
    """What is wrong with it, or None."""
    try:
        digests = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if sha256(checkpoint / name) != digest:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None
