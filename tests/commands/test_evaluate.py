import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.model_folders import describe
from helpers.photos import COLORS, MORE_COLORS, write_data
from PIL import Image, ImageOps
from sklearn.metrics import f1_score, top_k_accuracy_score

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.files import sha256
from landmark_models.teach import teach
from landmark_models.teaching import AddOn, AddOnError
from landmark_models.text import label_of
from train.data import DataError
from train.measure import TTA, Kind
from train.measure.calibration import calibrate
from train.measure.evaluation import evaluate
from train.measure.figures import figures, share
from train.measure.predict import inference_speed
from train.measure.tables import metrics_tables, title_of
from train.run import RunFolder


@pytest.fixture
def own_run(run, tmp_path):
    return shutil.copytree(run.path, tmp_path / "run")


def test_the_interval_is_wilsons():
    # Wilson's formula by hand for 8 of 10, z = 1.96
    result = share(torch.arange(10) < 8, "top1")
    z, p, n = 1.959964, 0.8, 10
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert result["top1"] == 0.8
    assert result["top1_ci95"] == pytest.approx([centre - half, centre + half], abs=1e-6)
    assert share(torch.ones(10), "top1")["top1_ci95"][1] == pytest.approx(1)


def test_figures_agree_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 8, generator=generator)
    targets = torch.randint(6, (200,), generator=generator)  # classes 6 and 7 have no photo
    result = figures(logits, targets, list("abcdefgh"))
    for k in (1, 3, 5):
        assert result[f"top{k}"] == pytest.approx(top_k_accuracy_score(targets, logits, k=k, labels=range(8)))
        low, high = result[f"top{k}_ci95"]
        assert low < result[f"top{k}"] < high
    expected = f1_score(targets, logits.argmax(1), labels=range(6), average="macro")
    assert result["macro_f1"] == pytest.approx(expected)
    assert set(result["per_class"]) == set("abcdef")
    assert sum(part["n"] for part in result["per_class"].values()) == 200


def test_fewer_classes_than_five_are_fine():
    result = figures(torch.eye(2), torch.arange(2), ["a", "b"])
    assert (result["top1"], result["top5"]) == (1, 1)


def test_the_figure_is_the_serving_paths_own(own_run, shared_data, tmp_path):
    metrics = evaluate(own_run, shared_data, "test", tmp_path / "out")
    classifier = LandmarkClassifier.load(own_run)
    paths = sorted((shared_data / "test").rglob("*.jpg"))
    right = [classifier.predict(path, 1)[0].label == path.parent.name[3:].replace("_", " ") for path in paths]
    assert metrics["top1"] == pytest.approx(sum(right) / len(right))
    assert metrics["n"] == 9
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert set(metrics) >= {"n", "top1", "top3", "top5", "top1_ci95", "macro_f1", "data", "split", "model"}


def test_a_runs_test_figures_go_into_the_run_and_its_model(own_run, shared_data, tmp_path):
    metrics = evaluate(own_run, shared_data, "test", tmp_path / "out")
    assert json.loads((own_run / "test" / "metrics.json").read_text()) == metrics
    block = json.loads((own_run / "model" / "config.json").read_text())["landmark"]["test"]
    assert block["top1"] == metrics["top1"]
    assert block["top1_ci95"] == metrics["top1_ci95"]
    assert len(block["digest"]) == 64
    assert LandmarkClassifier.load(own_run).landmark["test"] == block

    evaluate(own_run, shared_data, "train", tmp_path / "other")
    assert LandmarkClassifier.load(own_run).landmark["test"] == block  # other splits leave it alone


@pytest.mark.parametrize("kind", list(Kind))
def test_photos_that_made_the_model_are_counted_and_their_figures_not_recorded(
    own_run, shared_data, tmp_path, kind, capsys
):
    before = (own_run / "model" / "config.json").read_bytes()
    metrics = evaluate(own_run, shared_data, "train", tmp_path / "out", kind=kind)
    assert metrics["used"] == {"train": 18, "val": 6}
    warning = "Of these 24 photos, 18 trained this model and 6 chose or calibrated it: its figures on them are too good"
    assert f"Warning: {warning}" in capsys.readouterr().out
    assert warning in (tmp_path / "out" / "report" / "index.html").read_text()
    assert (own_run / "model" / "config.json").read_bytes() == before
    assert not (own_run / "elsewhere").exists()


