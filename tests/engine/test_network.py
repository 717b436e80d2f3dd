import shutil

import pytest
import timm
import torch
from helpers.runs import TINY, weights
from safetensors.torch import load_file, save_file

from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError, ModelError
from train.engine.network import build_network, freeze, frozen_parameters, memory_layout, weights_from
from train.engine.training import fit
from train.recipe import Recipe, RecipeError


def recipe(**knobs) -> Recipe:
    base = {"model": "test_resnet", "model_args": {}, "pretrained": True, "image_size": 64}
    return Recipe.from_values({**TINY, **base, **knobs})


def same(a: dict, b: dict, names) -> bool:
    return all(torch.equal(a[name], b[name]) for name in names)


def test_all_but_the_head_starts_from_the_file(pretrained):
    network = build_network(recipe(), 3, pretrained)
    given, ours = load_file(pretrained), network.state_dict()
    assert ours["fc.weight"].shape[0] == 3
    assert same(ours, given, given.keys() - {"fc.weight", "fc.bias"})
    assert "sha256" in weights_from(recipe(), pretrained)


def test_pretrained_weights_need_no_classifier(pretrained, tmp_path):
    given = {name: tensor for name, tensor in load_file(pretrained).items() if not name.startswith("fc.")}
    save_file(given, tmp_path / "backbone.safetensors")
    assert same(build_network(recipe(), 3, tmp_path / "backbone.safetensors").state_dict(), given, given)


