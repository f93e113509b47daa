"""Where the tensors are so small that only the calls cost anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

CALLS = 100


def workloads() -> Iterator[Workload]:
    for grad in (False, True):
        name = "an add with autograd" if grad else "an add"
        yield Workload("overhead", f"record {name}", partial(adds, grad=grad), per=CALLS, record_only=True)
        yield Workload("overhead", f"record and run {name}", partial(adds, grad=grad), per=CALLS)
    yield Workload("overhead", "record a mixed operator with autograd", mixed, per=6 * (CALLS // 5), record_only=True)
    yield Workload("overhead", "item() of one add", item)
    yield Workload("overhead", "softmax of 32×10 in five operators", softmax_by_hand)
    for name, make in CALLED.items():
        yield Workload("overhead", name, make)
    for optimizer in ("SGD", "RMSprop", "Adagrad", "Adam"):
        yield Workload("overhead", f"MLP 32→64→64→10, batch 32, {optimizer} step", partial(mlp_step, optimizer=optimizer))

    yield Workload("overhead", "a recurrent network as a loop of 20 steps", loop_step, tolerance=1e-2)


CALLED: dict[str, Callable[[ModuleType], Callable[[], Any]]] = {
    "softmax of 64×10": lambda torch: partial(torch.softmax, torch.randn(64, 10), 1),
    "matmul 64²": lambda torch: partial(torch.mm, torch.randn(64, 64), torch.randn(64, 64)),
    "one-hot of 64 labels": lambda torch: partial(torch.nn.functional.one_hot, torch.randint(0, 10, (64,)), 10),
    "index_select of 64 rows": lambda torch: partial(torch.index_select, torch.randn(100, 8), 0, torch.randint(0, 100, (64,))),
    "a tensor of 128 integers": lambda torch: partial(torch.tensor, list(range(128))),
    "rand(10)": lambda torch: partial(torch.rand, 10),
    "dropout of 4×8": lambda torch: partial(torch.nn.functional.dropout, torch.randn(4, 8), 0.5),
}


def adds(torch: ModuleType, grad: bool) -> Callable[[], Any]:
    start = torch.ones(8, requires_grad=grad)
    other = torch.ones(8)

    def run() -> Any:
        value = start
        for _ in range(CALLS):
            value = value + other
        return value

    return run


def mixed(torch: ModuleType) -> Callable[[], Any]:
    start = torch.randn(4, 8, requires_grad=True)
    weight = torch.randn(8, 8, requires_grad=True)

    def run() -> Any:
        value = start
        for _ in range(CALLS // 5):
            value = torch.relu(value @ weight)
            value = (value - value.mean(1, keepdim=True)).reshape(4, 8) * 0.5
        return value

    return run


def item(torch: ModuleType) -> Callable[[], Any]:
    value = torch.ones(())
    return lambda: (value + 1).item()


def softmax_by_hand(torch: ModuleType) -> Callable[[], Any]:
    scores = torch.randn(32, 10)

    def run() -> Any:
        exps = (scores - scores.amax(1, keepdim=True)).exp()
        return exps / exps.sum(1, keepdim=True)

    return run


def mlp_step(torch: ModuleType, optimizer: str) -> Callable[[], Any]:
    nn = torch.nn
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    update = getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3)
    images, labels = torch.randn(32, 32), torch.randint(0, 10, (32,))

    def run() -> Any:
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        update.step()
        return loss

    return run


def loop_step(torch: ModuleType) -> Callable[[], Any]:
    """Training step of a recurrent cell that is written as a Python loop: 20 steps, 64 wide, batch 16."""
    cell, head = torch.nn.RNNCell(32, 64), torch.nn.Linear(64, 10)
    update = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=1e-3)
    inputs, labels = torch.randn(20, 16, 32), torch.randint(0, 10, (16,))

    def run() -> Any:
        update.zero_grad()
        state = torch.zeros(16, 64)
        for each in inputs:
            state = cell(each, state)
        loss = torch.nn.functional.cross_entropy(head(state), labels)
        loss.backward()
        update.step()
        return loss

    return run
