"""PyTorch's `.pt2` files: those in `tests/programs` were written by PyTorch 2.13 (`python -m parity.programs --write tests/programs`)."""

from __future__ import annotations

import copy
import io
import json
import zipfile

import pytest

import flambeau as torch
from flambeau import export, nn
from flambeau.export.graph_signature import OutputKind
from tests.jit.test_torchscript import EXPECTED, PROGRAMS, assert_same, leaves, norms

NAMES = sorted(name for name in EXPECTED if name.endswith(".pt2"))


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_what_pytorch_gives(name):
    expected = EXPECTED[name]
    module = export.load(PROGRAMS / name).module()
    with torch.no_grad():
        module(*[each.clone() for each in expected["args"]])
    outputs = module(*[each.clone() for each in expected["args"]])
    assert_same(outputs, expected["outputs"])
    wanted = [leaf for leaf in leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    sum((leaf.double().square().sum() for leaf in wanted), torch.zeros(())).backward() if wanted else None
    gradients = norms([(key, each.grad) for key, each in module.named_parameters() if each.grad is not None])
    assert gradients == pytest.approx(expected["gradients"], rel=1e-4, abs=1e-5)
    assert norms(module.state_dict().items()) == pytest.approx(expected["state"], rel=1e-5, abs=1e-6)


def loaded(name):
    return export.load(PROGRAMS / f"{name}.pt2")


def test_a_program_says_what_it_is():
    program = loaded("exported_arithmetic")
    signature = program.graph_signature
    assert signature.parameters == ("weight",) and signature.buffers == ("count", "hidden") and signature.user_inputs == ("x", "y")
    assert signature.non_persistent_buffers == {"hidden"} and list(program.state_dict) == ["weight", "count"]
    assert isinstance(program.state_dict["weight"], nn.Parameter) and set(program.constants) >= {"constant", "hidden"}
    assert torch.ops.aten.masked_fill.Scalar in {node.target for node in program.graph.nodes}
    assert next(node for node in program.graph.nodes if node.name == "x").meta["val"].shape == (3, 5)
    assert [each.shape for each in program.example_inputs[0]] == [(3, 5), (4,)]
    assert "torch.ops.aten.add_.Tensor(b_count, 1)" in program.graph_module.code


def test_a_functional_program_writes_to_buffers_and_arguments():
    program = loaded("decomposed_arithmetic")
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    assert kinds[:2] == [OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION] and OutputKind.BUFFER_MUTATION not in kinds[2:]
    assert list(program.graph_signature.buffers_to_mutate.values()) == ["count"]
    assert list(program.graph_signature.user_inputs_to_mutate.values()) == ["x"]
    module, x = program.module(), torch.zeros(3, 5)
    module(x, torch.ones(4))
    module(x, torch.ones(4))
    assert module.count.tolist() == [2.0, 2.0] and x[:, 0].tolist() == [6.0] * 3


def test_sizes_that_are_free():
    program = loaded("dynamic_resnet")
    assert [limits.lower for limits in program.range_constraints.values()] == [2]
    module = program.module()
    assert module(torch.ones(7, 3, 8, 8)).shape == (7, 3)
    with pytest.raises(AssertionError, match=r"size\(\)\[1\] == 3"):
        module(torch.ones(7, 4, 8, 8))
    with pytest.raises(AssertionError, match=r"size\(\)\[0\] == 2"):
        loaded("exported_resnet").module()(torch.ones(7, 3, 8, 8))


def test_sizes_that_are_computed():
    module = loaded("dynamic_arithmetic").module()
    result = module(torch.ones(5, 5), torch.ones(10))
    assert result["rest"][1].shape == (6,) and result["rest"][8][:, 0].tolist() == [6.0] * 5


def test_files_beside_the_program_and_streams():
    extra = {"about.txt": "", "missing.txt": ""}
    export.load(io.BytesIO((PROGRAMS / "exported_images.pt2").read_bytes()), extra_files=extra)
    assert extra == {"about.txt": "images", "missing.txt": ""}


def test_a_program_is_copied_and_decomposed():
    program = loaded("exported_encoder")
    x = EXPECTED["exported_encoder.pt2"]["args"][0]
    module = program.module()
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    torch.testing.assert_close(program.run_decompositions().module()(x), module(x))


# -- writing ---------------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
        self.tied = self.lstm.weight_ih_l0
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.constant = torch.tensor([1.0, 2.0])

    def forward(self, x, *more, scale=2):
        self.calls += 1
        y = nn.functional.interpolate(self.norm(self.conv(x)), scale_factor=0.5, mode="bilinear") * scale + self.hidden
        steps, _ = self.lstm(y.flatten(2).transpose(1, 2))
        values, _ = steps.std(-1, keepdim=True).max(1)
        picked = steps[:, torch.tensor([0, 2])].masked_fill(steps[:, :2] > 0, float("-inf")).to(torch.float64)
        return {"a": [values, picked, None, "text", x.shape[0] * 2 + 1], "b": (more[0] + self.constant, steps.mean())}


@pytest.fixture
def program():
    torch.manual_seed(0)
    net = Net().eval()
    net.conv.bias.requires_grad_(False)
    args = (torch.linspace(-1, 1, 384).reshape(2, 3, 8, 8), torch.ones(2))
    return export.export(net, args, {"scale": 3}, dynamic_shapes={"x": {0: export.Dim("batch", max=50)}, "more": (None,), "scale": None})


def copied(program, **options):
    file = io.BytesIO()
    export.save(program, file, **options)
    file.seek(0)
    return file


def test_a_program_is_written_as_pytorch_writes_it(program):
    with zipfile.ZipFile(copied(program, extra_files={"about.txt": "a text"})) as file:
        names = file.namelist()
        saved = json.loads(file.read("archive/models/model.json"))
        assert file.read("archive/extra/about.txt") == b"a text" and file.read("archive/archive_format") == b"pt2"
    assert "archive/data/weights/weight_0" in names and "archive/version" not in names
    calls = {node["target"]: node for node in graph(saved)["nodes"]}
    assert {"torch.ops.aten.conv2d.default", "torch.ops.aten.upsample_bilinear2d.vec", "torch.ops.aten.std.correction"} < set(calls)
    assert [each["name"] for each in calls["torch.ops.aten.lstm.input"]["inputs"]][:3] == ["input", "hx", "params"]
    assert len(calls["torch.ops.aten.lstm.input"]["outputs"]) == 3 and calls["torch.ops.aten.std.correction"]["inputs"][-1]["kind"] == 2
    sizes = graph(saved)["tensor_values"]["x"]["sizes"]
    assert sizes[0]["as_expr"] == {"expr_str": "Symbol('s0', positive=True, integer=True)", "hint": {"as_int": 2}} and sizes[1] == {
        "as_int": 3
    }
    assert saved["range_constraints"] == {"s0": {"min_val": 0, "max_val": 50}}


def test_a_program_comes_back(program, tmp_path):
    export.save(program, tmp_path / "net.pt2")
    again = export.load(tmp_path / "net.pt2")
    assert [str(node.target) for node in again.graph.nodes if node.op == "call_function"] == [
        str(node.target) for node in program.graph.nodes if node.op == "call_function"
    ]
    assert str(again.graph_signature).replace("more_0", "more") == str(program.graph_signature).replace("more_0", "more")
    x = torch.linspace(-2, 1, 960).reshape(5, 3, 8, 8)
    got, expected = again.module()(x, torch.ones(2), scale=3), program.module()(x, torch.ones(2), scale=3)
    assert_equal(got, expected)
    assert [each.requires_grad for each in again.parameters()] == [each.requires_grad for each in program.parameters()]
    state = again.state_dict
    assert state["tied"] is state["lstm.weight_ih_l0"] and state["calls"].item() == 1 and again.module().hidden.item() == 1
    with pytest.raises(AssertionError, match="Guard failed"):
        again.module()(torch.ones(51, 3, 8, 8), torch.ones(2), scale=3)
    with pytest.raises(AssertionError, match="Guard failed"):
        again.module()(x, torch.ones(2), scale=4)
    assert_equal(export.load(copied(again)).module()(x, torch.ones(2), scale=3), expected)
    assert_equal(again.example_inputs, program.example_inputs)


def assert_equal(got, expected):
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        assert torch.equal(one, other) if isinstance(other, torch.Tensor) else one == other


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: nn.functional.lp_pool1d(x, 2.0, 2), "lp_pool1d, which is no operator"),
        (lambda x: x.mT, "getattr, which is no operator"),
        (lambda x: nn.functional.pad(x, (1, 1)).flatten(), "is not known as an expression"),
    ],
)
def test_what_pytorch_has_no_form_for_is_saved_in_our_own(function, reason):
    x = torch.linspace(0, 1, 8).reshape(2, 2, 2) if "lp_pool1d" not in reason else torch.linspace(0, 1, 8).reshape(2, 4)
    shapes = ({0: export.Dim("a"), 1: export.Dim("b")},) if "expression" in reason else None
    program = export.export(Odd(function), (x[0] if shapes else x,), dynamic_shapes=shapes)
    with pytest.warns(UserWarning, match=f"own format.*{reason}"):
        file = copied(program)
    example = program.example_inputs[0]
    assert torch.equal(export.load(file).module()(*example), program.module()(*example))


