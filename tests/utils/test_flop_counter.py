"""The operations of products, of attention and of recurrent layers are counted."""

from __future__ import annotations

import flambeau as torch
from flambeau import nn
from flambeau.utils.flop_counter import FlopCounterMode


def test_kinds_of_products():
    layer, x, q = nn.LSTM(8, 16), torch.randn(5, 2, 8), torch.randn(1, 2, 64, 16)
    with FlopCounterMode(display=False) as counter:
        layer(x)[0].tolist()
        nn.functional.scaled_dot_product_attention(q, q, q).tolist()
        (torch.ones(4, 5) @ torch.ones(5, 6)).tolist()
    counts = counter.get_flop_counts()["Global"]
    assert counts["attention"] == 2 * 2 * 2 * 64 * 64 * 16 and counts["contract 4x6x5"] == 2 * 4 * 6 * 5
    assert counts["recur LSTM"] == 2 * 5 * 2 * 64 * 16 and counter.get_total_flops() == sum(counts.values())
    assert "Global" in counter.get_table()


def test_a_result_that_the_program_drops_counts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 6))
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(3, 4))
    assert counter.get_total_flops() >= 2 * 3 * (4 * 5 + 5 * 6)
