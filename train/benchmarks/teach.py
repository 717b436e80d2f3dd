"""How fast a photo is compared with many taught landmarks, exactly and with faiss, and how long teaching takes.

The landmarks are drawn from the distribution that `landmark_models.teaching.taught` assumes: a covariance that is half
that of the model's own class means and half equal in all directions. Around a landmark, whitened photos have variance 1
in each dimension, and the mean's squared length is that of this noise, as for Landmarks-60 (median 1,305 in 1,280
dimensions). Searches run on one core, and their times are CPU time, which other programs on a machine change little.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from landmark_models import LandmarkClassifier
from landmark_models.networks.served import ServedNetwork
from landmark_models.teach import teach
from landmark_models.teaching import SUFFIX, AddOn
from landmark_models.teaching.search import ExactSearch, FaissSearch
from train.benchmarks import quantiles
from train.benchmarks.photos import large_photo

_PHOTOS_OF_EACH = 20  # that a landmark is taught from
_CHUNK = 65_536  # landmarks drawn at a time
_WARM = 5  # photos that don't count
_TAUGHT = 10  # photos


@dataclass(frozen=True)
class SearchTimes:
    """The measurements for a number of landmarks, with one value a photo in each list of seconds of CPU time.

    `answer` is all that follows the network. `own_bytes` is what loading adds to the process's own memory, without
    what is mapped from the file; None if the system doesn't tell. `faiss` is empty if it isn't installed; `agree` is
    the share of photos for which it finds the same landmark as the exact search, and `right` the share for which that
    one is the photo's.
    """

    classes: int
    file_bytes: int
    loading: float
    own_bytes: int | None
    answer: list[float]
    exact: list[float]
    right: float
    faiss: list[float]
    building: float
    agree: float


def search_times(model: str, classes: int, dimensions: int, photos: int, folder: Path) -> SearchTimes:
    """Measure in a process of its own, with an add-on that is written into a folder."""
    file = folder / f"{classes}{SUFFIX}"
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        pool.submit(_write, model, classes, dimensions, file).result()
        result = pool.submit(_measure, model, file, photos).result()
    file.unlink()
    return result


def _write(model: str, classes: int, dimensions: int, file: Path) -> None:
    classifier = LandmarkClassifier.load(model, engine="torch")
    projection, variances = principal_variances(classifier.served, dimensions)
    generator = torch.Generator().manual_seed(0)
    deviations = (variances + 1 / _PHOTOS_OF_EACH).sqrt()
    vectors = torch.empty(classes, len(variances), dtype=torch.float16)
    for part in vectors.split(_CHUNK):
        part.copy_(torch.randn(part.shape, generator=generator) * deviations)
    counts = torch.full((classes,), _PHOTOS_OF_EACH, dtype=torch.int32)
    labels = tuple(f"Landmark {index}" for index in range(classes))
    AddOn(classifier.features_digest, labels, counts, vectors, projection=projection.half()).write(file)


def principal_variances(served: ServedNetwork, dimensions: int) -> tuple[Tensor, Tensor]:
    """The principal dimensions of landmarks' means, float32 `(dimensions, D)`, and the means' variances in them."""
    own = served.whitened_means
    width = own.shape[1]
    covariance = 0.5 * width * own.T @ own / len(own) + 0.5 * torch.eye(width)
    variances, directions = torch.linalg.eigh(covariance)
    return directions.T.flip(0)[:dimensions].contiguous(), variances.flip(0)[:dimensions]


def _measure(model: str, file: Path, photos: int) -> SearchTimes:
    torch.set_num_threads(1)
    classifier = LandmarkClassifier.load(model, engine="torch")
    classifier.features_digest  # noqa: B018  (computed once, and not counted)
    before, started = _own_memory(), time.perf_counter()
    addon = AddOn.read(file)
    taught = classifier.with_taught(addon)
    loading, after = time.perf_counter() - started, _own_memory()
    queries = _queries(classifier.served, addon, photos)
    answer = []
    for body in queries.bodies.split(1):
        started = time.thread_time()
        taught.rank(taught.head(body))
        answer.append(time.thread_time() - started)
    factors = torch.ones(len(addon))
    exact, found = _timed(ExactSearch(addon.vectors, factors), queries.projected)
    faiss, building, agree = list[float](), 0.0, 0.0
    try:
        import faiss as library

        library.omp_set_num_threads(1)
        started = time.perf_counter()
        search = FaissSearch(addon.vectors, factors)
        building = time.perf_counter() - started
        faiss, others = _timed(search, queries.projected)
        agree = float((others == found).float().mean())
    except ImportError:
        pass
    right = float((found == queries.rows[_WARM:]).float().mean())
    own = None if before is None or after is None else after - before
    size = file.stat().st_size
    return SearchTimes(len(addon), size, loading, own, answer[_WARM:], exact, right, faiss, building, agree)


class _Queries(NamedTuple):
    """Photos: features `(n, D)`, their projected directions `(n, K)`, and the rows of their landmarks, `(n,)`."""

    bodies: Tensor
    projected: Tensor
    rows: Tensor


def _queries(served: ServedNetwork, addon: AddOn, photos: int) -> _Queries:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(len(addon), (_WARM + photos,), generator=generator)
    assert addon.projection is not None
    projection = addon.projection.float()
    noise = torch.randn(len(rows), projection.shape[1], generator=generator)
    whitened = addon.vectors[rows].float() @ projection + noise
    bodies = served.mean + torch.linalg.solve(served.whitening.T.double(), whitened.T.double()).T.float()
    return _Queries(bodies, served.directions(bodies) @ projection.T, rows)


def _timed(search: ExactSearch | FaissSearch, queries: Tensor) -> tuple[list[float], Tensor]:
    """Seconds of each search for 100 landmarks, one photo at a time, and the row that is found first, `(n,)`."""
    seconds, rows = [], []
    for query in queries.split(1):
        started = time.thread_time()
        found = search.nearest(query, 100)
        seconds.append(time.thread_time() - started)
        rows.append(found.indices[0, 0])
    return seconds[_WARM:], torch.stack(rows)[_WARM:]


def _own_memory() -> int | None:
    """The bytes of this process's memory that aren't mapped from a file; None where Linux doesn't tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration):
        return None