def test_photos_that_made_the_model_are_found_among_others_and_only_those(own_run, data, tmp_path, capsys):
    shutil.rmtree(data / "test")
    for folder in (data / "train").iterdir():
        for photo in sorted(folder.iterdir())[2:]:
            photo.write_bytes(photo.read_bytes() + b"\0")  # other photos of the same names
    assert sum(evaluate(own_run, data, "train", tmp_path / "out")["used"].values()) == 6
    capsys.readouterr()
    metrics = evaluate(own_run / "model", data, "train", tmp_path / "out")  # not the run, which knows its photos
    assert metrics["used"] == {}
    assert "If the model was trained on this train split" in capsys.readouterr().out


def test_photos_that_chose_the_rule_are_counted_and_their_figures_not_recorded(own_run, shared_data, tmp_path, capsys):
    calibrate(RunFolder(own_run), validation_from=shared_data)  # its test split
    metrics = evaluate(own_run, shared_data, "test", tmp_path / "out")
    assert metrics["used"] == {"rule": 9}
    assert "Of these 9 photos, 9 chose its rule: its figures on them are too good" in capsys.readouterr().out
    assert not (own_run / "test").exists()


def test_figures_from_elsewhere_never_replace_the_test_figures(own_run, shared_data, tmp_path):
    with pytest.raises(DataError, match="name another folder"):
        evaluate(own_run, shared_data, "test", own_run / "test", kind=Kind.elsewhere)


def test_the_digest_distinguishes_test_sets(own_run, data, tmp_path):
    first = evaluate(own_run, data, "test", tmp_path / "a")["digest"]
    assert evaluate(own_run, data, "test", tmp_path / "a")["digest"] == first
    changed = data / "test" / "00.Red_Tower" / "000.jpg"
    changed.write_bytes((data / "test" / "00.Red_Tower" / "001.jpg").read_bytes())
    assert evaluate(own_run, data, "test", tmp_path / "a")["digest"] != first


def test_each_source_has_its_accuracy(own_run, data, tmp_path):
    files = sorted(str(path.relative_to(data)) for path in (data / "test").rglob("*.jpg"))
    with (data / "sources.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source"])
        writer.writerows([[name, "archive" if index < 4 else "phone"] for index, name in enumerate(files[:-1])])
    parts = evaluate(own_run, data, "test", tmp_path / "out")["per_source"]
    assert {source: part["n"] for source, part in parts.items()} == {"archive": 4, "phone": 4, "not in sources.csv": 1}


def test_a_malformed_sources_table_and_an_output_that_is_a_file_are_refused_first(own_run, data, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="is a file"):
        evaluate(own_run, data, "test", tmp_path / "file")
    for place, sentence in (("file/below", "is a file"), ("photos/test/out", "taken for a class")):
        with pytest.raises(DataError, match=sentence):
            evaluate(own_run, data, "test", tmp_path / place)
    (data / "sources.csv").write_text("name,from\na,b\n")
    with pytest.raises(DataError, match="columns `file` and `source`"):
        evaluate(own_run, data, "test", tmp_path / "out")


def test_default_is_never_a_folder_that_happens_to_lie_there(own_run, shared_data, tmp_path, monkeypatch):
    own_run.rename(tmp_path / "default")
    (tmp_path / "photos").symlink_to(shared_data)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="which the model does not know"):
        evaluate("default", "photos", "test", tmp_path / "out")
    evaluate(tmp_path / "default", "photos", "test", tmp_path / "out")
    assert (tmp_path / "default" / "test" / "metrics.json").is_file()


def test_a_bad_photo_is_named_and_left_out(own_run, data, tmp_path, capsys):
    (data / "test" / "00.Red_Tower" / "broken.jpg").write_bytes(b"no photo")
    metrics = evaluate(own_run, data, "test", tmp_path / "out")
    assert metrics["n"] == 9
    assert list(metrics["left_out"]) == ["test/00.Red_Tower/broken.jpg"]
    assert "broken.jpg is not an image" in capsys.readouterr().out


