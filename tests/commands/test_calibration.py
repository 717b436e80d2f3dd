import json
import shutil

import pytest
import torch
from helpers.photos import noisy_photo
from helpers.programs import invoke
from helpers.runs import TINY, weights
from PIL import Image
from safetensors.torch import load_file

from landmark_models import LandmarkClassifier, LandmarkError, ModelError
from landmark_models.errors import run_command
from landmark_models.rejection import LOGIT_SCORES, KnownRule
from train import calibration
from train.data import DataError
from train.engine.training import fit
from train.measure.calibration import (
    calibrate,
    describe_calibration,
    expected_calibration_error,
    fit_temperature,
    perfect_calibration_error,
)
from train.measure.evaluation import evaluate
from train.measure.rejection import FAR_AIM, NEAR_AIM, choose_rule
from train.recipe import Recipe
from train.run import RunFolder


def sample(count: int = 4000, classes: int = 5, sharpness: float = 1.0):
    """Logits whose softmax is the very probability of their targets, then made `sharpness` times as sure."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, classes, generator=generator)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return logits * sharpness, targets


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_over_and_under_confidence(sharpness):
    logits, targets = sample(sharpness=sharpness)
    temperature = fit_temperature(logits, targets)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    before, after = (expected_calibration_error(scaled, targets) for scaled in (logits, logits / temperature))
    assert after < 0.02
    assert sharpness == 1.0 or after < before / 3


@pytest.mark.parametrize("count", [8, 80, 800])
@pytest.mark.parametrize("margin", [2.0, 30.0])
def test_the_temperature_reaches_no_bound_where_all_are_right(count, margin):
    logits = margin * torch.eye(4).repeat(count // 4, 1)
    temperature = fit_temperature(logits, torch.arange(count) % 4)
    assert 0.1 < temperature < 10
    share = (logits / temperature).softmax(1).amax(1).mean().item()
    assert share == pytest.approx(1 - 0.75 / (count + 2), abs=1e-3)  # one photo more may be wrong


def of_a_run(copied: RunFolder, logits: torch.Tensor, targets: torch.Tensor) -> dict:
    """What calibrating finds if these are the outputs for a run's validation photos."""
    copied.keep_validation(logits, targets)
    return calibrate(copied)


def test_a_fitted_temperature_makes_the_error_smaller(copied):
    result = of_a_run(copied, *sample(400, 3, sharpness=4.0))
    assert result["temperature"] == pytest.approx(4, rel=0.3)
    assert "not_fitted" not in result["calibration"]
    assert result["calibration"]["ece"] < result["calibration"]["ece_before"]


