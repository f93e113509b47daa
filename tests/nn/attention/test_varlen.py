"""Attention of sequences one behind the other is that of each of them."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.nn.attention.varlen import AuxRequest, varlen_attn

LENGTHS_Q, LENGTHS_K = (2, 0, 3, 4), (3, 1, 3, 2)


def starts(lengths):
    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0)


def expected(q, k, v, window, scale):
    """Plain attention of each sequence in float64, and the logarithms of the sums."""
    outputs, logarithms, before = [], [], [0, 0]
    for n, m in zip(LENGTHS_Q, LENGTHS_K):
        query, key, value = (
            x[start : start + size].double().transpose(0, 1)
            for x, start, size in zip((q, k, v), (before[0], before[1], before[1]), (n, m, m))
        )
        shared = query.shape[0] // key.shape[0]
        scores = query @ key.repeat_interleave(shared, 0).mT * scale
        distance = torch.arange(m) - (torch.arange(n) + m - n).unsqueeze(1)
        for limit, sign in zip(window, (-1, 1)):
            if limit >= 0:
                scores = scores.masked_fill(distance * sign > limit, -math.inf)
        outputs.append((scores.softmax(-1) @ value.repeat_interleave(shared, 0)).transpose(0, 1).nan_to_num())
        logarithms.append(scores.logsumexp(-1))
        before = [before[0] + n, before[1] + m]
    return torch.cat(outputs), torch.cat(logarithms, 1)


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (1, 1)])
@pytest.mark.parametrize("heads", [2, 1])
def test_each_sequence_attends_to_itself(window, heads):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(9, 2, 4, generator=generator, requires_grad=True)
    k, v = (torch.randn(9, heads, 4, generator=generator, requires_grad=True) for _ in range(2))
    args = (q, k, v, starts(LENGTHS_Q), starts(LENGTHS_K), 4, 3)
    got, logarithms = varlen_attn(*args, window_size=window, enable_gqa=heads == 1, return_aux=AuxRequest(lse=True))
    wanted, wanted_logarithms = expected(q, k, v, window, 0.5)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logarithms.double(), wanted_logarithms, rtol=1e-5, atol=1e-5)
    assert torch.equal(varlen_attn(*args, window_size=window, enable_gqa=heads == 1, scale=0.5), got)


def test_gradients_flow_and_keys_may_be_unused():
    x = torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    where = torch.tensor([0, 2, 5])
    varlen_attn(x, x, x, where, None, 3, 3, window_size=(-1, 0)).square().sum().backward()
    assert x.grad.shape == x.shape and bool((x.grad != 0).all())
    fewer = varlen_attn(x, x, x, where, where, 3, 3, seqused_k=torch.tensor([1, 2]))
    torch.testing.assert_close(fewer[:2], x[:1].expand(2, 1, 4))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cu_seq_q": torch.tensor([0, 6])}, ValueError, "at most 5"),
        ({"cu_seq_q": torch.tensor([0, 3, 2, 5])}, ValueError, "in order"),
        ({"cu_seq_k": torch.tensor([0, 2, 3, 5])}, ValueError, "2 sequences, cu_seq_k of 3"),
        ({"key": torch.ones(5, 2, 4)}, ValueError, "takes query"),
        ({"query": torch.ones(5, 3, 4)}, ValueError, "enable_gqa"),
        ({"block_table": torch.zeros(1, 1)}, NotImplementedError, "pages"),
    ],
)
def test_errors(change, error, text):
    x, where = torch.ones(5, 1, 4), torch.tensor([0, 2, 5])
    given = {"query": x, "key": x, "value": x, "cu_seq_q": where, "cu_seq_k": where, "max_q": 3, "max_k": 3, **change}
    with pytest.raises(error, match=text):
        varlen_attn(**given)