def test_what_cannot_be_evaluated_gives_a_sentence(own_run, data, tmp_path):
    with pytest.raises(DataError, match="choose another --split"):
        evaluate(own_run, data, "val", tmp_path / "out")
    with pytest.raises(LandmarkError, match="model folder"):
        evaluate(tmp_path / "nothing", data, "test", tmp_path / "out")
    for photo in (data / "test").rglob("*.jpg"):
        photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match="can be read"):
        evaluate(own_run, data, "test", tmp_path / "out")
    (data / "test" / "00.Red_Tower").rename(data / "test" / "Unknown_Palace")
    with pytest.raises(DataError, match="'Unknown Palace', which the model does not know"):
        evaluate(own_run, data, "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_table(own_run, shared_data, tmp_path):
    command = [sys.executable, "-m", "train.evaluate", own_run, "--data", shared_data, "--output", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "top-1" in result.stdout
    assert "95% interval" in result.stdout
    assert "Blue Lake" in result.stdout


@pytest.mark.parametrize(("tta", "views"), [("flip", 2), ("crops", 10)])
def test_more_views_of_a_photo_are_averaged_and_never_recorded(own_run, shared_data, tmp_path, tta, views, monkeypatch):
    shapes = []
    body = LandmarkClassifier.body

    def noted(self, images, *rest):
        shapes.append(tuple(images.shape))
        return body(self, images, *rest)

    monkeypatch.setattr(LandmarkClassifier, "body", noted)
    metrics = evaluate(own_run, shared_data, "test", tmp_path / "out", tta=TTA(tta))
    assert sum(shape[0] for shape in shapes if shape[0] != 32) == 9 * views  # batches of 32 measure the speed
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["tta"] == tta
    assert metrics["n"] == 9
    assert "test" not in LandmarkClassifier.load(own_run).landmark
    with pytest.raises(DataError, match="plain figures"):
        evaluate(own_run, shared_data, "test", own_run / "test", tta=TTA(tta))
    assert not (own_run / "test").exists()


def test_a_photo_and_its_mirror_image_get_the_same_answer(own_run, tmp_path, photo, monkeypatch):
    answers = []

    def noted(logits, *rest):
        answers.append(logits.softmax(1))
        return figures(logits, *rest)

    monkeypatch.setattr("train.measure.evaluation.figures", noted)
    for name, turned in (("straight", lambda image: image), ("mirrored", ImageOps.mirror)):
        folder = tmp_path / name / "00.Red_Tower"
        folder.mkdir(parents=True)
        turned(Image.open(photo)).save(folder / "a.png")
        evaluate(own_run, tmp_path / name, "all", tmp_path / "out", tta=TTA.flip)
    assert torch.allclose(answers[0], answers[1], atol=1e-4)


def test_the_speed_is_that_of_the_network(own_run):
    classifier = LandmarkClassifier.load(own_run)
    assert inference_speed(classifier, batch_size=4, seconds=0.05) > 1


def test_calibration_and_rejection_are_measured(sure, shared_data, tmp_path):
    negatives = tmp_path / "negatives"
    for index, kind in enumerate(["food", "food", "people", "other_landmarks", "other_landmarks"]):
        (negatives / kind).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 48), 60 + index).save(negatives / kind / f"{index}.png")
    metrics = evaluate(sure, shared_data, "test", tmp_path / "out", negatives=negatives)
    assert metrics["temperature"] == 0.05
    assert 0 <= metrics["ece"] <= 1
    assert metrics["ece_if_perfect"] < 0.3
    found = metrics["rejection"]
    assert {kind: part["n"] for kind, part in found["kinds"].items()} == {"food": 2, "other_landmarks": 2, "people": 1}
    assert (found["near"]["n"], found["far"]["n"]) == (2, 3)
    for part in (found["near"], found["far"], *found["kinds"].values()):
        assert part["share_ci95"][0] <= part["share"] == part["named"] / part["n"] <= part["share_ci95"][1]
    classifier = LandmarkClassifier.load(sure)
    photos = [*sorted((shared_data / "test").rglob("*.jpg"))]
    answers = list(classifier.predict_many(photos))
    right = [answer[0].label == label_of(photo.parent.name) for answer, photo in zip(answers, photos, strict=True)]
    named = metrics["named"]  # as the serving path says
    assert (named["photos"], named["named"]) == (9, sum(answer.known for answer in answers))
    assert named["right"] == sum(answer.known and hit for answer, hit in zip(answers, right, strict=True))
    assert named["rightly"] + named["wrongly"] + named["not"] == pytest.approx(1)
    others = [answer.known for answer in classifier.predict_many(sorted(negatives.rglob("*.png")))]
    assert found["near"]["named"] + found["far"]["named"] == sum(others)
    with pytest.raises(DataError, match="no folder"):
        evaluate(sure, shared_data, "test", tmp_path / "out", negatives=tmp_path / "nowhere")
    with pytest.raises(DataError, match="without --tta"):
        evaluate(sure, shared_data, "test", tmp_path / "out", negatives=negatives, tta=TTA.flip)


