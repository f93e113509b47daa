"""Classes and modes that are asked before a function runs.

Each test that activates the protocol runs in a process of its own: from then on every function asks.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPTS = {
    "stand-ins for tests": """
        stand_ins = torch.overrides.get_testing_overrides()
        assert stand_ins[torch.add](1, 2, alpha=3) == -1 and stand_ins[torch.Tensor.exp](1) == -1
        assert len(stand_ins) > 800 and torch.Tensor.shape.__get__ in stand_ins
        try:
            stand_ins[torch.add](1)
        except TypeError as error:
            assert "other" in str(error), error
        else:
            raise AssertionError
    """,
    "a class that is no tensor": """
        table = {torch.mean: lambda x, dim=None: "a mean"}
        class Diagonal:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return table[func](*args, **(kwargs or {})) if func in table else NotImplemented
        table[torch.cat] = lambda tensors: f"{len(tensors)} tensors"
        d = Diagonal()
        assert torch.mean(d) == "a mean" and torch.cat([torch.ones(2), d]) == "2 tensors"
        assert torch.mean(torch.ones(2)).item() == 1 and not hasattr(torch.ones(2), "table")
        try:
            torch.relu(d)
        except TypeError as error:
            assert "no implementation found" in str(error) and "relu" in str(error), error
        else:
            raise AssertionError
        assert torch.overrides.has_torch_function((d,)) and not torch.overrides.has_torch_function((torch.ones(1),))
        assert torch.overrides.is_tensor_like(d)
        def own(x):
            if torch.overrides.has_torch_function_unary(x):
                return torch.overrides.handle_torch_function(own, (x,), x)
            return x
        table[own] = lambda x: "mine"
        assert own(d) == "mine" and own(3) == 3
    """,
    "a subclass keeps its class": """
        class Sub(torch.Tensor):
            pass
        class Lower(Sub):
            pass
        s = torch.ones(2, 3).as_subclass(Sub)
        assert type(s + 1) is type(1 - s) is type(s.sum()) is type(s[0]) is type(s.T) is type(torch.ones(2, 3) * s) is Sub
        assert type(torch.stack([s, s])) is type(torch.nn.functional.relu(s)) is type(torch.linalg.norm(s)) is Sub
        assert type(s.max(0).values) is Sub and type(s.shape) is torch.Size and type(s.tolist()) is list
        assert type(s + s.as_subclass(Lower)) is Lower
        assert type(torch.nn.Parameter(torch.ones(1)) * 2) is torch.Tensor
        s.requires_grad_()
        (s * s).sum().backward()
        assert type(s.grad) is torch.Tensor and s.grad.tolist() == [[2.0] * 3] * 2
        import copy, inspect
        assert type(copy.deepcopy(s.detach())) is Sub
        assert "input" in inspect.signature(torch.sum).parameters
        with torch._C.DisableTorchFunctionSubclass():
            assert type(s + 1) is torch.Tensor
    """,
    "a subclass sees what is called": """
        calls = []
        class Logging(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                calls.append(torch.overrides.resolve_name(func))
                return super().__torch_function__(func, types, args, kwargs or {})
        x = torch.tensor([[1.0, 2.0]]).as_subclass(Logging)
        x @ x.T
        assert calls == ["torch.Tensor.T.__get__", "torch.matmul"], calls
        x.new_empty(1), x.new_tensor([1.0]), x.where(torch.tensor(True), 0.0), x.polygamma(1).polygamma_(1)  # namesakes of functions
        names = [f"torch.Tensor.{name}" for name in ("new_empty", "new_tensor", "where", "polygamma", "polygamma_")]
        assert calls[2:] == names, calls
        calls.clear()
        torch.nn.functional.softmax(x, dim=-1)
        x[0]
        x.requires_grad_()
        y = (x * x).sum()
        calls.clear()
        y.backward()  # the formulas ask nobody
        assert calls == ["torch.Tensor.backward"], calls
    """,
    "a subclass that is disabled": """
        class Quiet(torch.Tensor):
            __torch_function__ = torch._C._disabled_torch_function_impl
        assert type(torch.ones(1).as_subclass(Quiet) + 1) is torch.Tensor
        from flambeau._tensor import overriding
        assert not overriding._asking_now
    """,
    "a mode sees every call": """
        names = []
        class Mode(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                names.append(func.__name__)
                return func(*args, **(kwargs or {}))
        with Mode():
            x = torch.ones(2) * 2
            y = torch.nn.functional.gelu(x)
        assert names == ["ones", "mul", "gelu"], names
        torch.ones(2)
        assert len(names) == 3
        class Zeros(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                return torch.zeros(1) if func is torch.rand else func(*args, **(kwargs or {}))
        with Mode(), Zeros():
            assert torch.rand(1).item() == 0
        assert "zeros" in names and "rand" not in names
    """,
    "a parameter keeps the class of a user": """
        class Sub(torch.Tensor):
            pass
        made = torch.nn.Parameter(torch.ones(2).as_subclass(Sub))
        assert type(made) is Sub and isinstance(made, torch.nn.Parameter) and made.requires_grad and made.is_leaf
        model = torch.nn.Module()
        model.weight = made
        assert [name for name, _ in model.named_parameters()] == ["weight"]
        assert type(torch.nn.Parameter(torch.nn.Parameter(torch.ones(2)))) is torch.nn.Parameter
        assert not isinstance(torch.ones(2), torch.nn.Parameter)
    """,
    "training with and without": """
        torch.manual_seed(0)
        def train():
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.GELU(), torch.nn.Linear(8, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for _ in range(4):
                loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 2, (8,)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            return loss.item()
        before = train()
        class Sub(torch.Tensor):
            pass
        Sub([1.0])
        from flambeau._tensor import overriding
        assert overriding._asking_now and train() == before
    """,
    "functions that ask for a while": """
        import threading
        from types import SimpleNamespace
        from flambeau._tensor import overriding
        from flambeau.overrides import _overridable
        def state():
            return [(f.__code__, f.__defaults__, f.__dict__.get("__wrapped__")) for f, _ in _overridable()]
        with overriding.Active():
            inside = state()
        before = state()
        assert all(mine[0] is not theirs[0] for mine, theirs in zip(inside, before, strict=True))
        def told(func, types, args, kwargs):
            names.append(func.__name__)
            return func(*args, **kwargs)
        def asked():
            with overriding.Active():
                overriding.STATE.modes.append(SimpleNamespace(__torch_function__=told))  # a class that says so would ask for good
                result = torch.ones(2) * 2 + torch.special.expit(torch.zeros(1))
                overriding.STATE.modes.pop()
            return result
        names = []
        assert asked().tolist() == asked().tolist() == [2.5, 2.5] and names == ["ones", "mul", "zeros", "sigmoid", "add"] * 2, names
        assert state() == before and not overriding._asking_now
        with overriding.Active():
            other = threading.Thread(target=asked)
            other.start()
            other.join()
            assert overriding._asking_now  # the other's end is not ours
        assert not overriding._asking_now and len(names) == 15
        x = torch.ones(2, requires_grad=True)
        (x * x).sum().backward()
        with overriding.Active():
            class Sub(torch.Tensor):
                pass
            Sub([1.0])
        assert overriding._asking_now and type(Sub([1.0]) + 1) is Sub  # somebody else asks from then on
    """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=[name.replace(" ", "-") for name in SCRIPTS])
def test_asking(script: str) -> None:
    lines = "import flambeau as torch\nimport flambeau.overrides, flambeau._C\n" + "\n".join(line[8:] for line in script.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
