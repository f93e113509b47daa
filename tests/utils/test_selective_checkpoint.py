"""Checkpoints that keep the results of some operators, and compute only the others again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

aten = torch.ops.aten


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[Any, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func] = self.counts.get(func, 0) + 1
        return func(*args, **(kwargs or {}))


def run(policy: Any) -> tuple[list, dict[Any, int]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2), nn.Tanh())
    x = torch.randn(3, 4, requires_grad=True)
    context = {} if policy is None else {"context_fn": partial(create_selective_checkpoint_contexts, policy)}
    loss = checkpoint(net, x, use_reentrant=False, **context).sum()
    with Counting() as counting:
        loss.backward()
    return [x.grad, *[each.grad for each in net.parameters()]], counting.counts


def by_name(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op is aten.addmm.default else CheckpointPolicy.PREFER_RECOMPUTE


@pytest.mark.parametrize("policy", [[aten.addmm.default], by_name, lambda context, op, *args, **kwargs: op is aten.addmm.default])
def test_what_is_kept_is_not_computed_again(policy: Any) -> None:
    expected, all_again = run(None)
    found, counts = run(policy)
    assert all_again[aten.addmm.default] == 2 and aten.addmm.default not in counts
    assert counts[aten.sigmoid.default] == all_again[aten.sigmoid.default] == 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_policy_is_told_which_computation_it_is() -> None:
    seen = []

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        seen.append((context.is_recompute, op))
        return CheckpointPolicy.PREFER_SAVE

    x = torch.ones(2, requires_grad=True)
    checkpoint(lambda x: x.exp(), x, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, policy)).sum().backward()
    assert seen == [(False, aten.exp.default), (True, aten.exp.default)]


def test_what_was_kept_must_not_be_written_over() -> None:
    def f(x: Any) -> Any:
        y = x.exp()
        return y.mul_(2).sin()

    x = torch.ones(2, requires_grad=True)
    result = checkpoint(f, x, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, [aten.exp.default])).sum()
    with pytest.raises(RuntimeError, match="has been mutated"):
        result.backward()


def test_what_cannot_be_kept_says_so() -> None:
    with pytest.raises(ValueError, match="to be an OpOverload"):
        create_selective_checkpoint_contexts([aten.mm])
    with pytest.raises(TypeError, match="either a function or a list"):
        create_selective_checkpoint_contexts(3)
    x = torch.ones(2, requires_grad=True)
    result = checkpoint(
        lambda x: x.exp().sin(), x, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, [aten.exp.default])
    ).sum()
    result.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="more often in the second computation"):
        result.backward()
