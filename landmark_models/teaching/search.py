"""The nearest of many vectors by cosine: exactly, or beyond a million with faiss."""

import logging
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

MANY = 1_000_000  # vectors; of more, faiss compares only the likely ones

_CHUNK = 4096  # vectors that are widened at a time, so that they stay in the CPU's cache
_TINY = 1e-12
_PART, _BITS = 2, 4  # faiss quantizes so many dimensions together, to so many bits
_TRAINED_ON = 65_536  # vectors
_RESCORED = 10  # times as many candidates as asked for are compared exactly

_log = logging.getLogger(__name__)


class Nearest(NamedTuple):
    """The nearest vectors to each of B queries, nearest first: cosines, float32 `(B, k)`, and their indices."""

    cosines: Tensor
    indices: Tensor


class Search(Protocol):
    """A search among C vectors of K dimensions."""

    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        ...


def search_among(vectors: Tensor, factors: Tensor | None = None) -> Search:
    """The search for this many vectors: with faiss if there are over a million and it is installed, else exact.

    The arguments are those of `ExactSearch`.
    """
    if len(vectors) > MANY:
        try:
            return FaissSearch(vectors, factors)
        except ImportError:
            _log.warning("%s landmarks are compared one by one; the package faiss-cpu is faster.", f"{len(vectors):,}")
    return ExactSearch(vectors, factors)


class ExactSearch:
    """Compares each query with all vectors, float16 or float32 `(C, K)`; they may be mapped from a file and stay there.

    The cosines are multiplied by `factors`, float32 `(C,)`; without them, by the vectors' lengths. All is computed in
    float32, a chunk at a time: few CPUs multiply in float16, but most widen it as fast as they read it.
    """

    def __init__(self, vectors: Tensor, factors: Tensor | None = None):
        self._vectors = vectors
        self._scale = torch.ones(len(vectors)) if factors is None else factors * squared_lengths(vectors).rsqrt()

    @torch.inference_mode()
    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        scores = self._products(queries).mul_(self._scale)
        return Nearest(*scores.topk(min(k, len(self._vectors))))

    def _products(self, queries: Tensor) -> Tensor:
        if self._vectors.dtype == torch.float32:
            return queries @ self._vectors.T
        products = torch.empty(len(queries), len(self._vectors))
        buffer = torch.empty(min(_CHUNK, len(self._vectors)), self._vectors.shape[1])  # a new one each time is slow
        for start in range(0, len(self._vectors), _CHUNK):
            chunk = self._vectors[start : start + _CHUNK]
            widened = buffer[: len(chunk)].copy_(chunk)
            products[:, start : start + _CHUNK] = nn.functional.linear(queries, widened)
        return products


class FaissSearch:
    """Compares each query with all vectors roughly, by codes of two bits per dimension, and the best ones exactly.

    The codes are those of product quantization (Jégou et al. 2011), four bits for each pair of dimensions, which CPUs
    look up in registers (André et al. 2017). They are computed here, in seconds per million vectors, so no index is
    read from a file. The arguments are those of `ExactSearch`.

    Raises:
        ImportError: faiss isn't installed, or doesn't load on this system.
    """

    def __init__(self, vectors: Tensor, factors: Tensor | None = None):
        import faiss

        self._vectors = vectors
        self._scale = torch.ones(len(vectors)) if factors is None else factors * squared_lengths(vectors).rsqrt()
        parts = -(-vectors.shape[1] // _PART)
        self._padding = parts * _PART - vectors.shape[1]
        self._index = faiss.IndexPQFastScan(parts * _PART, parts, _BITS, faiss.METRIC_INNER_PRODUCT)
        sample = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:_TRAINED_ON].sort().values
        self._index.train(self._compared(sample).numpy())
        for rows in torch.arange(len(vectors)).split(_TRAINED_ON):
            self._index.add(self._compared(rows).numpy())

    def _compared(self, rows: Tensor) -> Tensor:
        """What queries are compared with, float32 `(rows, K)`, padded to a multiple of `_PART` dimensions."""
        return nn.functional.pad(self._vectors[rows].float() * self._scale[rows].unsqueeze(1), (0, self._padding))

    @torch.inference_mode()
    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        count = min(_RESCORED * k, len(self._vectors))
        padded = nn.functional.pad(queries, (0, self._padding))
        candidates = torch.from_numpy(self._index.search(padded.numpy(), count)[1])
        exact = torch.einsum("bk,bck->bc", padded, self._compared(candidates.flatten()).unflatten(0, candidates.shape))
        cosines, order = exact.topk(min(k, count))
        return Nearest(cosines, candidates.gather(1, order))


def squared_lengths(vectors: Tensor) -> Tensor:
    """The squared lengths of vectors `(C, K)`, float32 `(C,)`, at least a little; a chunk is widened at a time."""
    buffer = torch.empty(min(_CHUNK, len(vectors)), vectors.shape[1])
    parts = [buffer[: len(chunk)].copy_(chunk).square_().sum(1) for chunk in vectors.split(_CHUNK)]
    return torch.cat(parts).clamp_min(_TINY)
