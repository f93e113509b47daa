from __future__ import annotations

import pytest

import flambeau
from flambeau import nn
from flambeau.vision import models
from flambeau.vision.models.resnet import BasicBlock, Bottleneck, ResNet

# What torchvision's documentation says.
PARAMETERS = {
    "alexnet": 61100840,
    "densenet121": 7978856,
    "densenet161": 28681000,
    "densenet169": 14149480,
    "densenet201": 20013928,
    "googlenet": 6624904,
    "inception_v3": 27161264,
    "mobilenet_v2": 3504872,
    "resnet101": 44549160,
    "resnet152": 60192808,
    "resnet18": 11689512,
    "resnet34": 21797672,
    "resnet50": 25557032,
    "resnext101_32x8d": 88791336,
    "resnext101_64x4d": 83455272,
    "resnext50_32x4d": 25028904,
    "vgg11": 132863336,
    "vgg11_bn": 132868840,
    "vgg13": 133047848,
    "vgg13_bn": 133053736,
    "vgg16": 138357544,
    "vgg16_bn": 138365992,
    "vgg19": 143667240,
    "vgg19_bn": 143678248,
    "wide_resnet101_2": 126886696,
    "wide_resnet50_2": 68883240,
}


@pytest.fixture
def uninitialised(monkeypatch):
    """Drawing 150 million random numbers would take longer than everything else."""
    for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **options: tensor)


def test_every_model_is_listed():
    assert models.list_models() == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name, uninitialised):
    model = models.get_model(name, **({"aux_logits": False} if name == "googlenet" else {}))
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "size"), [("resnet18", 33), ("resnet50", 32), ("resnext50_32x4d", 32), ("mobilenet_v2", 40)])
def test_forward_and_backward(name, size):
    flambeau.manual_seed(0)
    model = models.get_model(name, num_classes=3)
    out = model(flambeau.randn(2, 3, size, size))
    assert out.shape == (2, 3)
    out.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg11_bn"])
def test_models_with_large_layers_forward(name, uninitialised):
    model = models.get_model(name, num_classes=3).eval()
    for parameter in model.parameters():
        parameter.data.fill_(0.001)
    assert model(flambeau.ones(1, 3, 64, 64)).shape == (1, 3)


def test_densenet():
    flambeau.manual_seed(0)
    options = {"growth_rate": 4, "block_config": (2, 3), "num_init_features": 8, "num_classes": 3, "drop_rate": 0.1}
    plain = models.DenseNet(**options)
    assert [key for key in plain.state_dict() if key.endswith(("conv2.weight", "conv.weight"))] == [
        "features.denseblock1.denselayer1.conv2.weight", "features.denseblock1.denselayer2.conv2.weight", "features.transition1.conv.weight",
        *(f"features.denseblock2.denselayer{number}.conv2.weight" for number in (1, 2, 3)),
    ]  # fmt: skip
    frugal = models.DenseNet(memory_efficient=True, **options)
    frugal.load_state_dict(plain.state_dict())
    x = flambeau.rand(2, 3, 32, 32)
    for model in (plain, frugal):
        flambeau.manual_seed(1)
        assert model(x).shape == (2, 3)
        model(x).sum().backward()
    assert all(flambeau.equal(one.grad, other.grad) for one, other in zip(plain.parameters(), frugal.parameters()))


def test_layers_of_vgg_by_their_widths():
    assert [type(each).__name__ for each in models.vgg.make_layers([4, "M", 8], batch_norm=True)] == [
        "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Conv2d", "BatchNorm2d", "ReLU",
    ]  # fmt: skip


def test_resnet_keys_are_torchvisions():
    keys = list(models.resnet50().state_dict())
    assert keys[:7] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
        "layer1.0.conv1.weight",
    ]
    assert {"layer1.0.downsample.0.weight", "layer1.0.downsample.1.running_var", "layer4.2.bn3.bias", "layer3.5.conv3.weight"} <= set(keys)
    assert keys[-2:] == ["fc.weight", "fc.bias"]
    assert len(keys) == 320


def test_other_keys_are_torchvisions(uninitialised):
    assert list(models.vgg11_bn().state_dict())[-6:] == [f"classifier.{n}.{kind}" for n in (0, 3, 6) for kind in ("weight", "bias")]
    assert "features.25.weight" in models.vgg11_bn().state_dict()
    assert [key for key in models.alexnet().state_dict() if key.endswith("weight")] == [
        *(f"features.{n}.weight" for n in (0, 3, 6, 8, 10)),
        *(f"classifier.{n}.weight" for n in (1, 4, 6)),
    ]
    mobile = models.mobilenet_v2().state_dict()
    assert {"features.0.0.weight", "features.1.conv.1.weight", "features.2.conv.0.1.bias", "features.17.conv.3.running_var"} <= set(mobile)
    assert {"features.18.0.weight", "classifier.1.weight"} <= set(mobile)


@pytest.mark.parametrize("arguments", [(), (None,), (False,)])
def test_no_weights_may_be_said_in_the_old_way(arguments):
    assert models.resnet18(*arguments, num_classes=2).fc.out_features == 2
    assert models.resnet18(pretrained=False, progress=False, num_classes=2).fc.out_features == 2