def test_weights_that_do_not_fit_name_the_tensors(pretrained, tmp_path):
    given = load_file(pretrained)
    less = tmp_path / "less.safetensors"
    save_file({name: tensor for name, tensor in given.items() if name != "layer1.0.conv1.weight"}, less)
    with pytest.raises(LandmarkError, match=r"don't fit test_resnet: layer1.0.conv1.weight is missing"):
        build_network(recipe(), 3, less)
    save_file({**given, "extra": torch.zeros(2)}, tmp_path / "more.safetensors")
    with pytest.raises(LandmarkError, match="extra isn't a tensor of the architecture"):
        build_network(recipe(), 3, tmp_path / "more.safetensors")
    save_file({**given, "conv1.0.weight": torch.zeros(9, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(LandmarkError, match=r"conv1.0.weight is \[9, 3, 3, 3\] in the file and \[\d+, 3, 3, 3\] in"):
        build_network(recipe(), 3, tmp_path / "other.safetensors")
    with pytest.raises(LandmarkError, match=r"don't fit resnet18: .*; and \d+ more"):
        build_network(recipe(model="resnet18"), 3, pretrained)


def test_only_safetensors_files_are_read(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    with pytest.raises(LandmarkError, match="can't be read as safetensors"):
        build_network(recipe(), 3, tmp_path / "pickle.safetensors")
    with pytest.raises(LandmarkError, match=r"There is no file .*missing"):
        build_network(recipe(), 3, tmp_path / "missing.safetensors")
    (tmp_path / "pickle.safetensors").rename(tmp_path / "weights.bin")
    with pytest.raises(LandmarkError, match=r"must be a .safetensors file, which .*weights.bin isn't"):
        build_network(recipe(), 3, tmp_path / "weights.bin")


def test_offline_the_error_says_what_was_tried(data, tmp_path):
    with pytest.raises(LandmarkError) as error:
        fit(recipe(model="resnet18.a1_in1k"), data, tmp_path / "run")
    assert "model.safetensors of https://huggingface.co/timm/resnet18.a1_in1k" in str(error.value)
    assert "--pretrained-weights FILE.safetensors" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(LandmarkError, match="no pretrained weights for landmark_net"):
        build_network(recipe(model="landmark_net"), 3)
    assert not (tmp_path / "run").exists()


def test_online_the_weights_come_from_timms_own_repository(pretrained, monkeypatch):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return str(pretrained)

    monkeypatch.setattr("train.engine.network.hf_hub_download", download)
    network = build_network(recipe(model="test_resnet.r160_in1k"), 3)
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors")]
    assert torch.equal(network.state_dict()["conv1.0.weight"], load_file(pretrained)["conv1.0.weight"])
    assert weights_from(recipe(model="test_resnet.r160_in1k")) == "timm/test_resnet.r160_in1k on the Hub"


def test_the_backbones_own_preprocessing_is_used_and_saved(shared_data, tmp_path):
    knobs = {"model": "inception_resnet_v2", "pretrained": False, "image_size": 96, "epochs": 1, "warmup_epochs": 0}
    cfg = build_network(recipe(**knobs), 3).pretrained_cfg
    assert (cfg["mean"], cfg["crop_pct"], cfg["interpolation"]) == ((0.5, 0.5, 0.5), 0.8975, "bicubic")
    assert build_network(recipe(**knobs, crop_pct=0.5), 3).pretrained_cfg["crop_pct"] == 0.5
    run = fit(recipe(model="test_vit", pretrained=False, epochs=1, warmup_epochs=0), shared_data, tmp_path / "run")
    saved = models.load(run.path).pretrained_cfg
    own = timm.get_pretrained_cfg("test_vit")
    assert tuple(saved["mean"]) == tuple(own.mean)
    assert (saved["crop_pct"], saved["interpolation"]) == (own.crop_pct, own.interpolation)
    assert "test_input_size" not in saved


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("efficentnet_b0", r"no model 'efficentnet_b0'; nearest: .*efficientnet_b0"),
        ("resnet35", "nearest: .*resnet34"),
        ("convnext_tiny.fb_in3k", r"convnext_tiny has no pretrained weights 'fb_in3k'; timm knows .*in12k_ft_in1k"),
    ],
)
def test_an_unknown_architecture_gets_suggestions(model, words):
    with pytest.raises(RecipeError, match=words):
        build_network(recipe(model=model), 3)


def test_a_network_of_fixed_size_takes_the_recipes_size(shared_data, tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=5).state_dict(), file)  # for its own 160 px
    knobs = recipe(model="test_vit", image_size=96, epochs=1, warmup_epochs=0)
    run = fit(knobs, shared_data, tmp_path / "run", pretrained_weights=file)
    model = models.load(run.path)
    assert model.config["model_args"]["img_size"] in (96, [96, 96])
    assert len(LandmarkClassifier(model).predict(next((shared_data / "test").rglob("*.jpg")))) == 3


def test_an_mlp_head_is_trained_on_a_frozen_backbone_and_served(shared_data, pretrained, tmp_path, photo):
    knobs = {"freeze": "backbone", "head_hidden": [12, 10], "drop_rate": 0.2, "epochs": 1, "warmup_epochs": 0}
    run = fit(recipe(**knobs), shared_data, tmp_path / "run", pretrained_weights=pretrained)
    trained, given = weights(run), load_file(pretrained)
    assert same(trained, given, given.keys() - {"fc.weight", "fc.bias"})  # running statistics, too
    assert trained["fc.0.weight"].shape[0] == 12
    assert trained["fc.3.weight"].shape == (10, 12)
    model = models.load(run.path)
    assert model.config["architecture"] == "landmark_mlp"
    built = timm.create_model(f"local-dir:{run.model}", pretrained=True)
    assert same(built.state_dict(), trained, trained)
    assert tuple(built.pretrained_cfg["mean"]) == tuple(model.pretrained_cfg["mean"])
    assert LandmarkClassifier.load(run.path).predict(photo)
    assert isinstance(run.origin["weights_from"], str)
    assert model.landmark["weights_from"] == run.origin["weights_from"]


@pytest.mark.parametrize("backbone", ["hf-hub:someone/else", "landmark_mlp", "local-dir:/tmp"])
def test_an_mlp_head_needs_a_registered_backbone(run, tmp_path, backbone):
    folder = shutil.copytree(run.model, tmp_path / "model")
    config = (folder / "config.json").read_text()
    config = config.replace('"architecture": "landmark_net"', '"architecture": "landmark_mlp"')
    config = config.replace('"model_args": {', f'"model_args": {{"backbone": "{backbone}",')
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match="isn't another architecture"):
        models.load(folder)


