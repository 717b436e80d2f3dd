"""An add-on: landmarks that were taught to a model, in one small file, `NAME.landmarks.safetensors`, without a photo.

Its tensors are `vectors`, float16 `(C, K)`, the means of the taught photos' whitened features, one for each landmark,
and `counts`, int32 `(C,)`, how many photos each is the mean of. With `projection`, float16 `(K, D)`, the vectors are in
fewer dimensions. The header has, as JSON, the labels, the digest of the features, and what is known of the landmarks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from landmark_models.errors import reason
from landmark_models.files import atomic_path
from landmark_models.models.config import MAX_LABEL, is_text
from landmark_models.teaching.facts import FACTS, AddOnError, Facts
from landmark_models.text import for_terminal, is_name, listed, searchable

SUFFIX = ".landmarks.safetensors"

_FORMAT = "1"
_COPIED = 16 * 2**20  # bytes; so much is read at once, and may be overwritten while it is in use
MAX_LABELS = 10_000_000
_LARGEST = 60_000.0  # number in a vector; those of whitened features are around 1


@dataclass(frozen=True)
class AddOn:
    """Landmarks that were taught.

    Attributes:
        features: the digest of the features, as `features_digest` gives it for the model that was taught.
        labels: their labels, without duplicates.
        counts: how many photos each was taught from, int32 `(C,)`.
        vectors: the means of the photos' whitened features, float16 `(C, K)`; they may be mapped from the file.
        facts: what is known of some of the labels.
        projection: from whitened features to the vectors' dimensions, float16 `(K, D)`; None if they are the same.
        model: the name of the model that was taught, for messages; empty if it has no public one.
    """

    features: str
    labels: tuple[str, ...]
    counts: Tensor
    vectors: Tensor
    facts: Mapping[str, Facts] = field(default_factory=dict)
    projection: Tensor | None = None
    model: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """The number of features, D."""
        return (self.vectors if self.projection is None else self.projection).shape[1]

    @property
    def digest(self) -> str:
        """The SHA-256 of all that it holds. Its file has no digest of its own: the order in the header is random."""
        content = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for name, tensor in sorted(self._tensors().items()):
            content.update(f"{name} {tuple(tensor.shape)}".encode())
            content.update(tensor.numpy().data)
        return content.hexdigest()

    def without(self, name: str) -> "AddOn | None":
        """The add-on without one of its labels; None if that leaves nothing.

        Case and accents needn't be the same, if that is unambiguous.

        Raises:
            AddOnError: it has no such label.
        """
        alike = [other for other in self.labels if searchable(other) == searchable(name.strip())]
        label = name if name in self.labels or len(alike) != 1 else alike[0]
        if label not in self.labels:
            raise AddOnError(f"{for_terminal(label)} isn't among what was taught: {listed(self.labels)}.")
        kept = [index for index, other in enumerate(self.labels) if other != label]
        if not kept:
            return None
        return replace(
            self,
            labels=tuple(self.labels[index] for index in kept),
            counts=self.counts[kept],
            vectors=self.vectors[kept],
            facts={name: facts for name, facts in self.facts.items() if name != label},
        )

    def write(self, file: Path) -> None:
        """Write the file atomically.

        Raises:
            AddOnError: it can't be written.
        """
        try:
            with atomic_path(file) as scratch:
                scratch.write_bytes(self.to_bytes())  # safetensors' own function would let only the owner read it
        except OSError as error:
            raise AddOnError(f"{file} can't be written: {reason(error)}.") from None

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return save(self._tensors(), self._header())

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"vectors": self.vectors, "counts": self.counts}
        if self.projection is not None:
            tensors["projection"] = self.projection
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def _header(self) -> dict[str, str]:
        facts = {label: stored for label, facts in self.facts.items() if (stored := facts.stored())}
        return {
            "format": _FORMAT,
            "features": self.features,
            "model": self.model,
            "labels": json.dumps(self.labels, ensure_ascii=False),
            "landmarks": json.dumps(facts, ensure_ascii=False),
        }

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> "AddOn":
        """Read and check a file, a stranger's too; the vectors of a large one are mapped, not copied.

        Raises:
            AddOnError: it can't be read, or isn't an add-on.
        """
        name = os.fspath(file)
        try:
            if Path(file).is_dir():
                raise AddOnError(f"{name} is a folder; name a file of taught landmarks.")
            if Path(file).stat().st_size <= _COPIED:
                return cls.from_bytes(Path(file).read_bytes(), name)
            with safe_open(file, "pt") as content:
                header = content.metadata() or {}
                tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (it isn't a mapping)
        except (OSError, SafetensorError) as error:
            raise AddOnError(f"{name} can't be read: {reason(error)}") from None
        return cls._checked(name, header, tensors)

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "AddOn":
        """Read and check the content of a file, a stranger's too; errors call it `name`.

        Raises:
            AddOnError: it isn't an add-on.
        """
        try:
            tensors = load(content)
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise AddOnError(f"{name} can't be read: {for_terminal(str(error)[:200])}") from None
        return cls._checked(name, header, tensors)

    @classmethod
    def _checked(cls, name: str, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> "AddOn":
        if header.get("format") != _FORMAT or not {"vectors", "counts"} <= tensors.keys():
            raise AddOnError(f"{name} isn't a file of taught landmarks, as `landmarks teach` writes it.")
        try:
            labels, facts = json.loads(header["labels"]), FACTS.validate_json(header["landmarks"])
            vectors, counts, projection = tensors["vectors"], tensors["counts"], tensors.get("projection")
            _check(labels, facts, vectors, counts, projection)
            model = for_terminal(header.get("model", ""))[:MAX_LABEL]
            return cls(header["features"], tuple(labels), counts, vectors, facts, projection, model)
        except (KeyError, ValueError, RecursionError) as error:
            why = str(error).splitlines()[0] if isinstance(error, ValidationError) else str(error)
            raise AddOnError(f"{name} is damaged: {for_terminal(why[:200])}.") from None


def _check(labels: Any, facts: Mapping[str, Facts], vectors: Tensor, counts: Tensor, projection: Tensor | None) -> None:
    """A ValueError if the parts of an add-on don't fit together or hold impossible values."""
    if not isinstance(labels, list) or not 0 < len(labels) <= MAX_LABELS or not all(map(is_text, labels)):
        raise ValueError("its labels aren't a list of texts")
    if not all(map(is_name, labels)) or len(set(labels)) < len(labels) or not facts.keys() <= set(labels):
        raise ValueError("its labels are empty, can't be shown, are given twice, or missing")
    if vectors.dtype != torch.float16 or vectors.ndim != 2 or len(vectors) != len(labels) or not vectors.shape[1]:
        raise ValueError("its vectors aren't one for each label")
    if counts.dtype != torch.int32 or counts.shape != (len(labels),) or not (counts >= 1).all():
        raise ValueError("its counts aren't one for each label, from 1")
    low, high = vectors.aminmax()
    if not -_LARGEST <= low <= high <= _LARGEST:  # not a number fails, too
        raise ValueError("its vectors hold impossible numbers")
    if projection is not None and (
        projection.dtype != torch.float16
        or projection.ndim != 2
        or len(projection) != vectors.shape[1]
        or not projection.numel()
        or not projection.abs().amax() <= 1.01  # its rows have length 1
    ):
        raise ValueError("its projection doesn't fit its vectors")
