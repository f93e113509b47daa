"""TorchScript archives: those in `tests/programs` were written by PyTorch 2.13 (`python -m parity.programs --write tests/programs`)."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from pathlib import Path

import pytest

import flambeau as torch
from flambeau import jit, nn
from flambeau._serialization.archive import ArchiveWriter
from flambeau.jit.torchscript.text import format_braces, format_percent, shown

PROGRAMS = Path(__file__).parents[1] / "programs"
EXPECTED = torch.load(PROGRAMS / "expected.pt", weights_only=True)
NAMES = sorted(name for name in EXPECTED if name.endswith(".pt"))


def leaves(value):
    if isinstance(value, dict):
        return [(list(value), len(value)), *[leaf for each in value.values() for leaf in leaves(each)]]
    if isinstance(value, (list, tuple)):
        return [(isinstance(value, list), len(value)), *[leaf for each in value for leaf in leaves(each)]]
    return [value]


def assert_same(got, expected):
    got, expected = leaves(got), leaves(expected)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one.detach(), other, rtol=1e-5, atol=1e-5)
        else:
            assert one == other


def norms(tensors):
    return {name: each.double().norm().item() for name, each in tensors}


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_what_pytorch_gives(name):
    expected = EXPECTED[name]
    module = jit.load(PROGRAMS / name)
    with torch.no_grad():
        module(*expected["args"])
    outputs = module(*expected["args"])
    assert_same(outputs, expected["outputs"])
    wanted = [leaf for leaf in leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if wanted:
        sum(leaf.double().square().sum() for leaf in wanted).backward()
    gradients = norms([(key, each.grad) for key, each in module.named_parameters() if each.grad is not None])
    assert gradients == pytest.approx(expected["gradients"], rel=1e-4, abs=1e-5)
    assert norms(module.state_dict().items()) == pytest.approx(expected["state"], rel=1e-5, abs=1e-6)


def loaded(name):
    return jit.load(str(PROGRAMS / f"{name}.pt"))


def test_a_loaded_module_is_a_module():
    module = loaded("scripted_resnet")
    assert isinstance(module, jit.ScriptModule) and module.original_name == "ResNet" and not module.training
    assert "original_name=ResNet" in repr(module) and "(conv1): RecursiveScriptModule(original_name=Conv2d)" in repr(module)
    assert module.code.startswith("def forward(self") and "(fc).forward(" in module.code
    assert all(isinstance(each, nn.Parameter) for each in module.parameters()) and len(list(module.buffers())) == 18
    assert module.stem.__getattr__("0").kernel_size == (3, 3) and module.get_submodule("layers.1.conv2").groups == 2
    assert [each.training for each in module.train().modules()] == [True] * len(list(module.modules()))
    x = torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8)
    before = module.stem.get_submodule("1").num_batches_tracked.item()
    module(x)
    assert module.stem.get_submodule("1").num_batches_tracked.item() == before + 1
    assert module.eval().double()(x.double()).dtype is torch.float64


def test_weights_are_exchanged():
    module, other = loaded("scripted_resnet"), loaded("scripted_resnet")
    x = torch.ones(1, 3, 8, 8)
    with torch.no_grad():
        other.fc.bias.add_(1)
    assert torch.allclose(other(x), module(x) + 1)
    module.load_state_dict(other.state_dict())
    assert torch.equal(other(x), module(x))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        module.fc.bias.add_(1)
    assert torch.equal(twin(x), other(x)) and not torch.equal(module(x), other(x))


def test_training_changes_what_it_gives():
    module = loaded("scripted_recurrent")
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    tokens, losses = torch.tensor([[1, 2, 3], [4, 5, 0]]), []
    for _ in range(5):
        optimizer.zero_grad()
        loss = module(tokens)[0].square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_attributes_and_methods():
    module = loaded("scripted_language")
    assert module.table == {"a": [1, 2], "b": []} and module.cache is None and module.plain.tolist() == [1.0, 1.0]
    assert module.again[0] is module.weight and module.colour.name == "RED"
    assert {key: each.tolist() for key, each in module.table_of(torch.ones(1), 3).items()} == {"0": [0.0], "1": [1.0], "2": [2.0]}
    assert list(module.table_of(torch.ones(1), count=1)) == ["0"] and "torch.mul" in module.table_of.code
    module.table = {}
    assert module.table == {} and not hasattr(module, "no_such_attribute")
    twin = copy.deepcopy(module)
    assert twin.again[0] is twin.weight and twin.weight is not module.weight


def test_results_are_named_tuples():
    (pair, *_), args = loaded("scripted_language")(*EXPECTED["scripted_language.pt"]["args"]), None
    assert args is None and type(pair).__name__ == "Pair" and pair.count == pair[1]


def test_files_beside_the_program_and_streams():
    extra = {"about.txt": "", "missing.txt": "as it was"}
    jit.load(PROGRAMS / "scripted_resnet.pt", _extra_files=extra)
    assert extra == {"about.txt": b"resnet", "missing.txt": "as it was"}
    stream = io.BytesIO((PROGRAMS / "traced_images.pt").read_bytes())
    assert jit.load(stream).original_name == "Images"


def test_the_meta_device():
    module = jit.load(PROGRAMS / "scripted_resnet.pt", map_location="meta")
    assert {each.device.type for each in module.parameters()} == {"meta"}


def test_what_is_not_there():
    module = loaded("traced_resnet")
    with pytest.raises(AttributeError, match="no graphs of TorchScript"):
        _ = module.graph
    with pytest.raises(TypeError, match="is not pickled"):
        pickle.dumps(module)
    with pytest.raises(ValueError, match="does not exist"):
        jit.load("/no/such/file.pt")
    with pytest.raises(RuntimeError, match=r"torch\.jit\.load"):
        torch.load(PROGRAMS / "traced_resnet.pt")
    with pytest.warns(UserWarning, match="looks like a TorchScript archive"):
        assert torch.load(PROGRAMS / "traced_resnet.pt", weights_only=False).original_name == "ResNet"


def test_arguments_that_do_not_fit():
    module = loaded("scripted_language")
    with pytest.raises(RuntimeError, match="missing value for argument 'x'.*Declaration: forward"):
        module()
    with pytest.raises(RuntimeError, match=r"argument 'names': .*'str' is expected, but it is of type 'int'"):
        module(torch.ones(2, 2), [1])
    with pytest.raises(RuntimeError, match="expected at most 6"):
        module(*range(9))
    with pytest.raises(RuntimeError, match="'nothing' is unknown"):
        module(torch.ones(2, 2), [], nothing=1)
    with pytest.raises(RuntimeError, match=r"conv2d.*\(in _conv_forward of code/__torch__.*line \d+"):
        loaded("scripted_resnet")(torch.ones(2))


def test_what_a_program_raises():
    args = EXPECTED["scripted_language.pt"]["args"]
    with pytest.raises(jit.Error, match=r"builtins\.ValueError: the flag is False \(in forward"):
        loaded("scripted_language")(args[0], args[1], False)


# -- archives that nobody should trust ----------------------------------------------------------------------------------


EMPTY = b"\x80\x02)."
MODULE = b"\x80\x02c__torch__\nM\n)\x81}X\x08\x00\x00\x00training\x88sb."
HEAD = "class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n"


def archive(*lines, data=MODULE, constants=EMPTY, source=None, signature="self: __torch__.M, x: Tensor"):
    body = "".join(f"    {line}\n" for line in lines)
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, "m")
    writer.write("data.pkl", data)
    writer.write("code/__torch__.py", (source or f"{HEAD}  def forward({signature}) -> Tensor:\n{body}").encode())
    writer.write("constants.pkl", constants)
    writer.close()
    stream.seek(0)
    return stream


def run(*lines, **options):
    return jit.load(archive(*lines, **options))(torch.ones(2))


def test_an_archive_made_by_hand():
    assert run("return torch.add(x, 1)").tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "line",
    [
        "return __import__('os').system('true')",
        "return torch.load('/etc/passwd')",
        "return torch.from_file('/etc/passwd')",
        "return torch.save(x, '/tmp/x')",
        "return torch.numpy(x)",
        "return torch.compile(x)",
        "return torch.__class__(x)",
        "return torch.utils.data.DataLoader(x)",
        "return ops.aten.apply_(x)",
        "return ops.os.system('true')",
        "return ops.prim.__dict__(x)",
        "return x.__class__",
        "return (x).__class__.__mro__",
        "return (x).numpy()",
        "return self.__dict__",
        "return self._interpreter",
        "return (self)._set_slot('training', 1)",
        "return getattr(self, '__class__')",
        "return getattr(x, 'data_ptr')",
        "return (lambda: x)()",
        "return [y for y in [x]]",
        "return eval('x')",
        "return open('/etc/passwd')",
        "return f'{x.__class__}'",
        "return x + 1",
        "import os",
        "global x",
        "x[0] = 1",
        "return CONSTANTS.c7",
        "return unknown",
        "return torch.no_such_operator(x)",
    ],
)
def test_a_program_reaches_nothing_but_operators(line):
    with pytest.raises(RuntimeError):
        run(line)


def test_the_missing_operator_is_named():
    with pytest.raises(NotImplementedError, match=r"aten::no_such_operator, which is not available here \(in forward"):
        run("return torch.no_such_operator(x)")


@pytest.mark.parametrize(
    "source",
    [
        HEAD + "  def forward(self, x) -> Tensor:\n    return " + "(" * 1000 + "x" + ")" * 1000,
        HEAD + "  def forward(self, x) -> Tensor:\n    return x" + ".a" * 100000,
        HEAD + "  def forward(self, x) -> Tensor:\n    return " + "-" * 100000 + "1",
        HEAD + "  def forward(self, x) -> Tensor:\n    return " + "x(" * 50000,
        "import os\nos.system('true')\n",
        "class M(Module):\n  __parameters__ = open('x')\n",
        "class M(Module):\n  x : 1 + 1\n",
        "x = 1\n",
        "no python",
    ],
)
def test_source_that_is_none(source):
    with pytest.raises(RuntimeError):
        jit.load(archive(source=source))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02c__torch__\nMissing\n)\x81.",
        b"\x80\x02c__torch__\nM\n)R.",
        b"\x80\x02c__torch__\nM\nK\x05.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02}.",
        b"\x80\x02b.",
        b"\x80\x02R.",
        MODULE[:-3],
    ],
)
def test_pickles_that_are_none(data):
    with pytest.raises(RuntimeError):
        jit.load(archive("return x", data=data))


def test_a_name_in_the_file_hides_nothing():
    data = b"\x80\x02c__torch__\nM\n)\x81}(X\x07\x00\x00\x00forwardK\x01X\x09\x00\x00\x00__class__K\x02ub."
    module = jit.load(archive("return x", data=data))
    assert type(module).__name__ == "RecursiveScriptModule" and torch.equal(module(torch.ones(2)), torch.ones(2))


def test_source_that_unpacks_to_too_much():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("m/data.pkl", MODULE)
        file.writestr("m/constants.pkl", EMPTY)
        file.writestr("m/code/__torch__.py", "#" * (1 << 27), zipfile.ZIP_DEFLATED)
    stream.seek(0)
    with pytest.raises(RuntimeError, match="is longer than"):
        jit.load(stream)


def test_weights_are_not_unpacked():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("m/data.pkl", MODULE, zipfile.ZIP_DEFLATED)
        file.writestr("m/constants.pkl", EMPTY)
    stream.seek(0)
    with pytest.raises(RuntimeError, match="is compressed"):
        jit.load(stream)


def test_recursion_ends():
    with pytest.raises(RuntimeError, match="recursion"):
        run("return (self).forward(x, )")


def test_integers_have_64_bits():
    lines = ["n = 3", "for i in range(200):", "  n = torch.mul(n, n)", "return torch.add(x, n)"]
    wrapped = pow(3, 2**200, 2**64)
    assert run(*lines).tolist() == [1.0 + (wrapped - 2**64 if wrapped >= 2**63 else wrapped)] * 2


def test_a_list_comes_back_as_it_was_given():
    module = jit.load(archive("_0 = torch.append(y, 1)", "return x", signature="self: __torch__.M, x: Tensor, y: List[int]"))
    given = [5]
    module(torch.ones(1), given)
    assert given == [5]


# -- texts ----------------------------------------------------------------------------------------------------------------


def test_values_as_text():
    assert [shown(each) for each in (1.0, 0.1, 1e20, -0.0, 1e-7)] == ["1.", "0.10000000000000001", "1e+20", "0.", "9.9999999999999995e-08"]
    assert shown({"a": (1, "b", [None, True])}) == "{a: (1, b, [None, True])}"


def test_formats():
    assert format_braces("{} and {}", 1.0, "x") == "1. and x"
    assert format_percent("%s %d %f %%", 1.0, 2, 0.5) == "1. 2 0.500000 %"
    for bad in (
        lambda: format_braces("{} {}", 1),
        lambda: format_percent("%g", 1),
        lambda: format_percent("%d"),
        lambda: format_percent("", 1),
    ):
        with pytest.raises(ValueError):
            bad()
