"""Operators on nested tensors give what they give for each piece by itself, and the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.nested import table
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.strided import StridedNestedTensor
from flambeau.nn import functional as F
from tests.nested.pieces import LAYOUTS, check

BOTH: dict[str, Callable[[Any], Any]] = {
    "numbers": lambda x: 1 - x.a * 2 + 1 / x.a.exp(),
    "nested": lambda x: x.a * x.b - x.a / (x.b * x.b + 1),
    "dense row": lambda x: x.a - x.row,
    "dense row first": lambda x: x.row - x.a,
    "dense row for each piece": lambda x: x.each * x.a,
    "comparison": lambda x: (x.a > x.b) | (x.a == x.a),
    "where": lambda x: torch.where(x.a > 0, x.a, x.b),
    "masked_fill": lambda x: x.a.masked_fill(x.b > 0, 0.5),
    "powers": lambda x: x.a**2 + 2**x.a + torch.float_power(x.a, 2),
    "functions": lambda x: x.a.sigmoid() + torch.sin(x.a) + x.a.abs().sqrt() + torch.clamp(x.a, -1, 1),
    "activations": lambda x: F.gelu(x.a) + F.silu(x.a) + F.relu(x.a) + F.elu(x.a) + F.leaky_relu(x.a) + F.softplus(x.a) + F.hardtanh(x.a),
    "lerp": lambda x: torch.lerp(x.a, x.b, 0.3) + torch.addcmul(x.a, x.a, x.b),
    "softmax": lambda x: x.a.softmax(-1),
    "softmax of rows": lambda x: x.a.softmax(1),
    "log_softmax": lambda x: F.log_softmax(x.a, -1),
    "log_softmax of rows": lambda x: torch.log_softmax(x.a, 1),
    "layer_norm": lambda x: F.layer_norm(x.a, (6,), x.row, x.row),
    "layer_norm of two": lambda x: F.layer_norm(x.h, (4, 6)),
    "rms_norm": lambda x: F.rms_norm(x.a, (6,), x.row),
    "linear": lambda x: F.linear(x.a, x.weight, x.bias),
    "bmm": lambda x: torch.bmm(x.a, x.matrices),
    "cat": lambda x: torch.cat([x.a, x.b, x.a], -1),
    "chunk": lambda x: x.a.chunk(3, -1)[1],
    "split": lambda x: x.a.split([2, 4], -1)[1] * x.a.split(4, -1)[0],
    "unsqueeze": lambda x: x.a.unsqueeze(2).unsqueeze(1),
    "squeeze": lambda x: x.a.unsqueeze(2).squeeze(2),
    "transpose": lambda x: x.h.transpose(1, 2).contiguous(),
    "transpose twice": lambda x: x.h.transpose(1, 3).transpose(1, 2) * 2,
    "permute": lambda x: x.h.permute(0, 3, 1, 2),
    "mT": lambda x: x.a.mT + x.b.mT,
    "arithmetic of transposed": lambda x: x.h.transpose(1, 2) * 2 - x.h.transpose(1, 2),
    "flatten": lambda x: x.h.flatten(-2),
    "unflatten": lambda x: x.a.unflatten(-1, (2, 3)),
    "reshape": lambda x: x.h.reshape(x.count, -1, 24),
    "reshape to more": lambda x: x.h.reshape(x.count, -1, 4, 2, 3),
    "heads": lambda x: x.a.unflatten(-1, [2, 3]).transpose(1, 2).transpose(1, 2).flatten(-2),
    "sum of the last": lambda x: x.a.sum(-1, keepdim=True),
    "mean of the last": lambda x: x.h.mean(-1),
    "mean of rows": lambda x: x.a.mean(1, keepdim=True),
    "amax of the last": lambda x: x.h.amax(2),
    "select": lambda x: x.h[..., 2],
    "attention": lambda x: F.scaled_dot_product_attention(x.h.transpose(1, 2), x.k.transpose(1, 2), x.k.transpose(1, 2)),
    "attention, causal": lambda x: F.scaled_dot_product_attention(*[x.h.transpose(1, 2)] * 3, is_causal=True),
    "attention, causal, of others": lambda x: F.scaled_dot_product_attention(
        x.h.transpose(1, 2), x.k.transpose(1, 2), x.k.transpose(1, 2), is_causal=True
    ),
    "attention, scaled": lambda x: F.scaled_dot_product_attention(*[x.h.transpose(1, 2)] * 3, scale=0.3),
    "attention in place of heads": lambda x: F.scaled_dot_product_attention(x.h, x.h, x.h),
    "attention without heads": lambda x: F.scaled_dot_product_attention(x.a, x.a, x.b),
}
JAGGED: dict[str, Callable[[Any], Any]] = {
    "reduced and broadcast": lambda x: x.a * x.a.sum(1, keepdim=True) + x.a.amax(1, keepdim=True),
    "matmul": lambda x: x.a @ x.weight.t(),
    "matmul of each": lambda x: x.a @ x.matrices,
    "matmul over rows": lambda x: x.a.transpose(1, 2) @ x.b,
    "matmul of rows": lambda x: x.h @ x.h.transpose(2, 3),
    "dense @ nested": lambda x: x.matrices.transpose(1, 2) @ x.a.transpose(1, 2),
    "stack": lambda x: torch.stack([x.a, x.b], -1),
    "squeeze before rows": lambda x: x.a.unsqueeze(1).squeeze(1),
    "sum of rows": lambda x: x.a.sum(1),
    "mean of rows and more": lambda x: x.h.mean((1, 3)),
    "sum of two": lambda x: x.h.sum((2, 3)),
    "prod of rows": lambda x: x.a.prod(1),
    "amin of rows": lambda x: x.a.amin(1),
    "max of rows": lambda x: x.a.max(1).values,
    "min of the last": lambda x: x.a.min(-1).values,
    "argmax": lambda x: x.a.argmax(1),
    "any": lambda x: (x.a > 1).any(1),
    "all": lambda x: (x.a > -1).all(1, keepdim=True),
    "logsumexp": lambda x: x.a.logsumexp(1),
    "softmin of rows": lambda x: F.softmin(x.a, 1),
    "softmax of heads' rows": lambda x: x.h.transpose(1, 2).softmax(2),
    "logsumexp of the last": lambda x: x.a.logsumexp(-1),
    "reduced before the rows": lambda x: x.h.transpose(1, 2).sum(1),
    "cumsum": lambda x: x.a.cumsum(-1),
    "sort": lambda x: torch.sort(x.a, -1).values,
    "topk": lambda x: x.a.topk(2).values,
    "normalize": lambda x: F.normalize(x.a, dim=-1),
    "var": lambda x: x.a.var(-1),
    "index_select": lambda x: x.a.index_select(-1, torch.tensor([0, 0, 2])),
    "pad": lambda x: F.pad(x.a, (1, 2)),
    "pad rows": lambda x: F.pad(x.a, (0, 0, 1, 2), value=3.0),
    "pad rows and more": lambda x: F.pad(x.h.transpose(1, 2), (1, 0, -1, 2)),
    "expand": lambda x: x.a.unsqueeze(-1).expand(-1, -1, -1, 2),
    "narrow": lambda x: x.a.narrow(-1, 1, 3),
    "view as": lambda x: x.a.view(x.b.shape),
    "view before the rows": lambda x: x.h.transpose(1, 2).unflatten(1, (2, 2)).reshape(x.count, 4, -1, 6),
}
STRIDED: dict[str, Callable[[Any], Any]] = {
    "scores": lambda x: torch.matmul(x.h.transpose(1, 2), x.h.transpose(1, 2).transpose(-1, -2)),
    "attention by hand": lambda x: (
        torch.softmax(x.h.transpose(1, 2) @ x.k.transpose(1, 2).transpose(-1, -2) / 6**0.5, -1) @ x.k.transpose(1, 2)
    ).transpose(1, 2).reshape(x.count, -1, 24),
    "transposed scores": lambda x: (x.a @ x.b.mT).mT,
    "cat of rows": lambda x: torch.cat([x.h, x.k], 1),
    "flatten of all": lambda x: x.h.flatten(1),
    "narrow": lambda x: x.h.narrow(2, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", BOTH)
def test_both_layouts(name: str, layout: torch.layout) -> None:
    check(BOTH[name], layout)


@pytest.mark.parametrize("name", JAGGED)
def test_jagged(name: str) -> None:
    check(JAGGED[name], torch.jagged)


@pytest.mark.parametrize("name", STRIDED)
def test_strided(name: str) -> None:
    check(STRIDED[name], torch.strided)


# -- what is no operator of each piece -------------------------------------------------------------------------------


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((rows, 4)) for rows in (3, 1, 5)]


def batch(layout: torch.layout = torch.jagged) -> Any:
    return torch.nested.nested_tensor([torch.tensor(each) for each in arrays()], layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reductions_of_all_elements(layout: torch.layout) -> None:
    elements = np.concatenate([each.reshape(-1) for each in arrays()])
    for name in ("sum", "mean", "max", "min", "prod", "argmax"):
        assert getattr(batch(layout), name)().item() == pytest.approx(getattr(elements, name)(), rel=1e-12)
    assert batch(layout).isfinite().all().item()
    assert not batch(layout).isnan().any().item()
    assert batch(layout).sum((0, 1, 2), keepdim=True).shape == (1, 1, 1)


def test_reductions_over_pieces_and_rows() -> None:
    rows = np.concatenate(arrays())
    np.testing.assert_allclose(batch().sum((0, 1)).numpy(), rows.sum(0))
    np.testing.assert_allclose(batch().mean((0, 1), keepdim=True).numpy(), rows.mean(0)[None, None])
    for dim in (0, (0, 2)):
        with pytest.raises(RuntimeError, match="batch dimension but not the ragged"):
            batch().sum(dim)


def test_dtypes_of_reductions_over_rows() -> None:
    numbers = torch.nested.nested_tensor([torch.arange(1, 3), torch.arange(1, 4)], layout=torch.jagged)
    assert numbers.sum(1).tolist() == [3, 6]
    assert numbers.prod(1).tolist() == [2, 6]
    assert numbers.amin(1).tolist() == [1, 1]
    assert (numbers > 1).all(1).tolist() == [False, False]
    assert (numbers > 1).sum(1).tolist() == [1, 2]
    assert numbers.mean(1, dtype=torch.float64).tolist() == [1.5, 2]
    assert torch.softmax(numbers, 1, dtype=torch.float64).sum(1).tolist() == pytest.approx([1, 1])
    for refused in (lambda: numbers.mean(1), lambda: numbers.softmax(1)):
        with pytest.raises(RuntimeError, match="floating"):
            refused()
    assert (numbers * 1j).mean(1).tolist() == [1.5j, 2j]
    assert numbers.to(torch.bfloat16).sum(1).dtype is torch.bfloat16


def test_rows_of_no_piece_count_nowhere() -> None:
    values = torch.arange(8.0).requires_grad_()
    holes = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 3, 8]), torch.tensor([2, 3]))
    assert holes.sum().item() == 0 + 1 + 3 + 4 + 5
    assert holes.mean().item() == pytest.approx(13 / 5)
    assert holes.sum(1).tolist() == [1, 12]
    assert holes.mean(1).tolist() == [0.5, 4]
    assert holes.amax(1).tolist() == [1, 5]
    holes.softmax(1)[1][0].backward()
    soft = np.exp([3, 4, 5]) / np.exp([3, 4, 5]).sum()
    np.testing.assert_allclose(
        values.grad.numpy(), [0, 0, 0, soft[0] * (1 - soft[0]), -soft[0] * soft[1], -soft[0] * soft[2], 0, 0], atol=1e-6
    )
    with pytest.raises(RuntimeError, match="belong to no piece"):
        F.mse_loss(holes, holes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses(layout: torch.layout) -> None:
    first, elements = batch(layout), np.concatenate([each.reshape(-1) for each in arrays()])
    assert F.mse_loss(first, first * 2).item() == pytest.approx((elements**2).mean())
    assert F.l1_loss(first, first * 3, reduction="sum").item() == pytest.approx(np.abs(2 * elements).sum())
    assert F.smooth_l1_loss(first, first, reduction="none").is_nested
    target = torch.tensor([1, 0, 3, 2, 2, 1, 0, 0, 3])
    logits = batch().values()
    expected = -np.log(np.exp(logits.numpy())[np.arange(9), target.numpy()] / np.exp(logits.numpy()).sum(1)).mean()
    assert F.cross_entropy(logits, target).item() == pytest.approx(expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embedding(layout: torch.layout) -> None:
    indices = torch.nested.nested_tensor([torch.tensor([1, 2]), torch.tensor([0]), torch.tensor([2, 2, 2])], layout=layout)
    table = torch.nn.Embedding(4, 3)
    found = table(indices)
    for piece, rows in zip(found.unbind(), indices.unbind()):
        assert torch.equal(piece, table.weight[rows])
    found.values().sum().backward()
    assert table.weight.grad[:, 0].tolist() == [1, 1, 4, 0]
    assert [piece.shape for piece in F.one_hot(indices, 4).unbind()] == [(2, 4), (1, 4), (3, 4)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropout_draws_as_it_does_for_the_values(layout: torch.layout) -> None:
    made = batch(layout)
    torch.manual_seed(3)
    dropped = F.dropout(made, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropped.values(), F.dropout(made.values(), 0.5))
    assert torch.equal(F.dropout(made, 0.5, training=False), made)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place(layout: torch.layout) -> None:
    made = batch(layout)
    kept = made
    made += 1
    made.mul_(made).sub_(torch.ones(4)).clamp_(min=0).relu_()
    made /= 2
    assert made is kept
    for piece, array in zip(made.unbind(), arrays()):
        np.testing.assert_allclose(piece.numpy(), np.maximum((array + 1) ** 2 - 1, 0) / 2)
    assert made.zero_().values().sum() == 0
    assert made.fill_(2).values().sum() == 2 * 36
    assert torch.equal(made.copy_(batch(layout)).values(), batch(layout).values())
    with pytest.raises(RuntimeError, match="pieces"):
        made.copy_(torch.nested.nested_tensor([torch.ones(9, 4, dtype=torch.float64)], layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_like_a_nested_one(layout: torch.layout) -> None:
    made = batch(layout)
    assert torch.zeros_like(made).values().sum() == 0
    assert torch.full_like(made, 3, dtype=torch.int64).values().unique().tolist() == [3]
    for function in (torch.rand_like, torch.randn_like, torch.empty_like, torch.ones_like):
        assert function(made).is_same_size(made)
    assert made.new_zeros(2, 3).shape == (2, 3)
    assert not made.new_ones(2).is_nested


def test_the_padded_batch_and_rows_broadcast() -> None:
    made = batch()
    padded = torch.arange(60.0, dtype=torch.float64).reshape(3, 5, 4)
    for piece, array, row in zip((made + padded).unbind(), arrays(), padded):
        np.testing.assert_allclose(piece.numpy(), array + row[: len(array)].numpy())
    for wrong in (torch.ones(1, 3, 4), torch.ones(3, 2, 4), torch.ones(3, 4), torch.ones(2, 1, 4)):
        with pytest.raises(RuntimeError, match="cannot call add with inputs of shapes"):
            made + wrong
    with pytest.raises(NotImplementedError, match="more dimensions"):
        made + torch.ones(1, 3, 5, 4)


def test_chunks_of_pieces() -> None:
    first, second = batch().chunk(2)
    assert [piece.shape[0] for piece in first.unbind()] == [3, 1]
    assert [piece.shape[0] for piece in second.unbind()] == [5]
    assert torch.equal(second.values(), batch().values()[4:])
    joined = torch.cat([batch(torch.strided), batch(torch.strided)])
    assert joined.size(0) == 6
    assert torch.equal(joined[4], batch()[1])


@pytest.mark.parametrize(
    ("operator", "error", "message"),
    [
        (lambda x: x.transpose(0, 1), ValueError, "batch dimension"),
        (lambda x: x.permute(0, 1), ValueError, "an order of the 3 dimensions"),
        (lambda x: x.chunk(0), RuntimeError, "greater than 0"),
        (lambda x: x.permute(1, 0, 2), ValueError, "batch dimension"),
        (lambda x: x.unsqueeze(0), RuntimeError, "dim=0"),
        (lambda x: x.squeeze(1), RuntimeError, "ragged dim 1"),
        (lambda x: x.flatten(), RuntimeError, "dim=0"),
        (lambda x: x.flatten(1, 2), RuntimeError, "ragged dim 1"),
        (lambda x: x.view(9, 4), RuntimeError, "pieces and their lengths must stay"),
        (lambda x: x.view(3, 4, x.shape[1]), RuntimeError, "pieces and their lengths must stay"),
        (lambda x: x.softmax(0), RuntimeError, "batch dimension"),
        (lambda x: x.split(1), RuntimeError, "dim=0"),
        (lambda x: x.unbind(1), RuntimeError, "dim=0"),
        (lambda x: torch.cat([x, x], 1), RuntimeError, "ragged dim 1"),
        (lambda x: torch.stack([x, x], 1), RuntimeError, "before the ragged dimension"),
        (lambda x: x @ x.mT, RuntimeError, "would differ in two dimensions"),
        (lambda x: x @ torch.ones(4), RuntimeError, "not supported between"),
        (lambda x: F.linear(x.mT, torch.ones(2, 3)), RuntimeError, "trailing dimension"),
        (lambda x: F.layer_norm(x, (3, 4)), RuntimeError, "normalized_shape"),
        (lambda x: x.cumsum(1), NotImplementedError, "along dimension 1"),
        (lambda x: F.pad(x, (0, 0, 1, 1), mode="replicate"), NotImplementedError, "padded with a number"),
        (lambda x: F.pad(x, (0, 0, -1, -1)), RuntimeError, "a piece of 1 rows cannot lose 2"),
        (lambda x: F.pad(x, (1, 1, 1, 1, 1, 1)), RuntimeError, "at most 2 dimensions"),
        (lambda x: F.scaled_dot_product_attention(x, x, torch.ones(3, 5, 4)), ValueError, "value.is_nested: False"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(5, 5)), ValueError, "attn_mask"),
        (lambda x: F.scaled_dot_product_attention(x, x, batch()), RuntimeError, "key and value must have the same pieces"),
        (lambda x: x.expand(3, 2, 4), RuntimeError, "must stay"),
        (lambda x: x.T, NotImplementedError, "mT"),
    ],
)  # fmt: skip
def test_mistakes_of_jagged_tensors(operator: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        operator(batch())


@pytest.mark.parametrize(
    ("operator", "error", "message"),
    [
        (lambda x: x.transpose(0, 1), RuntimeError, "dim=0"),
        (lambda x: x.unsqueeze(0), RuntimeError, "dimension 0"),
        (lambda x: x.reshape(-1, 4), RuntimeError, "batch dimension"),
        (lambda x: x.reshape(3, 5, 4), RuntimeError, "is invalid for a piece"),
        (lambda x: x.chunk(2, 1), RuntimeError, "irregular"),
        (lambda x: x.chunk(0, -1), RuntimeError, "greater than 0"),
        (lambda x: x.split(0, -1), RuntimeError, "at least 1"),
        (lambda x: x + torch.nested.nested_tensor([torch.ones(1, 4)]), RuntimeError, "does not support broadcasting"),
        (lambda x: x + torch.ones(3), RuntimeError, "does not broadcast with the padded batch"),
        (lambda x: torch.matmul(x, x), RuntimeError, "cannot be matrix multiplied"),
        (lambda x: F.linear(x.mT, torch.ones(2, 3)), RuntimeError, "trailing dimension"),
        (lambda x: x.sum(0), RuntimeError, "not reduced over one another"),
        (lambda x: x.cumsum(1), NotImplementedError, "torch.jagged"),
        (lambda x: x.stride(), RuntimeError, "no strides"),
        (lambda x: F.pad(x, (1, 1)), NotImplementedError, "'pad' is not implemented"),
    ],
)  # fmt: skip
def test_mistakes_of_strided_nested_tensors(operator: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        operator(batch(torch.strided))


def test_equal() -> None:
    first = batch()
    assert torch.equal(first, first * 1)
    assert torch.allclose(first, first + 1e-12)
    assert not torch.equal(first, first + 1)
    with pytest.raises(RuntimeError, match="offsets"):
        torch.equal(first, batch())
    assert torch.equal(batch(torch.strided), batch(torch.strided))


def test_gradients_of_gradients() -> None:
    rows = torch.tensor(np.concatenate(arrays()), requires_grad=True)
    offsets = torch.tensor([0, 3, 4, 9])

    def function(values: torch.Tensor) -> torch.Tensor:
        x = torch.nested.nested_tensor_from_jagged(values, offsets)
        return (x.softmax(1) * x).sum(1)

    assert torch.autograd.gradcheck(function, (rows,))
    assert torch.autograd.gradgradcheck(function, (rows,))


def test_methods_that_are_asked_for_are_there() -> None:
    """A name in the table that a class did not define would find itself again."""
    for cls in (JaggedTensor, StridedNestedTensor):
        own = {name for each in cls.__mro__[: cls.__mro__.index(torch.Tensor)] for name in vars(each)}
        assert [name for name in sorted(table._METHODS) if hasattr(torch.Tensor, name) and name not in own] == []


def test_the_same_sizes_at_other_rows_are_other_pieces() -> None:
    values = torch.arange(6.0)
    first, second = (torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, start, 6]), torch.tensor([2, 2])) for start in (2, 4))
    with pytest.raises(RuntimeError, match="pieces of the same sizes"):
        first.copy_(second)
    with pytest.raises(RuntimeError, match="the same pieces"):
        torch.cat([first.unsqueeze(2), second.unsqueeze(2)], 2)
    again = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 2, 6]), torch.tensor([2, 2]))
    assert [piece.tolist() for piece in torch.stack([first, again], -1)] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]
