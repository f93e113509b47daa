"""Exported programs in files of Flambeau's own format: they come back whole, and a file can do no harm.

The program here computes what PyTorch's files do not hold; those are in `test_pt2.py`.
"""

from __future__ import annotations

import io
import re

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.export import Dim, export, load, save

pytestmark = pytest.mark.filterwarnings("ignore:the program was saved in Flambeau's own format:UserWarning")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.const = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x, scale=2, *, names=("a",)):
        if x.shape[0] > 100:
            raise ValueError
        y = self.norm(self.conv(x))
        y = nn.functional.interpolate(y, scale_factor=0.5) * scale + self.hidden
        steps, _ = self.lstm(y.flatten(2).transpose(1, 2).to(torch.float32))
        return {names[0]: steps[:, -1] + self.const, "rest": [steps.mT, (2 ** steps[..., ::2], x.shape[0] * 2, "text", None)]}


@pytest.fixture
def program():
    torch.manual_seed(0)
    net = Net().eval()
    net.conv.bias.requires_grad_(False)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return export(net, (x,), {"names": ("b",)}, dynamic_shapes={"x": {0: Dim("batch", max=50)}, "names": None})


def copied(program, **options):
    file = io.BytesIO()
    save(program, file, **options)
    file.seek(0)
    return file


def test_a_program_comes_back(program, tmp_path):
    save(program, tmp_path / "net.pt2")
    loaded = load(tmp_path / "net.pt2")
    assert str(loaded.graph) == str(program.graph) and str(loaded.graph_signature) == str(program.graph_signature)
    assert (
        loaded.range_constraints == program.range_constraints and loaded.in_spec == program.in_spec and loaded.out_spec == program.out_spec
    )
    x = torch.randn(5, 3, 8, 8)
    got, expected = loaded.module()(x, names=("b",)), program.module()(x, names=("b",))
    assert (
        torch.equal(got["b"], expected["b"])
        and torch.equal(got["rest"][1][0], expected["rest"][1][0])
        and got["rest"][1][1:] == (10, "text", None)
    )
    assert [parameter.requires_grad for parameter in loaded.parameters()] == [parameter.requires_grad for parameter in program.parameters()]
    assert isinstance(next(loaded.parameters()), nn.Parameter) and loaded.module().hidden.item() == 1
    for bad in (torch.ones(51, 3, 8, 8), torch.ones(2, 3, 9, 8)):
        with pytest.raises(AssertionError, match="Guard failed"):
            loaded.module()(bad, names=("b",))
    with pytest.raises(AssertionError, match="Guard failed"):
        loaded.module()(x, names=("c",))
    got["b"].sum().backward()
    assert dict(loaded.named_parameters())["conv.weight"].grad is not None
    again = load(copied(loaded))
    assert torch.equal(again.module()(x, names=("b",))["b"], expected["b"])


def test_extra_files(program):
    found = {"note": "", "missing": "as it was"}
    load(copied(program, extra_files={"note": "text"}), extra_files=found)
    assert found == {"note": "text", "missing": "as it was"}


def forged(program, change):
    """A file whose content was changed."""
    content = torch.load(copied(program))
    change(content)
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("op", "target"),
    [
        ("call_function", "aten.save.default"),
        ("call_function", "aten.load.default"),
        ("call_function", "aten.from_file.default"),
        ("call_function", "aten.compile.default"),
        ("call_function", "aten.add.Tensor if 0 else print('the file was run') or torch"),
        ("call_function", "aten.add.__class__"),
        ("call_function", "aten.add.__setattr__"),
        ("call_function", "aten.add._function"),
        ("call_function", "aten.add.overloads"),
        ("call_function", "aten.add.lambda"),
        ("call_function", "aten.add"),
        ("call_function", "torch.hub.load"),
        ("call_function", "torch.save"),
        ("call_function", "builtins.exec"),
        ("call_function", "operator.attrgetter"),
        ("call_function", "operator.methodcaller"),
        ("call_function", "os.system"),
        ("call_method", "__reduce_ex__"),
        ("call_method", "__class__"),
        ("call_method", "map_"),
        ("get_attr", "os.system"),
        ("call_module", "os"),
    ],
)
def test_a_program_in_a_file_calls_operators_only(program, op, target):
    def change(content):
        content["nodes"].insert(-1, (op, "bad", target, ("tuple", []), ("dict", []), None))

    with pytest.raises(RuntimeError, match=f"calls {re.escape(repr(target))}"):
        load(forged(program, change))


