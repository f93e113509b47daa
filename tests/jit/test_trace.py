"""Traces: programs of modules and functions, which take other sizes, can be saved, and warn of what they hold."""

from __future__ import annotations

import copy
import io
import warnings

import pytest

import flambeau as torch
from flambeau import jit, nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3), nn.Dropout())


def images(count):
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(count))


def test_a_module():
    model = network().eval()
    traced = jit.trace(model, images(2))
    assert isinstance(traced, jit.ScriptModule) and traced is not model and traced.original_name == "Sequential"
    assert "torch.ops.aten.conv2d.default" in traced.code and len(traced.graph.nodes) > 8
    for count in (1, 2, 5):
        assert torch.equal(traced(images(count)), model(images(count)))
    assert not traced.training and traced.train().training and not traced.eval().training
    assert {name for name, _ in traced.named_parameters()} == {name for name, _ in model.named_parameters()}
    assert getattr(traced, "0").weight is model[0].weight and jit.trace(traced, images(2)) is traced
    other = copy.deepcopy(traced)
    assert torch.equal(other(images(2)), traced(images(2))) and getattr(other, "0").weight is not model[0].weight
    with pytest.raises(RuntimeError, match="traced with"):
        traced(images(2), images(2))


def test_a_function():
    def function(a, b):
        return a + b["k"] * a.shape[0], [a.view(a.size(0), -1).sum(1)]

    a = torch.ones(2, 3)
    traced = jit.trace(function, (a, {"k": a}))
    assert isinstance(traced, jit.ScriptFunction) and traced.name == "function" and "sym_size" in traced.code
    with pytest.raises(TypeError, match="'b'"):
        jit.trace(function, a)
    got, expected = traced(torch.ones(5, 3), {"k": torch.ones(5, 3)}), function(torch.ones(5, 3), {"k": torch.ones(5, 3)})
    assert torch.equal(got[0], expected[0]) and torch.equal(got[1][0], expected[1][0])


def test_gradients_and_training():
    model = network()
    traced = jit.trace(model, images(2), check_trace=False)
    torch.manual_seed(1)
    traced(images(3)).sum().backward()
    got, mean = [parameter.grad.clone() for parameter in model.parameters()], model[1].running_mean.clone()
    model.zero_grad()
    model[1].reset_running_stats()
    torch.manual_seed(1)
    model(images(3)).sum().backward()
    assert all(torch.equal(mine, parameter.grad) for mine, parameter in zip(got, model.parameters())) and torch.equal(
        mean, model[1].running_mean
    )


def test_checking_leaves_the_module_as_it_was():
    model = network()
    state, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    jit.trace(model, images(2), check_inputs=[images(3), (images(4),)])
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items()) and torch.equal(
        generator, torch.get_rng_state()
    )
    calls = []

    def changing(x):
        calls.append(1)
        return x * len(calls)

    with pytest.raises(jit.TracingCheckError, match="changing"):
        jit.trace(changing, torch.ones(2))


def test_what_numbers_decide_is_part_of_the_trace():
    with pytest.warns(jit.TracerWarning, match="numbers of gt"):
        traced = jit.trace(lambda x: x if x.sum() > 0 else -x, torch.ones(2))
    assert traced(-torch.ones(2)).tolist() == [-1.0, -1.0]
    with pytest.warns(jit.TracerWarning, match="item"):
        traced = jit.trace(lambda x: x * x.max().item(), torch.tensor([1.0, 3.0]))
    assert traced(torch.ones(2)).tolist() == [3.0, 3.0]
    with pytest.warns(jit.TracerWarning, match="returned as it is"):
        from flambeau._ops.elementwise import ADD

        assert jit.trace(lambda x: ADD(x, x), torch.ones(2))(torch.ones(2)).tolist() == [2.0, 2.0]


def test_results():
    with pytest.raises(RuntimeError, match="strict=False"):
        jit.trace(lambda x: {"a": x}, torch.ones(2))
    assert jit.trace(lambda x: {"a": x + 1}, torch.ones(2), strict=False)(torch.zeros(2))["a"].tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="only tensors"):
        jit.trace(lambda x: 3, torch.ones(2))
    with pytest.raises(RuntimeError, match="int"):
        jit.trace(3, torch.ones(2))
    assert jit.trace(nn.Linear(2, 2), example_kwarg_inputs={"input": torch.ones(2, 2)})(input=torch.ones(3, 2)).shape == (3, 2)


