"""What the page says of the model that serves, in Markdown."""

from pathlib import Path
from typing import Any

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier, right_of_100
from landmark_models.text import for_markdown, percent

_LIMITS = (
    "**Limits.** It knows these landmarks as its training photos show them; it may miss rare views, such as at night "
    "or from inside, and may take a photo of something else for one of them. Don't use it where a wrong name could "
    "harm anyone."
)


def model_name(source: str) -> str:
    """What a MODEL is called: its name on the Hub, an embedded model's name, or the last part of a folder's path."""
    return models.repo_id(source) if models.on_hub(source) else Path(source).resolve().name


def model_facts(classifier: LandmarkClassifier, why: str) -> str:
    """Facts about a model and, after them, why it is the one that serves."""
    source = classifier.source
    name = f"Model **{for_markdown(model_name(source))}**"
    if classifier.source in models.EMBEDDED:
        name = "The embedded model" if classifier.source == "default" else f"The embedded model {classifier.source}"
    revision = f", revision `{classifier.revision[:12]}`," if classifier.revision else ""
    facts = [f"{name}{revision} knows {len(classifier.labels)} landmarks."]
    if test := classifier.landmark.get("test"):
        facts.append(
            f"Right first time on {percent(test['top1'], 1)} of {test['n']} test photos "
            f"({_interval(test)}, {for_markdown(test['data'])})."
        )
    else:
        facts.append("It has no test figures.")
    if elsewhere := classifier.landmark.get("elsewhere"):
        facts += _on_photos_from_elsewhere(elsewhere)
    if (calibration := classifier.landmark.get("calibration")) and "not_fitted" not in calibration:
        facts.append("Of its answers to photos of these landmarks with a score of 80%, about 80 in 100 are right.")
    else:
        facts.append("Its scores are not calibrated: they do not say how often it is right.")
    facts.append(for_markdown(why))
    return f"{' '.join(facts).strip()}\n\n{_LIMITS}"


def _on_photos_from_elsewhere(figures: dict[str, Any]) -> list[str]:
    """Sentences about photos from elsewhere; figures that a config lacks are left out."""
    sentences = [
        f"On {figures['n']} photos from elsewhere ({for_markdown(figures['data'])}) it is right first time on "
        f"{percent(figures['top1'], 1)} ({_interval(figures)})."
    ]
    shares = []
    if (named := figures.get("named")) and named["photos"]:
        right = f" ({right_of_100(named)} of 100 such answers right)" if named["named"] else ""
        shares.append(f"{percent(named['named'] / named['photos'])} of them{right}")
    others = figures.get("others", {})
    for group, content in (("near", "other landmarks, streets and buildings"), ("far", "anything else")):
        if (part := others.get(group)) and part["n"]:
            shares.append(f"{percent(part['named'] / part['n'])} of {part['n']} photos of {content}")
    if shares:
        listed = shares[0] if len(shares) == 1 else f"{', '.join(shares[:-1])}, and {shares[-1]}"
        sentences.append(f"It names {listed}.")
    return sentences


def _interval(figures: dict[str, Any]) -> str:
    low, high = (percent(bound, 1) for bound in figures["top1_ci95"])
    return f"95% interval {low} to {high}"
