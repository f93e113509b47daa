"""Attention that stores no scores: its numbers, its gradients, its bits and its memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._codegen.attention import plan
from flambeau._codegen.attention.structure import BACKWARD_KEYS, KEYS, ROWS
from flambeau._compiler import attention as lowering
from flambeau._runtime import targets
from flambeau.nn.functional import scaled_dot_product_attention as attend

UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def tensors(shapes: tuple, dtype: str = "float32") -> list[flambeau.Tensor]:
    """Leaves with numbers of the dtype."""
    return [flambeau.tensor(numbers(*shape, seed=i)).to(getattr(flambeau, dtype)).requires_grad_() for i, shape in enumerate(shapes)]


def exact(x: flambeau.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def expected(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, causal: bool, scale: float) -> tuple:
    """Attention in float64, and its gradients if that of the result is the result."""
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(largest), 0, largest))
    total = weights.sum(-1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    out = weights @ v
    by_score = weights * (out @ np.swapaxes(v, -1, -2) - (out * out).sum(-1, keepdims=True)) * scale
    return out, by_score @ k, np.swapaxes(by_score, -1, -2) @ q, np.swapaxes(weights, -1, -2) @ out


def with_gradients(inputs: list[flambeau.Tensor], **arguments: Any) -> list[flambeau.Tensor]:
    out = attend(*inputs, **arguments)
    return [out, *flambeau.autograd.grad(out, inputs, out.detach())]


def assert_near(found: flambeau.Tensor, exactly: np.ndarray, inputs: list[flambeau.Tensor], scale: float) -> None:
    """As a whole within a unit of rounding of half precision, and some of others: the error of a score is a relative one of its weight."""
    q, k = (np.abs(exact(x)) for x in inputs[:2])
    units = 1 if inputs[0].dtype.itemsize == 2 else 8 + (q @ np.swapaxes(k, -1, -2)).max() * scale
    unit = UNIT[str(found.dtype).rpartition(".")[2]]
    assert np.linalg.norm(exact(found) - exactly) <= units * unit * np.linalg.norm(exactly)


SHAPES = [
    ((5, 3), (6, 3), (6, 7)),
    ((2, 3, ROWS + 1, 17), (2, 3, KEYS + 1, 17), (2, 3, KEYS + 1, 33)),
    ((3, 2 * ROWS, 64), (3, BACKWARD_KEYS, 64), (3, BACKWARD_KEYS, 64)),
    ((1, 1, 1, 2 * KEYS + 5, 8),) * 3,
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_results_and_gradients_are_near_those_of_float64(shapes: tuple, causal: bool, dtype: str) -> None:
    inputs = tensors(shapes, dtype)
    found = with_gradients(inputs, is_causal=causal, scale=0.3)
    for one, other in zip(found, expected(*map(exact, inputs), None, causal, 0.3), strict=True):
        assert one.dtype is inputs[0].dtype
        assert_near(one, other, inputs, 0.3)


@pytest.mark.parametrize("kind", ["bool", "float32"])
def test_a_mask_and_the_causal_one(kind: str) -> None:
    q, k, v = tensors(((2, 6, 8), (2, 9, 8), (2, 9, 8)), "float32")
    allowed = flambeau.tensor(numbers(6, 9, seed=3)) > -0.5
    allowed[:, 0] = True
    mask = allowed if kind == "bool" else flambeau.zeros(6, 9).masked_fill(~allowed, float("-inf"))
    attend = flambeau.nn.functional.scaled_dot_product_attention
    both = allowed & flambeau.ones(6, 9, dtype=flambeau.bool).tril()
    assert flambeau.equal(
        attend(q, k, v, mask, is_causal=True), attend(q, k, v, both if kind == "bool" else mask.masked_fill(~both, float("-inf")))
    )


MASKS = [(20, 300), (1, 300), (20, 1), (1, 1), (2, 1, 20, 300), (2, 1, 1, 300), (1, 4, 20, 1)]


@pytest.mark.parametrize("shape", MASKS, ids=str)
@pytest.mark.parametrize("kind", ["bool", "float32", "bfloat16"])
def test_masks_of_every_shape(kind: str, shape: tuple) -> None:
    dtype = "bfloat16" if kind == "bfloat16" else "float32"
    inputs = tensors(((2, 4, 20, 8), (2, 4, 300, 8), (2, 4, 300, 8)), dtype)
    mask = flambeau.tensor(numbers(*shape, seed=9)).to(flambeau.bfloat16)
    mask = mask > -0.5 if kind == "bool" else mask.to(getattr(flambeau, kind))
    known = mask.numpy() if kind == "bool" else exact(mask)
    found = with_gradients(inputs, attn_mask=mask)
    for one, other in zip(found, expected(*map(exact, inputs), known, False, 8**-0.5), strict=True):
        assert_near(one, other, inputs, 8**-0.5)
    whole = mask.expand(2, 4, 20, 300).contiguous()
    for one, other in zip(found, with_gradients(inputs, attn_mask=whole), strict=True):
        assert flambeau.equal(one, other)
    turned = whole.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert flambeau.equal(found[0], attend(*inputs, turned))


@pytest.mark.parametrize("additive", [False, True])
def test_a_query_without_keys_gives_zeros(additive: bool) -> None:
    inputs = tensors(((2, 100, 8), (2, 140, 8), (2, 140, 8)))
    mask = flambeau.tensor(numbers(100, 140) > 0)
    mask[3], mask[:, 5] = False, False
    if additive:
        mask = flambeau.where(mask, 0.0, float("-inf"))
    out, by_query, by_key, by_value = with_gradients(inputs, attn_mask=mask)
    assert not out[:, 3].any() and not by_query[:, 3].any() and not by_key[:, 5].any() and not by_value[:, 5].any()
    assert out.isfinite().all() and by_query.isfinite().all() and by_key.isfinite().all() and by_value.isfinite().all()


def test_what_is_not_finite_stays_in_its_row() -> None:
    q, k, v = (x.detach() for x in tensors(((2, 100, 8), (2, 40, 8), (2, 40, 8))))
    q[0, 7, 0] = float("nan")
    out = attend(q, k, v)
    assert out[0, 7].isnan().all() and out.isnan().sum() == 8
    k[1, 0] = float("inf")
    out = attend(q[1:], k[1:], v[1:])
    assert (out.isnan().any(-1) == (q[1:] @ k[1:].mT).amax(-1).eq(float("inf")) | (q[1:] @ k[1:].mT).isnan().any(-1)).all()


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [((2, 0, 4), (2, 3, 4), (2, 3, 4)), ((2, 3, 4), (2, 0, 4), (2, 0, 4)), ((0, 3, 4), (0, 3, 4), (0, 3, 4)),
     ((2, 3, 0), (2, 4, 0), (2, 4, 5)), ((2, 3, 4), (2, 4, 4), (2, 4, 0))],
)  # fmt: skip
def test_empty_sizes(query: tuple, key: tuple, value: tuple) -> None:
    inputs = tensors((query, key, value))
    out, *gradients = with_gradients(inputs)
    assert out.shape == (*query[:-1], value[-1])
    assert [x.shape for x in gradients] == [x.shape for x in inputs]
    if not query[-1]:
        np.testing.assert_allclose(
            out.detach().numpy(), np.broadcast_to(inputs[2].detach().numpy().mean(1, keepdims=True), out.shape), rtol=1e-6
        )
    elif not key[-2]:
        assert not out.any()


def test_heads_are_shared_without_copies() -> None:
    q, k, v = tensors(((2, 8, 90, 16), (2, 2, 50, 16), (2, 2, 50, 16)))
    for arguments in ({}, {"is_causal": True}, {"attn_mask": flambeau.tensor(numbers(2, 8, 90, 50) > 0)}):
        found = with_gradients([q, k, v], enable_gqa=True, **arguments)
        many = [q, k.repeat_interleave(4, 1), v.repeat_interleave(4, 1)]
        out, *gradients = with_gradients([x.detach().requires_grad_() for x in many], **arguments)
        assert flambeau.equal(found[0], out) and flambeau.equal(found[1], gradients[0])
        for one, other in zip(found[2:], gradients[1:], strict=True):
            flambeau.testing.assert_close(one, other.unflatten(1, (2, 4)).sum(2), rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match="must divide the number of heads in query, got 3 and 3 for 8"):
        attend(q, q[:, :3], q[:, :3], enable_gqa=True)


def test_leading_dimensions_are_broadcast() -> None:
    q, k, v = tensors(((2, 1, 20, 8), (2, 4, 30, 8), (1, 4, 30, 8)))
    found = with_gradients([q, k, v])
    whole = [x.detach().expand(2, 4, *x.shape[-2:]).contiguous().requires_grad_() for x in (q, k, v)]
    assert flambeau.equal(found[0], attend(*whole))
    assert [x.shape for x in found[1:]] == [q.shape, k.shape, v.shape]


@pytest.mark.parametrize("causal", [False, True])
def test_one_pass_and_two_give_the_same_bits(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head as a whole, or its keys and its queries shared among cores."""
    operands = {
        name: plan.Operand(flambeau.float32, (1, 1, 1))
        for name in ("q", "k", "v", "statistics", "grad", "delta", "grad_q", "grad_k", "grad_v")
    }
    extents, both = plan.Extents((2,), 400, 300, 24, 40), ("keys", "queries")
    calls = {cores: plan.backward(extents, operands, causal, 1.0, targets.current(), cores, both) for cores in (1, 64)}
    assert [len(each) for each in calls.values()] == [1, 2] and all(call.tiles > 2 for call in calls[64])
    results = []
    for cores in (1, 2, 64):
        monkeypatch.setattr(lowering.targets, "available_cores", lambda cores=cores: cores)
        # Each scale is a program of its own, and all of them are the same float32.
        inputs = tensors(((2, 400, 24), (2, 300, 24), (2, 300, 40)))
        results.append([x.detach().numpy().tobytes() for x in with_gradients(inputs, is_causal=causal, scale=1.0 + cores * 2.0**-30)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_wanted_gradients(wanted: tuple) -> None:
    inputs = tensors(((2, 3, 100, 8), (2, 3, 70, 8), (2, 3, 70, 8)))
    whole = with_gradients(inputs)[1:]
    some = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(inputs)]
    out = attend(*some)
    found = flambeau.autograd.grad(out, [some[i] for i in wanted], out.detach())
    assert all(flambeau.equal(one, whole[i]) for one, i in zip(found, wanted, strict=True))


def test_a_graph_of_the_gradient_changes_no_bit() -> None:
    q, k, v = tensors(((2, 30, 8), (2, 20, 8), (2, 20, 8)))
    out = attend(q, k, v)
    plain = flambeau.autograd.grad(out, (q, k, v), out.detach(), retain_graph=True)
    recorded = flambeau.autograd.grad(out, (q, k, v), out.detach(), create_graph=True)
    assert all(flambeau.equal(one, other) for one, other in zip(plain, recorded, strict=True))
    assert all(x.requires_grad for x in recorded)


def test_operands_in_any_order_of_memory() -> None:
    q, k, v = (x.detach() for x in tensors(((2, 3, 100, 24), (2, 3, 130, 24), (2, 3, 130, 40))))
    ways = [lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), lambda x: x.mT.contiguous().mT]
    results = [[x.detach() for x in with_gradients([q.requires_grad_(), k.requires_grad_(), v.requires_grad_()])]]
    for way in ways:
        inputs = [way(x.detach()).requires_grad_() for x in (q, k, v)]
        assert inputs[0].stride() != q.stride()
        results.append([x.detach() for x in with_gradients(inputs)])
    assert all(flambeau.equal(one, other) for found in results[1:] for one, other in zip(found, results[0], strict=True))


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    def bytes_between(length: int) -> int:
        inputs = tensors(((2, length, 16),) * 3)
        flambeau.flush()
        explained = flambeau.explain(with_gradients, inputs, scale=0.123)
        assert "attention" in str(explained)
        return max(program.arena_bytes for program in explained.programs)

    short, long = bytes_between(500), bytes_between(2000)
    assert long <= 4.1 * short and long < 2 * 2000 * 2000


