"""Hooks on what is saved for backward, hooks on several gradients, and edges of the graph."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import flambeau
from flambeau._ops.registry import ANOMALY
from flambeau._tape.native import WARM
from flambeau.autograd import graph
from flambeau.autograd.graph import saved_tensors_hooks
from tests.autograd.functions import Cube, leaf


@pytest.mark.parametrize("native", [False, True])
def test_gradients_are_of_what_unpack_returns(native: bool) -> None:
    x = leaf(3.0, -1.0)
    for _ in range(WARM + 2 if native else 1):  # native code records what was recorded before
        x.grad = None
        ((x * x).exp() + Cube.apply(x)).sum().backward()
        x.grad.tolist()
    packed = []
    with saved_tensors_hooks(lambda tensor: packed.append(tensor.shape) or tensor * 4, lambda tensor: tensor / 4):
        y = (x * x).exp() + Cube.apply(x)
    x.grad = None
    y.sum().backward()
    assert len(packed) >= 3 and set(packed) == {(2,)}
    assert flambeau.allclose(x.grad, 2 * x * (x * x).exp() + 3 * x * x)
    before = len(packed)
    (x * x).sum().backward()
    assert len(packed) == before


def test_hooks_hold_whatever_is_done_to_anomaly_detection() -> None:
    x = leaf(2.0)
    for _ in range(WARM + 2):
        x.exp().sum().backward()
        x.grad.tolist()
    packed: list[Any] = []
    with saved_tensors_hooks(lambda tensor: packed.append(tensor) or tensor, lambda tensor: tensor):
        flambeau.autograd.set_detect_anomaly(False)
        x.exp()
        assert len(packed) == 1
        detecting = flambeau.autograd.detect_anomaly()
    with detecting:
        pass
    assert ANOMALY.enabled is False


def test_hooks_give_way_to_inner_ones_and_see_no_history() -> None:
    x = leaf(2.0)
    seen: list[str] = []

    def pack(name: str) -> Any:
        def hook(tensor: flambeau.Tensor) -> flambeau.Tensor:
            seen.append(name)
            assert not tensor.requires_grad and not (tensor * 2).requires_grad
            return tensor

        return hook

    with saved_tensors_hooks(pack("outer"), lambda tensor: tensor), saved_tensors_hooks(pack("inner"), lambda tensor: tensor):
        y = x.exp()
    assert seen == ["inner"]
    y.sum().backward(retain_graph=True)
    (first,) = flambeau.autograd.grad(y.sum(), x, create_graph=True)
    assert flambeau.autograd.grad(first.sum(), x)[0].item() == pytest.approx(x.exp().item())


def test_writes_in_place_are_packed_as_results() -> None:
    x = leaf(0.5)
    with saved_tensors_hooks(lambda tensor: tensor.tolist(), lambda values: flambeau.tensor(values, dtype=flambeau.float64)):
        y = x * 1
        y.exp_()
    y.sum().backward()
    assert x.grad.item() == pytest.approx(x.exp().item())


def test_errors_of_hooks() -> None:
    x = leaf(1.0)
    with saved_tensors_hooks(lambda tensor: tensor, lambda tensor: 3):
        y = x * x
    with pytest.raises(TypeError, match="expected to be a Tensor but got result of type int"):
        y.sum().backward()
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"), graph.save_on_cpu():
        pass
    with graph.save_on_cpu():
        y = x * x
    y.sum().backward()
    assert x.grad.item() == 2.0
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_saved_tensors_may_be_changed_where_that_is_allowed() -> None:
    x = leaf(1.0, 2.0)
    with graph.allow_mutation_on_saved_tensors():
        y = x.clone()
        z = y * y
        y.add_(5)
        z.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_what_was_saved_can_be_looked_at() -> None:
    x = leaf(3.0)
    y, z = x.exp(), x.pow(2.5)
    assert y.grad_fn._saved_result is not None and flambeau.equal(y.grad_fn._saved_result, y) and z.grad_fn._saved_self is x
    with saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        w = x.exp()
    assert flambeau.equal(w.grad_fn._saved_result, w)
    with pytest.raises(AttributeError, match="_saved_other_thing"):
        _ = y.grad_fn._saved_other_thing


def test_hooks_on_several_gradients() -> None:
    x, y, z = leaf(1.0), leaf(2.0), leaf(3.0)
    found: list[Any] = []
    handle = graph.register_multi_grad_hook((x, y, z), found.append)
    (x * y).sum().backward()
    assert [[None if each is None else each.item() for each in grads] for grads in found] == [[2.0, 1.0, None]]
    (x * y * z).sum().backward()
    assert [each.item() for each in found[1]] == [6.0, 3.0, 2.0]
    handle.remove()
    (x * y).sum().backward()
    assert len(found) == 2
    handle = graph.register_multi_grad_hook((x, y), found.append, mode="any")
    (x * y).sum().backward()
    assert len(found) == 3 and isinstance(found[2], flambeau.Tensor)
    node = weakref.ref((product := x * y).grad_fn)
    product.sum().backward()
    del product, found[:]
    gc.collect()
    assert node() is None  # hooks that have been called hold no graph
    handle.remove()
    with pytest.raises(ValueError, match="Expects mode"):
        graph.register_multi_grad_hook((x,), found.append, mode="some")


def test_edges() -> None:
    x = leaf(3.0)
    y = x * 2
    edge = graph.get_gradient_edge(y)
    assert isinstance(edge.node, graph.Node) and edge.node is y.grad_fn and edge.output_nr == 0
    assert flambeau.autograd.grad((y * y).sum(), edge)[0].item() == 12.0
    assert isinstance(graph.get_gradient_edge(x).node, graph.Node) and not isinstance(x, graph.Node)
    assert flambeau.autograd.grad(graph.get_gradient_edge(y), x, flambeau.ones(1, dtype=flambeau.float64))[0].item() == 2.0
    with pytest.raises(RuntimeError, match="does not require gradients"):
        graph.get_gradient_edge(flambeau.ones(1))
    z = x * x
    graph.increment_version(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