@pytest.mark.parametrize("options", [{"weights": "DEFAULT"}, {"weights": True}, {"pretrained": True}])
def test_weights_are_not_to_be_had(options):
    with pytest.raises(ValueError, match=r"resnet18 has no trained weights to offer .*no hub.*load_state_dict"):
        models.resnet18(**options)


def test_unknown_models():
    with pytest.raises(ValueError, match="Unknown model resnet19: there are alexnet, "):
        models.get_model("resnet19")


def test_initialisation():
    flambeau.manual_seed(0)
    model = models.resnet18()
    weight = model.layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert (model.bn1.weight == 1).all()
    assert (model.layer1[0].bn2.weight == 1).all()


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "bn2"), (Bottleneck, "bn3")])
def test_blocks_may_start_as_the_identity(block, last):
    model = ResNet(block, [1, 1, 1, 1], zero_init_residual=True)
    assert (getattr(model.layer1[0], last).weight == 0).all()
    assert (model.layer1[0].bn1.weight == 1).all()


def test_dilation_keeps_the_resolution():
    plain = ResNet(Bottleneck, [1, 2, 1, 2])
    dilated = ResNet(Bottleneck, [1, 2, 1, 2], replace_stride_with_dilation=[False, True, True])
    assert [dilated.layer3[0].conv2.dilation, dilated.layer4[0].conv2.dilation, dilated.layer4[1].conv2.dilation] == [
        (1, 1),
        (2, 2),
        (4, 4),
    ]
    assert dilated.layer4[0].conv2.stride == (1, 1)
    assert plain.layer4[0].conv2.stride == (2, 2)
    image = flambeau.zeros(1, 3, 64, 64)
    for model, size in ((plain, 2), (dilated, 8)):
        model.avgpool = nn.Identity()
        model.fc = nn.Identity()
        assert model.eval()(image).shape == (1, 2048 * size * size)


def test_another_norm():
    model = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=lambda channels: nn.GroupNorm(8, channels), num_classes=2)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert model(flambeau.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_errors():
    with pytest.raises(ValueError, match="BasicBlock only supports groups=1 and base_width=64, but got 2 and 64"):
        ResNet(BasicBlock, [1, 1, 1, 1], groups=2)
    with pytest.raises(NotImplementedError, match="Dilation > 1 not supported"):
        ResNet(BasicBlock, [2, 2, 2, 2], replace_stride_with_dilation=[True, True, True])
    with pytest.raises(ValueError, match="3-element tuple"):
        ResNet(BasicBlock, [1, 1, 1, 1], replace_stride_with_dilation=[True])
    with pytest.raises(ValueError, match="inverted_residual_setting"):
        models.MobileNetV2(inverted_residual_setting=[(1, 2)])


def test_mobilenet_widths():
    half = models.mobilenet_v2(width_mult=0.5)
    assert half.features[0][0].out_channels == 16
    assert half.last_channel == 1280


@pytest.mark.parametrize(
    ("name", "size", "auxiliary"), [("googlenet", 32, ["aux_logits2", "aux_logits1"]), ("inception_v3", 299, ["aux_logits"])]
)
def test_inception_networks_have_auxiliary_logits_in_training(name, size, auxiliary, uninitialised):
    model = models.get_model(name, num_classes=3)
    for parameter in model.parameters():
        parameter.data.fill_(0.001)
    x = flambeau.ones(1, 3, 64 if size == 32 else 75, 64 if size == 32 else 75)
    with flambeau.no_grad():
        assert model.eval()(x).shape == (1, 3)
    shapes = _shapes_in_training(model, size)
    assert shapes == {"logits": (2, 3), **dict.fromkeys(auxiliary, (2, 3))}
    without = models.get_model(name, num_classes=3, aux_logits=False, transform_input=True).eval()
    assert without(x).shape == (1, 3) and len(without.state_dict()) < len(model.state_dict())


def _shapes_in_training(model, size):
    """Of the outputs: on the meta device, for the large one would take long."""
    outputs = model.train().to("meta")(flambeau.empty(2, 3, size, size, device="meta"))
    return {name: tuple(each.shape) for name, each in outputs._asdict().items()}


def test_inputs_as_the_first_weights_expect_them():
    from flambeau.vision.models.googlenet import normalized_as_before

    mean, deviation = flambeau.tensor([0.485, 0.456, 0.406]), flambeau.tensor([0.229, 0.224, 0.225])
    pixels = flambeau.rand(2, 3, 1, 1)
    given = (pixels - mean[:, None, None]) / deviation[:, None, None]
    flambeau.testing.assert_close(normalized_as_before(given), (pixels - 0.5) / 0.5)


def test_inception_keys_are_torchvisions():
    keys = list(models.googlenet(init_weights=False).state_dict())
    assert (
        keys[0] == "conv1.conv.weight"
        and "inception3a.branch2.1.bn.running_var" in keys
        and "aux1.fc2.bias" in keys
        and keys[-1] == "fc.bias"
    )
    keys = list(models.inception_v3(init_weights=False).state_dict())
    assert keys[0] == "Conv2d_1a_3x3.conv.weight" and "Mixed_7c.branch3x3dbl_3b.bn.bias" in keys and "AuxLogits.conv1.conv.weight" in keys
