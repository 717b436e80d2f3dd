"""What the page shows of the model that serves: facts."""

import pytest

from landmark_models import LandmarkClassifier
from landmark_models.page.facts import model_facts


@pytest.fixture
def classifier(run) -> LandmarkClassifier:
    classifier = LandmarkClassifier.load(run.path)
    classifier.landmark["test"] = {"top1": 0.9, "top1_ci95": [0.88, 0.92], "n": 848, "data": "photos60"}
    return classifier


def test_figures_on_photos_from_elsewhere_are_given_as_far_as_they_are_known(classifier):
    def facts() -> str:
        return model_facts(classifier, "")

    assert "90.0% of 848 test photos (95% interval 88.0% to 92.0%, photos60)" in facts()
    assert "elsewhere" not in facts()
    elsewhere = {"data": "wild60", "n": 211, "top1": 0.924, "top1_ci95": [0.88, 0.955]}
    classifier.landmark["elsewhere"] = elsewhere
    text = "On 211 photos from elsewhere (wild60) it is right first time on 92.4% (95% interval 88.0% to 95.5%). "
    assert text in facts()
    assert "It names" not in facts()
    elsewhere["named"] = {"photos": 211, "named": 190, "right": 184}
    assert "It names 90% of them (96 of 100 such answers right). " in facts()
    elsewhere["others"] = {"far": {"n": 300, "named": 6}}
    assert "It names 90% of them (96 of 100 such answers right), and 2% of 300 photos of anything else." in facts()
    elsewhere["others"]["near"] = {"n": 150, "named": 12}
    assert "such answers right), 8% of 150 photos of other landmarks, streets and buildings, and 2% of" in facts()
    elsewhere["named"] = {"photos": 211, "named": 0, "right": 0}
    assert "It names 0% of them, 8% of" in facts()


@pytest.mark.parametrize(
    ("source", "name"), [("default", "The embedded model"), ("compact", "The embedded model compact")]
)
def test_an_embedded_model_is_called_embedded(classifier, source, name):
    classifier.source = source
    assert model_facts(classifier, "").startswith(f"{name} knows 3 landmarks. Right first time on 90.0% of 848")


def test_a_model_from_the_hub_is_shown_with_name_revision_and_reason(classifier):
    classifier.source, classifier.revision = "hf-hub:alice/net@main", "0123456789abcdef"
    facts = model_facts(classifier, "It is the best.")
    assert facts.startswith("Model **alice/net**, revision `0123456789ab`, knows 3 landmarks")
    assert "It is the best.\n\n**Limits.**" in facts


def test_untrusted_text_is_escaped(classifier):
    classifier.source = "<img src=x onerror=alert(1)>"
    classifier.landmark["test"]["data"] = "it's [a](trap)"
    facts = model_facts(classifier, "")
    assert "<img" not in facts
    assert "[a](" not in facts
    assert r"it's \[a\]" in facts


def test_without_figures_it_says_so(classifier):
    del classifier.landmark["test"]
    assert "It has no test figures." in model_facts(classifier, "")
