"""What the tab to teach shows, in HTML, in any language."""

import re
from collections.abc import Sequence

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.addons import encoded
from landmark_models.page.languages import in_language
from landmark_models.page.teach_handlers import Known, Work
from landmark_models.page.templates import macros, text
from landmark_models.tagging.gazetteer import entry_of
from landmark_models.teach import FEW
from landmark_models.teaching import SUFFIX, AddOn, AddOnError

_LISTED = 50  # landmarks


def photos_html(work: Work, language: str) -> str:
    """The photos that were collected, with a mark where one is unlike the rest, and a button to remove each."""
    return text(macros("teach.html", language).photos(work.photos, work.left_out, work.unreadable))


def lesson_html(work: Work, classifier: LandmarkClassifier, for_everybody: bool, language: str) -> str:
    """What the photos have taught the classifier, and how well it will be recognised; or why the last step failed."""
    said, say = macros("teach.html", language), in_language(language)
    lesson = work.lesson
    problem = text(said.problem(work.problem)) if work.problem else ""
    if lesson is None:
        return (
            problem
            or f"<p>{say('What helps: 5 photos or more, of the whole building, from several sides, by day.')}</p>"
        )
    confused_with = ""
    if lesson.confused_with:
        label = lesson.confused_with[0]
        taught = classifier.taught.get(label) if classifier.taught else None
        entry = entry_of(label, taught and taught.facts, language)
        confused_with = entry.name if entry else label
    count = len(lesson.used) + (int(work.before.counts[0]) if work.before else 0)
    knew = bool(classifier.taught and lesson.label in classifier.labels and not classifier.taught.get(lesson.label))
    return problem + text(said.lesson(lesson, count, confused_with, FEW, knew, for_everybody))


def taught_html(known: Known, for_everybody: bool, language: str) -> str:
    """What was taught by now, with a button to forget each, and a link that saves all."""
    addon = known.addon
    landmarks = _landmarks(addon, language) if addon else []
    more = len(addon) - len(landmarks) if addon else 0
    name = file_name(addon.labels) if addon else ""
    content = _content(addon) if addon else ""
    taught = macros("teach.html", language).taught
    return text(taught(landmarks, more, name, content, known.waiting, for_everybody))


def file_name(labels: Sequence[str]) -> str:
    """What a file of these landmarks is called."""
    stem = re.sub(r"[\W_]+", "-", labels[0]).strip("-")[:80] if len(labels) == 1 else ""
    return f"{stem or 'taught'}{SUFFIX}"


def _landmarks(addon: AddOn, language: str) -> list[dict[str, str]]:
    """Label, name and facts of the first landmarks of an add-on."""
    say, rows = in_language(language), []
    for label, count in zip(addon.labels[:_LISTED], addon.counts[:_LISTED].tolist(), strict=True):
        entry = entry_of(label, addon.facts.get(label), language)
        photos = say.plural("{count} photo", "{count} photos", count)
        facts = " · ".join(filter(None, (entry.address if entry else "", photos)))
        rows.append({"label": label, "name": entry.name if entry else label, "facts": facts})
    return rows


def _content(addon: AddOn) -> str:
    """The file of an add-on as an address, so that the page itself holds it; empty if it is too large for that."""
    try:
        return f"data:application/octet-stream;base64,{encoded(addon)}"
    except AddOnError:
        return ""