def test_errors() -> None:
    q, k, v = tensors(((2, 5, 4), (2, 6, 4), (2, 6, 4)))
    with pytest.raises(RuntimeError, match="same dtype, but got query.dtype: .*float32, key.dtype: .*float64"):
        attend(q, k.double(), v)
    with pytest.raises(RuntimeError, match="attn_mask dtype to be bool or float or to match query dtype"):
        attend(q, k, v, flambeau.zeros(5, 6, dtype=flambeau.float64))
    with pytest.raises(RuntimeError, match="expanded size"):
        attend(q, k, v, flambeau.zeros(4, 6))


@pytest.mark.parametrize("queries", [2, 5])  # by the weights, and by a kernel
def test_autocast_runs_in_half_precision(queries: int) -> None:
    q, k, v = tensors(((2, queries, 4), (2, 6, 4), (2, 6, 4)))
    expected = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    with flambeau.autocast("cpu", dtype=flambeau.bfloat16):
        found = attend(q, k, v.bfloat16())
    assert found.dtype is flambeau.bfloat16 and flambeau.equal(found, expected)


@pytest.mark.parametrize("queries", [2, 5])
def test_dtypes_that_differ_are_refused(queries: int) -> None:
    q, k, v = tensors(((2, queries, 4), (2, 6, 4), (2, 6, 4)), "bfloat16")
    with pytest.raises(RuntimeError, match="same dtype, but got query.dtype: .*bfloat16, key.dtype: .*float32"):
        attend(q, k.float(), v)
    assert attend(q, k, v, flambeau.zeros(queries, 6)).dtype is flambeau.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("queries", [1, 3, 9])
