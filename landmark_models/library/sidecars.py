"""Write XMP sidecars."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import write_text
from landmark_models.tagging.tags import Tags

_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Sidecars:
    """Where XMP sidecars go: beside the photos, or in the same folder structure under `folder`.

    Existing sidecars are left alone, or with `merge` extended; everything they contain is kept.
    """

    folder: Path | None = None
    merge: bool = False

    def file(self, path: str) -> Path:
        """The path of a photo's sidecar, e.g. xmp/photos/taj.jpg.xmp for photos/taj.jpg and the folder xmp.

        A LandmarkError says that it would be outside the folder.
        """
        if self.folder is None:
            return Path(f"{path}.xmp")
        photo = PurePath(os.path.abspath(path) if os.pardir in PurePath(path).parts else path)
        file = self.folder / photo.relative_to(photo.anchor).with_name(f"{photo.name}.xmp")
        if not Path(os.path.realpath(file.parent)).is_relative_to(os.path.realpath(self.folder)):
            raise LandmarkError(f"it would be outside {self.folder}")
        return file

    def write(self, path: str, tags: Tags) -> str:
        """Write a photo's sidecar atomically; returns "written", "merged", or "kept" for an existing one left alone.

        Raises:
            LandmarkError: it can't be written.
        """
        try:
            file = self.file(path)
            if file.is_symlink():
                raise LandmarkError("there is a link in its place")
            existing = None
            if file.exists() and not file.is_file():
                raise LandmarkError("what is in its place isn't a file")
            if file.exists() and file.stat().st_size:  # an empty one was left by a power cut
                if not self.merge:
                    return "kept"
                with file.open("rb") as content:
                    existing = content.read(_MAX_BYTES + 1)
                if len(existing) > _MAX_BYTES:
                    raise LandmarkError(f"the existing one is larger than {_MAX_BYTES // 2**20} MiB")
            if self.folder is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, tags.xmp(existing=existing))
        except OSError as error:
            raise LandmarkError(reason(error)) from None
        return "written" if existing is None else "merged"
