import pytest
import timm
import torch
from torch import nn

from landmark_models.networks.blocks import ResidualBlock
from landmark_models.networks.convnet import ConvNet

NAMES = ["landmark_cnn", "landmark_resnet", "landmark_cnn6", "landmark_net"]
SMALL = {"channels": (8, 16), "depths": (1, 2), "strides": (2, 2)}


@pytest.mark.parametrize("name", NAMES)
def test_a_network_behaves_as_a_timm_model(name):
    model = timm.create_model(name, num_classes=7, in_chans=1, drop_rate=0.1).eval()
    images = torch.randn(2, 1, 64, 64)
    features = model.forward_features(images)
    assert features.shape[:2] == (2, model.num_features)
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    assert model(images).shape == (2, 7)
    assert torch.equal(model.get_classifier()(model.forward_head(features, pre_logits=True)), model(images))
    assert model.get_classifier().out_features == 7
    assert model.pretrained_cfg["classifier"] == "head.fc"
    assert model.get_submodule(model.pretrained_cfg["first_conv"]).in_channels == 1

    model.reset_classifier(3, "avg")
    assert model(images).shape == (2, 3)
    model.reset_classifier(0, "")
    assert model(images).shape == features.shape


@pytest.mark.parametrize("name", NAMES)
def test_features_only_gives_every_stage_as_its_info_says(name):
    model = timm.create_model(name, features_only=True).eval()
    maps = model(torch.randn(1, 3, 128, 128))
    assert [m.shape[1] for m in maps] == model.feature_info.channels()
    assert [128 // m.shape[2] for m in maps] == model.feature_info.reduction()
    assert len(timm.create_model(name, features_only=True, out_indices=(1, 2))(torch.randn(1, 3, 64, 64))) == 2


def test_each_stage_may_be_residual_and_its_output_is_dropped_out():
    arguments = {"channels": (8, 8), "depths": (1, 1), "strides": (2, 1)}
    mixed = timm.create_model(
        "landmark_resnet", residual=[False, True], stage_drop_rate=0.9, num_classes=2, **arguments
    )
    assert [isinstance(stage.blocks[0], ResidualBlock) for stage in mixed.stages] == [False, True]
    assert isinstance(mixed.get_submodule(mixed.pretrained_cfg["first_conv"]), nn.Conv2d)
    features = mixed.train().forward_features(torch.randn(2, 3, 32, 32))
    assert 0.8 < (features == 0).float().mean() < 1
    assert torch.equal(mixed.eval()(features[:, :3]), mixed(features[:, :3]))
    with pytest.raises(ValueError, match="differ in length"):
        ConvNet(residual=[True], **arguments)


def test_the_named_networks_are_what_they_are_called():
    plain = timm.create_model("landmark_cnn")
    widths = [m.out_channels for m in plain.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    assert not any(isinstance(m, ResidualBlock) for m in plain.modules())
    assert sum(isinstance(m, ResidualBlock) for m in timm.create_model("landmark_resnet").modules()) == 8

    six = timm.create_model("landmark_cnn6")
    assert sum(isinstance(m, nn.Conv2d) for m in six.modules()) == 6
    assert sum(isinstance(m, nn.MaxPool2d) for m in six.modules()) == 6
    assert sum(isinstance(m, nn.Linear) for m in six.modules()) == 3

    ours = timm.create_model("landmark_net", num_classes=60)
    assert sum(p.numel() for p in ours.parameters()) <= 4_900_000


@pytest.mark.parametrize("size", [128, 300, 800])
def test_cnn6_takes_small_and_large_photos(size):
    assert timm.create_model("landmark_cnn6", num_classes=2).eval()(torch.randn(1, 3, size, size)).shape == (1, 2)


def test_a_small_network_is_arguments():
    model = timm.create_model("landmark_cnn", **SMALL, norm=False, head_hidden=(5,), num_classes=10)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert all(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))


def test_without_normalisation_the_network_is_still_nonlinear():
    model = ConvNet(**SMALL, norm=False, num_classes=3).eval()
    x, y = torch.randn(2, 1, 3, 32, 32)
    assert not torch.allclose(model(x + y) + model(torch.zeros_like(x)), model(x) + model(y), atol=1e-4)


def test_normal_initialisation_has_the_stated_spread():
    model = timm.create_model("landmark_cnn", weight_init="normal")
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected = module.weight[0].numel() ** -0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)


def test_a_residual_branch_starts_at_zero():
    block = next(m for m in ConvNet(**SMALL, residual=True).eval().modules() if isinstance(m, ResidualBlock))
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(block(x), torch.relu(block.skip(x)))


def test_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    model = ConvNet(**SMALL, residual=True, num_classes=3)
    x = torch.randn(4, 3, 32, 32)
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_drop_path_acts_only_in_training():
    torch.manual_seed(0)
    model = ConvNet(**SMALL, residual=True, num_classes=3, drop_path_rate=0.5)
    nn.init.ones_(model.stages[-1].blocks[-1].conv2.norm.weight)
    x = torch.randn(8, 3, 32, 32)
    assert torch.equal(model.eval()(x), model.eval()(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_layer_groups_cover_every_parameter_in_order():
    from timm.models import group_parameters

    model = timm.create_model("landmark_net")
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert set(groups) == {name for name, _ in model.named_parameters()}
    assert groups["stem.0.conv.weight"] < groups["stages.0.blocks.0.conv1.conv.weight"] < groups["head.fc.weight"]


@pytest.mark.filterwarnings("ignore")  # PyTorch warns that TorchScript is on its way out
def test_torchscript_gives_the_same():
    model = timm.create_model("landmark_net", num_classes=4).eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(torch.jit.script(model)(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": (8,), "depths": (1, 2), "strides": (2, 2)}, "differ in length"),
        ({**SMALL, "drop_path_rate": 0.1}, "residual"),
        ({**SMALL, "weight_init": "magic"}, "magic"),
        ({**SMALL, "global_pool": ""}, "pooling"),
    ],
)
def test_invalid_arguments_are_refused_with_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        ConvNet(**arguments)
