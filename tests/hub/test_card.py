import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hub_cards import mistakes
from helpers.model_folders import describe, forget_rule
from helpers.photos import noisy_photo
from helpers.runs import TINY, pretend
from huggingface_hub import ModelCard

from landmark_models import models
from train.engine.training import fit
from train.hub import card
from train.hub.card import write_card
from train.hub.publishing import publish
from train.measure.tables import title_of
from train.recipe import Recipe

ROOT = Path(__file__).parents[2]


def written(run, folder, repo_id="alice/net", **options) -> str:
    write_card(run, models.load(run.path), folder, repo_id, **options)
    return (folder / "README.md").read_text()


def test_the_card_gives_the_measured_figures(evaluated, tmp_path):
    text = written(evaluated, tmp_path, licence="apache-2.0", base_model="timm/test_resnet")
    read = ModelCard(text)
    test = json.loads(evaluated.test.read_text())
    assert read.data.license == "apache-2.0"
    assert read.data.library_name == "timm"
    assert read.data.base_model == "timm/test_resnet"
    assert "landmark-classification" in read.data.tags
    top1, f1 = read.data.eval_results  # of three classes, the top 3 are all
    assert (top1.metric_type, top1.metric_value) == ("accuracy", test["top1"])
    assert top1.metric_args == {"n": 9, "k": 1, "ci95": test["top1_ci95"]}
    assert (top1.dataset_split, top1.dataset_revision) == ("test", test["digest"])
    assert f1.metric_value == test["macro_f1"]
    low, high = test["top1_ci95"]
    assert f"| top-1 | {100 * test['top1']:.2f} | {100 * low:.2f} to {100 * high:.2f} |" in text
    assert "| top-3 |" not in text
    assert "Red Tower, Green Bridge, Blue Lake." in text
    assert 'timm.create_model("hf-hub:alice/net", pretrained=True)' in text
    assert "import landmark_models  #" not in text  # one of timm's own networks
    assert "{{" not in text
    assert "\n\n\n" not in text
    assert re.search(r"Trained on 18 photos of \S+; 6 more", text)


def front_matter(run, folder, **options) -> dict:
    about = ModelCard(written(run, folder, **options)).data.to_dict()
    assert not list(mistakes(about))
    return about


@pytest.mark.parametrize("name", models.EMBEDDED)
def test_the_hub_would_take_the_cards_of_the_embedded_models(name):
    about = ModelCard.load(models.EMBEDDED[name] / "README.md").data.to_dict()
    assert not list(mistakes(about))


def test_the_metadata_names_what_the_model_was_made_from(mine, tmp_path):
    about = front_matter(mine, tmp_path)
    assert "base_model" not in about  # from random weights
    assert "datasets" not in about
    assert about["metrics"] == ["accuracy", "f1"]
    assert about["tags"] == ["landmark-classification", "image-classification", "timm"]
    commit = "a1" * 20
    describe(mine.model, weights_from="timm/resnet18.a1_in1k on the Hub", dataset=f"hf:me/towers@{commit}:small")
    pretend(mine, data="hf:me/towers:small", dataset=f"hf:me/towers@{commit}:small")
    about = front_matter(mine, tmp_path)
    assert (about["base_model"], about["base_model_relation"]) == ("timm/resnet18.a1_in1k", "finetune")
    assert about["datasets"] == ["me/towers"]
    (result, *_) = about["model-index"][0]["results"]
    assert result["dataset"] == {
        "name": "hf:me/towers:small", "type": "me/towers", "config": "small", "split": "test", "revision": commit,
    }  # fmt: skip
    text = (tmp_path / "README.md").read_text()
    assert f"commit `{commit}` of [me/towers](https://huggingface.co/datasets/me/towers), configuration small." in text
    assert 'Trained on 18 photos of "hf:me/towers:small"; 6 more' in text


def test_photos_from_elsewhere_are_results_of_their_own(mine, tmp_path):
    describe(mine.model, elsewhere={"data": "wild", "digest": "d2", "n": 9, "top1": 0.5, "top1_ci95": [0.25, 0.75]})
    results = front_matter(mine, tmp_path)["model-index"][0]["results"]
    assert [(part["dataset"]["name"], part["metrics"][0]["value"]) for part in results[1:]] == [("wild", 0.5)]


