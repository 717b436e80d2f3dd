"""Photos decoded once into a memory-mapped file of uint8 pixels, which every later epoch and run reads."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from landmark_models.devices import available_cores
from landmark_models.errors import LandmarkError, PhotoError, reason
from landmark_models.photo import open_photo
from train.data.scratch import remove_abandoned, scratch_folder

_FORMAT = 2
_SCRATCH = ".making-"


def default_cache_folder() -> Path:
    """`LANDMARK_CACHE`, else `landmark-models` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LANDMARK_CACHE") or Path(base) / "landmark-models")


class PhotoCache:
    """Decoded photos by their path: `cache[path]` is a uint8 array `(height, width, 3)`.

    `failures` says why a photo could not be read, by path.
    """

    def __init__(self, folder: Path, files: Sequence[Path]):
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.pixels_file = folder / "pixels.bin"
        self.sizes: list[tuple[int, int]] = [tuple(size) for size in index["sizes"]]
        self.positions = {file: position for position, file in enumerate(files)}
        self.failures: dict[Path, str] = {files[int(i)]: failure for i, failure in index["failures"].items()}
        lengths = np.array([height * width * 3 for height, width in self.sizes], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.pixels = self._map()

    def _map(self) -> NDArray[np.uint8]:
        if not self.offsets[-1]:  # no photo could be read, and an empty file can't be mapped
            return np.empty(0, np.uint8)
        return np.memmap(self.pixels_file, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, Any]:  # a worker maps the file again instead of receiving its content
        return {name: value for name, value in self.__dict__.items() if name != "pixels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.pixels = self._map()

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, file: Path) -> NDArray[np.uint8]:
        position = self.positions[file]
        height, width = self.sizes[position]
        return self.pixels[self.offsets[position] : self.offsets[position + 1]].reshape(height, width, 3)

    @classmethod
    def open(
        cls,
        files: Sequence[Path],
        short_side: int,
        folder: Path | None = None,
        progress: bool = True,
        strict: bool = False,
    ) -> "PhotoCache":
        """The cache of these photos with the shorter side at most `short_side` px, created if it doesn't exist.

        Its name is a hash of the files' names, sizes and times and of `short_side`, so a change to any of them
        makes a new cache. It gets that name once it is complete. Nothing deletes an old cache, because another run
        may be reading it; empty the folder when no run is.

        Raises:
            PhotoError: `strict`, and a photo can't be read.
            LandmarkError: the cache can't be written.
        """
        folder = folder or default_cache_folder()
        target = folder / f"{short_side}px-{_key(files, short_side)}"
        remove_abandoned(folder, _SCRATCH)
        if target.is_dir():
            cache = cls(target, files)
            if strict and cache.failures:
                raise PhotoError(next(iter(cache.failures.values())))
            return cache
        try:
            with scratch_folder(folder, _SCRATCH) as scratch:
                _write(files, short_side, scratch, progress, strict)
                try:
                    scratch.rename(target)
                except OSError:
                    if not target.is_dir():  # otherwise another run has created the same cache in the meantime
                        raise
        except OSError as error:
            raise LandmarkError(
                f"The cache of decoded photos can't be written in {folder}: {reason(error)}. "
                "Set LANDMARK_CACHE to a folder with free space."
            ) from None
        return cls(target, files)


def _key(files: Sequence[Path], short_side: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {short_side}".encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _decode(file: Path, short_side: int) -> NDArray[np.uint8] | str:
    """The photo's pixels `(H, W, 3)`, or why it can't be read."""
    try:
        image = open_photo(file, min_side=short_side)
    except PhotoError as error:
        return str(error)
    scale = short_side / min(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _write(files: Sequence[Path], short_side: int, folder: Path, progress: bool, strict: bool) -> None:
    sizes: list[tuple[int, int]] = []
    failures: dict[int, str] = {}
    # Pillow releases the GIL while it decodes, so threads suffice; a bounded window bounds memory.
    with (folder / "pixels.bin").open("wb") as output, ThreadPoolExecutor(available_cores()) as pool:
        bar = tqdm(total=len(files), desc="decoding", unit="photo", disable=not progress)
        for start in range(0, len(files), 256):
            window = files[start : start + 256]
            for position, pixels in enumerate(pool.map(_decode, window, [short_side] * len(window)), start):
                if isinstance(pixels, str):
                    if strict:
                        raise PhotoError(pixels)
                    failures[position] = pixels
                    sizes.append((0, 0))
                else:
                    output.write(pixels.tobytes())
                    sizes.append(pixels.shape[:2])
                bar.update()
        bar.close()
    index = {"sizes": sizes, "failures": failures}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