def test_the_first_stages_stay_as_they_are(shared_data, pretrained, tmp_path):
    knobs = {"freeze": 2, "epochs": 1, "warmup_epochs": 0, "optimizer": "adamw", "learning_rate": 0.01}
    run = fit(recipe(**knobs), shared_data, tmp_path / "run", pretrained_weights=pretrained)
    trained, given = weights(run), load_file(pretrained)
    frozen = [name for name in given if name.startswith(("conv1", "bn1", "layer1", "layer2"))]
    assert same(trained, given, frozen)
    assert not torch.equal(trained["layer3.0.conv1.weight"], given["layer3.0.conv1.weight"])
    assert not torch.equal(trained["layer3.0.bn1.running_mean"], given["layer3.0.bn1.running_mean"])
    no_stem = build_network(Recipe(model="landmark_cnn", image_size=32), 3)
    assert {name.split(".")[1] for name in frozen_parameters(no_stem, 1)} == {"0"}
    assert {name.split(".")[1] for name in frozen_parameters(no_stem, 5)} == set("01234")
    with pytest.raises(RecipeError, match="has 4 stages"):
        fit(recipe(freeze=9), shared_data, tmp_path / "other", pretrained_weights=pretrained)


def test_unusual_networks_can_be_frozen_or_the_error_says_why_not():
    knobs = {"pretrained": False, "image_size": 224}
    two_heads = build_network(recipe(model="deit_tiny_distilled_patch16_224", freeze="backbone", **knobs), 3)
    left = {name for name, _ in two_heads.named_parameters()} - frozen_parameters(two_heads, "backbone")
    assert left == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    with pytest.raises(RecipeError, match="doesn't define the stages"):
        build_network(recipe(model="poolformer_s12", freeze=1, **knobs), 3)


def test_every_crop_size_is_tried_before_training():
    with pytest.raises(RecipeError, match="can't take photos of 40 px"):
        build_network(recipe(model="hrnet_w18_small", pretrained=False, start_image_size=32, epochs=6), 3)


def test_frozen_modules_are_in_evaluation_mode():
    network = build_network(recipe(pretrained=False), 3)
    freeze(network, frozen_parameters(network, "backbone"))
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == {
        "fc.weight", "fc.bias",
    }  # fmt: skip
    assert not network.bn1.training
    assert network.fc.training
    freeze(network, frozenset())
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_head_epochs_train_the_head_before_the_rest(shared_data, pretrained, tmp_path):
    knobs = {"epochs": 2, "warmup_epochs": 0, "head_epochs": 1, "layer_decay": 0.5}
    knobs |= {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine"}
    run = fit(recipe(**knobs), shared_data, tmp_path / "run", pretrained_weights=pretrained, checkpointing_steps=3)
    given = load_file(pretrained)
    first, last = sorted(run.checkpoints.glob("update-*"))
    after_head, at_end = (load_file(folder / "model.safetensors") for folder in (first, last))
    backbone = given.keys() - {"fc.weight", "fc.bias"}
    assert same(after_head, given, backbone)
    assert not torch.equal(at_end["conv1.0.weight"], given["conv1.0.weight"])
    assert not torch.equal(at_end["fc.weight"], after_head["fc.weight"])
    # Lower layers learn slower.
    moved = {
        name: ((at_end[name] - given[name]).norm() / given[name].norm()).item()
        for name in ("conv1.0.weight", "layer4.0.conv2.weight")
    }
    assert moved["conv1.0.weight"] < moved["layer4.0.conv2.weight"]


def test_a_run_is_resumed_only_with_the_weights_that_it_started_with(shared_data, pretrained, tmp_path):
    fit(recipe(epochs=1, warmup_epochs=0), shared_data, tmp_path / "run", pretrained_weights=pretrained)
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), other)
    with pytest.raises(LandmarkError, match=r"its initial weights was model.safetensors, .* and is now other.saf"):
        fit(recipe(epochs=1, warmup_epochs=0), shared_data, tmp_path / "run", pretrained_weights=other, resume=True)


@pytest.mark.parametrize(("device", "wanted"), [("cpu", True), ("cuda", True), ("mps", False)])
def test_channels_last_is_not_used_on_mps_where_batch_normalisation_fails_in_it(device, wanted):
    layout = memory_layout(recipe(), torch.device(device))
    assert layout == (torch.channels_last if wanted else torch.contiguous_format)
    assert memory_layout(recipe(channels_last=False), torch.device(device)) == torch.contiguous_format
