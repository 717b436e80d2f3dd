import os
from pathlib import Path

import pytest
import torch
from helpers.photos import noisy_photo
from PIL import ExifTags, Image

from train.data.copies import Collection, Description, find_copies
from train.data.duplicates import find_pairs, groups
from train.data.photos import Photos

BASE = noisy_photo((90, 120, 60), 1, (12, 9)).resize((240, 180))
EXIF = Image.Exif()
EXIF[ExifTags.Base.Make] = "Camera"


def copies(root: Path, files: list[str], min_side: int = 64):
    """The findings about files `SPLIT/CLASS/NAME`, by path."""
    labels = sorted({Path(file).parts[1] for file in files})
    splits = [Path(file).parts[0] for file in files]
    photos = Photos(root, tuple(files), tuple(labels.index(Path(file).parts[1]) for file in files), tuple(labels))
    described = {}
    for index, file in enumerate(photos.files()):
        with Image.open(file) as image:
            described[index] = Description.of(file, image.convert("RGB"), image.size, torch.empty(0))
    pairs = find_pairs([item.picture for item in described.values()])
    kinds = {frozenset([pair.first, pair.second]): pair.kind for pair in pairs}
    found = find_copies(Collection(photos, splits, described), groups(pairs, len(files)), kinds, min_side)
    return {finding.path: finding for finding in found}


def write(root: Path, file: str, image: Image.Image = BASE, modified: float = 1e9, **options) -> str:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / file, **{"quality": 90, **options})
    os.utime(root / file, (modified, modified))
    return file


ORIGINALS = {
    "larger": ({}, {"image": BASE.resize((120, 90))}),
    "with EXIF data": ({"exif": EXIF}, {}),
    "less compressed": ({"quality": 95}, {"quality": 60}),
    "older": ({}, {"modified": 1.1e9}),
}


@pytest.mark.parametrize("which", ORIGINALS)
@pytest.mark.parametrize(
    ("original", "copy", "kind"),
    [
        ("train/b/z.jpg", "train/a/a.jpg", "conflict"),
        ("train/a/a.jpg", "train/b/z.jpg", "conflict"),
        ("train/a/z.jpg", "train/a/a.jpg", "duplicate"),
        ("test/b/z.jpg", "train/a/a.jpg", "conflict"),
        ("test/a/z.jpg", "train/a/a.jpg", "leak"),
        ("val/a/z.jpg", "train/a/a.jpg", "leak"),
    ],
)
def test_the_copy_goes_and_the_original_stays(which, original, copy, kind, tmp_path):
    of_original, of_copy = ORIGINALS[which]
    files = [write(tmp_path, copy, **of_copy), write(tmp_path, original, **of_original)]
    found = copies(tmp_path, files)
    assert {path for path, finding in found.items() if finding.leave_out} == {copy}
    assert found[copy].kind == kind
    assert found[copy].other == original
    if kind == "conflict":  # either label may be the wrong one, so a person is shown both
        assert found[original].kind == kind
        assert "copy as" in found[original].detail


@pytest.mark.parametrize(
    ("first", "second"),
    [("test/a/1.jpg", "test/b/1.jpg"), ("train/a/1.jpg", "train/b/1.jpg"), ("val/a/1.jpg", "train/b/1.jpg")],
)
def test_of_equal_photos_under_two_labels_one_stays(first, second, tmp_path):
    found = copies(tmp_path, [write(tmp_path, first), write(tmp_path, second)])
    assert [finding.leave_out for finding in found.values()].count(True) == 1
    assert {finding.kind for finding in found.values()} == {"conflict"}


def test_a_photo_of_the_test_split_stays_even_if_it_is_the_copy(tmp_path):
    found = copies(
        tmp_path, [write(tmp_path, "train/a/1.jpg"), write(tmp_path, "test/a/1.jpg", BASE.resize((120, 90)))]
    )
    assert {path for path, finding in found.items() if finding.leave_out} == {"train/a/1.jpg"}


def test_what_is_left_out_for_its_size_is_not_what_stays(tmp_path):
    files = [write(tmp_path, "val/a/small.jpg", BASE.resize((60, 45))), write(tmp_path, "train/a/large.jpg")]
    found = copies(tmp_path, files)
    assert {path for path, finding in found.items() if finding.leave_out} == {"val/a/small.jpg"}


def test_copies_of_both_labels_are_told_apart(tmp_path):
    files = [
        write(tmp_path, f"train/{name}.jpg", modified=1e9 + number) for number, name in enumerate(["a/1", "a/2", "b/1"])
    ]
    found = copies(tmp_path, files)
    assert {path: (finding.kind, finding.leave_out) for path, finding in found.items()} == {
        "train/a/1.jpg": ("conflict", False),
        "train/a/2.jpg": ("duplicate", True),
        "train/b/1.jpg": ("conflict", True),
    }