def test_examples_can_be_tried_in_the_widget_and_javascript_where_there_is_onnx(evaluated, tmp_path):
    examples = [{"file": "examples/01.jpg", "alt": "Example photo 1", "answer": "Red Tower, 9%", "credit": "me"}]
    about = front_matter(evaluated, tmp_path, examples=examples)
    (shown,) = about["widget"]
    assert shown["src"].endswith("/alice/net/resolve/main/examples/01.jpg")
    assert "transformers.js" not in (tmp_path / "README.md").read_text()
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").touch()
    assert front_matter(evaluated, tmp_path)["tags"][-2:] == ["onnx", "transformers.js"]
    assert 'pipeline("image-classification", "alice/net", { dtype: "fp32" })' in (tmp_path / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("ours", [False, True], ids=["timm's network", "ours"])
def test_the_examples_in_a_card_run(ours, evaluated, run, hub_server, owner, photo, tmp_path):
    publish(run.path if ours else evaluated.path, f"{owner}/net", allow_unevaluated=ours)
    text = hub_server.files(f"{owner}/net")["README.md"].decode()
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) == 3
    (tmp_path / "holiday.jpg").write_bytes(photo.read_bytes())
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == 3
    assert all(any(label in answer for label in ("Red Tower", "Green Bridge", "Blue Lake")) for answer in answers)


def test_a_run_without_test_figures_says_so(run, tmp_path):
    text = written(run, tmp_path)
    assert "not measured on photos that it has never seen" in text
    assert ModelCard(text).data.eval_results is None
    assert "import landmark_models  #" in text


def test_the_card_of_a_model_without_a_rule_says_so(mine, tmp_path):
    text = " ".join(written(mine, tmp_path).split())
    assert "and says when a photo shows none of the landmarks" in text
    assert "and names no landmark where its rule finds" in text
    assert "It has no rule" not in text
    forget_rule(mine.model)
    text = " ".join(written(mine, tmp_path).split())
    assert "- It has no rule of its own to reject photos of other things: it names every photo with a score of" in text
    assert "none of the landmarks" not in text
    assert "its rule" not in text


def test_only_landmarks_that_are_missed_are_the_hardest(evaluated, tmp_path, monkeypatch):
    parts = {"Red Tower": 1.0, "Green Bridge": 0.5, "Blue Lake": 0.999}
    per_class = {label: {"f1": f1, "n": 3} for label, f1 in parts.items()}
    assert card._hardest(per_class) == "Green Bridge (50%, n = 3)"
    assert card._hardest({"Red Tower": per_class["Red Tower"]}) == ""
    monkeypatch.setattr(card, "_hardest", lambda _: "")
    text = written(evaluated, tmp_path)
    assert "hardest" not in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize("name", ["photos", "test", "my-data.v2", "my photos", "its owner's", "写真", "validation"])
def test_sentences_survive_the_name_of_the_data(name, mine, tmp_path):
    pretend(mine, data=name)
    describe(mine.model, elsewhere={"data": name, "n": 9, "top1": 0.5, "top1_ci95": [0.25, 0.75]})
    text = written(mine, tmp_path)
    assert f'On the test split of "{name}" (n = 9), which played no part' in text
    assert f"**On photos from elsewhere** ({name}, n = 9," in text
    assert f'Trained on 18 photos of "{name}"; 6 more' in text
    assert title_of(json.loads(mine.test.read_text())).endswith(f' on "{name}", test split')


def test_everything_that_a_run_may_record_is_in_its_card(mine, tmp_path):
    share = {"n": 50, "share": 0.04, "share_ci95": [0.01, 0.13]}
    source = {"n": 9, "top1": 0.5, "top1_ci95": [0.25, 0.75]}
    rejection = {
        "data": "everyday",
        "chose_the_rule": 20,
        "kinds": {"dogs_and_cats": share, "": share},
        "near": share,
        "far": share,
    }
    pretend(mine, per_source={"Wikimedia|Commons": source}, rejection=rejection, excluded=2, ece_plain_softmax=0.0512)
    describe(
        mine.model,
        teacher="hf-hub:big/one",
        elsewhere={
            "data": "my_photos", "digest": "d2", **source, "named": {"photos": 9, "named": 8, "right": 7},
            "others": {"near": {"n": 40, "named": 3}, "far": {"n": 60, "named": 1}},
        },
        known={"score": "standardized_max_logit", "threshold": 0.25},
        calibration={
            "n": 40, "ece": 0.0123, "rule_chosen_on": {"n": 44, "data": "elsewhere"},
            "others": {"near": {"n": 5}, "far": {"n": 6}},
        },
    )  # fmt: skip
    (mine.path / "curves.png").touch()
    (mine.path / "test" / "confusion.png").touch()
    text = written(mine, mine.path)
    for part in (
        r" on the answers of another network, hf-hub:big/one.",
        r"| Wikimedia\|Commons | 9 | 50.00 | 25.00 to 75.00 |",
        "\n\nThe intervals cover",
        "Of the test split, 2 more photos were left out",
        "% with it, 5.12% for the plain softmax.",
        r"**On photos from elsewhere** (my\_photos, n = 9,",
        "accuracy is 50.0% (95% interval 25.0 to 75.0%).",
        "It names 8 of these 9 photos, 7 of them correctly.\nMeasured with them, it wrongly names 3 of 40 photos of "
        "other landmarks, streets and buildings and 1 of 60 photos of anything else.",
        "| dogs and cats | 50 | 4.00 | 1.00 to 13.00 |\n| all near ones",
        "expected\n  calibration error there 1.23%)",
        "landmarks (everyday), it wrongly names",
        "20 of these photos also chose the threshold",
        "if its standardised largest logit is at least 0.250, chosen on 44\n  photos from elsewhere, 5 near and 6 far",
        "(curves.png)",
        "(test/confusion.png)",
        "Its owner has stated no licence for the weights.",
    ):
        assert part in text
    assert "\n\n\n" not in text


