from dataclasses import replace

import pytest
import torch
from torch import nn

from landmark_models import LandmarkClassifier
from landmark_models.teaching import AddOn
from landmark_models.teaching.taught import Correction, shrunk_means


@pytest.fixture(scope="module")
def classifier() -> LandmarkClassifier:
    return LandmarkClassifier.load(engine="torch")


def addon_of(classifier, vectors, labels=None, count=5) -> AddOn:
    """An add-on with these whitened means `(C, D)`."""
    labels = labels or tuple(f"place {index}" for index in range(len(vectors)))
    counts = torch.full((len(vectors),), count, dtype=torch.int32)
    return AddOn(classifier.features_digest, labels, counts, vectors.half())


def features_towards(classifier, directions):
    """Features whose whitened directions are these."""
    served = classifier.served
    whitening = served.whitening.double()
    return (served.mean.double() + torch.linalg.solve(whitening.T, directions.double().T).T).float()


def directions(classifier, count, seed=0):
    return nn.functional.normalize(
        torch.randn(count, classifier.served.mean.numel(), generator=torch.Generator().manual_seed(seed)), dim=1
    )


def test_a_taught_landmark_is_named_on_the_scale_of_the_known_ones(classifier):
    new = directions(classifier, 1)
    taught = classifier.with_taught(addon_of(classifier, 30 * new, count=50))
    assert taught.labels == [*classifier.labels, "place 0"]
    body = features_towards(classifier, torch.cat([new, classifier.served.whitened_means[:3]]))
    outputs, before = taught.head(body), classifier.head(body)
    assert torch.equal(outputs.logits[:, :-1], before.logits)
    assert outputs.logits.argmax(1).tolist() == [60, 0, 1, 2]
    assert torch.equal(outputs.scores[1:], before.scores[1:])
    # its cosine is that of a known landmark's photo, 1, or a little more for the noise in its mean
    assert 1 < outputs.logits[0, 60] / outputs.logits[1, 0] < 1.1
    answers = taught.rank(outputs)
    assert [answer.known for answer in answers] == [True] * 4
    assert answers[0].taught["place 0"].photos == 50
    assert answers[0].verdict == "Best match of the 61 landmarks known here; taught from 50 photos"
    assert "place 0" not in classifier.labels


def test_a_photo_far_from_what_was_taught_is_not_named(classifier):
    new, other = directions(classifier, 2)
    taught = classifier.with_taught(addon_of(classifier, 30 * new.unsqueeze(0)))
    between = nn.functional.normalize(0.2 * new + other, dim=0)
    (answer,) = taught.rank(taught.head(features_towards(classifier, between.unsqueeze(0))))
    assert answer[0].label == "place 0"
    assert not answer.known
    assert answer.verdict == "None of the 61 landmarks known here"


def test_a_known_label_gets_a_second_mean(classifier):
    new = directions(classifier, 1)
    taught = classifier.with_taught(addon_of(classifier, 30 * new, ("Taj Mahal",), count=50))
    assert taught.labels == classifier.labels
    index = classifier.labels.index("Taj Mahal")
    own = classifier.served.whitened_means[index : index + 1]
    answers = taught.rank(taught.head(features_towards(classifier, torch.cat([new, own]))))
    assert [(answer[0].label, answer.known, answer.taught) for answer in answers] == [("Taj Mahal", True, {})] * 2


def test_more_is_taught_beside_what_was_taught_before(classifier):
    first, second = directions(classifier, 2).split(1)
    one = classifier.with_taught(addon_of(classifier, 30 * first, ("first",)))
    both = one.with_more(addon_of(classifier, 30 * second, ("second",)))
    assert both.labels[-2:] == ["first", "second"]
    answers = both.rank(both.head(features_towards(classifier, torch.cat([first, second]))))
    assert [answer[0].label for answer in answers] == ["first", "second"]
    assert all(answer[0].label in answer.taught for answer in answers)


