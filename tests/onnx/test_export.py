"""What is exported computes the same in ONNX's reference implementation."""

from __future__ import annotations

import io

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.onnx import OnnxExporterError, export, is_in_onnx_export

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from tests.onnx.checks import check, compare, example, module_of  # noqa: E402

X = example(2, 3, 4)
POSITIVE = example(2, 3, 4).abs() + 0.5
FUNCTIONS = {
    "unary": lambda x: (x.abs(), -x, x.exp(), x.sin(), x.tanh(), torch.sigmoid(x), torch.erf(x), x.floor(), x.ceil(), x.round(), x.sign(), x.reciprocal(), x.square(), x.trunc()),
    "binary": lambda x: (x + 1, 2 - x, x * x, x / 3, x - 2 * x, 1 / x, torch.add(x, x, alpha=3), x.maximum(x * 2), torch.minimum(x, -x), x % 2, x // 2, x**2, torch.div(x, 0.3, rounding_mode="trunc")),
    "compare": lambda x: (x > 0, x >= 0.5, x < x * 2, x <= 0, x == x, x != 0, (x > 0) & (x < 1), (x > 0) | (x < -1), ~(x > 0), torch.where(x > 0, x, 0.0), x.masked_fill(x > 0, -1)),
    "promotion": lambda x: ((x > 0) * x, (x > 0).float(), x.long() + 1, x.int() * x, x.to(torch.float64) + 1, (x > 0).sum(), x.long() // 2),
    "activation": lambda x: (F.relu(x), F.relu6(x), F.leaky_relu(x, 0.2), F.elu(x), F.selu(x), F.celu(x), F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.mish(x), F.softplus(x), F.hardswish(x), F.hardsigmoid(x), F.hardtanh(x), F.softsign(x), F.logsigmoid(x), F.glu(x), F.softmax(x, 1), x.log_softmax(-1), x.clamp(-0.5, 0.5), x.clamp(min=0), torch.clamp_max(x, 0.1)),
    "reduce": lambda x: (x.sum(), x.sum(1), x.mean((0, 2), keepdim=True), x.amax(1), x.amin(-1), x.prod(1), x.logsumexp(2), x.max(), x.argmax(), x.argmin(1, keepdim=True), x.var(1), x.std((0, 1), correction=0), x.norm(dim=1), torch.cumsum(x, 1)),
    "reduce with indices": lambda x: (*x.max(1), *x.min(dim=2, keepdim=True), *x.topk(2, dim=1)),
    "shape": lambda x: (x.reshape(6, 4), x.view(2, -1), x.flatten(1), x.unsqueeze(1), x[:, :1].squeeze(1), x.permute(2, 0, 1), x.transpose(0, 2), x.mT, x.movedim(0, 1), x.expand(5, 2, 3, 4), x.repeat(2, 1, 1), x.flip(0, 2), x.roll(1, 1), x[0].t(), x.tril(), x.triu(1), x.contiguous().clone()),
    "parts": lambda x: (*x.split(2, 2), *x.chunk(2, -1), *x.unbind(1), torch.cat([x, x * 2], 1), torch.stack([x, -x], dim=1), x.narrow(2, 1, 2), x.select(1, 0)),
    "index": lambda x: (x[0], x[:, 1], x[..., 1], x[:, 1:, ::2], x[None], x[-1, ..., -1], x[:, [0, 2]], x[torch.tensor([1, 0]), torch.tensor([2, 0])], x[:, torch.tensor([[0, 1], [2, 2]])], x.index_select(2, torch.tensor([3, 0]))),
    "gather": lambda x: (x.gather(1, (x > 0).long()), x.scatter(1, torch.zeros(2, 1, 4, dtype=torch.int64), 5.0), x.scatter_add(2, torch.zeros(2, 3, 4, dtype=torch.int64), x)),
    "pad": lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 1, 0, 2), value=3.0), F.pad(x, (1, 2), mode="reflect"), F.pad(x, (2, 1), mode="replicate")),
    "product": lambda x: (x @ x.mT, torch.einsum("bij,bkj->bik", x, x), torch.bmm(x, x.mT), torch.baddbmm(x @ x.mT, x, x.mT, beta=2, alpha=0.5), F.scaled_dot_product_attention(x, x, x), F.scaled_dot_product_attention(x, x, x, is_causal=True), F.normalize(x, dim=-1)),
    "shape decides": lambda x: x + 1 if x.shape[1] == 3 and x.dim() == 3 and len(x) == 2 else x - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(module_of(FUNCTIONS[name], 1), X)


def test_positive():
    check(module_of(lambda x: (x.log(), x.sqrt(), x.rsqrt(), x.log2(), x.log10(), x.log1p(), x.expm1(), x**0.5), 1), POSITIVE)


