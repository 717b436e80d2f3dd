"""Add-ons as text: what a visitor has taught is kept in the browser, and sent along with each request."""

import base64
import hashlib
import threading
from collections import OrderedDict
from weakref import WeakKeyDictionary

from landmark_models.classifier import LandmarkClassifier
from landmark_models.teaching import AddOn, AddOnError
from landmark_models.text import listed

MAX_BYTES = 500_000  # of an add-on; a landmark of the default model takes 2.6 kB
MAX_TEXT = 4 * -(-MAX_BYTES // 3)  # characters of the same in base64

_WHAT = "What was taught"
_KEPT = 8  # add-ons of the last visitors that needn't be read again
_kept: WeakKeyDictionary[LandmarkClassifier, OrderedDict[bytes, LandmarkClassifier]] = WeakKeyDictionary()
_lock = threading.Lock()


def encoded(addon: AddOn) -> str:
    """An add-on as base64.

    Raises:
        AddOnError: it is too large to be sent again and again.
    """
    content = addon.to_bytes()
    if len(content) > MAX_BYTES:
        raise AddOnError(
            f"{len(addon):,} landmarks take more than {MAX_BYTES / 1e6:g} MB, too much to be taught here; "
            "`landmarks teach` on a computer of your own has no such limit."
        )
    return base64.b64encode(content).decode("ascii")


def decoded(text: str) -> AddOn:
    """The add-on that a stranger sends as base64.

    Raises:
        AddOnError: it isn't base64, is too large, or isn't an add-on.
    """
    if not isinstance(text, str):
        raise AddOnError(f"{_WHAT} is sent as text: the bytes of an add-on in base64.")
    text = "".join(text.split())  # as commands print base64, in lines
    if len(text) > MAX_TEXT:
        raise AddOnError(f"{_WHAT} is larger than {MAX_BYTES / 1e6:g} MB, too large for this page.")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise AddOnError(f"{_WHAT} isn't base64, as `/teach` gives it.") from None
    return AddOn.from_bytes(content, _WHAT)


def check_teachable(classifier: LandmarkClassifier) -> None:
    """The same error as the classifier's own, without the folder that its model is in.

    Raises:
        AddOnError: the model can't be taught.
    """
    if not classifier.served.has_statistics:
        raise AddOnError("The model that answers here can't be taught; it lacks the statistics of its features.")


def with_addon(classifier: LandmarkClassifier, text: str | None) -> LandmarkClassifier:
    """A classifier that also knows what a visitor has taught; without that, the classifier itself.

    Raises:
        AddOnError: as `decoded`, or it was taught to another model.
    """
    if text is None or text == "":
        return classifier
    digest = hashlib.sha256(str(text).encode(errors="replace")).digest()
    with _lock:
        kept = _kept.setdefault(classifier, OrderedDict())  # goes with the classifier, when another model serves
        if digest in kept:
            kept.move_to_end(digest)
            return kept[digest]
    addon = decoded(text)
    check_teachable(classifier)
    if addon.features != classifier.features_digest:
        raise AddOnError(
            f"{listed(addon.labels, 3)}: taught to {addon.model or 'another model'}, which isn't the one that answers "
            "here. Teach this one."
        )
    taught = classifier.with_more(addon)
    with _lock:
        kept[digest] = taught
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    return taught
