"""Backward passes: accumulation, hooks, retained gradients and graphs, second derivatives, and changed tensors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau import func
from flambeau.autograd import grad
from tests.autograd.functions import leaf


def test_gradients_accumulate_and_are_summed_over_uses() -> None:
    x = leaf(1.0, 2.0)
    y = x * x + 3 * x
    y.sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    (x * 2).sum().backward()
    assert x.grad.tolist() == [7.0, 9.0]
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_backward_of_a_vector_needs_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(flambeau.tensor([1.0, 10.0], dtype=flambeau.float64))
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_without_a_graph_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="does not require grad"):
        flambeau.ones(()).backward()


def test_the_graph_is_freed_unless_retained() -> None:
    x = leaf(3.0)
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(3.0) * 4.0)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_intermediate_gradients_are_kept_on_request() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y * y
    y.retain_grad()
    z.sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]
    assert y.retains_grad and not y.is_leaf and x.is_leaf


def test_grad_of_chosen_inputs_accumulates_nowhere() -> None:
    x, w, unused = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(0.0)
    y = (x * w).sum()
    dx, dw = grad(y, (x, w), retain_graph=True)
    assert (dx.tolist(), dw.tolist(), x.grad) == ([3.0, 4.0], [1.0, 2.0], None)
    with pytest.raises(RuntimeError, match="to not have been used"):
        grad(y, (x, unused), retain_graph=True)
    assert grad(y, (unused,), allow_unused=True, retain_graph=True) == (None,)
    assert grad(y, (unused,), materialize_grads=True)[0].tolist() == [0.0]


def test_second_and_third_derivatives() -> None:
    x = leaf(0.3, -1.2)
    y = x.sin().sum()
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    values = np.array([0.3, -1.2])
    np.testing.assert_allclose(first.detach().numpy(), np.cos(values))
    np.testing.assert_allclose(second.detach().numpy(), -np.sin(values))
    np.testing.assert_allclose(third.numpy(), -np.cos(values))


def test_a_hook_sees_and_may_replace_the_gradient() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda gradient: seen.append(gradient.tolist()))
    y.register_hook(lambda gradient: gradient * 10)
    x.register_hook(lambda gradient: gradient + 1)
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0]]
    assert x.grad.tolist() == [21.0, 21.0]
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1


def test_hooks_need_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        flambeau.ones(2).register_hook(lambda gradient: gradient)


def test_hooks_after_accumulation() -> None:
    x = leaf(1.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda tensor: seen.append(tensor.grad.item()))
    (x * 4).backward()
    (x * 4).backward()
    assert seen == [4.0, 8.0]


def test_a_saved_tensor_that_was_changed_is_an_error() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y.square()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*\[2\].*version 1; expected version 0"):
        z.sum().backward()


def test_a_saved_result_that_was_changed_is_an_error() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_change_of_what_is_not_saved_is_fine() -> None:
    x = leaf(1.0, 2.0)
    y = x + 1
    y.mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_in_place_on_leaves_is_an_error_outside_of_no_grad() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0].add_(1)
    with flambeau.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0, 3.0] and x.requires_grad


def test_writing_through_a_view_changes_the_history_of_its_base() -> None:
    x = leaf(1.0, 2.0, 3.0)
    w = leaf(5.0)
    y = x * 1
    view = y[1:]
    view.mul_(w)
    (y * y).sum().backward()
    assert x.grad.tolist() == [2.0, 100.0, 150.0]
    assert w.grad.tolist() == [2 * 5 * 4.0 + 2 * 5 * 9.0]


def test_writing_to_the_base_changes_the_history_of_its_views() -> None:
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    view = y[:2]
    y.mul_(4)
    view.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0, 0.0]


def test_overwriting_cuts_the_history() -> None:
    x, source = leaf(1.0, 2.0), leaf(7.0, 8.0)
    y = x * 2
    y[0] = source[1]
    (y * 3).sum().backward()
    assert (x.grad.tolist(), source.grad.tolist()) == ([0.0, 6.0], [0.0, 3.0])


def test_detached_tensors_share_memory_without_history() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    cut = y.detach()
    assert not cut.requires_grad and cut.is_leaf
    cut.zero_()
    assert y.tolist() == [0.0, 0.0]


def test_expanded_and_broadcast_gradients_are_summed() -> None:
    x, bias = leaf(2.0), leaf(1.0, 1.0, 1.0)
    y = x.expand(4, 3) * flambeau.arange(12, dtype=flambeau.float64).reshape(4, 3) + bias
    y.sum().backward()
    assert x.grad.tolist() == [66.0] and bias.grad.tolist() == [4.0] * 3


def test_the_graph_of_a_loop_is_freed_without_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y * 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]
    reference = weakref.ref(y)
    del y
    gc.collect()
    assert reference() is None


def test_an_error_in_a_hook_passes_through_and_the_next_pass_works() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2

    def fail(gradient: flambeau.Tensor) -> None:
        raise ValueError("from the hook")

    handle = y.register_hook(fail)
    with pytest.raises(ValueError, match="from the hook"):
        y.sum().backward(retain_graph=True)
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_integers_have_no_gradient() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        flambeau.arange(3).requires_grad_()
    x = leaf(1.0, 5.0, 3.0)
    values, indices = x.max(0)
    assert values.requires_grad and not indices.requires_grad


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_lies_in_memory_as_its_leaf_does(create_graph: bool) -> None:
    """As optimizers like it; a leaf with gaps or overlaps gets a contiguous one."""
    image = flambeau.rand(2, 3, 4, 5).to(memory_format=flambeau.channels_last).requires_grad_()
    matrix = flambeau.rand(5, 3).t().requires_grad_()
    gaps = flambeau.rand(3, 10)[:, ::2].requires_grad_()
    for _ in range(3):
        loss = (image.contiguous() * 2).sum() + ((matrix + gaps) @ flambeau.rand(5, 2)).square().sum()
        loss.backward(create_graph=create_graph)
        assert image.grad.stride() == image.stride() == (60, 1, 15, 3)
        assert matrix.grad.stride() == matrix.stride() == (1, 3)
        assert gaps.grad.stride() == (5, 1)
        image.grad = matrix.grad = gaps.grad = None


def test_gradients_in_batches() -> None:
    x = flambeau.tensor([0.5, 1.0, -2.0], requires_grad=True)
    y, unused = x.sin() * x.sum(), flambeau.ones(1, requires_grad=True)
    rows, none = flambeau.autograd.grad(y, (x, unused), flambeau.eye(3), is_grads_batched=True, allow_unused=True, create_graph=True)
    one_by_one = [flambeau.autograd.grad(y, x, unit, retain_graph=True)[0] for unit in flambeau.eye(3)]
    np.testing.assert_allclose(rows.detach().numpy(), flambeau.stack(one_by_one).numpy(), rtol=1e-6)
    assert none is None and rows.requires_grad
    (second,) = flambeau.autograd.grad(rows.sum(), x)
    expected = func.grad(lambda x: func.jacrev(lambda x: x.sin() * x.sum())(x).sum())(x.detach())
    np.testing.assert_allclose(second.numpy(), expected.numpy(), rtol=1e-5)


def test_backward_is_not_for_mapped_functions() -> None:
    w = flambeau.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"use func\.grad or func\.vjp"):
        func.vmap(lambda x: (x * w).sum().backward())(flambeau.ones(3, 2))
    assert w.grad is None


def test_gradients_with_respect_to_nothing() -> None:
    with pytest.raises(RuntimeError, match="inputs cannot be empty"):
        flambeau.autograd.grad(flambeau.ones(1, requires_grad=True).sum(), [])


def test_looking_for_a_gradient_where_there_will_be_none() -> None:
    leaf = flambeau.ones(1, requires_grad=True)
    result = leaf * 2
    with pytest.warns(UserWarning, match="not a leaf"):
        assert result.grad is None
    kept = leaf * 2
    kept.retain_grad()
    assert kept.grad is None and leaf.grad is None and result.detach().grad is None


def test_a_graph_of_which_nothing_was_saved_can_be_passed_again():
    x = flambeau.ones(2, 3, requires_grad=True)
    y = (flambeau.cat([x + 1, -x], 1).view(-1)[1:]).sum()
    for number in range(1, 4):
        y.backward()
        assert x.grad[1, 2].item() == 0 and x.grad[0, 0].item() == -number  # its first element is left out
    z = (x * x).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.backward()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("text", TypeError, "hook 'hook' must return None or a tensor in place of the gradient, not str"),
        (flambeau.ones(5), RuntimeError, r"hook 'hook' has changed the size of the gradient from \[2\] to \[5\]"),
        (flambeau.ones(2).half(), RuntimeError, "hook 'hook' has changed the type of the gradient from torch.float64 to torch.float16"),
    ],
    ids=["type", "size", "dtype"],
)
def test_what_a_hook_returns_must_fit(answer: object, error: type[Exception], message: str) -> None:
    def hook(grad: flambeau.Tensor) -> object:
        return answer

    x = leaf(1.0, 2.0)
    x.register_hook(hook)
    with pytest.raises(error, match=message):
        (x * 2).sum().backward()


def test_a_gradient_that_is_kept_is_that_of_what_the_tensor_is_now() -> None:
    """As in PyTorch it follows writes, and adds up from pass to pass, as that of a leaf does."""

    def kept(write: Callable) -> list:
        x = leaf(1.0, 2.0, 3.0)
        y = x * 1
        y.retain_grad()
        write(y, x)
        y.square().sum().backward()
        return y.grad.tolist()

    def part(y: flambeau.Tensor, x: flambeau.Tensor) -> None:
        y[0] = 5.0

    assert kept(part) == [10.0, 4.0, 6.0]
    assert kept(lambda y, x: y.mul_(2)) == [4.0, 8.0, 12.0]
    assert kept(lambda y, x: y[:2].mul_(3)) == [6.0, 12.0, 6.0]
    assert kept(lambda y, x: y.copy_(x * 4)) == [8.0, 16.0, 24.0]
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    part = y[:2]
    part.retain_grad()
    y.mul_(3)
    for expected in ([6.0, 12.0], [12.0, 24.0]):
        part.square().sum().backward(retain_graph=True)
        assert part.grad.tolist() == expected


def test_hooks_of_accumulated_gradients_return_nothing() -> None:
    x = leaf(1.0)
    x.register_post_accumulate_grad_hook(lambda tensor: tensor.grad)
    with pytest.raises(RuntimeError, match="should return None"):
        (x * 2).sum().backward()
