from dataclasses import replace

import pytest
import torch
from helpers.photos import MORE_COLORS, noisy_photo

from landmark_models import LandmarkClassifier
from landmark_models.teach import teach
from landmark_models.teaching import AddOnError, Facts, combined, combined_by_dimensions, load_addon

YELLOW, WHITE = MORE_COLORS.values()


@pytest.fixture(scope="module")
def classifier(teachable) -> LandmarkClassifier:
    return LandmarkClassifier.load(teachable.path, engine="torch")


def photos(color, count, first=0):
    return [noisy_photo(color, seed) for seed in range(first, first + count)]


def test_an_add_on_is_read_as_it_was_written(classifier, tmp_path):
    facts = Facts("Yellow Gate", "Bath, Somerset", "GB", 51.38, -2.36, ("gate", "yellow"))
    addon = combined(
        [teach(classifier, "gate", photos(YELLOW, 3), facts).addon, teach(classifier, "गेट", photos(WHITE, 2)).addon]
    )
    file = tmp_path / "mine.landmarks.safetensors"
    addon.write(file)
    read = load_addon(str(file))
    assert (read.features, read.labels, dict(read.facts)) == (
        classifier.features_digest,
        ("gate", "गेट"),
        {"gate": facts},
    )
    assert read.counts.tolist() == [3, 2]
    assert torch.equal(read.vectors, addon.vectors)
    assert read.vectors.dtype == torch.float16
    assert read.digest == addon.digest == load_addon(str(file)).digest
    assert read.digest != replace(addon, facts={}).digest
    assert file.stat().st_size < 2 * addon.vectors.numel() + 2000


def test_two_add_ons_are_what_one_would_be_that_was_taught_at_once(classifier):
    first, rest = photos(YELLOW, 2), photos(YELLOW, 4, first=2)
    parts = [teach(classifier, "gate", some).addon for some in (first, rest)]
    dome = teach(classifier, "dome", photos(WHITE, 3)).addon
    both, whole = combined([parts[0], dome, parts[1]]), combined([teach(classifier, "gate", first + rest).addon, dome])
    assert both.labels == whole.labels == ("gate", "dome")
    assert both.counts.tolist() == whole.counts.tolist() == [6, 3]
    assert torch.allclose(both.vectors.float(), whole.vectors.float(), rtol=5e-3, atol=5e-3)  # both are rounded
    photo = noisy_photo(YELLOW, 99)
    answers = [classifier.with_taught(addon).predict(photo) for addon in (both, whole)]
    assert [each.label for each in answers[0]] == [each.label for each in answers[1]]
    assert answers[0][0].score == pytest.approx(answers[1][0].score, abs=0.01)
    assert answers[0].taught == answers[1].taught


def test_what_is_forgotten_is_gone_and_the_rest_stays(classifier):
    gate, dome = (teach(classifier, label, photos(YELLOW, 2), Facts(place=label)).addon for label in ("gate", "dome"))
    rest = combined([gate, dome]).without("Gate")  # case doesn't matter
    assert rest is not None
    assert gate.without("gate") is None
    assert (rest.labels, dict(rest.facts)) == (("dome",), {"dome": Facts(place="dome")})
    assert torch.equal(rest.vectors, dome.vectors)
    with pytest.raises(AddOnError, match="gate isn't among what was taught: dome"):
        rest.without("gate")


def test_an_add_on_is_for_the_features_that_were_taught(classifier, run):
    addon = replace(teach(classifier, "gate", photos(YELLOW, 2)).addon, model="default")
    with pytest.raises(AddOnError, match="gate: taught to default, whose features aren't those of "):
        classifier.with_taught(replace(addon, features="0" * 64))
    with pytest.raises(AddOnError, match="different models"):
        combined([addon, replace(addon, features="0" * 64)])
    with pytest.raises(AddOnError, match="can't be taught: it has no statistics"):
        LandmarkClassifier.load(run.path, engine="torch").with_taught(addon)


def test_a_refitted_head_keeps_what_was_taught_but_other_features_do_not(classifier, teachable):
    from landmark_models import models
    from landmark_models.teaching import features_digest

    model = models.load(teachable.path)

    def digest(**changes):
        cfg = model.pretrained_cfg | changes
        return features_digest(model.network, model.statistics, model.config["architecture"], cfg)

    assert digest() == classifier.features_digest
    with torch.no_grad():
        model.network.get_classifier().weight.mul_(2)
    assert digest() == classifier.features_digest
    assert digest(crop_pct=0.5) != classifier.features_digest
    with torch.no_grad():
        next(model.network.parameters())[0] += 1
    assert digest() != classifier.features_digest


def test_a_file_that_cannot_be_written_is_named(classifier, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AddOnError, match=r"mine\.landmarks\.safetensors can't be written: "):
        teach(classifier, "gate", photos(YELLOW, 1)).addon.write(tmp_path / "file" / "mine.landmarks.safetensors")


def test_what_is_known_of_a_landmark_is_joined(classifier):
    first = teach(classifier, "gate", photos(YELLOW, 2), Facts(place="Bath", country="GB")).addon
    then = teach(classifier, "gate", photos(YELLOW, 2), Facts(tags=("old",))).addon
    last = teach(classifier, "gate", photos(YELLOW, 2), Facts()).addon
    assert combined([first, then, last]).facts == {"gate": Facts(place="Bath", country="GB", tags=("old",))}


def test_a_file_that_is_given_twice_counts_once(classifier):
    addon = teach(classifier, "gate", photos(YELLOW, 2)).addon
    again = replace(addon, vectors=addon.vectors.clone())
    assert combined_by_dimensions([addon, again])[0].counts.tolist() == [2]
    assert classifier.with_taught(addon, again).taught.get("gate").photos == 2
