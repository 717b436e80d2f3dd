"""The nearest of many vectors by cosine: exactly, or beyond a million with faiss."""

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MANY = 1_000_000  # vectors; of more, faiss compares only the likely ones

_CHUNK = 4096  # vectors that are widened at a time
_TINY = 1e-12
_PART, _BITS = 2, 4  # faiss quantizes so many dimensions together, to so many bits
_TRAINED_ON = 65_536  # vectors
_EXACT_AGAIN, _FAISS_AGAIN = 4, 10  # times as many as asked for are compared again, exactly

_log = logging.getLogger(__name__)


class Nearest(NamedTuple):
    """The nearest vectors to each of B queries, nearest first: cosines, float32 `(B, k)`, and their indices."""

    cosines: Tensor
    indices: Tensor


def search_among(vectors: Tensor, factors: Tensor) -> "ExactSearch | FaissSearch":
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

    The cosines are multiplied by `factors`, float32 `(C,)`. Those of float16 vectors are rounded to float16 at first,
    so the best ones are computed again.
    """

    def __init__(self, vectors: Tensor, factors: Tensor):
        self.vectors = vectors
        self.scale = factors * squared_lengths(vectors).rsqrt()

    @torch.inference_mode()
    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        k = min(k, len(self.vectors))
        if self.vectors.dtype == torch.float32:
            return Nearest(*(queries @ self.vectors.T).mul_(self.scale).topk(k))
        # A product with one vector is fast on CPUs that can't multiply in float16, too; one with a matrix isn't.
        products = torch.stack([torch.mv(self.vectors, query) for query in queries.half()])
        rough = products.float().mul_(self.scale)
        return self.best(queries, rough.topk(min(_EXACT_AGAIN * k, len(self.vectors))).indices, k)

    def best(self, queries: Tensor, candidates: Tensor, k: int) -> Nearest:
        """The `k` nearest among candidates, indices `(B, n)`, computed in float32."""
        vectors = self.vectors[candidates].float()
        cosines, order = torch.einsum("bk,bck->bc", queries, vectors).mul_(self.scale[candidates]).topk(k)
        return Nearest(cosines, candidates.gather(1, order))


class FaissSearch:
    """Compares each query with all vectors roughly, by codes of two bits per dimension, and the best ones exactly.

    The codes are those of product quantization (Jégou et al. 2011), four bits for each pair of dimensions, which CPUs
    look up in registers (André et al. 2017). They are computed here, in seconds per million vectors, so no index is
    read from a file. The arguments are those of `ExactSearch`.

    Raises:
        ImportError: faiss isn't installed, or doesn't load on this system.
    """

    def __init__(self, vectors: Tensor, factors: Tensor):
        import faiss

        self._exact = ExactSearch(vectors, factors)
        parts = -(-vectors.shape[1] // _PART)
        self._index = faiss.IndexPQFastScan(parts * _PART, parts, _BITS, faiss.METRIC_INNER_PRODUCT)
        sample = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:_TRAINED_ON].sort().values
        self._index.train(self._scaled(sample))
        for rows in torch.arange(len(vectors)).split(_TRAINED_ON):
            self._index.add(self._scaled(rows))

    def _scaled(self, rows: Tensor) -> Any:
        return self._padded(self._exact.vectors[rows].float().mul_(self._exact.scale[rows].unsqueeze(1)))

    def _padded(self, vectors: Tensor) -> Any:
        """Vectors as the index takes them, with a multiple of `_PART` dimensions, as an array."""
        return nn.functional.pad(vectors, (0, self._index.d - vectors.shape[1])).numpy()

    @torch.inference_mode()
    def nearest(self, queries: Tensor, k: int) -> Nearest:
        """The `k` nearest (all, if there are fewer) to queries of length 1, float32 `(B, K)`."""
        k = min(k, len(self._exact.vectors))
        _, candidates = self._index.search(self._padded(queries), min(_FAISS_AGAIN * k, len(self._exact.vectors)))
        return self._exact.best(queries, torch.from_numpy(candidates), k)


def squared_lengths(vectors: Tensor) -> Tensor:
    """The squared lengths of vectors `(C, K)`, float32 `(C,)`, at least a little; a chunk is widened at a time."""
    buffer = torch.empty(min(_CHUNK, len(vectors)), vectors.shape[1])
    parts = [buffer[: len(chunk)].copy_(chunk).square_().sum(1) for chunk in vectors.split(_CHUNK)]
    return torch.cat(parts).clamp_min(_TINY)
