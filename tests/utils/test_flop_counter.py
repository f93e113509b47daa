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


def test_products_on_the_meta_device() -> None:
    """As many as on the CPU, without computing any; of sizes that could not be computed here, too."""
    counts = []
    for device in ("cpu", "meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3, device=device), nn.Flatten(), nn.Linear(8 * 6 * 6, 5, bias=False, device=device))
        q = torch.ones(1, 2, 64, 16, device=device)
        with FlopCounterMode(display=False) as counter:
            out, attended = model(torch.ones(4, 3, 8, 8, device=device)), nn.functional.scaled_dot_product_attention(q, q, q)
            if device == "cpu":
                out.tolist(), attended.tolist()
        counts.append(counter.get_flop_counts()["Global"])
    conv, linear = (next(flops for name, flops in counts[1].items() if f"x{k}" in name) for k in (27, 288))
    assert conv == 2 * 4 * 36 * 27 * 8 and linear == 2 * 4 * 288 * 5 and counts[0]["attention"] == counts[1]["attention"]
    assert 0 <= sum(counts[0].values()) - sum(counts[1].values()) <= 4 * 36 * 8  # the bias is fused on the CPU
    layer = nn.Linear(100_000, 100_000, device="meta")
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(7, 100_000, device="meta")).sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 7 * 10**10


def test_a_result_that_the_program_drops_counts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 6))
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(3, 4))
    assert counter.get_total_flops() >= 2 * 3 * (4 * 5 + 5 * 6)