def test_attributes_in_a_file(program):
    def change(content):
        content["nodes"].insert(-1, ("call_function", "bad", "getattr", ("tuple", [("node", "x"), "__class__"]), ("dict", []), None))

    with pytest.raises(RuntimeError, match="'__class__'"):
        load(forged(program, change))


HARM = "__import__('builtins').print('the file was run')"


@pytest.mark.parametrize(
    "node",
    [
        ("placeholder", "x", f"x = {HARM}", ("tuple", []), ("dict", []), None),
        ("placeholder", f"x = {HARM}", "x", ("tuple", []), ("dict", []), None),
        ("call_function", "bad", "aten.add.Tensor", ("tuple", [("node", "x"), 1]), ("dict", [(f"alpha = {HARM}, out", None)]), None),
        ("call_function", "lambda", "aten.add.Tensor", ("tuple", [("node", "x"), 1]), ("dict", []), None),
        ("call_function", 3, "aten.add.Tensor", ("tuple", [("node", "x"), 1]), ("dict", []), None),
    ],
)
def test_names_in_a_file_are_names(program, node, capsys):
    with pytest.raises(RuntimeError, match="as a name"):
        load(forged(program, lambda content: content["nodes"].insert(-1, node))).module()
    assert "run" not in capsys.readouterr().out


def test_paths_in_a_file_are_no_code(program, capsys):
    path = f'x", None) or {HARM} or getattr(self, "y'

    def change(content):
        content["inputs"] = [
            (kind, arg, path if target == "conv.weight" else target, rest) for kind, arg, target, rest in content["inputs"]
        ]
        content["state_dict"][path] = content["state_dict"].pop("conv.weight")

    x = torch.ones(2, 3, 8, 8)
    odd = load(forged(program, change)).module()  # an attribute with an odd name
    assert torch.equal(odd(x, names=("b",))["b"], program.module()(x, names=("b",))["b"]) and "run" not in capsys.readouterr().out


def nested(depth):
    value = ("tuple", [])
    for _ in range(depth):
        value = ("tuple", [value])
    return value


def test_damaged_files(program):
    for change in (
        lambda content: content.pop("nodes"),
        lambda content: content.update(nodes=[("placeholder",)]),
        lambda content: content["nodes"].pop(0),
        lambda content: content["nodes"].reverse(),
        lambda content: content.update(version=99),
        lambda content: content.update(format="other"),
        lambda content: content.update(in_spec=("set", None, [])),
        lambda content: content["inputs"].append(("NONE", ("tensor", "x"), None, None)),
        lambda content: content["nodes"].insert(-1, ("call_function", "__debug__", "aten.add.Tensor", ("tuple", []), ("dict", []), None)),
        lambda content: content["nodes"].append(("placeholder", "late", "late", ("tuple", [("node", "nothing")]), ("dict", []), None)),
        lambda content: content["nodes"].insert(1, ("placeholder", "y", "y", ("tuple", [("node", "x")]), ("dict", []), None)),
        lambda content: content["nodes"].append(("call_method", "deep", "sum", nested(5000), ("dict", []), None)),
        lambda content: content["state_dict"].update({"conv.weight": "text"}),
        lambda content: content["constants"].update(const=[1.0]),
        lambda content: content.update(extra_files=None),
    ):
        with pytest.raises(RuntimeError):
            load(forged(program, change))
    data = copied(program).getvalue()
    for end in range(0, len(data), 1999):
        with pytest.raises((RuntimeError, EOFError)):
            load(io.BytesIO(data[:end]))
    with pytest.raises(RuntimeError, match=r"torch\.save"):
        file = io.BytesIO()
        torch.save({"a": 1}, file)
        file.seek(0)
        load(file)


def test_what_cannot_be_saved():
    from collections import namedtuple

    Pair = namedtuple("Pair", "first second")

    class Paired(nn.Module):
        def forward(self, x):
            return Pair(x, x + 1)

    program = export(Paired(), (torch.ones(2),))
    assert program.module()(torch.ones(2)).second.tolist() == [2.0, 2.0]
    with pytest.raises(NotImplementedError, match="namedtuple"):
        save(program, io.BytesIO())
    with pytest.raises(TypeError, match=r"torch\.save"):
        save({"a": 1}, io.BytesIO())
