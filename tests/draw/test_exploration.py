from pathlib import Path

import pytest
from PIL import Image

from train.data import Photos
from train.draw.exploration import classes_section


def split(counts: list[int], name: str) -> Photos:
    targets = tuple(target for target, count in enumerate(counts) for _ in range(count))
    paths = tuple(f"{name}/{target}/{index}.jpg" for index, target in enumerate(targets))
    return Photos(
        Path("data"), paths, targets, tuple(f"Tower number {number} of a long name" for number in range(len(counts)))
    )


@pytest.mark.parametrize("classes", [2, 12, 60, 300])
def test_the_classes_fit_on_a_page_whatever_their_number(classes, tmp_path):
    content = classes_section(
        {"train": split([3] * (classes - 1) + [4], "train"), "test": split([1] * classes, "test")}, tmp_path
    )
    with Image.open(tmp_path / "classes.png") as picture:
        assert picture.width <= 1100
        assert picture.height <= 1400
    assert len(content["table"].rows) == classes
    most = f"Tower number {classes - 1} of a long name"
    assert content["ranges"] == [
        f"train: from 3 photos of Tower number 0 of a long name to 4 of {most}.",
        "test: 1 photo of each class.",
    ]


def test_a_class_without_a_photo_is_no_extreme(tmp_path):
    content = classes_section({"train": split([2, 3, 0], "train")}, tmp_path)
    assert content["ranges"] == [
        "train: from 2 photos of Tower number 0 of a long name to 3 of Tower number 1 of a long name.",
        "Not in train: Tower number 2 of a long name.",
    ]
