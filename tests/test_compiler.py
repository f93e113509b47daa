"""``compile``, ``jit``, devices that are not there, and settings: what they are given comes back, what they are told is kept."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest

import flambeau
from flambeau import nn


def test_compile_wraps_modules_and_leaves_functions_alone() -> None:
    model = nn.Linear(2, 2)
    assert flambeau.compile(model, disable=True) is model

    @flambeau.compile(mode="reduce-overhead")
    def double(x: flambeau.Tensor) -> flambeau.Tensor:
        return x * 2

    assert double(flambeau.ones(1)).item() == 2 and flambeau.compiler.disable(double) is double
    assert not flambeau.compiler.is_compiling()
    with pytest.raises(RuntimeError, match="Unrecognized mode=fast"):
        flambeau.compile(model, mode="fast")
    with pytest.raises(RuntimeError, match="Either mode or options"):
        flambeau.compile(model, mode="default", options={})


def test_compiled_modules_have_pytorchs_names() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
    compiled = flambeau.compile(model, fullgraph=True, dynamic=False, backend="inductor", options={"max_autotune": True})
    assert isinstance(compiled, flambeau._dynamo.OptimizedModule) and not isinstance(compiled, nn.Sequential)
    assert list(compiled.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"] and list(model.state_dict()) == ["0.weight", "0.bias"]
    assert compiled._orig_mod is model and [name for name, _ in compiled.named_modules()] == ["", "_orig_mod", "_orig_mod.0", "_orig_mod.1"]
    assert repr(compiled).startswith("OptimizedModule(\n  (_orig_mod): Sequential(")
    compiled.eval()
    assert not compiled.training and not model.training and len(compiled) == 2
    x = flambeau.randn(4, 2)
    assert flambeau.equal(compiled(x), model(x))
    compiled.load_state_dict({name: flambeau.ones_like(each) for name, each in compiled.state_dict().items()})
    assert model[0].weight.tolist() == [[1.0, 1.0]] * 3


def test_attributes_of_compiled_modules_are_those_of_the_module(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    compiled = flambeau.compile(model)
    compiled.scale = 2
    assert model.scale == 2 and compiled.scale == 2 and compiled.in_features == 2 and "in_features" in dir(compiled)
    del compiled.scale
    assert not hasattr(model, "scale")
    with pytest.raises(AttributeError, match="nothing"):
        _ = compiled.nothing
    seen = []
    compiled.register_forward_hook(lambda *args: seen.append("outer"))
    model.register_forward_hook(lambda *args: seen.append("inner"))
    compiled(flambeau.ones(2))
    assert seen == ["inner", "outer"]
    again = copy.deepcopy(flambeau.compile(nn.Linear(2, 3)))
    flambeau.save(again, tmp_path / "compiled.pt")
    loaded = flambeau.load(tmp_path / "compiled.pt", weights_only=False)
    assert type(loaded) is type(again) and flambeau.equal(loaded.weight, again.weight) and loaded.weight is loaded._orig_mod.weight


def test_jit_has_no_language() -> None:
    from flambeau import jit

    model = nn.Linear(2, 2)
    assert jit.script(model) is model
    assert jit.ignore(len) is len and jit.ignore(drop=True)(len) is len and not jit.is_scripting()
    assert isinstance(model, jit.ScriptModule) and not isinstance(nn.Linear(2, 2), jit.ScriptModule)
    with pytest.raises(AttributeError, match="no TorchScript in Flambeau"):
        _ = model.graph
    with pytest.raises(AttributeError, match="no TorchScript in Flambeau"):
        _ = jit.CompilationUnit


def test_jit_saves_modules(tmp_path: Path) -> None:
    from flambeau import jit

    model = jit.script(nn.Linear(2, 2))
    model.save(tmp_path / "model.pt")
    loaded = jit.load(tmp_path / "model.pt")
    assert flambeau.equal(loaded(flambeau.ones(1, 2)), model(flambeau.ones(1, 2))) and isinstance(loaded, jit.ScriptModule)
    flambeau.save(model.state_dict(), tmp_path / "state.pt")
    with pytest.raises(RuntimeError, match="not written by jit.save"):
        jit.load(tmp_path / "state.pt")
    assert jit.wait(jit.fork(lambda x: x + 1, 2)) == 3
    with pytest.raises(RuntimeError, match="eval mode"):
        jit.freeze(model)
    assert jit.freeze(model.eval()) is model and not hasattr(nn.Linear(2, 2), "save")


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({"in": nn.Linear(2, 2), "out": nn.TransformerEncoderLayer(2, 1, 4, batch_first=True)})
        self.about = {"sizes": [1, (2, 3)], "names": {"a"}, "dtype": flambeau.float32}

    def forward(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return self.branches["out"](self.branches["in"](x))


class Command:
    def __reduce__(self) -> tuple:
        return print, ("the file was run",)


class Program:
    def __reduce__(self) -> tuple:
        return flambeau.fx.GraphModule, (nn.Module(), None)


def test_jit_load_runs_nothing_of_a_file(capsys: pytest.CaptureFixture) -> None:
    from flambeau import jit

    def loaded(module: object) -> Any:
        file = io.BytesIO()
        flambeau.save({"flambeau.jit": 1, "module": module, "files": {}}, file)
        file.seek(0)
        return jit.load(file)

    model, x = Branches().eval(), flambeau.ones(1, 3, 2)
    again = loaded(model)
    assert flambeau.equal(again(x), model(x)) and again.about == model.about and type(again) is Branches
    model.command = Command()
    for hostile, named in ((model, "print"), (Command(), "print"), (Program(), "GraphModule")):
        with pytest.raises(RuntimeError, match=named):
            loaded(hostile)
    assert "run" not in capsys.readouterr().out


def test_a_device_as_a_context() -> None:
    with flambeau.device("cpu"):
        assert flambeau.ones(1).device.type == "cpu"
    with pytest.raises(RuntimeError, match="not available"), flambeau.device("cuda"):
        pass


def test_flags_of_libraries_are_kept_for_as_long_as_their_block() -> None:
    from flambeau.backends import cuda, cudnn

    with cudnn.flags(enabled=False), cuda.sdp_kernel(enable_flash=False):
        assert not cudnn.enabled and not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    assert cudnn.enabled and cuda.flash_sdp_enabled()


def test_devices_that_are_not_there() -> None:
    assert not flambeau.cuda.is_available() and flambeau.cuda.device_count() == 0 and flambeau.cuda.memory_allocated() == 0
    flambeau.cuda.manual_seed_all(0)
    assert flambeau.accelerator.current_accelerator() is None and not flambeau.accelerator.is_available()
    assert not flambeau.mps.is_available() and flambeau.xpu.device_count() == 0 and flambeau.cpu.is_available()
    flambeau.cpu.synchronize()
    assert not flambeau.backends.mps.is_available() and not flambeau.backends.cudnn.is_available()
    flambeau.backends.cudnn.benchmark = True
    assert flambeau.backends.cudnn.benchmark
    flambeau.backends.cudnn.benchmark = False
    assert flambeau.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_settings_are_read_back() -> None:
    flambeau.use_deterministic_algorithms(True, warn_only=True)
    assert flambeau.are_deterministic_algorithms_enabled() and flambeau.get_deterministic_debug_mode() == 1
    flambeau.set_deterministic_debug_mode("default")
    assert not flambeau.are_deterministic_algorithms_enabled()
    flambeau.set_float32_matmul_precision("high")
    assert flambeau.get_float32_matmul_precision() == "high"
    flambeau.set_float32_matmul_precision("highest")
    assert flambeau.get_default_device() == flambeau.device("cpu")
    flambeau.set_default_device("cpu")
    with pytest.raises(RuntimeError, match="not available"):
        flambeau.set_default_device("cuda")
    flambeau.set_default_tensor_type("torch.DoubleTensor")
    assert flambeau.get_default_dtype() == flambeau.float64
    flambeau.set_default_tensor_type(flambeau.FloatTensor)
    with pytest.raises(TypeError, match="only floating-point"):
        flambeau.set_default_tensor_type(flambeau.LongTensor)


def test_forked_streams() -> None:
    flambeau.manual_seed(3)
    first = flambeau.rand(2)
    flambeau.manual_seed(3)
    with flambeau.random.fork_rng():
        flambeau.rand(5)
    assert flambeau.rand(2).equal(first)


def test_data_parallel_calls_its_module() -> None:
    model = nn.DataParallel(nn.Linear(2, 1))
    assert list(model.state_dict()) == ["module.weight", "module.bias"] and model(flambeau.ones(3, 2)).shape == (3, 1)


def test_what_is_only_said_changes_nothing_and_what_lives_on_a_cuda_device_says_that_there_is_none():
    assert flambeau._dynamo.assume_constant_result(len) is len and flambeau._dynamo.mark_static_address(flambeau.ones(1)) is None
    assert issubclass(flambeau._dynamo.exc.Unsupported, RuntimeError)
    with flambeau.cuda.stream(None):
        assert flambeau.cuda.default_generators == ()
    for kind in (flambeau.cuda.CUDAGraph, flambeau.cuda.StreamContext, flambeau.cuda.graph, flambeau.cuda.device):
        with pytest.raises(RuntimeError, match=f"torch.cuda.{kind.__name__} needs a CUDA device"):
            kind()


def test_backends_that_nobody_knows() -> None:
    with pytest.raises(RuntimeError, match="Invalid backend: 'toaster'"):
        flambeau.compile(flambeau.sin, backend="toaster")
    with pytest.raises(AssertionError, match="takes a module or a function, not 5"):
        flambeau.compile(5)
    assert flambeau.compile(flambeau.sin, backend="aot_eager")(flambeau.zeros(1)).item() == 0


def test_a_backend_that_is_a_function_is_given_graphs_and_its_result_is_called() -> None:
    graphs, calls = [], []

    def backend(module: flambeau.fx.GraphModule, inputs: list) -> Any:
        graphs.append((module, inputs))

        def run(*args: Any) -> tuple:
            calls.append(len(args))
            return module(*args)

        return run

    flambeau.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU())
    compiled = flambeau.compile(model, backend=backend)
    x = flambeau.randn(2, 3)
    flambeau.manual_seed(1)
    found = compiled(x)
    flambeau.manual_seed(1)
    assert flambeau.equal(found, model(x)) and list(compiled.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    found.sum().backward()
    assert model[0].weight.grad is not None
    assert len(graphs) == 1 and calls == [3] and graphs[0][1][0] is model[0].weight
    names = [node.name for node in graphs[0][0].graph.nodes if node.op == "call_function"]
    assert names == ["linear", "dropout", "relu"]

    compiled(x)
    assert len(graphs) == 1
    compiled(flambeau.randn(5, 3))
    compiled.eval()
    compiled(x)
    assert len(graphs) == 3 and len(calls) == 4


def test_what_a_function_refers_to_tells_its_graphs_apart() -> None:
    graphs = []

    def backend(module: flambeau.fx.GraphModule, inputs: list, options: dict) -> Any:
        graphs.append(options)
        return module.forward

    scale = 2

    class Scaled:
        @flambeau.compile(backend=backend, options={"level": 3})
        def times(self, x: flambeau.Tensor, *, more: dict) -> dict:
            """Documented."""
            return {"result": x * scale + more["bias"], "scale": scale}

    scaled, x = Scaled(), flambeau.ones(2)
    assert Scaled.times.__doc__ == "Documented."
    assert scaled.times(x, more={"bias": x})["result"].tolist() == [3, 3]
    assert scaled.times(x, more={"bias": x})["scale"] == 2 and len(graphs) == 1
    scale = 5
    assert scaled.times(x, more={"bias": x})["result"].tolist() == [6, 6] and graphs == [{"level": 3}] * 2


def test_what_is_no_single_graph_is_called_as_it_is() -> None:
    def backend(module: flambeau.fx.GraphModule, inputs: list) -> Any:
        raise AssertionError("nobody asks for a graph")

    def branch(x: flambeau.Tensor) -> flambeau.Tensor:
        return x + 1 if x.sum() > 0 else x - 1

    with pytest.warns(UserWarning, match=r"compile\(\): branch is no single graph, so that it is called as it is"):
        assert flambeau.compile(branch, backend=backend)(flambeau.ones(1)).item() == 2
    with pytest.raises(flambeau._dynamo.exc.Unsupported, match="branch is no single graph"):
        flambeau.compile(branch, backend=backend, fullgraph=True)(flambeau.ones(1))
    with pytest.raises(TypeError, match="returns a function that takes the place"):
        flambeau.compile(flambeau.sin, backend=lambda module, inputs: None)(flambeau.ones(1))


def test_functions_of_arrays_become_functions_of_tensors() -> None:
    import numpy as np

    found = flambeau.compiler.wrap_numpy(lambda x, scale: {"max": x.max(0), "all": [x * scale]})(
        flambeau.arange(6.0).reshape(2, 3), scale=2
    )
    assert found["max"].tolist() == [3, 4, 5] and found["all"][0].dtype is flambeau.float32
    assert flambeau.compiler.wrap_numpy(np.sort)(flambeau.tensor([2, 1])).tolist() == [1, 2]
    assert flambeau.compiler.nested_compile_region(flambeau.sin) is flambeau.sin
