"""Whole networks: prepared, converted, trained with rounding; what comes out against integer arithmetic in NumPy."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.ao import quantization
from flambeau.ao.nn import intrinsic, quantized
from flambeau.ao.nn.quantized import dynamic


class Net(nn.Module):
    """A small convolutional network with a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.depthwise, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.BatchNorm2d(8)
        self.short = nn.Conv2d(8, 8, 1, stride=2)
        self.sum = quantized.FloatFunctional()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.conv(self.quant(x))))
        x = self.sum.add_relu(self.bn2(self.depthwise(x)), self.short(x))
        return self.dequant(self.fc(torch.flatten(self.pool(x), 1)))


FUSED = [["conv", "bn", "relu"], ["depthwise", "bn2"]]


def images(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(4, 3, 8, 8).astype(np.float32))


def converted(config: quantization.QConfig) -> tuple[nn.Module, nn.Module]:
    """The float network, fused, and the quantized one."""
    torch.manual_seed(0)
    model = Net().eval()
    model.qconfig = config
    fused = quantization.fuse_modules(model, FUSED)
    prepared = quantization.prepare(fused)
    for seed in range(3):
        prepared(images(seed))
    return fused, quantization.convert(prepared)


@pytest.mark.parametrize("backend", ["fbgemm", "x86", "qnnpack", "onednn"])
def test_static_quantization_is_close_to_the_float_network(backend):
    fused, model = converted(quantization.get_default_qconfig(backend))
    difference = (fused(images(0)) - model(images(0))).abs().max().item()
    assert difference < 10 * model.fc.scale
    assert isinstance(model.conv, intrinsic.quantized.ConvReLU2d)
    assert isinstance(model.sum, quantized.QFunctional)
    assert isinstance(model.bn, nn.Identity)
    assert not hasattr(model.conv, "qconfig")


def test_fusing_does_not_change_the_float_network():
    model = Net().eval()
    model.bn.running_mean.normal_()
    model.bn.running_var.uniform_(0.5, 2)
    fused = quantization.fuse_modules(model, FUSED)
    assert fused(images(0)).detach().numpy() == pytest.approx(model(images(0)).detach().numpy(), abs=1e-5)
    with pytest.raises(AssertionError, match="fused in evaluation mode"):
        quantization.fuse_modules(model.train(), FUSED)
    with pytest.raises(AssertionError, match=r"\(BatchNorm2d, Conv2d\) cannot become one layer"):
        quantization.fuse_modules(model.eval(), ["bn", "conv"])


def test_files_make_the_same_network():
    _, model = converted(quantization.default_qconfig)
    _, other = converted(quantization.get_default_qconfig("fbgemm"))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    assert not torch.equal(model(images(5)), other(images(5)))
    other.load_state_dict(torch.load(file))
    assert torch.equal(model(images(5)), other(images(5)))
    assert {"conv.weight", "conv.scale", "fc._packed_params._packed_params", "fc._packed_params.dtype", "quant.scale"} <= set(
        model.state_dict()
    )


def test_text_is_pytorchs():
    torch.manual_seed(0)
    layer = quantized.Linear(3, 2)
    assert repr(layer) == "QuantizedLinear(in_features=3, out_features=2, scale=1.0, zero_point=0, qscheme=torch.per_tensor_affine)"
    assert repr(quantized.Conv2d(3, 2, 3, padding=1)) == (
        "QuantizedConv2d(3, 2, kernel_size=(3, 3), stride=(1, 1), scale=1.0, zero_point=0, padding=(1, 1))"
    )
    assert repr(dynamic.LSTM(3, 2)) == "DynamicQuantizedLSTM(3, 2)"
    assert repr(quantized.Embedding(4, 3)) == (
        "QuantizedEmbedding(num_embeddings=4, embedding_dim=3, dtype=torch.quint8, qscheme=torch.per_channel_affine_float_qparams)"
    )


