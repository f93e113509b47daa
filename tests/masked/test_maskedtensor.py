"""Masked tensors: what PyTorch's give, and what goes further."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau as torch
from flambeau.masked import MaskedTensor, as_masked_tensor, is_masked_tensor, masked_tensor
from flambeau.nn import functional as F

DATA = torch.arange(6.0).reshape(2, 3) - 2
MASK = torch.tensor([[True, False, True], [False, False, True]])


@pytest.fixture
def x():
    return masked_tensor(DATA, MASK)


def same(found, data, mask):
    """Whether a masked tensor has this mask, and these elements where it has any."""
    mask = torch.as_tensor(mask)
    assert is_masked_tensor(found) and isinstance(found, MaskedTensor) and isinstance(found, torch.Tensor)
    assert torch.equal(found.get_mask(), mask)
    left, right = (torch.where(mask, each, torch.zeros_like(each)) for each in (found.get_data(), torch.as_tensor(data)))
    assert left.dtype is right.dtype and torch.allclose(left, right, equal_nan=True)


def test_text(x):
    assert repr(x) == str(x) == "MaskedTensor(\n  [\n    [ -2.0000,       --,   0.0000],\n    [      --,       --,   3.0000]\n  ]\n)"
    assert repr(masked_tensor(torch.tensor([1, 2]), torch.tensor([True, False]))) == "MaskedTensor(\n  [1,       --]\n)"
    assert repr(x.sum()) == "MaskedTensor(  1.0000, True)" and repr(x[0, 1]) == "MaskedTensor(--, False)"


ELEMENTWISE = {
    "-x": (lambda x: -x, -DATA),
    "abs": (torch.abs, DATA.abs()),
    "sqrt": (lambda x: x.sqrt(), DATA.sqrt()),
    "x + x": (lambda x: x + x, DATA * 2),
    "1 - x": (lambda x: 1 - x, 1 - DATA),
    "x // 2": (lambda x: x // 2, DATA // 2),
    "x + row": (lambda x: x + torch.ones(3), DATA + 1),
    "plain * x": (lambda x: DATA * x, DATA * DATA),
    "x ** 2": (lambda x: x**2, DATA**2),
    "x > 0": (lambda x: x > 0, DATA > 0),
    "clamp": (lambda x: x.clamp(0, 1), DATA.clamp(0, 1)),
    "relu": (F.relu, DATA.relu()),
    "double": (lambda x: x.double(), DATA.double()),
    "to": (lambda x: x.to(torch.int64), DATA.long()),
    "ones_like": (torch.ones_like, torch.ones(2, 3)),
    "maximum": (lambda x: torch.maximum(x, -x), DATA.abs()),
    "logical_or": (lambda x: torch.logical_or(x > 0, x < 0), DATA != 0),
    "detach": (lambda x: x.detach(), DATA),
}


@pytest.mark.parametrize("name", list(ELEMENTWISE))
def test_functions_of_elements_keep_the_mask(x, name):
    function, expected = ELEMENTWISE[name]
    same(function(x), expected, MASK)


MOVING = {
    "row": lambda x: x[1],
    "columns": lambda x: x[:, 1:],
    "by index": lambda x: x[torch.tensor([1, 0, 1])],
    "transpose": lambda x: x.T,
    "mT": lambda x: x.mT,
    "permute": lambda x: x.permute(1, 0),
    "flatten": lambda x: x.flatten(),
    "reshape": lambda x: x.reshape(3, 2),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "expand": lambda x: x[0].expand(4, 3),
    "diagonal": lambda x: x.diagonal(),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0])),
    "cat": lambda x: torch.cat([x, x], 1),
    "stack": lambda x: torch.stack([x, x]),
    "flip": lambda x: x.flip(1),
}


@pytest.mark.parametrize("name", list(MOVING))
def test_the_mask_moves_with_the_elements(x, name):
    same(MOVING[name](x), MOVING[name](DATA), MOVING[name](MASK))


def test_parts(x):
    for parts, rows, masks in ((x.unbind(), DATA, MASK), (list(x), DATA, MASK), (x.chunk(2), DATA.chunk(2), MASK.chunk(2))):
        assert len(parts) == 2
        for part, row, mask in zip(parts, rows, masks):
            same(part, row, mask)
    same(torch.cat([x, DATA]), torch.cat([DATA, DATA]), torch.cat([MASK, torch.ones(2, 3, dtype=torch.bool)]))


REDUCTIONS = {
    "sum": (lambda x: x.sum(), 1.0, True),
    "sum over rows": (lambda x: x.sum(0), [-2.0, 0, 3], [True, False, True]),
    "sum kept": (lambda x: torch.sum(x, dim=1, keepdim=True), [[-2.0], [3]], [[True], [True]]),
    "mean": (lambda x: x.mean(1), [-1.0, 3], [True, True]),
    "prod": (lambda x: x.prod(), 0.0, True),
    "amax": (lambda x: x.amax(1), [0.0, 3], [True, True]),
    "amin": (lambda x: x.amin(), -2.0, True),
    "argmax": (lambda x: x.argmax(), 5.0, True),
    "argmin": (lambda x: x.argmin(1), [0.0, 2.0], [True, True]),
    "var": (lambda x: x.var(), 19 / 3, True),
    "std": (lambda x: x.std(1), [2**0.5, torch.nan], [True, True]),
    "all": (lambda x: x.all(), False, True),
    "all of a row": (lambda x: (x > -9).all(1), [True, True], [True, True]),
    "several": (lambda x: x.sum((0, 1)), 1.0, True),
    "softmax": (lambda x: torch.softmax(x, 1), [[0.119203, 0, 0.880797], [0, 0, 1]], MASK),
    "logsumexp": (lambda x: x.logsumexp(1), [0.126928, 3], [True, True]),
    "cumsum": (lambda x: x.cumsum(1), [[-2.0, 0, -2], [0, 0, 3]], MASK),
}


@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reductions_leave_out_what_is_not_there(x, name):
    function, expected, mask = REDUCTIONS[name]
    same(function(x), expected, mask)


def test_choice():
    negative = DATA < 0
    first, second = masked_tensor(DATA, negative), masked_tensor(torch.ones(2, 3), ~negative)
    same(torch.where(negative, first, second), torch.where(negative, DATA, torch.ones(2, 3)), torch.ones(2, 3, dtype=torch.bool))


def test_elements_and_their_places(x):
    assert torch.equal(x.to_tensor(9), torch.where(MASK, DATA, torch.tensor(9.0))) and type(x.to_tensor(9)) is torch.Tensor
    assert type(x.get_data()) is torch.Tensor and torch.equal(x.get_data(), DATA) and torch.equal(x.get_mask(), MASK)
    assert (x.shape, x.dim(), len(x), x.dtype, x.numel(), x.is_sparse) == ((2, 3), 2, 2, torch.float32, 6, False)
    assert x.sum().item() == 1.0 and float(x.sum()) == 1.0 and bool(x.sum() > 0) and hash(x) == hash(x)
    same(copy.deepcopy(x), DATA, MASK)
    same(pickle.loads(pickle.dumps(x)), DATA, MASK)


def test_writing(x):
    assert x.add_(1) is x
    same(x, DATA + 1, MASK)
    same(x.clone().exp_(), (DATA + 1).exp(), MASK)
    assert DATA[0, 0] == -2  # a masked tensor has its own elements
    x += 1
    same(x, DATA + 2, MASK)


def test_gradients_of_a_leaf():
    x = masked_tensor(DATA, MASK, requires_grad=True)
    assert x.is_leaf and x.requires_grad and x.grad is None
    (x * x).sum().backward()
    same(x.grad, 2 * DATA, MASK)
    x.grad = None
    assert x.grad is None


def test_gradients_flow_into_data():
    data = DATA.clone().requires_grad_()
    as_masked_tensor(data, MASK).mean().backward()
    assert torch.allclose(data.grad, MASK / 3)
    data.grad = None
    as_masked_tensor(data, MASK).to_tensor(0).sum().backward()
    assert torch.equal(data.grad, MASK.float())


def test_no_gradients_from_what_is_not_there():
    """Where exp overflows outside of the mask, plain tensors have a gradient of 0 times infinity."""
    x = torch.tensor([-10.0, -5, 0, 100])
    negative = masked_tensor(x, x < 0, requires_grad=True)
    torch.where(x < 0, negative.exp(), masked_tensor(torch.ones(4), x >= 0)).sum().backward()
    same(negative.grad, x.exp(), x < 0)


@pytest.mark.parametrize("call, error, text", [
    (lambda x: x * masked_tensor(DATA, ~MASK), ValueError, "Input masks must match"),
    (lambda x: x + torch.ones(2, 2, 3), ValueError, "cannot be broadcast"),
    (lambda x: x @ torch.ones(3, 2), TypeError, "matmul"),
    (lambda x: x.sort(), TypeError, "sort"),
    (lambda x: x.numpy(), TypeError, "numpy"),
    (lambda x: x.softmax(None), TypeError, "needs a dim"),
    (lambda x: masked_tensor(DATA, MASK[0]), ValueError, "dim"),
    (lambda x: masked_tensor(DATA, MASK[:, :2]), ValueError, "size"),
    (lambda x: masked_tensor(DATA, MASK.int()), TypeError, "dtype bool"),
    (lambda x: masked_tensor(DATA + 1j, MASK), TypeError, "not supported"),
    (lambda x: masked_tensor([1, 2], [True, False]), TypeError, "must be a Tensor"),
    (lambda x: masked_tensor(x, MASK), TypeError, "must be a Tensor"),
])  # fmt: skip
def test_errors(x, call, error, text):
    with pytest.raises(error, match=text):
        call(x)
    same(x + 1, DATA + 1, MASK)
