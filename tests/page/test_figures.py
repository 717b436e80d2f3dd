"""What the page says of the model's figures."""

import pytest

from landmark_models import LandmarkClassifier
from landmark_models.page.figures import figures_table, how_well_known, is_calibrated, trust, which_model
from landmark_models.page.serving import Served

TEST = {"data": "photos60", "n": 848, "top1": 0.9, "top1_ci95": [0.88, 0.92]}


def cells(landmark: dict, language: str = "en") -> dict[str, list[str]]:
    """The rows of the table by their first cell."""
    rows = [line.strip("| ").split(" | ") for line in figures_table(landmark, language).splitlines()[2:]]
    return {first: rest for first, *rest in rows}


def test_figures_are_given_with_n_and_interval_as_far_as_they_are_known():
    landmark = {"test": dict(TEST)}
    first = "Test photos (photos60): right first time"
    assert cells(landmark) == {first: ["848", "90.0% (88.0% to 92.0%)"]}
    landmark["test"] |= {"top3": 0.96, "top3_ci95": [0.95, 0.97], "named": {"photos": 848, "named": 759, "right": 755}}
    landmark["elsewhere"] = {
        **TEST, "data": "wild60", "n": 211, "others": {"near": {"n": 140, "named": 8}, "far": {"n": 505, "named": 9}},
    }  # fmt: skip
    assert cells(landmark) == {
        first: ["848", "90.0% (88.0% to 92.0%)"],
        "Test photos (photos60): right among the first three": ["848", "96.0% (95.0% to 97.0%)"],
        "Test photos: named": ["848", "89.5% (87.3% to 91.4%)"],
        "Test photos: names that are right": ["759", "99.5% (98.7% to 99.8%)"],
        "Photos from elsewhere (wild60): right first time": ["211", "90.0% (88.0% to 92.0%)"],
        "Other landmarks, streets and buildings: wrongly named": ["140", "5.7% (2.9% to 10.9%)"],
        "Photos of anything else: wrongly named": ["505", "1.8% (0.9% to 3.4%)"],
    }


def test_a_model_that_names_nothing_has_no_share_of_right_names():
    table = figures_table({"test": TEST | {"named": {"photos": 848, "named": 0, "right": 0}}}, "en")
    assert "named | 848 | 0.0% (0.0% to 0.5%) |" in table
    assert "names that are right" not in table


def test_without_figures_there_is_no_number():
    assert figures_table({}, "en") == "This model has no test figures."


def test_markup_in_a_name_is_text():
    table = figures_table({"test": TEST | {"data": "<b>it's | [a](trap)"}}, "en")
    assert r"&lt;b&gt;it's \| \[a\](trap)" in table


def test_how_well_a_landmark_is_known_is_counted_in_photos():
    landmark = {"test": {"per_class": {"Red Tower": [15, 14]}}, "elsewhere": {"per_class": {"Red Tower": [3, 1]}}}
    known = "Right on 14 of 15 test photos. Right on 1 of 3 photos from elsewhere."
    assert how_well_known(landmark, "Red Tower", "en") == known
    assert how_well_known(landmark, "Blue Lake", "en") == ""
    assert how_well_known({}, "Red Tower", "en") == ""


def test_scores_are_calibrated_only_where_they_were_fitted():
    assert is_calibrated({"calibration": {"n": 362}})
    assert not is_calibrated({"calibration": {"not_fitted": "too few photos"}})
    assert not is_calibrated({})


@pytest.mark.parametrize(
    ("source", "revision", "text"),
    [
        ("compact", None, "The embedded model **compact** knows 3 landmarks. "),
        ("/home/alice/models/net", None, "The model **net** knows 3 landmarks. "),
        ("hf-hub:alice/net@main", "0123456789abcdef", "The model **alice/net** knows 3 landmarks. Its revision is"),
        ("hf-hub:alice/net@main", "0123456789abcdef", "`0123456789ab`. <span lang='en'>It's \\*best\\*.</span>"),
        ("<img src=x>", None, "**&lt;img src=x&gt;**"),
    ],
)
def test_the_model_that_serves_is_named_with_its_reason(sure, source, revision, text):
    classifier = LandmarkClassifier.load(sure)
    classifier.source, classifier.revision = source, revision
    assert text in which_model(Served(classifier, "It's *best*."), "en")


def test_trust_comes_from_photos_from_elsewhere_where_they_are_measured():
    figures = {"n": 848, "top1": 0.9, "top1_ci95": [0.88, 0.92]}
    assert trust({}, "en") == ""
    text = trust({"test": figures}, "en")
    assert text == "**How far to trust it.** Right first time on 90.0% of 848 test photos (88.0% to 92.0%)."
    others = {"near": {"n": 140, "named": 8}, "far": {"n": 505, "named": 9}}
    text = trust({"test": figures, "elsewhere": {**figures, "n": 211, "others": others}}, "en")
    assert "90.0% of 211 photos from elsewhere" in text
    assert "test photos" not in text
    assert "Of 645 photos of other things, it names 3% wrongly." in text