def test_training_with_rounding_reaches_the_quantized_network():
    torch.manual_seed(0)
    model = Net().train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(quantization.fuse_modules_qat(model, FUSED))
    assert isinstance(prepared.conv, intrinsic.qat.ConvBnReLU2d)
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.1)
    target = torch.tensor([0, 1, 2, 3])
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(prepared(images(0)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    prepared.apply(quantization.disable_observer).apply(intrinsic.qat.freeze_bn_stats)
    prepared.eval()
    rounded = prepared(images(0))
    quantized_model = quantization.convert(prepared)
    difference = (rounded - quantized_model(images(0))).abs().max().item()
    assert difference <= 2.5 * quantized_model.fc.scale
    with pytest.raises(AssertionError, match="prepare_qat is for models in training mode"):
        quantization.prepare_qat(Net().eval())


def test_dynamic_quantization_of_a_language_model():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.lstm, self.gru = nn.Embedding(30, 8), nn.LSTM(8, 12, 2), nn.GRU(12, 6, bidirectional=True)
            self.out = nn.Linear(12, 30)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(self.lstm(self.table(tokens))[0])[0])

    torch.manual_seed(0)
    model = Model().eval()
    tokens = torch.arange(21).reshape(7, 3)
    small = quantization.quantize_dynamic(model, {nn.LSTM, nn.GRU, nn.Linear}, dtype=torch.qint8)
    assert isinstance(small.lstm, dynamic.LSTM)
    assert isinstance(model.lstm, nn.LSTM)
    assert (small(tokens) - model(tokens)).abs().max().item() < 0.05
    tables = quantization.quantize_dynamic(model, dtype=torch.quint8)
    assert isinstance(tables.table, quantized.Embedding)
    assert (tables.table(tokens) - model.table(tokens)).abs().max().item() < 0.02
    with pytest.raises(NotImplementedError, match="implemented for torch.qint8"):
        quantization.quantize_dynamic(model, dtype=torch.float16)
    with pytest.raises(ValueError, match="got torch.qint32"):
        quantization.quantize_dynamic(model, dtype=torch.qint32)


def test_bags_are_sums_of_rows():
    torch.manual_seed(0)
    tables = quantization.quantize_dynamic(nn.ModuleList([nn.Embedding(20, 8), nn.EmbeddingBag(20, 8, mode="sum")]), dtype=torch.quint8)
    tables[1].set_weight(tables[0].weight())
    indices, offsets = torch.tensor([3, 1, 4, 1, 5, 9]), torch.tensor([0, 2, 2])
    rows = tables[0](indices)
    expected = torch.stack([rows[:2].sum(0), torch.zeros(8), rows[2:].sum(0)])
    assert tables[1](indices, offsets).numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert tables[1](indices.reshape(2, 3)).shape == (2, 8)


def test_cells_take_the_steps_of_layers():
    torch.manual_seed(0)
    layer, x = nn.LSTM(4, 5), torch.randn(1, 3, 4)
    cell = nn.LSTMCell(4, 5)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    layer, cell = (quantization.quantize_dynamic(nn.ModuleList([each]))[0] for each in (layer, cell))
    output, (h, c) = layer(x)
    assert torch.equal(torch.stack(cell(x[0])), torch.stack((h[0], c[0])))
    assert torch.equal(output[0], h[0])


def test_networks_that_are_not_ready_are_told():
    model = nn.Sequential(quantization.QuantStub(), nn.Linear(2, 2))
    with pytest.warns(UserWarning, match="no module has a qconfig"):
        quantization.prepare(model)
    model.qconfig = quantization.default_qconfig
    with pytest.raises(AssertionError, match="has no activation_post_process: prepare"):
        quantization.propagate_qconfig_(model)
        quantization.convert(model)
    from flambeau.ao.nn import qat

    for cls in (qat.Linear, qat.Embedding, intrinsic.qat.LinearBn1d):
        with pytest.raises(AssertionError, match=f"{cls.__name__} rounds its weight by qconfig.weight"):
            cls(2, 2)
    layer = quantized.Linear(2, 2)
    with pytest.raises(NotImplementedError, match="expected a quantized tensor, got torch.float32; put torch.ao.quantization.QuantStub"):
        layer(torch.rand(1, 2))


def test_copies_compute_the_same():
    _, model = converted(quantization.get_default_qconfig("x86"))
    expected = model(images(5))
    assert torch.equal(copy.deepcopy(model)(images(5)), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images(5)), expected)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(images(5)), expected)


def test_threads_change_nothing():
    _, model = converted(quantization.get_default_qconfig("x86"))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(model(images(5)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(each, results[0]) for each in results)


def test_engines_are_names():
    engines = torch.backends.quantized
    before = engines.engine
    assert set(engines.supported_engines) == {"qnnpack", "onednn", "x86", "fbgemm"}
    try:
        engines.engine = "fbgemm"
        with pytest.raises(RuntimeError, match="quantized engine 'tpu' is not supported"):
            engines.engine = "tpu"
        assert engines.engine == "fbgemm"
    finally:
        engines.engine = before


def test_normalization_after_linear_is_trained_with_rounding():
    torch.manual_seed(0)
    model = nn.Sequential(quantization.QuantStub(), nn.Linear(6, 8), nn.BatchNorm1d(8), quantization.DeQuantStub()).train()
    model.qconfig = quantization.get_default_qat_qconfig("x86")
    prepared = quantization.prepare_qat(quantization.fuse_modules_qat(model, ["1", "2"]))
    x = torch.randn(64, 6)
    prepared(x).square().sum().backward()
    assert prepared[1].weight.grad.shape == (8, 6)
    prepared.eval()
    quantized_model = quantization.convert(prepared)
    assert (prepared(x) - quantized_model(x)).abs().max().item() <= 1.5 * quantized_model[1].scale


def test_old_names():
    import flambeau.nn.quantized.dynamic as old
    import flambeau.quantization

    assert old.Linear is dynamic.Linear
    assert torch.nn.quantized.Linear is quantized.Linear
    assert flambeau.quantization.QuantStub is quantization.QuantStub
    from flambeau.quantization.fuse_modules import fuse_known_modules

    assert callable(fuse_known_modules)
    assert callable(quantization.fuse_modules)
    assert callable(flambeau.quantization.quantize)