def test_photos_from_elsewhere_have_a_block_of_their_own(own_run, shared_data, tmp_path):
    evaluate(own_run, shared_data, "test", tmp_path / "out")
    test = LandmarkClassifier.load(own_run).landmark["test"]
    elsewhere = write_data(tmp_path / "elsewhere", test=2)
    with pytest.raises(DataError, match=r"9 other photos \(photos\).*--as elsewhere"):
        evaluate(own_run, elsewhere, "test", tmp_path / "out")
    others = tmp_path / "negatives" / "food"
    others.mkdir(parents=True)
    Image.effect_noise((48, 48), 60).save(others / "0.png")
    metrics = evaluate(own_run, elsewhere, "test", tmp_path / "out", negatives=others.parent, kind=Kind.elsewhere)
    assert json.loads((own_run / "elsewhere" / "metrics.json").read_text()) == metrics
    landmark = LandmarkClassifier.load(own_run).landmark
    assert landmark["test"] == test
    found = landmark["elsewhere"]
    assert (found["data"], found["n"], found["digest"]) == ("elsewhere", 6, metrics["digest"])
    assert found["named"] == {key: metrics["named"][key] for key in ("photos", "named", "right")}
    assert found["others"] == {"far": {"n": 1, "named": metrics["rejection"]["far"]["named"]}}
    assert sum(right for _, right in found["per_class"].values()) == round(metrics["top1"] * 6)
    shutil.rmtree(own_run / "test")  # its owner says that the test split has changed
    evaluate(own_run, elsewhere, "test", tmp_path / "out")
    assert LandmarkClassifier.load(own_run).landmark["test"]["n"] == 6


def test_known_taught_and_rejected_are_measured_apart_and_not_recorded(teachable, tmp_path):
    own_run = shutil.copytree(teachable.path, tmp_path / "run")
    describe(own_run / "model", known={"score": "whitened_cosine", "threshold": 0.3})
    data = write_data(tmp_path / "photos", train=5, test=3, colors=COLORS | MORE_COLORS)
    classifier, file = LandmarkClassifier.load(own_run), tmp_path / "mine.landmarks.safetensors"
    teach(classifier, "Yellow Gate", sorted((data / "train" / "03.Yellow_Gate").iterdir())).addon.write(file)
    with pytest.raises(DataError, match="'White Dome', which the model does not know"):
        evaluate(own_run, data, "test", tmp_path / "out", addons=[str(file)])
    negatives = tmp_path / "negatives" / "food"
    negatives.mkdir(parents=True)
    for photo in (data / "test" / "04.White_Dome").iterdir():
        photo.rename(negatives / photo.name)
    before = (own_run / "model" / "config.json").read_bytes()

    metrics = evaluate(own_run, data, "test", tmp_path / "out", negatives=negatives.parent, addons=[str(file)])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert metrics["with"] == [{"name": file.name, "sha256": sha256(file)}]
    taught = classifier.with_taught(AddOn.read(file))
    paths = sorted((data / "test").rglob("*.jpg"))
    answers = list(taught.predict_many(paths))
    right = [answer[0].label == label_of(path.parent.name) for answer, path in zip(answers, paths, strict=True)]
    named = [hit and answer.known for hit, answer in zip(right, answers, strict=True)]
    for name, part in (("known", slice(9)), ("taught", slice(9, None))):
        figures = metrics["apart"][name]
        assert figures["n"] == len(right[part])
        assert figures["top1"] == pytest.approx(sum(right[part]) / len(right[part]))
        assert figures["named_rightly"] == pytest.approx(sum(named[part]) / len(right[part]))
    others = [answer for answer in taught.predict_many(sorted(negatives.iterdir())) if answer.known]
    found = metrics["rejection"]["kinds"]["food"]
    assert (found["named"], found["as_taught"]) == (len(others), sum(bool(a.taught.get(a[0].label)) for a in others))
    assert "ece_plain_softmax" not in metrics
    assert title_of(metrics).endswith(f'run with {file.name} on "photos", test split')
    assert "Known landmarks and taught ones apart" in [table.title for table in metrics_tables(metrics)]

    assert (own_run / "model" / "config.json").read_bytes() == before
    assert not (own_run / "test").exists()
    with pytest.raises(DataError, match="plain figures"):
        evaluate(own_run, data, "test", own_run / "test", addons=[str(file)])


def test_an_add_on_of_another_model_is_refused(teachable, run, shared_data, photo, tmp_path):
    file = tmp_path / "mine.landmarks.safetensors"
    teach(LandmarkClassifier.load(teachable.path), "Yellow Gate", [photo]).addon.write(file)
    with pytest.raises(AddOnError, match="can't be taught"):
        evaluate(run.path, shared_data, "test", tmp_path / "out", addons=[str(file)])
    with pytest.raises(AddOnError, match="can't be read"):
        evaluate(teachable.path, shared_data, "test", tmp_path / "out", addons=[str(tmp_path / "none")])
