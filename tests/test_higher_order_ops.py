"""Scans and maps: against loops, and their gradients."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau._higher_order_ops import associative_scan, cond, map, scan, while_loop

X = torch.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scan(reverse, dim):
    carry, found = scan(lambda total, x: (total + x, (total * x, None)), torch.zeros(X.select(dim, 0).shape), X, dim=dim, reverse=reverse)
    total, expected = torch.zeros(X.select(dim, 0).shape), []
    for row in X.unbind(dim)[:: -1 if reverse else 1]:
        expected.append(total * row)
        total = total + row
    assert torch.equal(carry, total) and torch.equal(found[0], torch.stack(expected[:: -1 if reverse else 1])) and found[1] is None


def test_scan_of_structures_and_its_gradient():
    x = {"a": X.clone().requires_grad_(), "b": torch.ones(3)}
    carry, outs = scan(lambda c, x: ({"c": c["c"] * x["a"].sum() + x["b"]}, c["c"]), {"c": torch.tensor(1.0)}, x)
    assert carry["c"].item() == ((1 * 1 + 1) * 5 + 1) * 9 + 1 and outs.tolist() == [1, 2, 11]
    carry["c"].backward()
    assert x["a"].grad.tolist() == [[45, 45], [18, 18], [11, 11]]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(length, reverse):
    x = torch.randn(2, length, 3)
    found = associative_scan(torch.add, x, 1, reverse=reverse)
    expected = x.flip(1).cumsum(1).flip(1) if reverse else x.cumsum(1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_associative_scan_of_a_recurrence():
    """h = a h + b, whose pairs (a, b) compose; and products of matrices, which are no functions of elements."""
    a, b = torch.rand(7, dtype=torch.float64, requires_grad=True), torch.rand(7, dtype=torch.float64, requires_grad=True)

    def run(a, b):
        return associative_scan(lambda first, second: (first[0] * second[0], second[0] * first[1] + second[1]), (a, b), 0)[1]

    h, expected = torch.tensor(0.0, dtype=torch.float64), []
    for each_a, each_b in zip(a, b):
        h = each_a * h + each_b
        expected.append(h)
    assert torch.allclose(run(a, b), torch.stack(expected)) and torch.autograd.gradcheck(run, (a, b))
    matrices = torch.randn(5, 2, 2)
    found = associative_scan(torch.matmul, matrices, 0, combine_mode="generic")
    assert torch.allclose(found[4], matrices[0] @ matrices[1] @ matrices[2] @ matrices[3] @ matrices[4], atol=1e-5)


def test_map_and_control_flow():
    assert torch.equal(map(lambda x, y: (x + y).sum(), X, torch.ones(2)), (X + 1).sum(1))
    assert cond(torch.tensor(True), lambda x: x + 1, lambda x: x, (X,))[0, 0] == 1
    assert while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), X))[1][0, 1] == 8


@pytest.mark.parametrize("call, error", [
    (lambda: scan(lambda c, x: (c, x), 0, {}), ValueError),
    (lambda: scan(lambda c, x: (c, x), 0, (torch.ones(2), torch.ones(3))), ValueError),
    (lambda: scan(lambda c, x: (c, x), 0, torch.ones(0)), ValueError),
    (lambda: scan(lambda c, x: (c, x), 0, [1, 2]), TypeError),
    (lambda: map(lambda x: x, torch.ones(0)), ValueError),
    (lambda: associative_scan(torch.add, X, 0, combine_mode="other"), ValueError),
])  # fmt: skip
def test_errors(call, error):
    with pytest.raises(error):
        call()
