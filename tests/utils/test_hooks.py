from __future__ import annotations

import warnings
from collections import OrderedDict

import pytest

import flambeau
from flambeau.utils.hooks import BackwardHook, RemovableHandle, unserializable_hook, warn_if_has_hooks


def twice(grad):
    return grad * 2


def test_hooks_that_a_file_loses():
    x = flambeau.ones(1, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_has_hooks(flambeau.ones(1))
        warn_if_has_hooks(x)
        x.register_hook(unserializable_hook(lambda grad: grad))
        warn_if_has_hooks(x)
    x.register_hook(twice)
    with pytest.warns(UserWarning, match="backward hook <function twice .* will not be serialized"):
        warn_if_has_hooks(x)


def test_names_of_the_modules_hooks():
    seen = []
    hook = BackwardHook(None, [lambda module, inputs, outputs: seen.append((inputs[0].item(), outputs[0].item()))], [])
    (x,) = hook.setup_input_hook((flambeau.tensor(2.0, requires_grad=True),))
    hook.setup_output_hook(x * 3).backward()
    assert seen == [(3.0, 1.0)]
    hooks = OrderedDict()
    handle = RemovableHandle(hooks)
    hooks[handle.id] = twice
    handle.remove()
    assert not hooks


def test_set_module():
    def function():
        pass

    flambeau.utils.set_module(function, "a.b")
    assert function.__module__ == "a.b"
    with pytest.raises(TypeError, match="mod argument should be a string"):
        flambeau.utils.set_module(function, 3)
