"""What a browser keeps of what its visitor has taught: an add-on as text for each model, by the digest of its features.

Nothing of it stays on the server. The browser sends it along with each question, so it may hold anything.
"""

from typing import Any

import gradio as gr

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.addons import decoded, encoded, with_addon
from landmark_models.teaching import AddOn, AddOnError

Kept = dict[str, str]

_MODELS = 4  # for which a browser keeps add-ons; it has room for a few megabytes


def browser_state() -> gr.BrowserState:
    """The component that keeps it, beyond a visit and a restart of the server.

    Gradio would choose another key and secret at each start. The secret is none: it is sent to every browser.
    """
    return gr.BrowserState({}, storage_key="taught-landmarks", secret="taught-landmarks")


def kept_text(kept: Any, classifier: LandmarkClassifier) -> str:
    """The add-on for a model, as text; empty if there is none."""
    try:
        text = kept.get(classifier.features_digest) if isinstance(kept, dict) else None
    except AddOnError:  # the model can't be taught
        return ""
    return text if isinstance(text, str) else ""


def kept_addon(kept: Any, classifier: LandmarkClassifier) -> AddOn | None:
    """The add-on for a model.

    Raises:
        AddOnError: it is damaged, or not what its place says.
    """
    if not (text := kept_text(kept, classifier)):
        return None
    with_addon(classifier, text)
    return decoded(text)


def knowing(classifier: LandmarkClassifier, kept: Any) -> LandmarkClassifier:
    """A classifier that also knows what was taught; itself if that is damaged, which `kept_addon` says."""
    return knowing_text(classifier, kept_text(kept, classifier))


def knowing_text(classifier: LandmarkClassifier, text: str) -> LandmarkClassifier:
    """The same for an add-on as text, which may have been taught to a model that serves no more."""
    try:
        return with_addon(classifier, text)
    except AddOnError:
        return classifier


def waiting(kept: Any, classifier: LandmarkClassifier) -> list[str]:
    """The labels that were taught to other models, and wait for them to serve again."""
    labels: list[str] = []
    if not classifier.served.has_statistics:
        return labels
    for digest, text in kept.items() if isinstance(kept, dict) else ():
        if digest != classifier.features_digest:
            try:
                labels += decoded(text).labels
            except AddOnError:
                continue
    return labels


def keep(kept: Any, classifier: LandmarkClassifier, addon: AddOn | None) -> Kept:
    """What a browser keeps from now on: this add-on for this model, and those for the last others.

    Raises:
        AddOnError: it is too large.
    """
    own = classifier.features_digest
    others = {
        digest: text
        for digest, text in (kept.items() if isinstance(kept, dict) else ())
        if digest != own and isinstance(text, str) and text
    }
    # The browser doesn't store what is empty, so that it never is: without a landmark, the text is.
    return {**dict(list(others.items())[1 - _MODELS :]), own: encoded(addon) if addon else ""}


def keep_own(kept: Any, classifier: LandmarkClassifier) -> Kept:
    """What a browser keeps without that for other models."""
    return {classifier.features_digest: kept_text(kept, classifier)}