# -- files that nobody should trust --------------------------------------------------------------------------------------


def changed(name, change, record="models/model.json"):
    """A file in which the JSON of a record was changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(PROGRAMS / f"{name}.pt2") as source, zipfile.ZipFile(stream, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith(record):
                saved = json.loads(data)
                change(saved)
                data = json.dumps(saved).encode()
            target.writestr(info.filename, data)
    stream.seek(0)
    return stream


def graph(saved):
    return saved["graph_module"]["graph"]


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.numpy.default",
        "torch.ops.aten.relu.__class__",
        "torch.ops.aten.relu.default()",
        "torch.ops.os.system.default",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "builtins.eval",
        "math.__loader__",
    ],
)
def test_a_program_can_call_operators_only(target):
    def change(saved):
        graph(saved)["nodes"][0]["target"] = target

    with pytest.raises(RuntimeError, match=r"is not available here|which is none"):
        export.load(changed("exported_resnet", change))


def _renamed(saved):
    graph(saved)["nodes"][0]["outputs"][0]["as_tensor"]["name"] = "x; import os"


def _keyword(saved):
    graph(saved)["nodes"][0]["inputs"][0].update(kind=2, name="x=1, y")


def _unknown_value(saved):
    graph(saved)["nodes"][0]["inputs"][0]["arg"] = {"as_tensor": {"name": "nowhere"}}


def _argument_name(saved):
    saved["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = ["x): import os"]


def _no_outputs(saved):
    del graph(saved)["outputs"]


def _dtype(saved):
    next(iter(graph(saved)["tensor_values"].values()))["dtype"] = 99


def _empty(saved):
    saved.clear()


@pytest.mark.parametrize("change", [_renamed, _keyword, _unknown_value, _argument_name, _no_outputs, _dtype, _empty])
def test_damaged_programs(change):
    with pytest.raises(RuntimeError):
        export.load(changed("exported_resnet", change))


def _too_large(saved):
    next(iter(saved["config"].values()))["tensor_meta"]["sizes"] = [{"as_int": 1 << 40}]


def _negative(saved):
    next(iter(saved["config"].values()))["tensor_meta"]["storage_offset"] = {"as_int": -1}


def _elsewhere(saved):
    next(iter(saved["config"].values()))["path_name"] = "../../models/model.jsonx"


def _pickled(saved):
    next(iter(saved["config"].values()))["use_pickle"] = True


def _missing(saved):
    saved["config"].pop(next(iter(saved["config"])))


@pytest.mark.parametrize("change", [_too_large, _negative, _elsewhere, _pickled, _empty, _missing])
def test_damaged_tensors(change):
    with pytest.raises(RuntimeError):
        export.load(changed("exported_resnet", change, "model_weights_config.json"))


def test_no_program():
    for data in (b"", b"PK\x03\x04", b"abc", (PROGRAMS / "traced_resnet.pt").read_bytes()):
        with pytest.raises(RuntimeError):
            export.load(io.BytesIO(data))


def test_values_are_only_values():
    def change(saved):
        node = next(node for node in graph(saved)["nodes"] if node["target"] == "torch.ops.aten.flatten.using_ints")
        node["inputs"][1]["arg"] = {"as_string": "__import__('os').abort()"}

    module = export.load(changed("exported_resnet", change)).module()
    with pytest.raises(TypeError):
        module(*EXPECTED["exported_resnet.pt2"]["args"])
