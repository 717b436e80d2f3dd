"""Checkpoints to resume a run from: written atomically, the last two kept, damage detected.

checkpoints = Checkpoints(run.checkpoints, accelerator)
checkpoints.engine = engine
checkpoints.load_latest()
checkpoints.save()
"""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import sha256
from train.engine.updates import Engine

_KEPT = 2
_MANIFEST = "manifest.json"


class Checkpoints:
    """The folders `update-NNNNNNNN` in one folder, each with an engine's whole state after that many updates.

    accelerate writes network, optimizer and gradient scaler; schedule, moving average and progress are added. They
    contain pickles, and only the run that wrote them reads them. `engine` is what they save and load.
    """

    def __init__(self, folder: Path, accelerator: Accelerator):
        self.folder = folder
        self.accelerator = accelerator
        self.engine: Engine | None = None
        accelerator.register_for_checkpointing(self)

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

    def folders(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.folder.glob("update-*"), reverse=True)

    def save(self) -> None:
        """Write a checkpoint, then remove all but the last two. Every process must call it.

        Raises:
            OSError, RuntimeError: it can't be written; the earlier ones are untouched.
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
        if main:  # a later one than this was damaged, and skipped when the run was resumed
            folders = self.folders()
            place = folders.index(target)
            for old in folders[:place] + folders[place + _KEPT :]:
                shutil.rmtree(old)

    def load_latest(self) -> Path | None:
        """Restore the engine from the newest intact checkpoint, reporting damaged ones; None if there are none.

        Raises:
            LandmarkError: every checkpoint is damaged.
        """
        folders = self.folders()
        for checkpoint in folders:
            if damage := _damage(checkpoint):
                self.accelerator.print(f"The checkpoint {checkpoint} is damaged ({damage}); using the one before it.")
                continue
            self.accelerator.load_state(str(checkpoint))
            self.accelerator.step = 0  # checkpoints are written between updates, with nothing accumulated
            return checkpoint
        if folders:
            raise LandmarkError(f"No checkpoint in {self.folder} is intact; start a new run in another --output.")
        return None


def _damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        digests = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if sha256(checkpoint / name) != digest:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return reason(error)
    return None
