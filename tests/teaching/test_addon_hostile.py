"""Add-ons of strangers: whatever is in a file is answered with a sentence, and what can be read does no harm."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from landmark_models import LandmarkClassifier
from landmark_models.teach import checked_label
from landmark_models.teaching import AddOn, AddOnError, Facts, combined
from landmark_models.text import for_terminal

RIGHT_TO_LEFT = "\u202e"
UNSHOWN = [
    "", " ", "a\nb", "a\tb", "\x1b[2J", "a\0", f"a{RIGHT_TO_LEFT}b", "\u2066a", "\u2028", "\ufeff", "\u200d",
    "\u200c \u200d", "x" * 256, "x" * 10_000,
]  # fmt: skip
SHOWN = ["<img src=x onerror=alert(1)>", "क्‍ष", "می‌خواهم", "x" * 255, "Town Hall, Bath", "=1+1", "{{ 7 * 7 }}", "❤️"]


@pytest.fixture(scope="module")
def classifier() -> LandmarkClassifier:
    return LandmarkClassifier.load()


def content(labels, facts=None, vectors=None, counts=None, **more) -> bytes:
    """A file whose parts are as given."""
    vectors = torch.ones(len(labels), 4).half() if vectors is None else vectors
    counts = torch.ones(len(labels), dtype=torch.int32) if counts is None else counts
    header = {"format": "1", "features": "f", "labels": json.dumps(labels), "landmarks": json.dumps(facts or {})}
    return save({"vectors": vectors, "counts": counts, **more}, header)


@pytest.mark.parametrize("label", UNSHOWN)
def test_a_label_that_cannot_be_shown_is_refused(label, tmp_path):
    with pytest.raises(AddOnError, match="is no name for a landmark") as refused:
        checked_label(label)
    assert for_terminal(str(refused.value)) == str(refused.value)
    assert len(str(refused.value)) < 200
    (tmp_path / "a.landmarks.safetensors").write_bytes(content([label]))
    for read in (
        lambda: AddOn.from_bytes(content(["fine", label]), "it"),
        lambda: AddOn.read(tmp_path / "a.landmarks.safetensors"),
    ):
        with pytest.raises(AddOnError, match="is damaged: its labels"):
            read()


@pytest.mark.parametrize("label", SHOWN)
def test_a_label_that_can_be_shown_is_kept_to_the_letter(label):
    assert checked_label(f" {label} ") == label
    assert AddOn.from_bytes(content([label]), "it").labels == (label,)


@pytest.mark.parametrize(
    "facts",
    [
        {"place": f"Bath{RIGHT_TO_LEFT}"}, {"country": "\x1b[2J"}, {"name": "a\nb"}, {"tags": ["fine", "a\0"]},
        {"place": "x" * 256}, {"tags": ["a"] * 21}, {"latitude": 91}, {"latitude": float("nan")}, {"longitude": 1e400},
        {"place": 7}, {"tags": "abc"},
    ],
)  # fmt: skip
def test_facts_that_cannot_be_shown_are_refused(facts):
    with pytest.raises(AddOnError, match="can't be stored"):
        Facts.checked(**facts)
    with pytest.raises(AddOnError, match="is damaged"):
        AddOn.from_bytes(content(["a"], {"a": facts}), "it")


def test_facts_that_somebody_gives_are_kept():
    given = {"name": "गेट", "place": " Bath ", "country": "GB", "latitude": 51.4, "longitude": -2, "tags": ["a", "b"]}
    assert Facts.checked(**given) == Facts("गेट", "Bath", "GB", 51.4, -2.0, ("a", "b"))
    assert Facts.checked() == Facts()


_TENSORS = st.sampled_from(
    [
        torch.ones(2, 4).half(), torch.ones(2, 3).half(), torch.ones(1, 4).half(), torch.ones(2, 0).half(),
        torch.ones(2, 4), torch.tensor(1.0).half(), torch.full((2, 4), torch.nan).half(),
        torch.full((2, 4), torch.inf).half(), torch.full((2, 4), 2000.0).half(), torch.zeros(0, 4).half(),
        torch.ones(4, 0).half(),
        torch.zeros(2, 4).half(), torch.ones(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int32),
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, 1, dtype=torch.int32), torch.full((2,), 2**31 - 1, dtype=torch.int32), torch.ones(2, 4, 1).half(),
        torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 4).to(torch.float8_e4m3fn),
        torch.ones(2, 4).to(torch.complex64),
    ]
)  # fmt: skip


@given(_TENSORS, _TENSORS, _TENSORS | st.none())
def test_tensors_that_do_not_fit_are_refused(vectors, counts, projection):
    more = {} if projection is None else {"projection": projection.clone()}
    try:
        addon = AddOn.from_bytes(content(["a", "b"], {}, vectors.clone(), counts.clone(), **more), "it")
    except AddOnError:
        return
    assert addon.vectors.isfinite().all()
    assert len(addon.vectors) == len(addon.counts) == 2
    assert addon.width > 0


def test_vectors_that_cancel_out_or_are_extreme_give_finite_answers(classifier):
    body = torch.randn(3, classifier.served.mean.numel(), generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, body.shape[1]).half()
    for vectors in (0 * ones, 1000 * ones, 6e-8 * ones):
        for count in (1, 2**31 - 1):
            addon = AddOn(classifier.features_digest, ("a",), torch.tensor([count], dtype=torch.int32), vectors)
            opposite = AddOn(addon.features, addon.labels, addon.counts, -vectors)
            for taught in (addon, combined([addon, opposite])):
                outputs = classifier.with_taught(taught).head(body)
                assert outputs.logits.isfinite().all()
                assert outputs.scores.isfinite().all()


def test_add_ons_of_the_same_model_with_other_widths_are_not_combined(classifier):
    digest, count = classifier.features_digest, torch.ones(1, dtype=torch.int32)
    short, long = (AddOn(digest, ("a",), count, torch.ones(1, width).half()) for width in (7, 8))
    with pytest.raises(AddOnError, match="can't be combined"):
        combined([short, long])
    with pytest.raises(AddOnError, match="wrong length"):
        classifier.with_taught(short)
    projected = AddOn(digest, ("a",), count, torch.ones(1, 2).half(), projection=torch.ones(2, 7).half())
    with pytest.raises(AddOnError, match="wrong length"):
        classifier.with_more(projected)
