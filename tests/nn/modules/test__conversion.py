"""Modules on the meta device: made without memory, called for their shapes, given memory or a checkpoint later."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import pytest

import flambeau
from flambeau import nn

IMAGE = (2, 4, 7, 6)
LAYERS = {
    "BatchNorm1d": ((4,), [(5, 4)]),
    "BatchNorm2d": ((4,), [IMAGE]),
    "BatchNorm3d": ((4,), [(2, 4, 3, 3, 2)]),
    "Bilinear": ((3, 4, 5), [(2, 3), (2, 4)]),
    "Conv1d": ((4, 6, 3), [(2, 4, 7)]),
    "Conv2d": ((4, 6, 3), [IMAGE]),
    "Conv3d": ((4, 6, 2), [(1, 4, 4, 4, 4)]),
    "ConvTranspose1d": ((4, 6, 3, 2), [(2, 4, 7)]),
    "ConvTranspose2d": ((4, 6, 3, 2), [IMAGE]),
    "ConvTranspose3d": ((4, 6, 2), [(1, 4, 3, 3, 3)]),
    "Embedding": ((10, 3), ["target"]),
    "EmbeddingBag": ((10, 3), ["bags"]),
    "GRU": ((4, 6, 2), [(5, 2, 4)]),
    "GRUCell": ((4, 6), [(2, 4)]),
    "GroupNorm": ((2, 4), [IMAGE]),
    "InstanceNorm1d": ((4, 1e-5, 0.1, True, True), [(2, 4, 7)]),
    "InstanceNorm2d": ((4, 1e-5, 0.1, True), [IMAGE]),
    "InstanceNorm3d": ((4, 1e-5, 0.1, True), [(2, 4, 3, 3, 2)]),
    "LSTM": ((4, 6), [(5, 2, 4)]),
    "LSTMCell": ((4, 6), [(2, 4)]),
    "LayerNorm": ((6,), [IMAGE]),
    "Linear": ((3, 4), [(2, 3)]),
    "LinearCrossEntropyLoss": ((8, 10), [(3, 8), "target"]),
    "MultiheadAttention": ((4, 2), [(5, 2, 4)] * 3),
    "PReLU": ((), [IMAGE]),
    "RMSNorm": ((6,), [IMAGE]),
    "RNN": ((4, 6), [(5, 2, 4)]),
    "RNNCell": ((4, 6), [(2, 4)]),
    "SyncBatchNorm": ((4,), [IMAGE]),
    "Transformer": ((8, 2, 1, 1, 16), [(5, 2, 8), (4, 2, 8)]),
    "TransformerDecoderLayer": ((8, 2, 16), [(5, 2, 8), (4, 2, 8)]),
    "TransformerEncoderLayer": ((8, 2, 16), [(5, 2, 8)]),
}
NOT_BY_SHAPE = {"AdaptiveLogSoftmaxWithLoss", "NonDynamicallyQuantizableLinear", "RNNBase", "RNNCellBase"}
"""Which rows go through which cluster of an adaptive softmax depends on the data, and the others are parts of layers."""


def tensors(result):
    return (
        [result] if isinstance(result, flambeau.Tensor) else [] if result is None else [each for part in result for each in tensors(part)]
    )


def given(shape, device):
    if isinstance(shape, str):
        return (
            flambeau.tensor([1, 2, 0])
            if shape == "target" and device == "cpu"
            else flambeau.ones((2, 3) if shape == "bags" else 3, dtype=flambeau.int64, device=device)
        )
    return flambeau.ones(shape, device=device)


def run(name, device):
    """What a layer is made of, gives, and gets as gradients, but for the elements."""
    arguments, shapes = LAYERS[name]
    layer = getattr(nn, name)(*arguments, device=device)
    results = tensors(layer(*[given(shape, device) for shape in shapes]))
    sum(result.sum() for result in results if result.requires_grad).backward()
    parameters = list(layer.parameters())
    gradients = [parameter.grad for parameter in parameters]
    everything = [*parameters, *layer.buffers(), *results, *[each for each in gradients if each is not None]]
    assert {each.device.type for each in everything} == {device}
    return [(each.shape, each.stride(), each.dtype, each.requires_grad) for each in everything]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    assert run(name, "meta") == run(name, "cpu")


def test_no_layer_is_left_out():
    named = {
        name
        for name, cls in vars(nn).items()
        if isinstance(cls, type) and issubclass(cls, nn.Module) and "device" in inspect.signature(cls).parameters
    }
    assert {name for name in named if not name.startswith("Lazy")} - LAYERS.keys() - NOT_BY_SHAPE == set()


def test_lazy_layers():
    layer = nn.LazyLinear(3, device="meta")
    assert layer(flambeau.empty(2, 5, device="meta")).shape == (2, 3) and layer.weight.is_meta and layer.weight.shape == (3, 5)
    assert nn.LazyLinear(3, device="meta").to_empty(device="cpu").weight.device.type == "cpu"


def test_memory_is_given_later():
    layer = nn.Sequential(nn.Linear(2, 3, device="meta"), nn.BatchNorm1d(3, device="meta"))
    weight = layer[0].weight
    layer(flambeau.empty(4, 2, device="meta")).sum().backward()
    with pytest.raises(NotImplementedError, match="to_empty"):
        layer.to("cpu")
    assert layer[0].weight is weight and weight.grad.is_meta
    assert layer.to_empty(device="cpu") is layer
    assert layer[0].weight is not weight and isinstance(layer[0].weight, nn.Parameter)
    assert {each.device.type for each in (*layer.parameters(), *layer.buffers(), layer[0].weight.grad)} == {"cpu"}
    layer[0].reset_parameters()
    assert layer.to("meta")[0].bias.is_meta and layer[0].bias.requires_grad


def test_loading():
    saved = nn.BatchNorm1d(3).state_dict()
    layer = nn.BatchNorm1d(3, device="meta")
    layer.load_state_dict(saved, assign=True)
    assert layer.weight.tolist() == [1.0] * 3 and layer.running_var.tolist() == [1.0] * 3 and layer.weight.requires_grad
    with pytest.warns(UserWarning, match="weight is on the meta device.*assign=True"):
        nn.Linear(2, 3, bias=False, device="meta").load_state_dict(nn.Linear(2, 3, bias=False).state_dict())
    with pytest.raises(RuntimeError, match='parameter named "weight".*meta device'):
        nn.Linear(2, 3).load_state_dict(nn.Linear(2, 3, device="meta").state_dict())
    nn.Linear(2, 3, device="meta").load_state_dict(nn.Linear(2, 3, device="meta").state_dict())


def test_copies():
    layer = nn.LSTM(3, 4, device="meta")
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert all(each.is_meta and each.requires_grad for each in other.parameters())
    stream = io.BytesIO()
    flambeau.save(layer.state_dict(), stream)
    stream.seek(0)
    assert all(each.is_meta for each in flambeau.load(stream).values())


def test_initialisation_draws_nothing():
    flambeau.manual_seed(0)
    expected = flambeau.rand(2).tolist()
    flambeau.manual_seed(0)
    matrix = flambeau.empty(4, 4, device="meta")
    for name in nn.init.__all__:
        if name not in ("calculate_gain", "constant_", "dirac_", "sparse_"):
            assert getattr(nn.init, name)(matrix) is matrix
    nn.init.constant_(matrix, 2.0), nn.init.sparse_(matrix, 0.5), nn.init.dirac_(flambeau.empty(3, 3, 3, device="meta"))
    nn.Transformer(8, 2, 1, 1, device="meta")
    assert flambeau.rand(2).tolist() == expected and matrix.is_meta


@pytest.mark.parametrize(
    "name", ["ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]
)
def test_steps_of_optimizers(name):
    layer = nn.Linear(3, 4, device="meta")
    optimizer = getattr(flambeau.optim, name)(layer.parameters(), lr=0.1)
    for _ in range(2):
        before = layer.weight._version
        layer(flambeau.empty(2, 3, device="meta")).sum().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert layer.weight._version > before
    state = optimizer.state[layer.weight].values()
    assert all(each.is_meta for each in state if isinstance(each, flambeau.Tensor) and each.dim())


def test_parametrizations_and_graphs():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).t()

    layer = nn.Linear(3, 3, device="meta")
    nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    for each in (layer, nn.utils.parametrizations.weight_norm(nn.Linear(3, 3, device="meta"))):
        each(flambeau.empty(2, 3, device="meta")).sum().backward()
        assert all(parameter.grad.is_meta for parameter in each.parameters())
    traced = flambeau.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4, device="meta"), nn.ReLU()))
    assert traced(flambeau.empty(2, 3, device="meta")).shape == (2, 4)
    program = flambeau.export.export(nn.Linear(3, 4, device="meta"), (flambeau.empty(2, 3, device="meta"),))
    assert program.module()(flambeau.empty(2, 3, device="meta")).shape == (2, 4)


@pytest.fixture
def conversion():
    """`__future__`, whose settings are put back afterwards."""
    yield flambeau.__future__
    flambeau.__future__.set_overwrite_module_params_on_conversion(False)
    flambeau.__future__.set_swap_module_params_on_conversion(False)


def test_parameters_are_overwritten_on_request(conversion):
    conversion.set_overwrite_module_params_on_conversion(True)
    assert conversion.get_overwrite_module_params_on_conversion()
    layer = nn.Linear(2, 2)
    old = layer.weight
    layer.double()
    assert layer.weight is not old and old.dtype is flambeau.float32 and layer.weight.dtype is flambeau.float64


def test_parameters_are_swapped_on_request(conversion):
    conversion.set_swap_module_params_on_conversion(True)
    assert conversion.get_swap_module_params_on_conversion()
    layer = nn.Linear(2, 2)
    weight = layer.weight
    layer(flambeau.ones(1, 2)).sum().backward()
    layer.double()
    assert layer.weight is weight and weight.dtype is weight.grad.dtype is flambeau.float64
    assert layer.to("meta").weight is weight and weight.is_meta and isinstance(weight, nn.Parameter)