def teaching_times(model: str, rounds: int) -> list[float]:
    """Seconds that it takes to teach a landmark from ten photos of 12 megapixels, the model being loaded."""
    classifier = LandmarkClassifier.load(model)
    seconds = []
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{index}.jpg" for index in range(_TAUGHT)]
        content = large_photo()
        for file in files:
            file.write_bytes(content)
        for _ in range(1 + rounds):
            started = time.perf_counter()
            teach(classifier, "Landmark", files)
            seconds.append(time.perf_counter() - started)
    return seconds[1:]


def print_search_times(results: Sequence[SearchTimes]) -> None:
    """Print a table with a column for each number of landmarks."""
    from rich.console import Console
    from rich.table import Table

    def times(seconds: Sequence[float]) -> str:
        return " / ".join(f"{1000 * value:.2f}" for value in quantiles(seconds)) if seconds else "not installed"

    lines: dict[str, Callable[[SearchTimes], str]] = {
        "file, MB": lambda row: f"{row.file_bytes / 1e6:.1f}",
        "loaded in, s": lambda row: f"{row.loading:.2f}",
        "own memory, MB": lambda row: "unknown" if row.own_bytes is None else f"{row.own_bytes / 1e6:.0f}",
        "exact search, ms": lambda row: times(row.exact),
        "its first is right, %": lambda row: f"{100 * row.right:.1f}",
        "faiss, ms": lambda row: times(row.faiss),
        "built in, s": lambda row: f"{row.building:.1f}" if row.faiss else "",
        "its first is the exact one's, %": lambda row: f"{100 * row.agree:.1f}" if row.faiss else "",
        "all after the network, ms": lambda row: times(row.answer),
    }
    table = Table("landmarks", *(f"{row.classes:,}" for row in results))
    for name, value in lines.items():
        table.add_row(name, *map(value, results))
    Console().print(table)


def describe_teaching(seconds: Sequence[float]) -> str:
    """A sentence on `teaching_times`."""
    spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
    return f"Teaching a landmark from {_TAUGHT} photos of 12 megapixels: {statistics.median(seconds):.2f} s ({spread})."
