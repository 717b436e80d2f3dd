"""Statistics of a model's features, mean and within-class covariance, with which they are whitened."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from landmark_models.errors import ModelError
from landmark_models.files import atomic_path

STATISTICS_FILE = "statistics.safetensors"
MAX_STATISTICS_BYTES = 2 * 10**6

_HEADER_BYTES = 1024  # more than safetensors needs for five tensors


def statistics_bytes(width: int) -> int:
    """An upper bound on the file's size in bytes for features of this width."""
    return 4 * width + width * (width + 1) + _HEADER_BYTES


@dataclass(frozen=True)
class FeatureStatistics:
    """What whitens a model's features, as stored: the covariance has been rounded to float16 once.

    Attributes:
        mean: the mean of the training photos' features, float32 `(D,)`.
        packed: the shrunk within-class covariance S' of features centred and scaled to length 1: its upper triangle row
            by row, divided by `unit`, float16 `(D (D + 1) / 2,)`.
        unit: the largest element of S'.
        distance: the median over the training photos of |W d|, where d is a feature minus the mean.
        scale: the factor from cosines to logits, i.e. the inverse of their softmax's temperature.
    """

    mean: Tensor
    packed: Tensor
    unit: float
    distance: float
    scale: float

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> "FeatureStatistics":
        """Statistics of a mean `(D,)` and a shrunk covariance `(D, D)`; `distance` and `scale` are 1 at first."""
        unit = covariance.abs().amax()
        rows, columns = torch.triu_indices(*covariance.shape).unbind(0)
        packed = (covariance[rows, columns] / unit).half()
        return cls(mean.float(), packed, float(unit), 1.0, 1.0)

    @property
    def width(self) -> int:
        """D, the number of features."""
        return len(self.mean)

    @cached_property
    def covariance(self) -> Tensor:
        """S', symmetric, float64 `(D, D)`."""
        upper = torch.zeros(self.width, self.width, dtype=torch.float64)
        rows, columns = torch.triu_indices(self.width, self.width).unbind(0)
        upper[rows, columns] = self.packed.double() * self.unit
        return upper + upper.triu(1).T

    @cached_property
    def whitening(self) -> Tensor:
        """W with W'W = S'^-1, float64 `(D, D)`: the inverse of the Cholesky factor of S'."""
        identity = torch.eye(self.width, dtype=torch.float64)
        return torch.linalg.solve_triangular(torch.linalg.cholesky(self.covariance), identity, upper=False)

    def write(self, file: Path) -> None:
        """Write the file atomically."""
        tensors = {
            "mean": self.mean,
            "covariance": self.packed,
            **{name: torch.tensor(getattr(self, name)) for name in ("unit", "distance", "scale")},
        }
        with atomic_path(file) as scratch:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, scratch)

    @classmethod
    def read(cls, file: Path, width: int, source: str) -> "FeatureStatistics":
        """Read and check a file, an untrusted one too, for a network with `width` features.

        Raises:
            ModelError: it can't be read, is too large, belongs to another network, or can't whiten anything.
        """
        name = f"The {STATISTICS_FILE} of {source}"
        try:
            if file.stat().st_size > MAX_STATISTICS_BYTES:
                raise ModelError(f"{name} is larger than {MAX_STATISTICS_BYTES / 1e6:.0f} MB.")
            with safe_open(file, "pt") as content:
                mean, packed, unit, distance, scale = (
                    content.get_tensor(key) for key in ("mean", "covariance", "unit", "distance", "scale")
                )
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{name} can't be read: {error}") from None
        if mean.shape != (width,) or packed.shape != (width * (width + 1) // 2,):
            raise ModelError(f"{name} belongs to another network: this one has {width} features.")
        numbers = [float(value) if value.numel() == 1 else math.nan for value in (unit, distance, scale)]
        finite = bool(mean.isfinite().all() and packed.isfinite().all())
        if not finite or not all(0 < value < math.inf for value in numbers):
            raise ModelError(f"{name} contains values that are not finite, or not positive.")
        statistics = cls(mean.float(), packed.half(), *numbers)
        try:
            statistics.whitening  # noqa: B018  (computed once, here)
        except RuntimeError:  # torch.linalg.LinAlgError is one
            raise ModelError(f"{name} contains a covariance that is not positive definite.") from None
        return statistics
