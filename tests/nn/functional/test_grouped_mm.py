"""Products of groups."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.nn.functional import grouped_mm


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


def offsets(*ends):
    return torch.tensor(ends, dtype=torch.int32)


def test_each_group_has_its_matrix():
    a, b = randn(7, 4), randn(3, 4, 5)
    result = grouped_mm(a, b, offs=offsets(2, 2, 6))
    assert torch.equal(result[:2], a[:2] @ b[0]) and torch.equal(result[2:6], a[2:6] @ b[2]) and not result[6:].any()
    assert torch.equal(grouped_mm(b.mT, a.mT, offs=offsets(2, 2, 6)), result.mT)
    assert torch.equal(grouped_mm(b.mT, b), torch.bmm(b.mT, b))
    along = grouped_mm(a.mT, randn(7, 5), offs=offsets(2, 2, 6))
    assert along.shape == (3, 4, 5) and torch.equal(along[2], a.mT[:, 2:6] @ randn(7, 5)[2:6]) and not along[1].any()
    assert grouped_mm(a.bfloat16(), b.bfloat16(), offs=offsets(2, 2, 6), out_dtype=torch.bfloat16).dtype is torch.bfloat16


def test_gradients():
    a, b = randn(6, 4).double().detach().requires_grad_(), randn(2, 4, 3).double().detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: grouped_mm(a, b, offs=offsets(2, 5)), (a, b))
    assert torch.autograd.gradcheck(lambda a, b: grouped_mm(b.mT, a.mT, offs=offsets(2, 6)), (a, b))
    assert torch.autograd.gradcheck(lambda a: grouped_mm(a.mT, a, offs=offsets(2, 6)), (a,))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a, b: grouped_mm(a, b), "offs is given if, and only if"),
        (lambda a, b: grouped_mm(b.mT, b, offs=offsets(1, 2)), "offs is given if, and only if"),
        (lambda a, b: grouped_mm(a, b, offs=offsets(1, 2).long()), "int32"),
        (lambda a, b: grouped_mm(a, b.mT, offs=offsets(1, 2)), "last but one"),
        (lambda a, b: grouped_mm(a[0], b, offs=offsets(1, 2)), "2 dimensions"),
        (lambda a, b: grouped_mm(a, b.double(), offs=offsets(1, 2)), "one floating point dtype"),
        (lambda a, b: grouped_mm(a, b, offs=offsets(1, 2, 6)), "each of 2 groups"),
        (lambda a, b: grouped_mm(a, b, offs=offsets(3, 7)), "up to 6 at most"),
        (lambda a, b: grouped_mm(a, b, offs=offsets(1, 6), bias=torch.ones(2, 3)), "bias"),
        (lambda a, b: grouped_mm(a, b, offs=offsets(1, 6), out_dtype=torch.float64), "out_dtype"),
        (lambda a, b: grouped_mm(b.mT, torch.ones(3, 4, 3)), "as many groups"),
    ],
)
def test_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call(randn(6, 4), randn(2, 4, 3))