def bad_mistake() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 60 photos with confidences that are right on average, but one mistake is very sure of itself."""
    logits, targets = sample(60, 3, sharpness=1.0)
    logits[0], targets[0] = torch.tensor([40.0, 0, 0]), 1
    return logits, targets


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        (sample(24, 3, sharpness=4.0), "24 validation photos are too few"),
        ((-5 * torch.eye(3).repeat(20, 1), torch.arange(60) % 3), "is not between 0.1 and 10"),
        (bad_mistake(), "would raise the expected calibration error on the validation photos from"),
    ],
    ids=["too few", "at a bound", "worse"],
)
def test_a_temperature_that_would_not_help_stays_one_and_the_run_says_why(copied, outputs, why):
    result = of_a_run(copied, *outputs)
    assert result["temperature"] == LandmarkClassifier.load(copied.path).temperature == 1.0
    assert result["calibration"]["ece"] == result["calibration"]["ece_before"]
    assert why in result["calibration"]["not_fitted"]
    assert f"The temperature stays 1: {result['calibration']['not_fitted']}." in describe_calibration(result)
    assert "largest logit is at least" in describe_calibration(result)


def test_figures_tell_how_many_of_the_negatives_chose_the_rule(copied, negatives, shared_data, tmp_path):
    calibrate(copied, negatives)
    Image.effect_noise((48, 48), 90).save(negatives / "new.png")
    found = evaluate(copied.path, shared_data, "test", tmp_path / "out", negatives=negatives)["rejection"]
    assert (found["far"]["n"], found["chose_the_rule"]) == (7, 6)
    calibrate(copied)
    found = evaluate(copied.path, shared_data, "test", tmp_path / "out", negatives=negatives)["rejection"]
    assert found["chose_the_rule"] == 0


def test_the_error_is_the_distance_of_confidence_and_accuracy():
    confident = torch.tensor([[4.0, 0.0]]).repeat(10, 1)  # 98.2% sure, right in 6 of 10
    targets = torch.tensor([0] * 6 + [1] * 4)
    assert expected_calibration_error(confident, targets) == pytest.approx(0.982 - 0.6, abs=1e-3)


def test_even_perfect_scores_show_an_error_on_few_photos_and_less_on_more():
    few, many = (sample(count)[0] for count in (100, 10000))
    assert 0.02 < perfect_calibration_error(few) < 0.15
    assert perfect_calibration_error(many) < perfect_calibration_error(few) / 5
    logits, targets = sample()
    assert expected_calibration_error(logits, targets) == pytest.approx(perfect_calibration_error(logits), abs=0.01)


def test_scores_rank_a_sure_photo_above_an_unsure_one():
    logits = torch.tensor([[8.0, 0, 0, 0, 1], [1.0, 0.9, 0, 0.8, 1]])
    for name, score in LOGIT_SCORES.items():
        sure, unsure = score(logits).tolist()
        assert sure > unsure, name
    score = LOGIT_SCORES["standardized_max_logit"]
    assert torch.allclose(score(3 * logits), score(logits))
    assert score(torch.zeros(1, 3)).isfinite().all()


def test_the_rule_names_most_landmarks_rightly_within_the_aim():
    generator = torch.Generator().manual_seed(1)
    known = torch.randn(500, 20, generator=generator)
    known[:, 3] += 6
    others = torch.randn(300, 20, generator=generator) + 5  # large logits that say nothing
    near = torch.arange(300) < 100
    others[:20, 7] += 6  # a fifth of the near ones look like a landmark: more than may be named
    right = torch.arange(500) % 10 > 0
    scores, negatives = ({name: score(x) for name, score in LOGIT_SCORES.items()} for x in (known, others))
    rule, found = choose_rule(scores, right, negatives, near)
    ranked = found["scores"]
    assert ranked[rule.score]["named_rightly"] == max(part["named_rightly"] for part in ranked.values())
    assert ranked["energy"]["auroc"] < 0.9 < ranked[rule.score]["auroc"]
    named, wrongly = scores[rule.score] >= rule.threshold, negatives[rule.score] >= rule.threshold
    assert found["named_rightly"] == pytest.approx((named & right).float().mean().item())
    assert found["others"] == {
        "far": {"n": 200, "named": int((wrongly & ~near).sum())},
        "near": {"n": 100, "named": int((wrongly & near).sum())},
    }
    assert found["others"]["far"]["named"] <= FAR_AIM * 200
    assert found["others"]["near"]["named"] <= NEAR_AIM * 100


@pytest.mark.parametrize("kind", ["far", "near"])
def test_the_rule_holds_with_negatives_of_one_kind_and_among_equal_scores(kind):
    scores, right = {"max_logit": torch.linspace(0, 1, 50)}, torch.ones(50, dtype=torch.bool)
    rule, found = choose_rule(scores, right, {"max_logit": torch.full((40,), 0.5)}, torch.full((40,), kind == "near"))
    assert rule.threshold > 0.5
    assert found["others"][kind] == {"n": 40, "named": 0}


@pytest.mark.parametrize("count", [2, 8, 20, 100])
def test_the_share_of_few_photos_that_the_rule_names_is_counted(count):
    scores = torch.arange(count) / count
    rule, found = choose_rule({"max_logit": scores}, torch.ones(count, dtype=torch.bool))
    assert found["true_accepts"] == pytest.approx(float((scores >= rule.threshold).float().mean()))
    assert round(count * found["true_accepts"], 4) % 1 == 0


@pytest.mark.parametrize("score", ["max_logit", "whitened_cosine"])
def test_without_others_it_keeps_nineteen_landmarks_of_twenty(score):
    logits, targets = sample()
    scores = {name: logits.amax(1) for name in {"max_logit", score}}
    rule, _ = choose_rule(scores, logits.argmax(1) == targets)
    assert rule.score == score
    assert (scores[score] >= rule.threshold).float().mean().item() == pytest.approx(0.95, abs=0.002)


@pytest.mark.parametrize(
    "block",
    [{"score": "magic", "threshold": 1}, {"score": "energy"}, {"score": "energy", "threshold": float("nan")}, 3,
     {"score": ["energy"], "threshold": 1}, {"score": "energy", "threshold": True}],
)  # fmt: skip
def test_a_strange_rule_is_refused(run, tmp_path, block):
    with pytest.raises(ValueError, match="score"):
        KnownRule.from_config({"known": block})
    folder = shutil.copytree(run.model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["landmark"]["known"] = block
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="the rule `known`"):
        LandmarkClassifier.load(folder)


def test_every_run_ends_with_a_rule_and_says_if_its_temperature_is_not_fitted(run):
    config = json.loads((run.model / "config.json").read_text())["landmark"]
    classifier = LandmarkClassifier.load(run.path)
    kept = load_file(run.validation)
    assert kept["logits"].shape == (6, 3)
    assert config["temperature"] == classifier.temperature == 1.0
    assert config["known"] == {"score": classifier.known_rule.score, "threshold": classifier.known_rule.threshold}
    assert config["calibration"]["n"] == 6
    assert config["calibration"]["not_fitted"] == "6 validation photos are too few to fit one on (50 would do)"


@pytest.fixture
def copied(run, tmp_path) -> RunFolder:
    return RunFolder(shutil.copytree(run.path, tmp_path / "run"))


@pytest.fixture
def negatives(tmp_path):
    folder = tmp_path / "everyday"
    (folder / "below").mkdir(parents=True)
    for index in range(6):
        Image.effect_noise((48, 48), 60 + index).save(folder / "below" / f"{index}.png")
    (folder / "letter.jpg").write_text("no photo")
    return folder


def test_negatives_make_the_rule_and_change_no_weight(copied, negatives):
    before = weights(copied)
    result = calibrate(copied, negatives)
    assert result["calibration"]["others"]["far"]["n"] == 6
    assert result["calibration"]["rule_chosen_on"] == {"data": "validation", "n": 6, "negatives": "everyday"}
    assert set(result["calibration"]["scores"]) == set(LOGIT_SCORES)
    config = json.loads((copied.model / "config.json").read_text())["landmark"]
    assert config["known"] == result["known"]
    assert config["validation"]
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(copied).items())
    assert calibrate(copied, negatives) == result  # from the same start each time


def test_a_folder_called_validation_is_not_the_validation_split(copied, shared_data, tmp_path):
    (tmp_path / "wild").mkdir()
    elsewhere = shutil.copytree(shared_data / "test", tmp_path / "wild" / "validation")
    result = calibrate(copied, validation_from=elsewhere)
    assert result["calibration"]["rule_chosen_on"] == {"data": "wild/validation", "n": 9}
    assert '% of 9 photos from "wild/validation"' in describe_calibration(result)


def test_the_rule_is_chosen_on_photos_from_elsewhere_where_there_are_some(copied, negatives, shared_data):
    near = negatives / "other_landmarks"
    near.mkdir()
    for index in range(5):
        noisy_photo((200, 40, 40), 70 + index).save(near / f"{index}.png")  # like one of the landmarks
    linked = negatives.parent / "linked"
    linked.mkdir()
    (linked / "near_links").symlink_to(near)
    (linked / "below").mkdir()
    for file in (negatives / "below").iterdir():
        (linked / "below" / file.name).symlink_to(file)
    result = calibrate(copied, linked, shared_data)
    found = result["calibration"]
    assert found["rule_chosen_on"] == {"data": "photos", "n": 9, "negatives": "linked"}
    assert found["others"]["near"] == {"n": 5, "named": 0}
    assert found["others"]["far"]["n"] == 6
    assert '% of 9 photos from "photos" (' in describe_calibration(result)
    (copied.path / "train").mkdir()
    with pytest.raises(DataError, match=r"has splits \(train\)"):
        calibrate(copied, validation_from=copied.path)


def test_figures_of_another_rule_are_forgotten_and_the_accuracy_stays(copied, negatives, shared_data, capsys):
    evaluate(copied.path, shared_data, "test", copied.test.parent)

    def noted():
        return json.loads((copied.model / "config.json").read_text())["landmark"]["test"]

    before = noted()
    calibrate(copied)  # the rule that it has
    assert noted() == before
    calibrate(copied, negatives)
    assert noted() == {name: value for name, value in before.items() if name != "named"}
    assert f"1 of the 7 photos in {negatives} can't be read" in capsys.readouterr().out


def test_mistakes_give_sentences_and_nothing_is_written(copied, tmp_path):
    config = (copied.model / "config.json").read_bytes()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no photo")
    with pytest.raises(DataError, match="has no photo"):
        calibrate(copied, tmp_path / "empty")
    with pytest.raises(DataError, match="can be read"):
        calibrate(copied, tmp_path / "bad")
    copied.keep_validation(torch.zeros(5, 3), torch.zeros(5, dtype=torch.long))
    with pytest.raises(LandmarkError, match="5 validation photos are fewer than two for each of the 3 classes"):
        calibrate(copied)
    copied.validation.unlink()
    with pytest.raises(LandmarkError, match="has no validation"):
        calibrate(copied)
    assert (copied.model / "config.json").read_bytes() == config


def test_fit_looks_for_negatives_before_it_trains(data, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no photo")
    for name, reason in (("empty", "has no photo"), ("bad", "can be read"), ("nowhere", "no folder")):
        with pytest.raises(DataError, match=reason):
            fit(Recipe.from_values(TINY), data, tmp_path / "run", negatives=tmp_path / name)
        assert not (tmp_path / "run").exists()


def test_a_training_with_too_few_validation_photos_ends_well_and_says_so(data, tmp_path, capsys):
    run = fit(Recipe.from_values({**TINY, "epochs": 1, "val_fraction": 0.1}), data, tmp_path / "run")
    said = capsys.readouterr().out
    assert "Not calibrated: 3 validation photos are fewer than two" in said
    assert "So it has no rule of its own to reject photos of other things: it names every photo with" in said
    assert LandmarkClassifier.load(run.path).temperature == 1.0


def test_an_answer_says_whether_it_is_known(copied, photo):
    for threshold, known in ((-1e9, True), (1e9, False)):
        config = json.loads((copied.model / "config.json").read_text())
        config["landmark"]["known"] = {"score": "energy", "threshold": threshold}
        (copied.model / "config.json").write_text(json.dumps(config))
        classifier = LandmarkClassifier.load(copied.path)
        assert classifier.predict(photo).known is known
        assert [answer.known for answer in classifier.predict_many([photo, noisy_photo((9, 9, 9), 1)])] == [known] * 2


def test_the_command_says_what_it_found(copied, negatives):
    result = invoke(calibration.command, copied.path, "--negatives", negatives)
    assert result.exit_code == 0, result.output
    assert "The temperature stays 1: 6 validation photos are too few" in " ".join(result.output.split())
    assert "0 of 6 far ones" in " ".join(result.output.split())
    with pytest.raises(SystemExit, match="1"):
        run_command(lambda: calibration.command(copied.path / "nowhere"))
