"""The nearest of many vectors by cosine: exactly, in memory-mapped float16, or beyond a million with faiss."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

_IN_FLOAT32 = 4096  # so few vectors are kept, and compared, in float32
_RESCORED = 4  # times as many as asked for are compared again in float32, as float16 may swap neighbours
_CHUNK = 65_536  # vectors whose lengths are computed at a time
_TINY = 1e-6


class Nearest(NamedTuple):
    """The nearest vectors to each of B queries, nearest first: cosines, float32 `(B, k)`, and their indices."""

    cosines: Tensor
    indices: Tensor


class ExactSearch:
    """Compares each query with all vectors, float16 or float32 `(C, K)`; they may be mapped from a file and stay there.

    The cosines are multiplied by `factors`, float32 `(C,)`; without them, by the vectors' lengths.
    """

    def __init__(self, vectors: Tensor, factors: Tensor | None = None):
        self._vectors = vectors.float() if len(vectors) <= _IN_FLOAT32 else vectors
        self._scale = torch.ones(len(vectors)) if factors is None else factors / _lengths(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    @torch.inference_mode()
    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        k = min(k, len(self))
        rough = nn.functional.linear(queries.to(self._vectors.dtype), self._vectors).float() * self._scale
        if self._vectors.dtype == torch.float32:
            return Nearest(*rough.topk(k))
        candidates = rough.topk(min(_RESCORED * k, len(self))).indices
        exact = torch.einsum("bk,bck->bc", queries, self._vectors[candidates].float()) * self._scale[candidates]
        cosines, order = exact.topk(k)
        return Nearest(cosines, candidates.gather(1, order))


def _lengths(vectors: Tensor) -> Tensor:
    """The lengths of vectors `(C, K)`, float32 `(C,)`, at least a little; a chunk is widened at a time."""
    return torch.cat([chunk.float().norm(dim=1) for chunk in vectors.split(_CHUNK)]).clamp_min(_TINY)