@pytest.mark.parametrize("is_masked", [False, True])
def test_half_precision_is_rounded_once_where_one_key_has_most_of_the_weight(dtype: str, queries: int, is_masked: bool) -> None:
    """Scores of some tens: what is rounded before the exponential, or before differences that nearly cancel, is off by many units."""
    inputs = tensors(((3, queries, 8), (3, 6, 8), (3, 6, 8)), dtype)
    inputs[:2] = [(each.detach() * 4).requires_grad_() for each in inputs[:2]]
    options = {"scale": 0.5} | ({"attn_mask": flambeau.ones(queries, 6, dtype=flambeau.bool).tril(3)} if is_masked else {})
    ahead = flambeau.tensor(numbers(3, queries, 8, seed=3)).to(inputs[0].dtype)
    wide = [each.detach().double().requires_grad_() for each in inputs]
    out, exactly = attend(*inputs, **options), attend(*wide, **options)
    found = [out, *flambeau.autograd.grad(out, inputs, ahead)]
    for one, other in zip(found, [exactly, *flambeau.autograd.grad(exactly, wide, ahead.double())], strict=True):
        assert np.linalg.norm(exact(one) - exact(other)) <= UNIT[dtype] * np.linalg.norm(exact(other))


def test_weights_that_are_dropped_are_float32_before() -> None:
    q, k, v = tensors(((2, 4, 8), (2, 6, 8), (2, 6, 8)), "bfloat16")
    with flambeau.random.fork_rng():
        flambeau.manual_seed(3)
        found = attend(q, k, v, dropout_p=0.5)
        flambeau.manual_seed(3)
        wide = attend(q.float(), k.float(), v.float(), dropout_p=0.5)
    assert flambeau.equal(found, wide.bfloat16())


@pytest.mark.parametrize("queries", [1, 3, 7])
@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"attn_mask": flambeau.ones(1, 7, dtype=flambeau.bool)}, {"enable_gqa": True}], ids=str
)
def test_the_result_lies_as_the_queries_do(queries: int, options: dict) -> None:
    split = flambeau.tensor(numbers(2, queries, 4, 8)).float().transpose(1, 2)
    others = [flambeau.tensor(numbers(2, 7, 2 if "enable_gqa" in options else 4, 8, seed=seed)).float().transpose(1, 2) for seed in (1, 2)]
    found = attend(split, *others, **options)
    joined = found.transpose(1, 2).view(2, queries, 32)

    plain = attend(split.contiguous(), *others, **options)
    assert plain.is_contiguous() and flambeau.equal(plain, found)
    np.testing.assert_array_equal(joined.numpy(), plain.transpose(1, 2).reshape(2, queries, 32).numpy())
    assert attend(split, others[0], others[1][..., :6], **options).is_contiguous()
