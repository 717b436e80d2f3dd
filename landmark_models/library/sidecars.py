"""XMP sidecars in their place: beside the photos, or in the same folders elsewhere.

Sidecars(Path("xmp")).write("photos/taj.jpg", tags)  # xmp/photos/taj.jpg.xmp
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import write_text
from landmark_models.tagging.tags import Tags

__all__ = ["Sidecars"]

_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Sidecars:
    """Where XMP sidecars go: beside the photos, or in the same folders under `folder`.

    An existing one is left alone, or with `overwrite` added to, all that it holds being kept.
    """

    folder: Path | None = None
    overwrite: bool = False

    def file(self, path: str) -> Path:
        """The sidecar of a photo.

        Raises:
            LandmarkError: it would lie outside the folder.
        """
        if self.folder is None:
            return Path(f"{path}.xmp")
        photo = PurePath(os.path.abspath(path) if os.pardir in PurePath(path).parts else path)
        file = self.folder / photo.relative_to(photo.anchor).with_name(f"{photo.name}.xmp")
        if not Path(os.path.realpath(file.parent)).is_relative_to(os.path.realpath(self.folder)):
            raise LandmarkError(f"it would lie outside {self.folder}")
        return file

    def write(self, path: str, tags: Tags) -> str:
        """Write the sidecar of a photo, at once; says whether it was "written", "merged" or "kept" as it was.

        Raises:
            LandmarkError: it can't be written.
        """
        try:
            file = self.file(path)
            if file.is_symlink():
                raise LandmarkError("a link stands in its place")
            existing: bytes | None = None
            if file.exists() and not file.is_file():
                raise LandmarkError("what stands in its place is no file")
            if file.exists() and file.stat().st_size:  # an empty one is what a power cut has left
                if not self.overwrite:
                    return "kept"
                with file.open("rb") as content:
                    existing = content.read(_MAX_BYTES + 1)
                if len(existing) > _MAX_BYTES:
                    raise LandmarkError(f"the one that is there is larger than {_MAX_BYTES // 2**20} MiB")
            if self.folder is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, tags.xmp(existing=existing))
        except OSError as error:
            raise LandmarkError(reason(error)) from None
        return "written" if existing is None else "merged"
