"""The operations of products, convolutions, attention and recurrent layers are counted, module by module. The numbers are PyTorch's."""

from __future__ import annotations

import threading

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


class Network(nn.Module):
    def __init__(self, device="cpu"):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, device=device)
        self.last = nn.Sequential(nn.Linear(72, 10, device=device), nn.ReLU(), nn.Linear(10, 3, device=device))

    def forward(self, x):
        return self.last(self.first(x).flatten(1))


def counted(run):
    """The counts of what is called, and that their sum is that of all."""
    with FlopCounterMode(display=False) as counter:
        run()
    counts = counter.get_flop_counts()
    assert counter.get_total_flops() == sum(counts["Global"].values())
    return counts


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_modules_forward_and_backward(device):
    network, image = Network(device), torch.ones(2, 1, 8, 8, device=device)
    counts = counted(lambda: network(image).sum().backward())
    whole = {aten.convolution: 2592, aten.addmm: 3000, aten.mm: 6000, aten.convolution_backward: 2592}
    assert counts == {
        "Global": whole,
        "Network": whole,
        "Network.first": {aten.convolution: 2592, aten.convolution_backward: 2592},
        "Network.last": {aten.addmm: 3000, aten.mm: 6000},
        "Network.last.0": {aten.addmm: 2880, aten.mm: 5760},
        "Network.last.2": {aten.addmm: 120, aten.mm: 240},
    }


Q = torch.ones(2, 4, 8, 16, requires_grad=True)
PRODUCTS = {
    "mm": (lambda: torch.ones(4, 5) @ torch.ones(5, 6), 240),
    "batches": (lambda: torch.ones(2, 4, 5) @ torch.ones(2, 5, 6), 480),
    "einsum": (lambda: torch.einsum("bij,bjk->bik", torch.ones(2, 4, 5), torch.ones(2, 5, 6)), 480),
    "addmm": (lambda: torch.addmm(torch.ones(6), torch.ones(4, 5), torch.ones(5, 6)), 240),
    "linear": (lambda: F.linear(torch.ones(2, 3, 5), torch.ones(6, 5), torch.ones(6)), 360),
    "convolution": (lambda: F.conv2d(torch.ones(2, 3, 8, 8, requires_grad=True), torch.ones(8, 3, 3, 3, requires_grad=True)).sum().backward(), 93312),
    "in groups": (lambda: F.conv2d(torch.ones(2, 4, 8, 8), torch.ones(8, 2, 3, 3), stride=2, padding=1, groups=2), 9216),
    "transposed": (lambda: F.conv_transpose2d(torch.ones(2, 4, 8, 8, requires_grad=True), torch.ones(4, 8, 3, 3, requires_grad=True), stride=2).sum().backward(), 221184),
    "attention": (lambda: F.scaled_dot_product_attention(Q, Q, Q).sum().backward(), 7 * 16384),
    "recurrent": (lambda: nn.LSTM(4, 5)(torch.ones(3, 2, 4)), 2 * 3 * 2 * 20 * (4 + 5)),
    "vmap": (lambda: torch.vmap(lambda x: x @ x)(torch.ones(3, 4, 4)), 3 * 2 * 4**3),
    "none": (lambda: torch.ones(3).exp().sum(), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PRODUCTS))
def test_products(name):
    run, flops = PRODUCTS[name]
    assert sum(counted(run)["Global"].values()) == flops


def test_programs_that_compute_in_between_count_each_time():
    network, image = Network(), torch.ones(2, 1, 8, 8)

    def step():
        for _ in range(5):
            loss = network(image).sum()
            loss.item()
            loss.backward()
            network.zero_grad()

    assert sum(counted(step)["Global"].values()) == 5 * 14184
    assert sum(counted(lambda: None)["Global"].values()) == 0


def test_other_threads_do_not_count():
    thread = threading.Thread(target=lambda: (torch.ones(4, 5) @ torch.ones(5, 6)).tolist())

    def run():
        thread.start()
        thread.join()

    assert sum(counted(run)["Global"].values()) == 0


def test_sizes_that_could_not_be_computed_here() -> None:
    layer = nn.Linear(100_000, 100_000, device="meta")
    counts = counted(lambda: layer(torch.empty(7, 100_000, device="meta")).sum().backward())
    assert counts["Linear"] == {aten.addmm: 2 * 7 * 10**10, aten.mm: 2 * 7 * 10**10}


def test_table(capsys):
    network = Network()
    with FlopCounterMode(depth=1) as counter:
        network(torch.ones(2, 1, 8, 8))
    table = counter.get_table()
    assert capsys.readouterr().out == table + "\n"
    assert [line.split() for line in table.splitlines()[2:6]] == [
        ["Global", "5.592K", "100.00%"],
        ["-", "aten.convolution", "2.592K", "46.35%"],
        ["-", "aten.addmm", "3.000K", "53.65%"],
        ["Network", "5.592K", "100.00%"],
    ]
    assert "Network.first" not in table and "Network.last.0" in counter.get_table(3)


def test_errors_leave_nothing_behind():
    with pytest.raises(RuntimeError, match="mat1"), FlopCounterMode(display=False):
        torch.ones(2, 3) @ torch.ones(2, 3)
    (torch.ones(4, 5) @ torch.ones(5, 6)).tolist()
    with pytest.raises(NotImplementedError, match="custom_mapping"):
        FlopCounterMode(custom_mapping={aten.mm: len})


def test_gradients_of_a_convolution_by_name():
    x, w, g = torch.randn(2, 4, 6, 6), torch.randn(6, 2, 3, 3), torch.randn(2, 6, 4, 4)
    arguments = ([6], [1, 1], [0, 0], [1, 1], False, [0, 0], 2)
    dx, dw, db = aten.convolution_backward(g, x, w, *arguments, [True, True, True])
    x.requires_grad_(), w.requires_grad_()
    expected = torch.autograd.grad(F.conv2d(x, w, groups=2), (x, w), g)
    assert torch.equal(dx, expected[0]) and torch.equal(dw, expected[1]) and torch.allclose(db, g.sum((0, 2, 3)))
    dx, dw, db = aten.convolution_backward(g, x, w, *arguments, [False, True, False])
    assert dx is None and db is None and torch.equal(dw, expected[1])


def test_before_anything_is_counted_there_is_nothing():
    counter = FlopCounterMode(display=False)
    assert counter.get_total_flops() == 0 and counter.get_flop_counts() == {"Global": {}}
