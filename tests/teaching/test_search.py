import logging
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers.programs import absent
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landmark_models.teaching import AddOn, search
from landmark_models.teaching.search import ExactSearch, FaissSearch, search_among


def vectors_of(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def queries_near(vectors: torch.Tensor, rows: list[int]) -> torch.Tensor:
    near = vectors[rows].float()
    return nn.functional.normalize(near + 0.5 * vectors_of(len(rows), near.shape[1], seed=1), dim=1)


@pytest.fixture
def faiss():
    if find_spec("faiss") is None:
        absent("faiss")


@given(
    count=st.sampled_from([1, 2, 100, 4096, 4097, 9000]),
    width=st.sampled_from([1, 7, 32]),
    queries=st.integers(1, 3),
    k=st.sampled_from([1, 5, 200]),
    half=st.booleans(),
)
def test_the_exact_search_finds_what_a_comparison_with_all_finds(count, width, queries, k, half):
    vectors = vectors_of(count, width)
    vectors = vectors.half() if half else vectors
    factors = 0.5 + torch.rand(count, generator=torch.Generator().manual_seed(2))
    asked = queries_near(vectors, list(range(min(queries, count))))
    found = ExactSearch(vectors, factors).nearest(asked, k)
    exact = nn.functional.normalize(vectors.double(), dim=1) * factors.unsqueeze(1)
    products = asked.double() @ exact.T
    assert found.cosines.shape == found.indices.shape == (len(asked), min(k, count))
    torch.testing.assert_close(found.cosines.double(), products.topk(min(k, count)).values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.cosines.double(), products.gather(1, found.indices), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("faiss")
@pytest.mark.parametrize("width", [33, 64])
def test_faiss_finds_the_same_landmarks_with_the_same_cosines(width):
    vectors, factors = 20 * vectors_of(20_000, width).half(), torch.full((20_000,), 1.1)
    asked = queries_near(vectors / 20, [5, 17, 19_999])
    exact, rough = ExactSearch(vectors, factors).nearest(asked, 3), FaissSearch(vectors, factors).nearest(asked, 3)
    assert exact.indices[:, 0].tolist() == rough.indices[:, 0].tolist() == [5, 17, 19_999]
    torch.testing.assert_close(rough.cosines[:, 0], exact.cosines[:, 0])
    assert (rough.cosines.diff(dim=1) <= 0).all()
    few = FaissSearch(vectors[:50], torch.ones(50)).nearest(asked, 100)
    assert few.indices.shape == (3, 50)
    assert few.indices.sort(1).values.tolist() == [list(range(50))] * 3


@pytest.mark.usefixtures("faiss")
def test_over_a_million_are_searched_with_faiss(monkeypatch):
    monkeypatch.setattr(search, "MANY", 999)
    assert isinstance(search_among(vectors_of(1000, 8).half(), torch.ones(1000)), FaissSearch)
    assert isinstance(search_among(vectors_of(999, 8).half(), torch.ones(999)), ExactSearch)


def test_without_faiss_the_exact_search_takes_its_place_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(search, "MANY", 999)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(search_among(vectors_of(1000, 8).half(), torch.ones(1000)), ExactSearch)
    assert "1,000 landmarks are compared one by one; the package faiss-cpu is faster" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_vectors_of_a_large_file_stay_in_it(tmp_path, monkeypatch):
    file = tmp_path / "many.landmarks.safetensors"
    labels = tuple(f"Landmark {index}" for index in range(5000))
    AddOn("digest", labels, torch.ones(5000, dtype=torch.int32), vectors_of(5000, 16).half()).write(file)
    monkeypatch.setattr("landmark_models.teaching.addon._COPIED", 0)
    vectors = AddOn.read(file).vectors
    searched = ExactSearch(vectors, torch.ones(5000))
    searched.nearest(queries_near(vectors, [3]), 5)
    held = [value for value in vars(searched).values() if value.dtype == torch.float16]
    assert [value.data_ptr() for value in held] == [vectors.data_ptr()]
    assert mapped_file(vectors.data_ptr()) == str(file)


def mapped_file(address: int) -> str:
    """The file that a part of this process's memory is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, *_, name = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in where.split("-"))
        if start <= address < end:
            return name
    return ""
