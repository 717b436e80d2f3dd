"""Write XMP sidecars, and take out again what was written."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from landmark_models.atomic import atomic_path
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import is_photo_name
from landmark_models.tagging.tags import Tags
from landmark_models.tagging.xml_text import Encoding
from landmark_models.tagging.xmp import may_have_ours, without_ours

_MAX_BYTES = 16 * 2**20
_MAX_NAME = 255  # bytes, on most file systems
_SUFFIXES = (".xmp", ".XMP")


@dataclass(frozen=True)
class Sidecars:
    """Where XMP sidecars go: beside the photos, or in the same folder structure under `folder`.

    A photo's sidecar is PHOTO.EXT.xmp (darktable, digiKam), unless that name is too long, or there is a PHOTO.xmp
    (Lightroom) and no other photo that it may belong to. That one is extended: a second sidecar would hide it from
    programs that prefer the longer name. Other existing sidecars are left alone, or with `merge` extended, too. What
    this class has written into them earlier is replaced, and all else is kept.
    """

    folder: Path | None = None
    merge: bool = False

    def file(self, path: str) -> Path:
        """The path of a photo's sidecar, e.g. xmp/photos/taj.jpg.xmp for photos/taj.jpg and the folder xmp.

        A LandmarkError says that it would be outside the folder.
        """
        own = self._place(path)
        for file in filter(os.path.lexists, self._candidates(path)):
            if file.stem == own.stem or _is_only_photo(path):
                return file
        fits = len(os.fsencode(own.name)) <= _MAX_NAME
        return own if fits or not _is_only_photo(path) else own.with_name(f"{PurePath(path).stem}.xmp")

    def write(self, path: str, tags: Tags) -> str:
        """Write a photo's sidecar atomically.

        Returns:
            "written"; "merged" into an existing one; "kept" for an existing one left alone; "removed" if no landmark is
            known and what was written into the existing one earlier went; or "" if there was nothing to do.

        Raises:
            LandmarkError: it can't be written.
        """
        if not (tags.known or self.merge):
            return ""
        try:
            named = self.file(path)
            file = self._target(named)
            existing = _content(file)
            if existing is None:
                if tags.known:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    _write(file, tags.xmp().encode(), durable=False)
                return "written" if tags.known else ""
            if not tags.known:
                return "removed" if _clean(file, existing) else ""
            if not self.merge and named.stem == PurePath(path).name:
                return "kept"
            merged = Encoding.of(existing).encode(tags.xmp(existing=existing))
            if merged != existing:
                _write(file, merged)
            return "merged"
        except OSError as error:
            raise LandmarkError(reason(error)) from None

    def undo(self, path: str) -> list[str]:
        """Take out of a photo's sidecars what `write` has added; one that it made and nobody has added to is deleted.

        Returns:
            "cleaned" or "deleted" for each sidecar that had any.

        Raises:
            LandmarkError: a sidecar can't be read or written.
        """
        done = []
        try:
            for file in filter(os.path.lexists, self._candidates(path)):
                target = self._target(file)
                if (existing := _content(target)) is not None and (what := _clean(target, existing)):
                    done.append(what)
                    if what == "deleted" and file.is_symlink():
                        file.unlink()
        except OSError as error:
            raise LandmarkError(reason(error)) from None
        return done

    def _place(self, path: str) -> Path:
        """Where a photo's sidecar is written if there is none."""
        if self.folder is None:
            return Path(f"{path}.xmp")
        photo = PurePath(os.path.abspath(path) if os.pardir in PurePath(path).parts else path)
        file = self.folder / photo.relative_to(photo.anchor).with_name(f"{photo.name}.xmp")
        if not self._is_inside(file.parent):
            raise LandmarkError(f"it would be outside {self.folder}")
        return file

    def _candidates(self, path: str) -> Iterator[Path]:
        """The names that a photo's sidecar may have, that of its own first."""
        own = self._place(path)
        names = [PurePath(path).name, PurePath(path).stem]
        yield from (own.with_name(name + suffix) for name in dict.fromkeys(names) for suffix in _SUFFIXES)

    def _target(self, file: Path) -> Path:
        """The file itself, or what a link in its place leads to."""
        if not file.is_symlink():
            return file
        try:
            target = file.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
            raise LandmarkError("there is a link in its place that leads nowhere") from None
        if not self._is_inside(target):
            raise LandmarkError(f"there is a link in its place that leads outside {self.folder}")
        return target

    def _is_inside(self, file: Path) -> bool:
        return self.folder is None or Path(os.path.realpath(file)).is_relative_to(os.path.realpath(self.folder))


def _is_only_photo(path: str) -> bool:
    """Whether no other photo in the folder has this one's name but for the suffix."""
    photo = PurePath(path)
    names = (file.name for file in Path(photo.parent).iterdir())
    return not any(name != photo.name and PurePath(name).stem == photo.stem and is_photo_name(name) for name in names)


def _content(file: Path) -> bytes | None:
    """What an existing sidecar holds; None if there is none, or a power cut has left it empty."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    if not file.is_file():
        raise LandmarkError("what is in its place isn't a file")
    if status.st_size > _MAX_BYTES:
        raise LandmarkError(f"the existing one is larger than {_MAX_BYTES // 2**20} MiB")
    return file.read_bytes() or None


def _clean(file: Path, existing: bytes) -> str:
    """Take out what is ours; returns "cleaned", "deleted", or "" if there is nothing of ours."""
    if not may_have_ours(existing):  # whatever it is, and however broken
        return ""
    cleaned = without_ours(existing)
    if not cleaned.changed:
        return ""
    if cleaned.created and cleaned.empty:
        if not os.access(file, os.W_OK) or not file.stat().st_mode & 0o222:
            raise PermissionError(errno.EACCES, "it is read-only")
        file.unlink()
        return "deleted"
    _write(file, Encoding.of(existing).encode(cleaned.text))
    return "cleaned"


def _write(file: Path, content: bytes, durable: bool = True) -> None:
    with atomic_path(file, durable) as scratch:
        scratch.write_bytes(content)
