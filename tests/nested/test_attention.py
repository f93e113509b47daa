"""Attention on nested tensors in modules: the layers of PyTorch's tutorial, ``nn.MultiheadAttention``, and what is compiled anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import flambeau as torch
from flambeau._tape import tape
from flambeau.nested.attention import _groups
from flambeau.nn import functional as F
from tests.nested.pieces import LAYOUTS


class Attention(torch.nn.Module):
    """Multi-head attention as people write it for nested tensors, (N, L, E)."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.packed = torch.nn.Linear(size, 3 * size)
        self.out = torch.nn.Linear(size, size)
        self.heads = heads

    def forward(self, x: Any, is_causal: bool = False) -> Any:
        parts = torch.chunk(self.packed(x), 3, dim=-1)
        query, key, value = (part.unflatten(-1, [self.heads, -1]).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=0.0, is_causal=is_causal)
        return self.out(attended.transpose(1, 2).flatten(-2))


def rows(*lengths: int, size: int = 8) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(length, size) for length in lengths]


def compare(module: Any, pieces: list[torch.Tensor], layout: torch.layout, **options: Any) -> None:
    """That a module gives the same, with the same gradients, for a nested tensor and for each piece."""
    alone = copy.deepcopy(module)
    found = module(torch.nested.nested_tensor(pieces, layout=layout), **options)
    expected = [alone(piece.unsqueeze(0), **options)[0] for piece in pieces]
    for piece, wanted in zip(found.unbind(), expected):
        torch.testing.assert_close(piece, wanted, rtol=1e-4, atol=1e-5)
    found.values().pow(2).sum().backward()
    sum(piece.pow(2).sum() for piece in expected).backward()
    for (name, mine), other in zip(module.named_parameters(), alone.parameters()):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_as_people_write_it(layout: torch.layout, is_causal: bool) -> None:
    compare(Attention(8, 2), rows(3, 7, 1), layout, is_causal=is_causal)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layer(layout: torch.layout, norm_first: bool) -> None:
    compare(torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first), rows(4, 2), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_multi_head_attention(layout: torch.layout) -> None:
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=4)
    keys, values = rows(5, 2, size=6), rows(5, 2, size=4)
    query = torch.nested.nested_tensor(rows(3, 4), layout=layout)
    key = torch.nested.nested_tensor(keys, layout=layout)
    value = torch.nested.nested_tensor(values, layout=layout)
    if layout == torch.jagged:
        value = torch.nested.nested_tensor_from_jagged(value.values(), key.offsets())
    output, weights = module(query, key, value, need_weights=False)
    assert weights is None
    for piece, q, k, v in zip(output.unbind(), rows(3, 4), keys, values):
        torch.testing.assert_close(piece, module(q, k, v)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({"batch_first": False}, {"need_weights": False}, "batch_first=False"),
        ({}, {}, "need_weights=True"),
        ({}, {"need_weights": False, "attn_mask": torch.ones(3, 3).bool()}, "attn_mask without is_causal"),
        ({}, {"need_weights": False, "key_padding_mask": torch.ones(2, 3).bool()}, "no padding"),
        ({"add_bias_kv": True}, {"need_weights": False}, "add_bias_kv"),
    ],
)  # fmt: skip
def test_what_multi_head_attention_refuses(options: dict, call: dict, message: str) -> None:
    module = torch.nn.MultiheadAttention(8, 2, **{"batch_first": True, **options})
    x = torch.nested.nested_tensor(rows(3, 2), layout=torch.jagged)
    with pytest.raises(AssertionError, match=message):
        module(x, x, x, **call)


@pytest.mark.parametrize("is_causal", [False, True])
def test_pieces_of_similar_lengths_are_padded_together(is_causal: bool) -> None:
    pieces = rows(3, 400, 7, 300, 90, 20, 0, 310)
    made = torch.nested.nested_tensor(pieces, layout=torch.jagged)
    groups = _groups(made._ragged, made._ragged)[0]
    assert sorted(number for numbers, _ in groups for number in numbers) == list(range(8))
    assert 1 < len(groups) < 8
    compare(Attention(8, 2), [piece for piece in pieces if len(piece)], torch.jagged, is_causal=is_causal)
    heads = made.unflatten(-1, [2, 4]).transpose(1, 2)
    assert F.scaled_dot_product_attention(heads, heads, heads, is_causal=is_causal)[6].shape == (2, 0, 4)


def test_queries_without_keys_get_zeros() -> None:
    query = torch.nested.nested_tensor(rows(2, 3), layout=torch.jagged).unsqueeze(1)
    key = torch.nested.nested_tensor(rows(0, 4), layout=torch.jagged).unsqueeze(1)
    found = F.scaled_dot_product_attention(query, key, key)
    assert found.shape[1] == 1
    assert not found[0].any()
    assert found[1].isfinite().all()


def test_programs_do_not_depend_on_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of as many rows, with as many in the longest piece, share a program."""
    module, compiled = Attention(8, 2), []
    compile = tape._compile

    def counting(path: list, *given: object) -> object:
        compiled.append(path)
        return compile(path, *given)

    monkeypatch.setattr(tape, "_compile", counting)

    def step(*lengths: int) -> None:
        x = torch.nested.nested_tensor_from_jagged(torch.ones(12, 8), lengths=torch.tensor(lengths))
        module(x).values().pow(2).sum().backward()
        module.packed.weight.grad.sum().item()
        module.zero_grad()

    for _ in range(3):  # what is left over of the first steps makes other programs
        step(2, 6, 4)
    before = len(compiled)
    step(6, 3, 3)
    step(1, 5, 6)
    assert len(compiled) == before
