"""Graph mode: what is fused, observed and converted, and that it is what eager mode makes of the same network."""

from __future__ import annotations

import io
import operator

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.ao import quantization
from flambeau.ao.nn import intrinsic, quantized
from flambeau.ao.quantization.quantize_fx import convert_fx, fuse_fx, prepare_fx, prepare_qat_fx


class Block(nn.Module):
    """A residual block, which uses one ``ReLU`` twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


class Net(nn.Module):
    """A small residual network, written without a thought of quantization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(Block(), Block())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(nn.functional.relu(self.bn(self.conv(x))), 2)
        return self.fc(torch.flatten(self.pool(self.blocks(x)), 1)).softmax(1)


def images(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(4, 3, 8, 8).astype(np.float32))


def prepared(mapping: quantization.QConfigMapping) -> torch.fx.GraphModule:
    torch.manual_seed(0)
    model = prepare_fx(Net().eval(), mapping, (images(0),))
    for seed in range(3):
        model(images(seed))
    return model


def test_layers_are_fused_wherever_they_are_written():
    fused = fuse_fx(Net().eval())
    assert isinstance(fused.conv, intrinsic.ConvReLU2d)  # with ``relu`` as a function
    assert isinstance(fused.get_submodule("blocks.0.conv1"), intrinsic.ConvReLU2d)
    assert isinstance(fused.get_submodule("blocks.0.conv2"), nn.Conv2d)
    torch.manual_seed(0)
    model = Net().eval()
    assert fuse_fx(model)(images(0)).detach().numpy() == pytest.approx(model(images(0)).detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("backend", ["x86", "fbgemm", "qnnpack", "onednn"])
def test_converted_networks_are_close_to_float_ones(backend):
    torch.manual_seed(0)
    model = Net().eval()
    converted = convert_fx(prepared(quantization.get_default_qconfig_mapping(backend)))
    assert (converted(images(0)) - model(images(0))).abs().max().item() < 0.02
    assert isinstance(converted.fc, quantized.Linear)
    targets = [node.target for node in converted.graph.nodes]
    assert operator.add not in targets
    assert targets.count("dequantize") == 1  # before softmax
    assert sum(getattr(target, "__name__", "") == "add_relu" for target in targets) == 2


def test_observers_are_shared_where_the_grid_is():
    model = prepared(quantization.QConfigMapping().set_global(quantization.default_qconfig))
    observers = [each for name, each in model.named_children() if name.startswith("activation_post_process")]
    assert len(observers) == len(set(map(id, observers)))
    names = [node.target for node in model.graph.nodes if node.op == "call_module" and node.target.startswith("activation_post_process")]
    assert len(names) > len(observers)  # pooling and flatten have that of their input


def test_parts_can_be_left_out():
    mapping = quantization.QConfigMapping().set_global(quantization.default_qconfig)
    mapping.set_object_type(nn.Linear, None).set_module_name("blocks.1", None).set_module_name_regex("con.", None)
    converted = convert_fx(prepared(mapping))
    assert type(converted.fc) is nn.Linear
    assert type(converted.get_submodule("blocks.1.conv1")) is intrinsic.ConvReLU2d
    assert isinstance(converted.get_submodule("blocks.0.conv1"), intrinsic.quantized.ConvReLU2d)
    assert type(converted.conv) is intrinsic.ConvReLU2d
    again = quantization.QConfigMapping.from_dict(mapping.to_dict())
    assert again.to_dict() == mapping.to_dict()
    with pytest.raises(ValueError, match=r"unknown keys \['object'\]"):
        quantization.QConfigMapping.from_dict({"object": []})


def test_state_goes_from_one_to_another():
    converted = convert_fx(prepared(quantization.get_default_qconfig_mapping("x86")))
    other = convert_fx(prepared(quantization.QConfigMapping().set_global(quantization.default_per_channel_qconfig)))
    file = io.BytesIO()
    torch.save(converted.state_dict(), file)
    file.seek(0)
    assert not torch.equal(converted(images(4)), other(images(4)))
    other.load_state_dict(torch.load(file))
    assert torch.equal(converted(images(4)), other(images(4)))


def test_training_with_rounding():
    torch.manual_seed(0)
    model = prepare_qat_fx(Net().train(), quantization.get_default_qat_qconfig_mapping("x86"), (images(0),))
    assert isinstance(model.conv, intrinsic.qat.ConvBnReLU2d)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.tensor([0, 1, 2, 3])
    losses = []
    for _ in range(8):
        loss = nn.functional.nll_loss(model(images(0)).log(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval()
    converted = convert_fx(model)
    assert (converted(images(0)) - model(images(0))).abs().max().item() < 0.02


def test_dynamic_and_arithmetic():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lstm = nn.Linear(3, 4), nn.LSTM(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(torch.relu(self.fc(x)))[0]

    x = torch.from_numpy(np.random.RandomState(0).randn(5, 2, 3).astype(np.float32))
    mapping = quantization.QConfigMapping().set_global(quantization.default_dynamic_qconfig)
    converted = convert_fx(prepare_fx(Model().eval(), mapping, (x,)))
    assert type(converted.fc) is intrinsic.quantized.dynamic.LinearReLU
    assert type(converted.lstm) is quantized.dynamic.LSTM
    assert converted(x).shape == (5, 2, 4)


def test_scalars_sums_and_choices():
    class Model(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            z = torch.cat([x + y, x * y], 1)
            return torch.sigmoid((z * 2 + 1)[:, :3].relu())

    x, y = (torch.from_numpy(np.random.RandomState(seed).rand(4, 3).astype(np.float32)) for seed in range(2))
    model = prepare_fx(Model().eval(), quantization.get_default_qconfig_mapping("x86"), (x, y))
    expected = model(x, y)
    converted = convert_fx(model)
    assert (converted(x, y) - expected).abs().max().item() < 0.02


class Named(nn.Module):
    """Two parts with a layer and a sum each, and a layer that is called twice."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.fc(x)) + x

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = self.Part(), self.Part(), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.last(self.second(self.first(x))))


def rows(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(5, 6).astype(np.float32))


def of_named(mapping: quantization.QConfigMapping) -> torch.fx.GraphModule:
    torch.manual_seed(0)
    model = prepare_fx(Named().eval(), mapping, (rows(),))
    model(rows())
    return convert_fx(model)


def sums_in_float(model: torch.fx.GraphModule) -> list[str]:
    return [node.meta["scope"][0] for node in model.graph.nodes if node.target is operator.add]


def everything() -> quantization.QConfigMapping:
    return quantization.QConfigMapping().set_global(quantization.default_qconfig)


def test_networks_of_the_vision_package_are_traced_into(monkeypatch):
    monkeypatch.setattr(Named.Part, "__module__", "flambeau.vision.models.named")
    assert isinstance(of_named(everything()).first.fc, intrinsic.quantized.LinearReLU)


def test_calls_have_the_configuration_of_the_module_around():
    assert sums_in_float(of_named(everything())) == []
    assert sums_in_float(of_named(everything().set_module_name("first", None))) == ["first"]
    assert sums_in_float(of_named(everything().set_module_name_regex("sec", None))) == ["second"]
    by_class = of_named(everything().set_object_type(Named.Part, None))
    assert sums_in_float(by_class) == ["first", "second"]
    assert isinstance(by_class.first.fc, intrinsic.quantized.LinearReLU)


def test_calls_can_be_left_out_by_their_number():
    model = of_named(everything().set_module_name_object_type_order("second", operator.add, 0, None))
    assert sums_in_float(model) == ["second"]
    assert sums_in_float(of_named(everything().set_module_name_object_type_order("second", operator.add, 1, None))) == []
    model = of_named(everything().set_module_name_object_type_order("first", nn.Linear, 0, None))
    assert type(model.first.fc) is intrinsic.LinearReLU
    assert isinstance(model.second.fc, intrinsic.quantized.LinearReLU)


def test_a_layer_that_is_called_twice_has_the_grid_of_the_last_call():
    torch.manual_seed(0)
    model = prepare_fx(Named().eval(), everything(), (rows(),))
    model(rows())
    last = model.get_submodule(next(each.target for each in reversed(model.graph.nodes) if each.op == "call_module"))
    assert convert_fx(model).last.scale == last.calculate_qparams()[0].item()


class Shaped(nn.Module):
    """Sizes are asked for, and computed with; an input has another shape before it is used, and a number is added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.flatten, self.fc = nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(32, 5)
        self.table = nn.Embedding(7, 5)

    def forward(self, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        x = self.conv(x.reshape(x.shape[0], 3, 2, -1))
        n, c, h, w = x.shape[0], x.size(1), x.size(2), x.size(-1)
        x = self.flatten(x.reshape(n, 2, c // 2, h * w).permute(0, 2, 1, 3) * 2 + 1)
        return self.fc(x) + self.table(indices)


def test_sizes_are_no_tensors_and_tables_stay_as_they_are():
    torch.manual_seed(0)
    model, x, indices = Shaped().eval(), torch.randn(3, 3, 8), torch.tensor([1, 6, 0])
    ready = prepare_fx(model, quantization.get_default_qconfig_mapping("x86"), (x, indices))
    ready(x, indices)
    converted = convert_fx(ready)
    assert (converted(x, indices) - model(x, indices)).abs().max().item() < 0.05
    assert type(converted.table) is nn.Embedding
    targets = [node.target for node in converted.graph.nodes]
    assert targets.count("dequantize") == 2  # before Flatten, which has no quantized form, and at the end
    assert {"flatten_scale_0", "table_zero_point_0"} <= set(converted.state_dict())  # named by where the value is made, as PyTorch's


def test_a_number_leaves_the_grid_to_the_layer():
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x) * 2

    model = prepare_fx(Doubled().eval(), everything(), (rows(),))
    before, after, doubled = (model.get_submodule(each.target) for each in model.graph.nodes if "activation_post" in str(each.target))
    assert before is not after
    assert after is doubled


def test_what_is_not_there_is_told():
    with pytest.raises(NotImplementedError, match="backend_config is not implemented"):
        fuse_fx(Net().eval(), backend_config=object())
    by_channel = quantization.QConfigMapping().set_global(quantization.default_per_channel_qconfig)
    with pytest.raises(AssertionError, match="ConvTranspose2d has its outputs along dimension 1 and cannot be quantized along dimension 0"):
        prepare_fx(nn.Sequential(nn.ConvTranspose2d(3, 4, 2)).eval(), by_channel, (images(0),))
    with pytest.raises(RuntimeError, match="convert_fx expects a network that prepare_fx"):
        convert_fx(torch.fx.symbolic_trace(Net().eval()))
