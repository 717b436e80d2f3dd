"""Photos without labels: of other things, or to learn from a teacher."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from landmark_models.files import find_photos_below
from train.data import DataError
from train.data.folders import split_folders
from train.data.left_out import print_left_out, some
from train.data.location import data_folder


def photos_below(folder: str | Path) -> list[Path]:
    """All photos in a folder and below it, sorted; hidden ones are left out, links followed once.

    It prints what is left out, as `print_left_out` does.

    Raises:
        DataError: it isn't a folder, or has no photo.
    """
    if not Path(folder).is_dir():
        raise DataError(f"There is no folder {folder} of photos.")
    left_out: Counter[str] = Counter()
    entries = list(find_photos_below(folder, left_out=left_out))
    if failures := [entry.path for entry in entries if entry.error]:
        left_out[f"folder or link that can't be read ({some(failures)})"] += len(failures)
    print_left_out(folder, left_out)
    if not (files := sorted(Path(entry.path) for entry in entries if not entry.error)):
        raise DataError(f"{folder} has no photo in it or in its subfolders.")
    return files


def find_unlabelled(folders: Sequence[Path], data: str | Path) -> tuple[list[str], list[str]]:
    """Absolute paths of all photos in these folders and below them, as `photos_below` finds them.

    Returns:
        Those outside the splits of DATA, then those inside: test photos may be among the latter.

    Raises:
        DataError: one isn't a folder, or has no photo.
    """
    found = dict.fromkeys(file.resolve() for folder in folders for file in photos_below(folder))
    root = data_folder(data)
    splits = [folder.resolve() for folder in split_folders(root).values() or [root]]
    own = [str(file) for file in found if any(file.is_relative_to(split) for split in splits)]
    known = set(own)
    return [str(file) for file in found if str(file) not in known], own
