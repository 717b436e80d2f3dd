"""What a page that runs in the browser is told of its model: how to ask it, what is known of its labels, its figures.

The texts come from the code that serves the model elsewhere, so that the same answer reads the same everywhere.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torchvision.transforms import CenterCrop, InterpolationMode, Normalize, Resize

from landmark_models import LandmarkClassifier, __version__, models
from landmark_models.errors import LandmarkError
from landmark_models.networks.served import Outputs
from landmark_models.photo import DECODED_MARGIN
from landmark_models.tagging.tags import CSV_COLUMNS, Tags
from landmark_models.text import percent

_FILTERS = {
    InterpolationMode.BILINEAR: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    InterpolationMode.LANCZOS: "lanczos",
}


def input_facts(classifier: LandmarkClassifier) -> dict[str, Any]:
    """How the page makes a photo the network's input, from the serving transform; `static/photo.js` does it.

    Raises:
        LandmarkError: the transform has a step that the page lacks.
    """
    steps = list(classifier.transform.transforms)
    resize, crop, _, normalize = steps if len(steps) == 4 else [None] * 4
    if not (isinstance(resize, Resize) and isinstance(crop, CenterCrop) and isinstance(normalize, Normalize)):
        names = ", ".join(type(step).__name__ for step in steps)
        raise LandmarkError(f"{classifier.source} prepares photos in a way that the page for browsers lacks: {names}.")
    if resize.interpolation not in _FILTERS:
        method = str(resize.interpolation.value)
        raise LandmarkError(f"{classifier.source} resizes photos by {method}, which the page for browsers lacks.")
    return {
        "size": list(crop.size),
        "resize": resize.size if isinstance(resize.size, int) else list(resize.size),
        "filter": _FILTERS[resize.interpolation],
        "mean": torch.as_tensor(normalize.mean).flatten().tolist(),
        "std": torch.as_tensor(normalize.std).flatten().tolist(),
        "enough": DECODED_MARGIN * classifier.min_side,
    }


def landmark_facts(classifier: LandmarkClassifier) -> dict[str, Any]:
    """What is said of an answer: what is known of each label, by index, and the verdicts."""
    count = len(classifier.labels)
    answers = classifier.rank(Outputs(100 * torch.eye(count), torch.full((count,), math.inf)), top_k=1)
    none = classifier.rank(Outputs(torch.zeros(1, count), torch.tensor([-math.inf])), top_k=1)[0]
    return {
        "landmarks": [_landmark(Tags.of(answer)) for answer in answers],
        "verdicts": {"known": answers[0].verdict, "unknown": none.verdict},
        "columns": CSV_COLUMNS,
    }


def _landmark(tags: Tags) -> dict[str, Any]:
    entry = tags.landmark
    position = entry.position if entry else None
    annotation = tags.annotations()["landmarkAnnotations"][0]
    return {
        "label": tags.best.label,
        "name": tags.nearest,
        "heading": entry.heading if entry else "",
        "place": entry.place if entry else "",
        "country": entry.country if entry else "",
        "about": entry.about if entry else "",
        "map": entry.map_url if entry and (entry.address or position) else "",
        "position": position,
        "reach": entry.reach if entry else 0,
        "hashtags": tags.hashtags,
        "altText": tags.alt_text,
        "annotation": {key: annotation[key] for key in ("mid", "description", "locations")},
        "xmp": tags.xmp(),
        "xmpWithPosition": tags.xmp(camera_position=True) if position else "",
    }


def trust(landmark: dict[str, Any]) -> str:
    """How often a model is right, from the `landmark` block of its config; empty where that has no figures."""
    shares = []
    for block, photos in (
        ("elsewhere", "photos that other people took"),
        ("test", "test photos like those that it learned from"),
    ):
        if figures := landmark.get(block):
            low, high = (percent(bound, 1) for bound in figures["top1_ci95"])
            shares.append(f"on {percent(figures['top1'], 1)} ({low} to {high}) of {figures['n']:,} {photos}")
    sentences = [f"Right first time {', and '.join(shares)}."] if shares else []
    others = landmark.get("elsewhere", {}).get("others", {}).values()
    if n := sum(part["n"] for part in others):
        share = percent(sum(part["named"] for part in others) / n)
        sentences.append(f"Of {n:,} photos of other things, it names {share} wrongly.")
    return " ".join(sentences)


def card_address(source: str) -> str:
    """Where the card of a model of the Hub is; empty for any other MODEL."""
    return f"https://huggingface.co/{models.repo_id(source)}" if models.on_hub(source) else ""


def about(classifier: LandmarkClassifier, runtime: str) -> Iterator[str]:
    """Paragraphs about the model, its limits, privacy, and what the page is made of."""
    model = f"the model {models.name_of(classifier.source)}"
    if classifier.source in models.EMBEDDED:
        model += ", which comes with landmark-models"
    if classifier.revision:
        model += f", revision {classifier.revision[:12]}"
    count = len(classifier.labels)
    yield f"A neural network names the landmarks: {model}. It has learned {count:,} of them, and knows no others."
    if "not_fitted" in (classifier.landmark.get("calibration") or {"not_fitted": True}):
        yield "Its scores are not calibrated: they do not say how often it is right."
    yield (
        "It knows these landmarks as its training photos show them. It may miss rare views, such as at night or from "
        "inside, and may take a photo of something else for one of them. Don't use it where a wrong name could harm "
        "anyone, nor to find out where somebody is."
    )
    yield (
        "Your photos stay on this device: the model comes to them, and nothing is sent anywhere. A map opens only when "
        "you click its link. After the first visit, the page works without a network."
    )
    yield f"Made by landmark-models {__version__} (Apache-2.0). It runs on {runtime} (MIT, Microsoft Corporation)."