FROZEN = {"freeze": "backbone", "augment": "none", "pretrained": True}
REFITTED = "The head that is served was then fitted again, to all 24 of them."


@pytest.mark.parametrize(
    ("knobs", "said", "unsaid"),
    [
        (
            FROZEN,
            ["only its head was fitted, to features", "how strongly it is regularised", REFITTED, "and head took",
             "![Loss and validation accuracy at each strength of regularisation](curves.png)"],
            "epoch",
        ),
        (
            {**FROZEN, "head": "whitened_cosine"},
            ["only its head was fitted", "the scale of its scores", REFITTED],
            "epoch",
        ),
        ({"head": "whitened_cosine"}, ["the last of 2 epochs; then its head was fitted", REFITTED], "best of"),
        (
            {},
            ["They chose the best of 2 epochs.", "over the epochs](curves.png)", "in float32, training took"],
            "fitted again",
        ),
    ],
    ids=["linear probe", "whitened probe", "whitened", "epochs"],
)  # fmt: skip
def test_the_card_says_how_each_method_trained_and_chose(knobs, said, unsaid, shared_data, pretrained, tmp_path):
    base = {"model": "test_resnet", "model_args": {}, "image_size": 64}
    weights = pretrained if knobs.get("pretrained") else None
    recipe = Recipe.from_values({**TINY, **base, **knobs})
    run = fit(recipe, shared_data, tmp_path / "run", pretrained_weights=weights)
    text = written(run, run.path)
    for part in said:
        assert part in " ".join(text.split())
    assert unsaid not in text
    assert "not calibrated**" in text  # 6 validation photos are too few


def test_the_card_of_a_trial_on_a_few_photos_says_that_it_is_one(shared_data, tmp_path):
    run = fit(Recipe.from_values({**TINY, "overfit_batches": 1}), shared_data, tmp_path / "run")
    text = " ".join(written(run, run.path).split())
    assert "and validated on the same ones" in text
    assert "Its accuracy on the 8 photos that it was trained on is" in text
    assert "validation set" not in text
    assert "validation photos" not in text


def test_the_card_counts_photos_without_labels_apart(evaluated, shared_data, tmp_path, capsys):
    more = tmp_path / "more"
    more.mkdir()
    for seed in range(3):
        noisy_photo((90, 90, 90), seed).save(more / f"{seed}.png")
    folders = [more, shared_data / "train"]
    teacher = models.load(evaluated.path)
    run = fit(Recipe.from_values(TINY), shared_data, tmp_path / "run", teacher=teacher, unlabelled=folders)
    assert "21 training (3 of them without labels) and 6 validation photos" in capsys.readouterr().out
    text = written(run, run.path)
    assert re.search(r"Trained on 18 photos of \S+ and 3 without labels; 6 more were the validation set", text)
    assert "left out" not in text  # the data's own photos are trained on with their labels


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        ([], ""),
        (["unlabelled, but part of the data itself"], ""),
        (["a.jpg is empty (0 bytes)."], "1 photo was left out: 1 unreadable."),
        (
            ["listed in x.txt", "a.jpg is empty.", "listed in x.txt", "no training photo of A can be read"],
            "4 photos were left out: 2 on a list of exclusions, 1 unreadable, 1 of a class without a training photo "
            "that can be read.",
        ),
    ],
)
def test_the_card_says_why_photos_were_left_out(reasons, sentence):
    assert card._left_out(reasons) == sentence


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            "fit.py train/recipes/default.yaml --data /home/me/client/photos --output runs/a",
            "train.fit train/recipes/default.yaml --data photos --output a",
        ),
        (
            "fit.py my/own.yaml '--data=/home/me/My Photos/c' --output a --epochs=3",
            "train.fit own.yaml --data c --output a --epochs 3",
        ),
        (
            r"fit.py r.yaml --data 'C:\Users\me\photos' --output a --push-to-hub me/net --private",
            "train.fit r.yaml --data photos --output a",
        ),
        (
            "distill.py r.yaml --teacher hf-hub:me/net --push-to-hub=me/x --data d",
            "train.distill r.yaml --teacher hf-hub:me/net --data d",
        ),
        ("ipython -c 1", "train.fit recipe.yaml --data DATA --output mine"),
    ],
)
def test_the_card_shows_the_command_without_the_owners_paths(given, shown):
    assert " ".join(card._command(given, "mine")) == f"accelerate launch -m {shown}"