LAYERS = {
    "linear": (nn.Linear(4, 5), X),
    "linear of a matrix": (nn.Linear(4, 5, bias=False), X[0]),
    "embedding": (nn.Embedding(7, 3), torch.tensor([[0, 6], [2, 2]])),
    "conv1d": (nn.Conv1d(3, 4, 3, stride=2, padding=1), example(2, 3, 9)),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2, padding=(1, 0)), example(2, 4, 9, 8)),
    "conv2d same": (nn.Conv2d(2, 3, 4, padding="same"), example(1, 2, 7, 8)),
    "conv2d circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), example(1, 2, 7, 8)),
    "conv3d": (nn.Conv3d(2, 3, 2), example(1, 2, 4, 5, 4)),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), example(2, 3, 5, 6)),
    "batch_norm": (nn.BatchNorm2d(3), example(2, 3, 4, 4)),
    "layer_norm": (nn.LayerNorm([3, 4]), X),
    "group_norm": (nn.GroupNorm(2, 4), example(2, 4, 5, 5)),
    "instance_norm": (nn.InstanceNorm2d(3, affine=True), example(2, 3, 5, 5)),
    "max_pool": (nn.MaxPool2d(3, 2, 1), example(2, 3, 9, 9)),
    "avg_pool": (nn.AvgPool2d(2), example(2, 3, 8, 8)),
    "adaptive": (nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(1), nn.Flatten()), example(2, 3, 6, 9)),
    "upsample": (nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")), example(1, 2, 3, 4)),
    "prelu": (nn.PReLU(3, 0.1), X),
    "dropout": (nn.Sequential(nn.Dropout(), nn.ReLU(inplace=True)), X),
    "transformer": (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), X),
    "attention": (nn.MultiheadAttention(4, 2, batch_first=True), X, X, X),
    "pixel_shuffle": (nn.PixelShuffle(2), example(1, 8, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer, *inputs = LAYERS[name]
    check(layer, *inputs)


@pytest.mark.parametrize("version", range(18, 24))
def test_versions(version):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    assert check(network, example(2, 3, 8, 8), opset_version=version).opset_import[0].version == version


def test_older_operators():
    assert check(nn.Linear(4, 3), example(2, 4), opset_version=13).opset_import[0].version == 13
    with pytest.warns(UserWarning, match="opset_version=13: the model stays in version 18"):
        assert check(nn.LayerNorm(4), example(2, 4), opset_version=13).opset_import[0].version == 18


def test_networks():
    from flambeau.vision.models import mobilenet_v2, resnet18

    torch.manual_seed(0)
    for network in (resnet18(num_classes=4), mobilenet_v2(num_classes=4)):
        model = check(network, example(1, 3, 32, 32), tolerance=1e-4)
        assert {each.name for each in model.graph.initializer} >= {name for name, _ in network.named_parameters()}


def test_names_axes_and_file(tmp_path):
    layer = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).train()
    options = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}, "y": [0]}}
    model = export(layer, X, tmp_path / "net.onnx", **options).model_proto
    assert layer.training and not is_in_onnx_export()
    again = onnx.load(tmp_path / "net.onnx")
    assert again == model and [each.name for each in (*again.graph.input, *again.graph.output)] == ["x", "y"]
    assert again.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    bigger = example(5, 3, 4)
    (got,) = ReferenceEvaluator(again).run(None, {"x": bigger.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), layer.eval()(bigger).detach())
    buffer = io.BytesIO()
    export(layer, (X,), buffer, **options)
    assert buffer.getvalue() == (tmp_path / "net.onnx").read_bytes()


def test_outputs_are_copies_only_where_they_have_to_be():
    def function(x):
        y = x.relu()
        return y, y, x, y + 1

    for names in (["a", "b", "c", "d"], ["Relu", "relu", "add", "Add"]):
        model = check(module_of(function, 1), example(2, 3), output_names=names)
        assert [output.name for output in model.graph.output] == names
        assert [node.op_type for node in model.graph.node] == ["Relu", "Add", "Identity", "Identity"]


def test_several_arguments_and_structures():
    class Net(nn.Module):
        def forward(self, pair, scale=2.0, mask=None, *, shift):
            first, second = pair["a"], pair["b"]
            result = first * scale + second - shift
            return {"sum": result if mask is None else result * mask, "first": first}

    model = export(Net(), ({"a": X, "b": X * 2},), kwargs={"shift": X[0]}).model_proto
    assert len(model.graph.input) == 3 and len(model.graph.output) == 2
    values = dict(zip((each.name for each in model.graph.input), (X.numpy(), (X * 2).numpy(), X[0].numpy())))
    got, first = ReferenceEvaluator(model).run(None, values)
    torch.testing.assert_close(torch.from_numpy(got), X * 4 - X[0])
    assert torch.equal(torch.from_numpy(first), X)


class Pair(nn.Module):
    def forward(self, x, y):
        return x @ y.mT, x.flatten()