def test_what_is_taught_one_after_the_other_is_what_is_taught_at_once(classifier):
    first, second, both = (addon_of(classifier, 30 * directions(classifier, 2, seed), ("a", "b")) for seed in (1, 2, 3))
    wide = replace(both, labels=("c", "d"))
    rows = torch.eye(classifier.served.mean.numel())[:16]
    gallery = replace(wide, labels=("e", "f"), vectors=(wide.vectors.float() @ rows.T).half(), projection=rows.half())
    at_once = classifier.with_taught(gallery, first, second)
    chained = classifier.with_taught(gallery).with_more(first).with_more(second)
    other_order = classifier.with_taught(first).with_more(gallery).with_more(second)
    body = features_towards(classifier, directions(classifier, 5, seed=9))
    expected = at_once.head(body)
    assert chained.labels == at_once.labels
    assert torch.equal(chained.head(body).logits, expected.logits)
    assert other_order.labels[-2:] == ["e", "f"]
    assert torch.equal(other_order.head(body).scores, expected.scores)
    assert at_once.taught.get("a").photos == chained.taught.get("a").photos == 10


def test_the_measured_figure_is_not_given_for_a_label_that_was_taught_more_photos(classifier):
    index = classifier.labels.index("Taj Mahal")
    body = features_towards(classifier, classifier.served.whitened_means[[index]])
    taught = classifier.with_taught(addon_of(classifier, 30 * directions(classifier, 1), ("Taj Mahal",)))
    verdicts = [each.rank(each.head(body))[0].verdict for each in (classifier, taught)]
    assert "such answers were right" in verdicts[0]
    assert verdicts[1] == "Best match of the 60 landmarks known here"


def test_a_model_with_another_rule_has_a_bar_for_taught_landmarks_too():
    compact = LandmarkClassifier.load("compact", engine="torch")
    assert compact.known_rule.score != "whitened_cosine"
    bar = compact.least_cosine
    assert bar == compact.landmark["calibration"]["scores"]["whitened_cosine"]["threshold"]
    new, other = directions(compact, 2)
    taught = compact.with_taught(addon_of(compact, 30 * new.unsqueeze(0), count=1000))
    shares = torch.tensor([bar + 0.05, bar - 0.1]).unsqueeze(1)
    other = nn.functional.normalize(other - (other @ new) * new, dim=0)
    photos = features_towards(compact, shares * new + (1 - shares.square()).sqrt() * other)
    answers = taught.rank(taught.head(photos))
    assert [(answer[0].label, answer.known) for answer in answers] == [("place 0", True), ("place 0", False)]


def test_of_many_landmarks_the_nearest_get_scores(classifier):
    many = directions(classifier, 500)
    taught = classifier.with_taught(addon_of(classifier, 30 * many))
    logits = taught.head(features_towards(classifier, many[[7, 499]])).logits
    assert logits.shape == (2, 560)
    assert (logits.argmax(1) - 60).tolist() == [7, 499]
    assert logits.isfinite().sum(1).tolist() == [160, 160]


def test_means_of_many_photos_stay_as_they_are_and_those_of_few_move_towards_the_models_own():
    generator = torch.Generator().manual_seed(0)
    width = 64
    own = nn.functional.normalize(torch.randn(5, width, generator=generator), dim=1)
    means = 10 * torch.randn(20, width, generator=generator)

    def share_within(vectors):
        _, _, basis = torch.linalg.svd(own, full_matrices=False)
        return (vectors @ basis.T).norm(dim=1) / vectors.norm(dim=1)

    many, few = (shrunk_means(means, torch.full((20,), count), own) for count in (10_000, 1))
    assert torch.allclose(nn.functional.normalize(many, dim=1), nn.functional.normalize(means, dim=1), atol=1e-3)
    assert (share_within(shrunk_means(means / 10, torch.full((20,), 1), own)) > share_within(means)).all()
    assert (share_within(few) >= share_within(many)).all()


def test_noise_raises_cosines_and_by_a_limited_factor():
    width, bar = 100, 0.4
    vectors = torch.zeros(3, width)
    vectors[:, 0] = torch.tensor([100.0, 20.0, 5.0])
    correction = Correction.of(vectors, torch.tensor([1000, 1, 1]), bar)
    squares = vectors[:, 0].square()
    expected = torch.stack([squares[0] / (squares[0] - 0.1), squares[1] / (squares[1] - 100), torch.tensor(1 / 0.7)])
    assert torch.allclose(correction.factors, expected**0.25)
    assert correction.bonuses.tolist() == pytest.approx([0.08 * bar * 0.999, 0, 0])
    scores = bar / correction.factors  # of cosines that, raised twice by the factor, are just at the bar
    assert torch.allclose(correction.margins(scores, torch.arange(3))[1:], torch.zeros(2), atol=1e-6)