def test_files(tmp_path):
    class Local(nn.Module):  # which nobody can import
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            return torch.relu(self.inner(x))

    model = Local().eval()
    traced = jit.trace(model, images(2))
    traced.save(tmp_path / "module.pt")
    jit.save(traced, tmp_path / "again.pt", _extra_files={"note": "text"})
    found = {"note": ""}
    loaded = jit.load(tmp_path / "again.pt", _extra_files=found)
    assert found == {"note": b"text"} and loaded.original_name == "Local" and not loaded.training and isinstance(loaded, jit.ScriptModule)
    assert torch.equal(loaded(images(5)), model(images(5))) and torch.equal(jit.load(tmp_path / "module.pt")(images(1)), model(images(1)))
    with torch.no_grad():
        loaded.inner.get_parameter("4.bias").add_(1)
    loaded.save(tmp_path / "changed.pt")
    assert torch.equal(jit.load(tmp_path / "changed.pt")(images(2)), loaded(images(2))) and not torch.equal(
        loaded(images(2)), traced(images(2))
    )
    jit.trace(lambda x: x * 2, torch.ones(2)).save(tmp_path / "function.pt")
    assert jit.load(tmp_path / "function.pt")(torch.ones(3)).tolist() == [2.0] * 3


def test_len_is_a_number():
    with pytest.warns(jit.TracerWarning, match=r"len\(x\) is 2 in the trace"):
        traced = jit.trace(lambda x: x * len(x), torch.ones(2, 3))
    assert traced(torch.ones(1, 3)).tolist() == [[2.0] * 3]


def test_files_keep_modules_apart_whose_paths_read_alike(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.a_0 = nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 5)

        def forward(self, x):
            return self.a(x), self.a_0(x)

    traced = jit.trace(Net(), torch.ones(1, 2))
    traced.save(tmp_path / "net.pt")
    loaded = jit.load(tmp_path / "net.pt")
    assert {name: value.shape for name, value in loaded.state_dict().items()} == {
        name: value.shape for name, value in traced.state_dict().items()
    }
    assert all(torch.equal(*pair) for pair in zip(loaded(torch.ones(4, 2)), traced(torch.ones(4, 2))))


def pooled(x):
    return nn.functional.lp_pool1d(x, 2.0, 2)


def test_what_torchscript_has_no_word_for_is_in_flambeaus_own_format():
    file, found = io.BytesIO(), {"note": ""}
    with pytest.warns(UserWarning, match="own format.*lp_pool1d"):
        jit.save(jit.trace(pooled, torch.ones(1, 1, 4)), file, _extra_files={"note": "text"})
    file.seek(0)
    assert jit.load(file, _extra_files=found)(torch.ones(1, 1, 6)).tolist() == pooled(torch.ones(1, 1, 6)).tolist()
    assert found == {"note": b"text"}


@pytest.mark.filterwarnings("ignore:the trace was saved")
def test_a_hostile_trace_is_no_module(capsys):
    file = io.BytesIO()
    jit.save(jit.trace(pooled, torch.ones(1, 1, 4)), file)
    file.seek(0)
    content = torch.load(file)
    content["nodes"].insert(-1, ("call_function", "bad", "aten.add.Tensor or print('run')", ("tuple", []), ("dict", []), None))
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    with pytest.raises(RuntimeError, match="no operator on tensors"):
        jit.load(file)
    with pytest.raises(RuntimeError, match="damaged|cut off"):
        jit.load(io.BytesIO(file.getvalue()[:-40]))
    assert "run" not in capsys.readouterr().out


def test_freeze():
    traced = jit.trace(network().eval(), images(2))
    frozen = jit.freeze(traced)
    assert not list(frozen.parameters()) and not frozen.state_dict() and torch.equal(frozen(images(3)), traced(images(3)))
    assert not frozen(images(3)).requires_grad and not list(jit.optimize_for_inference(traced).parameters())
    with pytest.raises(RuntimeError, match="eval mode"):
        jit.freeze(traced.train())


def test_is_tracing():
    seen = []
    jit.trace(lambda x: seen.append(jit.is_tracing()) or x + 1, torch.ones(2), check_trace=False)
    assert set(seen) == {True} and not jit.is_tracing()


def test_vision_network():
    from flambeau.vision.models import mobilenet_v2

    torch.manual_seed(0)
    model = mobilenet_v2(num_classes=4, width_mult=0.25).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        traced = jit.trace(model, torch.randn(1, 3, 32, 32))
        x = torch.randn(2, 3, 40, 48)
        assert torch.equal(traced(x), model(x))


def test_operators_of_a_trace():
    traced = jit.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(1, 2))
    assert jit.export_opnames(traced) == ["aten::linear", "aten::relu"]
    assert jit.export_opnames(jit.trace(lambda x: (x + 1, x.sum(1)), torch.ones(2, 2))) == ["aten::add.Tensor", "aten::sum.dim_IntList"]
    with pytest.raises(RuntimeError, match=r"jit\.trace"):
        jit.export_opnames(nn.Linear(1, 1))
