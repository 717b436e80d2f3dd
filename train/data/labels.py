"""What a class folder's name says: its label."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from landmark_models.text import label_of
from train.data import DataError

_ANY_NUMBER = re.compile(r"^\d+\.(?=.)")  # what older models took for an order


def nfc(text: str) -> str:
    """Text in Unicode's composed form, in which equal names are equal strings.

    Archives made on macOS have decomposed file names.
    """
    return unicodedata.normalize("NFC", text)


def label_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Class folders by their labels, for a model that is still to be trained.

    Raises:
        DataError: a label is empty, or two are the same but for case and spaces.
    """
    found: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        label = label_of(folder.name)
        if not any(unicodedata.category(character)[0] not in "ZC" for character in label):
            raise DataError(f"The class folder {str(folder)!r} names no landmark; rename it.")
        other, first = found.setdefault(_look(label), (label, folder))
        if first != folder:
            raise _same(first, folder, f"{label!r}" if other == label else f"in two forms, {other!r} and {label!r}")
    return dict(found.values())


def find_alike(labels: Iterable[str]) -> tuple[str, str] | None:
    """Two labels that differ only in case, spaces or Unicode's form, if there are any."""
    found: dict[str, str] = {}
    for label in labels:
        other = found.setdefault(_look(label), label)
        if other != label:
            return other, label
    return None


def match_folders(folders: Sequence[Path], labels: Sequence[str]) -> dict[str, Path]:
    """Class folders by the labels of a model that exists; a folder without one keeps a label of its own.

    A folder's number is part of its label if the model's label has it.

    Raises:
        DataError: two folders have the same label.
    """
    known = {nfc(label): label for label in labels} | {label: label for label in labels}
    found: dict[str, Path] = {}
    for folder in folders:
        name = nfc(folder.name)
        forms = [label_of(name), _as_words(name), _as_words(_ANY_NUMBER.sub("", name))]
        label = next((known[form] for form in forms if form in known), forms[0])
        if label in found:
            raise _same(found[label], folder, repr(label))
        found[label] = folder
    return found


def _as_words(name: str) -> str:
    return name.replace("_", " ").strip()


def _look(label: str) -> str:
    """What is the same for labels that look like one name: they differ in case and spaces alone."""
    return " ".join(nfc(label).lower().split())


def _same(first: Path, second: Path, label: str) -> DataError:
    return DataError(f"{first} and {second} have the same label {label}; merge them or rename one.")
