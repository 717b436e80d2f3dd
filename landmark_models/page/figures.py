"""What is measured of the model that serves, in the page's languages; without a figure in its config, no number."""

from collections.abc import Iterator
from typing import Any

from landmark_models import models
from landmark_models.intervals import wilson
from landmark_models.page.languages import Language, deferred, in_language
from landmark_models.page.serving import Served
from landmark_models.text import for_markdown


def which_model(served: Served, language: str) -> str:
    """Which model serves, at which revision, and why, in Markdown."""
    say = in_language(language)
    classifier = served.classifier
    count = say.plural("{count} landmark", "{count} landmarks", len(classifier.labels))
    name = for_markdown(models.name_of(classifier.source))
    if classifier.source in models.EMBEDDED:
        text = say("The embedded model **{name}** knows {landmarks}.", name=name, landmarks=count)
    else:
        text = say("The model **{name}** knows {landmarks}.", name=name, landmarks=count)
    if classifier.revision:
        text += " " + say("Its revision is `{revision}`.", revision=classifier.revision[:12])
    return f"{text} <span lang='en'>{for_markdown(served.why)}</span>" if served.why else text


def trust(landmark: dict[str, Any], language: str) -> str:
    """How far to trust the answers, in Markdown, from the figures in a model's config; empty where it has none."""
    say = in_language(language)
    sentences = []
    for block, text in (
        ("elsewhere", deferred("Right first time on {share} of {n} photos from elsewhere ({low} to {high}).")),
        ("test", deferred("Right first time on {share} of {n} test photos ({low} to {high}).")),
    ):
        if figures := landmark.get(block):
            low, high = (say.percent(bound, 1) for bound in figures["top1_ci95"])
            share, n = say.percent(figures["top1"], 1), say.number(figures["n"])
            sentences.append(say(text, share=share, n=n, low=low, high=high))
            break
    others = landmark.get("elsewhere", {}).get("others", {}).values()
    if n := sum(part["n"] for part in others):
        share = say.percent(sum(part["named"] for part in others) / n)
        sentences.append(say("Of {n} photos of other things, it names {share} wrongly.", n=say.number(n), share=share))
    return f"**{say('How far to trust it.')}** {' '.join(sentences)}" if sentences else ""


def figures_table(landmark: dict[str, Any], language: str) -> str:
    """The figures in a model's `landmark` block as a Markdown table, or a sentence that there are none."""
    say = in_language(language)
    lines = list(_figures(landmark, say))
    if not lines:
        return say("This model has no test figures.")
    head = [say("Measured on"), say("Photos"), say("Share (95% interval)")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---", "--:", "--:"), *lines))


def _figures(landmark: dict[str, Any], say: Language) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what is measured, on how many photos, and the share of them."""
    for block, photos in (("test", say("Test photos")), ("elsewhere", say("Photos from elsewhere"))):
        if not (figures := landmark.get(block)):
            continue
        source = f"{photos} ({for_markdown(figures['data'])})"
        for key, text in (
            ("top1", say("right first time")),
            ("top3", say("right among the first three")),
            ("top5", say("right among the first five")),
        ):
            if key in figures:
                yield _row(say, f"{source}: {text}", figures["n"], figures[key], figures[f"{key}_ci95"])
        if named := figures.get("named"):
            text = say("{photos}: {figure}", photos=photos, figure=say("named"))
            yield from _counted(say, text, named["named"], named["photos"])
            text = say("{photos}: {figure}", photos=photos, figure=say("names that are right"))
            yield from _counted(say, text, named["right"], named["named"])
        for group, text in (
            ("near", say("Other landmarks, streets and buildings: wrongly named")),
            ("far", say("Photos of anything else: wrongly named")),
        ):
            if part := figures.get("others", {}).get(group):
                yield from _counted(say, text, part["named"], part["n"])


def _counted(say: Language, text: str, count: int, n: int) -> Iterator[tuple[str, str, str]]:
    if n:
        yield _row(say, text, n, count / n, wilson(count, n))


def _row(say: Language, text: str, n: int, share: float, interval: tuple[float, float]) -> tuple[str, str, str]:
    low, high = (say.percent(bound, 1) for bound in interval)
    return text, say.number(n), say("{share} ({low} to {high})", share=say.percent(share, 1), low=low, high=high)


def how_well_known(landmark: dict[str, Any], label: str, language: str) -> str:
    """On how many photos of one landmark a model was right first time; empty if its config doesn't say."""
    say = in_language(language)
    test, elsewhere = (landmark.get(block, {}).get("per_class", {}).get(label) for block in ("test", "elsewhere"))
    sentences = []
    if test:
        sentences.append(say("Right on {right} of {count} test photos.", right=test[1], count=test[0]))
    if elsewhere:
        sentences.append(
            say("Right on {right} of {count} photos from elsewhere.", right=elsewhere[1], count=elsewhere[0])
        )
    return " ".join(sentences)


def is_calibrated(landmark: dict[str, Any]) -> bool:
    """Whether scores of a model say how often it is right."""
    calibration = landmark.get("calibration") or {"not_fitted": True}
    return "not_fitted" not in calibration
