"""Add-ons as text: what is sent is read with care, and read once."""

import base64
import gc
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landmark_models import LandmarkClassifier
from landmark_models.page import addons
from landmark_models.page.addons import MAX_BYTES, MAX_TEXT, decoded, encoded, with_addon
from landmark_models.teaching import AddOn, AddOnError, Facts


@pytest.fixture(scope="module")
def classifier() -> LandmarkClassifier:
    return LandmarkClassifier.load()


@pytest.fixture(scope="module")
def addon(classifier) -> AddOn:
    """Two landmarks, of noise."""
    vectors = torch.randn(2, classifier.served.mean.numel(), generator=torch.Generator().manual_seed(0)).half()
    counts = torch.tensor([5, 3], dtype=torch.int32)
    return AddOn(classifier.features_digest, ("Town Hall", "गेट"), counts, vectors, {"गेट": Facts(place="Bath")})


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_an_add_on_is_text_and_back(addon):
    text = encoded(addon)
    assert text.isascii()
    for sent in (text, "\n".join(text[start : start + 76] for start in range(0, len(text), 76))):
        read = decoded(sent)
        assert (read.features, read.labels, dict(read.facts)) == (addon.features, addon.labels, dict(addon.facts))
        assert torch.equal(read.vectors, addon.vectors)
        assert torch.equal(read.counts, addon.counts)


def test_what_is_no_add_on_is_answered_with_a_sentence(addon):
    content = addon.to_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    damaged = replace(addon, vectors=addon.vectors.clone())
    damaged.vectors[0, 0] = torch.nan
    pickled = text_of(b"\x80\x04\x95" + bytes(100))
    cases = {
        "isn't base64": ["no add-on", "=" * 8, "AAA", "é" * 8, "\ud800" * 8, "data:text/plain;base64,AAAA"],
        "can't be read": ["AAAA", pickled, text_of(content[:-2]), text_of(content[:20]), text_of(b"\xff" * 64)],
        "as text": [12, ["AAAA"], {"path": "/etc/passwd"}, True],
        "larger than 0.5 MB": ["A" * (MAX_TEXT + 1)],
        "isn't a file of taught": [text_of(b"\2\0\0\0\0\0\0\0{}")],
        "impossible numbers": [text_of(damaged.to_bytes())],
        "is damaged": [text_of(content[:header].replace(b'"labels":"[', b'"labels":"{') + content[header:])],
    }
    for sentence, texts in cases.items():
        for text in texts:
            with pytest.raises(AddOnError, match=sentence):
                decoded(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_with_a_sentence(content):
    with pytest.raises(AddOnError):
        decoded(text_of(content))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "I32", "F32", "BF16", "BOOL", "F8_E4M3", "F4", "X"]),
        "shape": st.lists(st.integers(0, 3) | st.just(2**62), max_size=3),
        "data_offsets": st.tuples(st.integers(0, 12), st.integers(0, 24)),
    }
)
_METADATA = st.fixed_dictionaries(
    {"format": st.just("1"), "features": st.text(max_size=3)},
    optional={
        "labels": (st.lists(st.text(max_size=3), max_size=3) | _JSON).map(json.dumps) | st.text(max_size=9),
        "landmarks": (
            st.dictionaries(st.text(max_size=3), st.dictionaries(st.sampled_from(["name", "tags", "latitude"]), _JSON))
            | _JSON
        ).map(json.dumps),
    },
)


@given(_METADATA, st.dictionaries(st.sampled_from(["vectors", "counts", "projection"]), _TENSORS), st.binary())
def test_any_header_is_answered_with_a_sentence(metadata, tensors, data):
    header = json.dumps({"__metadata__": metadata, **tensors}).encode()
    try:
        addon = decoded(text_of(len(header).to_bytes(8, "little") + header + data))
    except AddOnError as error:
        assert str(error).startswith("What was taught")  # noqa: PT017 (others are fine, too)
    else:
        assert len(addon) == len(addon.vectors) > 0


def test_too_many_landmarks_arent_encoded(addon):
    count = MAX_BYTES // (2 * addon.vectors.shape[1]) + 1
    labels = tuple(f"Landmark {number}" for number in range(count))
    many = replace(
        addon, labels=labels, counts=torch.ones(count, dtype=torch.int32), vectors=addon.vectors[:1].expand(count, -1)
    )
    with pytest.raises(AddOnError, match=rf"^{count} landmarks take more than 0.5 MB"):
        encoded(many)
    fewer = replace(many, labels=labels[:180], counts=many.counts[:180], vectors=many.vectors[:180], facts={})
    assert len(encoded(fewer)) <= MAX_TEXT
    assert len(decoded(encoded(fewer))) == 180


def test_what_was_sent_counts_beside_what_is_served(classifier, addon):
    assert with_addon(classifier, None) is with_addon(classifier, "") is classifier
    served = classifier.with_taught(replace(addon, labels=("Town Hall", "Church")))
    sent = with_addon(served, encoded(addon))
    assert sent.labels == [*classifier.labels, "Town Hall", "Church", "गेट"]
    assert sent.taught.get("Church").photos == 3
    assert sent.taught.get("गेट").facts.place == "Bath"
    assert sent.with_taught().labels == classifier.labels
    body = addon.vectors.float()
    assert sent.head(body).logits.shape == (2, len(sent.labels))


def test_an_add_on_is_read_once_while_the_model_serves(addon, monkeypatch):
    monkeypatch.setattr(addons, "_KEPT", 2)
    classifier, reads = LandmarkClassifier.load(), []
    monkeypatch.setattr(addons, "decoded", lambda text: reads.append(text) or decoded(text))
    texts = [encoded(replace(addon, labels=("A", f"B{number}"), facts={})) for number in range(3)]
    first = with_addon(classifier, texts[0])
    assert with_addon(classifier, texts[0]) is first
    assert len(reads) == 1
    for text in texts:
        with_addon(classifier, text)
    assert len(reads) == 3
    with_addon(classifier, texts[0])  # others were asked for since
    assert len(reads) == 4
    count = len(addons._kept)
    del classifier, first
    gc.collect()
    assert len(addons._kept) < count  # a model that is replaced isn't kept in memory


def test_an_add_on_for_another_model_is_refused(classifier, addon):
    with pytest.raises(AddOnError, match=r"taught to another model.*Teach this one"):
        with_addon(classifier, encoded(replace(addon, features="0" * 64)))
    with pytest.raises(AddOnError, match="wrong length"):
        with_addon(classifier, encoded(replace(addon, vectors=addon.vectors[:, :7])))
