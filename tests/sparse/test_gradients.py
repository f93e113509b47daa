"""Sparse gradients of embeddings, and the optimizers that take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch


def tables(**options: Any) -> tuple[torch.nn.Embedding, torch.nn.Embedding]:
    torch.manual_seed(0)
    dense = torch.nn.Embedding(10, 3, **options)
    sparse = torch.nn.Embedding(10, 3, sparse=True, **options)
    sparse.load_state_dict(dense.state_dict())
    return dense, sparse


def test_the_gradient_of_an_embedding() -> None:
    dense, sparse = tables(padding_idx=2)
    rows = torch.tensor([[1, 2, 1], [5, 9, 2]])
    for _ in range(3):  # the second and third pass add to what is there
        for table in (dense, sparse):
            table(rows).pow(2).sum().backward()
        assert sparse.weight.grad.is_sparse
        torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    assert sorted(set(sparse.weight.grad.coalesce().indices()[0].tolist())) == [1, 5, 9]


def test_hooks_see_sparse_gradients() -> None:
    table = tables()[1]
    seen = []
    table.weight.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.is_sparse))
    for _ in range(2):
        table(torch.tensor([1])).sum().backward()
    assert seen == [True, True]


def test_a_sparse_and_a_dense_gradient_are_added() -> None:
    dense, sparse = tables()
    for table in (dense, sparse):
        (table(torch.tensor([1, 1, 4])).sum() + table.weight.pow(2).sum()).backward()
    assert not sparse.weight.grad.is_sparse
    torch.testing.assert_close(sparse.weight.grad, dense.weight.grad)


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, maximize=True),
        lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
    ],
)
def test_steps_are_those_of_the_dense_gradient(make: Callable) -> None:
    both = tables()
    optimizers = [make(table.parameters()) for table in both]
    for step in range(4):
        for table, optimizer in zip(both, optimizers):
            optimizer.zero_grad()
            table(torch.tensor([step, 1, 1, 7])).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(both[1].weight, both[0].weight)


def test_sparse_adam_changes_the_rows_of_the_gradient() -> None:
    """Against Adam on a table that has just those rows."""
    whole, rows = torch.nn.Embedding(10, 3, sparse=True), torch.tensor([4, 7])
    part = torch.nn.Embedding(2, 3)
    with torch.no_grad():
        part.weight.copy_(whole.weight[rows])
    before = whole.weight.detach().clone()
    first, second = torch.optim.SparseAdam(whole.parameters(), lr=0.1), torch.optim.Adam(part.parameters(), lr=0.1)
    for _ in range(5):
        for table, optimizer, which in ((whole, first, rows), (part, second, torch.tensor([0, 1]))):
            optimizer.zero_grad()
            table(which).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(whole.weight[rows], part.weight)
    others = [row for row in range(10) if row not in (4, 7)]
    assert torch.equal(whole.weight[others], before[others])
    assert torch.optim.SparseAdam(whole.parameters()).load_state_dict(first.state_dict()) is None


def test_optimizers_that_need_another_kind_say_so() -> None:
    dense, sparse = tables()
    for table in (dense, sparse):
        table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients"):
        torch.optim.Adam(sparse.parameters()).step()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        torch.optim.SparseAdam(dense.parameters()).step()
    with pytest.raises(RuntimeError, match="scale_grad_by_freq"):
        torch.nn.functional.embedding(torch.tensor([1]), sparse.weight, scale_grad_by_freq=True, sparse=True)
