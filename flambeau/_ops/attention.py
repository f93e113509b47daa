"""Scaled dot-product attention: softmax(q kᵀ · scale + mask) v, without the matrix of scores in memory.

The operator and its gradient are nodes of the compiler's own (``docs/design/0007-attention.md``). ``attention_weights`` is the same in public
operators, for what needs the weights themselves and for gradients of gradients.

Sources: Vaswani et al., arXiv:1706.03762; Dao et al., arXiv:2205.14135.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.autocast import low
from flambeau._ops.normalization import again
from flambeau._ops.operator import Operator
from flambeau._ops.ranges import arange
from flambeau._ops.softmax import softmax
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

STATICS = ("is_causal", "scale")
"""Those of the operator and its gradient. The operator has ``exact`` besides: whether half precision has its result in float32."""


def check_dtypes(query: Layout, key: Layout, value: Layout, *mask: Layout) -> None:
    """Refuse queries, keys and values of several dtypes, and masks that cannot be added to what is made of them."""
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype}, key.dtype: {key.dtype} and "
            f"value.dtype: {value.dtype} instead."
        )
    if mask and mask[0].dtype not in (dt.bool, dt.float32, query.dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {mask[0].dtype} and query.dtype: {query.dtype} instead."
        )


def _infer(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    query, key, value = operands[:3]
    check_dtypes(*operands)
    rows = query.shape[:-1]
    compute = query.dtype.compute
    return result_layout(query, key, value, compute if statics[2] else query.dtype), lay.contiguous((2, *rows), compute)


def result_layout(query: Layout, key: Layout, value: Layout, dtype: DType) -> Layout:
    """How the result lies in memory: as the queries do, so that heads that ``view`` and ``transpose`` have split are joined by the same two.

    That is PyTorch's rule for four dimensions, of which the last is that of neighbours in memory, and for as many features of queries and values.
    """
    shape = (*query.shape[:-1], value.shape[-1])
    if shape == query.shape and all(each.ndim == 4 and each.strides[-1] == 1 for each in (query, key, value)):
        return lay.like(query, dtype)
    return lay.contiguous(shape, dtype)


def _lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    query, key, value, *mask = operands
    return graph.attention(query, key, value, mask[0] if mask else None, *statics[:2], layouts[0].dtype)


ATTENTION = Operator(
    "scaled_dot_product_attention",
    ("query", "key", "value", "attn_mask"),
    (*STATICS, "exact"),
    infer=_infer,
    lower=_lower,
    grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
)


def _infer_backward(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    return tuple(lay.contiguous(operand.shape, operand.dtype) for operand in operands[1:4])


def _lower_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    grad, query, key, value, output, statistics, *mask = operands
    delta = (graph.wide(grad) * graph.wide(output)).sum((grad.ndim - 1,))
    grad = graph.cast(grad, query.dtype)  # it was of this dtype before ``attention`` cast it
    return graph.attention_backward(query, key, value, statistics, grad, delta, mask[0] if mask else None, *statics)


BACKWARD = Operator(
    "_scaled_dot_product_attention_backward",
    ("grad_output", "query", "key", "value", "output", "statistics", "attn_mask"),
    STATICS,
    infer=_infer_backward,
    lower=_lower_backward,
)


def _gradients(
    grad0: Tensor, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, result0: Tensor, result1: Tensor, is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    mask = () if attn_mask is None else (attn_mask,)
    return BACKWARD(grad0, query, key, value, result0.detach(), result1.detach(), *mask, statics=(is_causal, scale))


ATTENTION.gradient(query=_gradients, key=_gradients, value=_gradients)


# -- in public operators -----------------------------------------------------------------------------------------------


def attention_weights(query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """softmax(q kᵀ · scale + mask), (…, L, S); 0 for queries that see no key."""
    scores = query * scale @ key.transpose(-2, -1)
    if is_causal:
        scores = scores.masked_fill(arange(scores.size(-2)).unsqueeze(-1) < arange(scores.size(-1)), float("-inf"))
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype is dt.bool else scores + attn_mask
    if not scores.size(-1):
        return scores
    # A query without keys attends to nothing: its weights are 0, and so is their gradient.
    empty = scores.amax(-1, keepdim=True) == float("-inf")
    return softmax(scores.masked_fill(empty, 0.0), -1).masked_fill(empty, 0.0)


def _gradients_again(attn_mask: Tensor | None, is_causal: bool, scale: float) -> Any:
    """What ``BACKWARD`` computes, as a differentiable function of the first four operands."""

    def gradients(grad: Tensor, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad, query, key, value = (each.to(each.dtype.compute) for each in (grad, query, key, value))
        weights = attention_weights(query, key, attn_mask, is_causal, scale)
        by_weight = grad @ value.transpose(-2, -1)
        by_score = weights * (by_weight - (weights * by_weight).sum(-1, keepdim=True)) * scale
        return by_score @ key, by_score.transpose(-2, -1) @ query, weights.transpose(-2, -1) @ grad

    return gradients


def _again(which: int) -> Any:
    """The gradient of one operand of ``BACKWARD``."""

    def formula(
        grad0: Tensor, grad1: Tensor, grad2: Tensor, grad_output: Tensor, query: Tensor, key: Tensor, value: Tensor,
        attn_mask: Tensor | None, is_causal: bool, scale: float,
    ) -> Tensor | None:  # fmt: skip
        function = _gradients_again(attn_mask, is_causal, scale)
        return again(function, (grad_output, query, key, value), (grad0, grad1, grad2), which)

    return formula


BACKWARD.gradient(grad_output=_again(0), query=_again(1), key=_again(2), value=_again(3))


def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """softmax(q kᵀ · scale + mask) v of (…, L, E), (…, S, E), (…, S, E_v) and (…, L, S), none of them empty; linear memory.

    Leading dimensions are broadcast. A mask is not differentiated. In half precision the result is kept in float32 for the gradient, whose
    ``delta`` is what nearly cancels where one key has most of the weight.
    """
    query, key, value = low(query, key, value)
    dtype = query.layout.dtype
    exact = dtype is not dtype.compute and LOCAL.tape.grad and any(each.requires_grad for each in (query, key, value))
    mask = () if attn_mask is None else (attn_mask,)
    batch = lay.broadcast_shapes(*[each.layout.shape[:-2] for each in (query, key, value, *mask)])
    operands = [each if each.layout.shape[:-2] == batch else each.expand(*batch, *each.layout.shape[-2:]) for each in (query, key, value)]
    operands += [each.expand(*batch, query.size(-2), key.size(-2)) for each in mask]
    return ATTENTION(*operands, statics=(is_causal, scale, exact))[0].to(dtype)


PUBLIC = ()
METHODS = ()
