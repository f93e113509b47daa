"""Attention with functions of positions against the same written out."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.nn.attention import SDPBackend, sdpa_kernel
from flambeau.nn.attention.flex_attention import AuxRequest, and_masks, create_block_mask, create_mask, flex_attention, noop_mask, or_masks
from flambeau.nn.functional import scaled_dot_product_attention


def causal(b, h, q, k):
    return q >= k


def near(b, h, q, k):
    return (q - k).abs() <= 2


@pytest.fixture
def qkv():
    torch.manual_seed(0)
    return [torch.randn(2, 4, 10, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def test_masks(qkv):
    mask = create_block_mask(and_masks(causal, near), 2, None, 10, 10, BLOCK_SIZE=4)
    dense = create_mask(and_masks(causal, near), None, None, 10, 10)[0, 0]
    assert dense.sum().item() == sum(1 for q in range(10) for k in range(10) if 0 <= q - k <= 2)
    torch.testing.assert_close(flex_attention(*qkv, block_mask=mask), scaled_dot_product_attention(*qkv, dense))
    assert mask.to_dense()[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]] and mask.shape == (2, 1, 10, 10)
    assert mask.sparsity() == pytest.approx(100 * 4 / 9) and create_mask(or_masks(causal, noop_mask), 1, 1, 3, 3).all()


def test_scores(qkv):
    bias = torch.randn(4, 10, 10, dtype=torch.float64, requires_grad=True)
    result = flex_attention(*qkv, score_mod=lambda score, b, h, q, k: score + bias[h, q, k])
    expected = scaled_dot_product_attention(*qkv, bias.expand(2, 4, 10, 10))
    torch.testing.assert_close(result, expected)
    (got,) = torch.autograd.grad(result.sum(), bias, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.sum(), bias)
    torch.testing.assert_close(got, wanted)


def test_logarithms_groups_and_empty_rows(qkv):
    q, k, v = qkv
    result, lse = flex_attention(q, k[:, :2], v[:, :2], enable_gqa=True, return_lse=True, scale=0.5)
    scores = q @ k[:, :2].repeat_interleave(2, 1).mT * 0.5
    torch.testing.assert_close(lse, scores.logsumexp(-1))
    torch.testing.assert_close(result, scores.softmax(-1) @ v[:, :2].repeat_interleave(2, 1))
    nothing = create_block_mask(lambda b, h, q, k: q < 3, None, None, 10, 10)
    assert (flex_attention(*qkv, block_mask=nothing)[:, :, 3:] == 0).all()
    result, lse = flex_attention(*qkv, block_mask=nothing, return_lse=True)
    assert (lse[:, :, 3:] == -math.inf).all() and (result[:, :, 3:] == 0).all()


def test_errors(qkv):
    q, k, v = qkv
    with pytest.raises(ValueError, match="enable_gqa"):
        flex_attention(q, k[:, :2], v[:, :2])
    with pytest.raises(ValueError, match="do not divide"):
        flex_attention(q, k[:, :3], v[:, :3], enable_gqa=True)
    with pytest.raises(ValueError, match="dimensions"):
        flex_attention(q[0], k, v)
    with pytest.raises(RuntimeError, match="gives bool"):
        create_block_mask(lambda b, h, q, k: q - k, None, None, 3, 3)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        scaled_dot_product_attention(q, k, v)
    with pytest.raises(AssertionError), sdpa_kernel(["math"]):
        pass


def test_what_else_is_asked_for(qkv):
    plain, lse = flex_attention(*qkv, return_lse=True)
    scores = qkv[0] @ qkv[1].mT / math.sqrt(8)
    result, more = flex_attention(*qkv, return_aux=AuxRequest(lse=True, max_scores=True))
    assert torch.equal(result, plain) and torch.equal(more.lse, lse)
    torch.testing.assert_close(more.max_scores, scores.amax(-1))
    result, more = flex_attention(*qkv, return_aux=AuxRequest())
    assert more == (None, None)
    torch.testing.assert_close(result, plain)
    with pytest.raises(ValueError, match="the same thing"):
        flex_attention(*qkv, return_lse=True, return_aux=AuxRequest(lse=True))