def test_sizes_are_free_by_name():
    x, y = example(2, 4), example(3, 4)
    for options in (
        {"dynamic_axes": {"x": {0: "rows"}, "y": {0: "columns"}, "output_1": {0: "whole"}}},
        {"dynamic_shapes": {"x": {0: "rows"}, "y": {0: torch.export.Dim("columns")}}},
        {"dynamic_shapes": (["rows", None], ["columns", None])},
    ):
        program = export(Pair(), (x, y), **options)
        model = program.model_proto
        shapes = [
            [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
            for each in (*model.graph.input, *model.graph.output)
        ]
        last = "whole" if "dynamic_axes" in options else "4*rows"
        assert shapes == [["rows", 4], ["columns", 4], ["rows", "columns"], [last]]
        compare(model, Pair(), [example(5, 4), example(6, 4)])
        assert program.call_reference(example(5, 4), example(6, 4))[0].shape == (5, 6)


def test_labels_of_sizes_that_have_to_be_equal():
    model = export(module_of(torch.add, 2), (X, X), dynamic_axes={"x0": [0], "x1": {0: "other"}}).model_proto
    compare(model, module_of(torch.add, 2), [example(5, 3, 4)] * 2)
    module = module_of(lambda x: x.reshape(x.shape[0], -1) / x.shape[0])
    for batch in (1, 3):  # an example of one is no special case
        compare(export(module, (example(batch, 3),), dynamic_axes={"x0": {0: "batch"}}).model_proto, module, [example(7, 3)])


def test_a_program_is_saved_with_and_without_its_weights(tmp_path):
    layer = nn.Linear(4, 3)
    program = export(layer, (X[0],))
    program.save(tmp_path / "whole.onnx", external_data=True)
    assert (tmp_path / "whole.onnx.data").exists() or (tmp_path / "whole.onnx").exists()
    assert onnx.load(tmp_path / "whole.onnx") == program.model_proto
    program.save(tmp_path / "bare.onnx", include_initializers=False)
    bare = onnx.load(tmp_path / "bare.onnx")
    assert [each.name for each in bare.graph.input] == ["input", "weight", "bias"] and not bare.graph.initializer
    kept = export(layer, (X[0],), keep_initializers_as_inputs=True).model_proto
    assert [each.name for each in kept.graph.input] == ["input", "weight", "bias"] and len(kept.graph.initializer) == 2
    assert export(layer, (X[0],), export_params=False).model_proto == bare
    other = nn.Linear(4, 3)
    program.apply_weights(other.state_dict())
    torch.testing.assert_close(program.call_reference(X[0])[0], other(X[0]).detach())
    with pytest.raises(ValueError, match="shape"):
        program.apply_weights({"bias": torch.ones(4)})
    with pytest.raises(ValueError, match="inputs"):
        program.call_reference([torch.ones(1), torch.ones(1)])


def test_programs_and_traces_are_exported():
    layer = nn.Linear(4, 3)
    exported = torch.export.export(layer, (X[0],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    compare(export(exported, verify=True).model_proto, layer, [example(7, 4)])
    compare(export(torch.jit.trace(layer, X[0]), (X[0],)).model_proto, layer, [X[0]])


def test_names_of_values_are_those_of_the_program():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return torch.relu(self.first(x)) + self.second(x).sum()

    graph = export(Net(), (X[0],)).model_proto.graph
    assert [(node.op_type, list(node.input), list(node.output)) for node in graph.node] == [
        ("Gemm", ["x", "first.weight", "first.bias"], ["linear"]),
        ("Relu", ["linear"], ["relu"]),
        ("Gemm", ["x", "second.weight", "second.bias"], ["linear_1"]),
        ("ReduceSum", ["linear_1"], ["sum_1"]),
        ("Add", ["relu", "sum_1"], ["output"]),
    ]
    assert [each.name for each in graph.initializer] == ["first.weight", "first.bias", "second.weight", "second.bias"]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: export(module_of(lambda x: torch.linalg.svd(x).S, 1), (X,)), OnnxExporterError, "svd"),
        (lambda: export(module_of(lambda x: x[x > 0], 1), (X,)), OnnxExporterError, "mask"),
        (lambda: export(nn.ReLU(), (X,), opset_version=6), ValueError, "7 to 23"),
        (lambda: export(nn.ReLU(), (X,), input_names=["a", "b"]), ValueError, "input_names"),
        (lambda: export(nn.ReLU(), (X,), output_names=["a", "b"]), ValueError, "output_names"),
        (lambda: export(nn.ReLU(), (X,), dynamic_axes={"z": [0]}), ValueError, "dynamic_axes"),
        (lambda: export(nn.ReLU(), (X,), dynamic_axes={"input": [5]}), ValueError, "dimension 5"),
        (lambda: export(nn.ReLU(), (X,), dynamic_axes={"input": [0]}, dynamic_shapes=({0: "n"},)), ValueError, "both"),
        (lambda: export(lambda x: x, (X,)), TypeError, "not a function"),
        (lambda: export(nn.ReLU(), (X,), custom_translation_table={1: 2}), NotImplementedError, "ONNX Script"),
        (lambda: export(nn.ReLU(), ()), OnnxExporterError, "missing a required argument: 'input'"),
    ],
)
def test_errors(call, error, text, tmp_path):
    with pytest.raises(error, match=text):
        call()
    assert not is_in_onnx_export() and export(nn.ReLU(), (X,)) is not None
