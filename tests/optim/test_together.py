"""Steps that many parameters take in one record have the bits of those that each takes in many."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE
from flambeau.optim._stepwise import StepwiseOptimizer

CASES = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.5, "dampening": 0.3, "maximize": True}),
    (optim.Adam, {"lr": 0.1}),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.Adam, {"lr": 0.1, "amsgrad": True}),
    (optim.Adam, {"lr": 0.1, "betas": (0.3, 0.5)}),
    (optim.AdamW, {"lr": 0.1, "amsgrad": True, "maximize": True}),
    (optim.RMSprop, {"lr": 0.1}),
    (optim.RMSprop, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, {"lr": 0.1, "centered": True, "alpha": 1.7, "maximize": True}),
    (optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.9, "alpha": 0.2}),
    (optim.Adagrad, {"lr": 0.1}),
    (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "maximize": True}),
]


def bits(value: object) -> object:
    if isinstance(value, flambeau.Tensor):
        return np.ascontiguousarray(value.detach()._array()).tobytes()
    return value


def trained(parameters: list[nn.Parameter], make: type, options: dict, steps: int = 4) -> list[object]:
    """The bits of parameters and their state after some steps with gradients that differ."""
    optimizer = make(parameters, **options)
    generator = np.random.default_rng(1)
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            given = generator.normal(size=parameter.shape) * (0.0 if step == 2 else 1.0)
            parameter.grad = flambeau.tensor(given).to(parameter.dtype) if number != step else None
        optimizer.step()
    state = [bits(value) for parameter in parameters for value in optimizer.state[parameter].values()]
    return [*map(bits, parameters), *state]


def parameters(dtype: flambeau.dtype) -> list[nn.Parameter]:
    generator = np.random.default_rng(0)
    shapes = [(4, 3), (5,), (), (2, 0)]
    return [nn.Parameter(flambeau.tensor(generator.normal(size=shape)).to(dtype)) for shape in shapes]


OTHER_DTYPES = [(*CASES[number], dtype) for number in (3, 6, 13, 15) for dtype in ("bfloat16", "float16", "complex64")]


@pytest.mark.parametrize(("make", "options", "dtype"), [*((*case, "float32") for case in CASES), *OTHER_DTYPES])
def test_the_same_bits(make: type, options: dict, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = trained(parameters(getattr(flambeau, dtype)), make, options)
    monkeypatch.setattr(make, "_state_names", StepwiseOptimizer._state_names)
    assert trained(parameters(getattr(flambeau, dtype)), make, options) == together


def test_a_group_is_one_record() -> None:
    p, q = nn.Parameter(flambeau.ones(3)), nn.Parameter(flambeau.ones(2, 2))
    optimizer = optim.Adam([p, q])
    p.grad, q.grad = flambeau.ones(3), flambeau.ones(2, 2)
    optimizer.step()
    names = []
    optimizer.register_step_post_hook(lambda *_: names.extend(record.op.name for record in LOCAL.tape.cursor.path()))
    optimizer.step()
    assert names == ["_adam_step"]


def test_settings_that_change_grow_nothing() -> None:
    p = nn.Parameter(flambeau.ones(3))
    optimizer = optim.Adam([p], lr=0.1, weight_decay=0.1)
    sizes = []
    for step in range(6):
        p.grad = flambeau.tensor([1.0, 2.0, 3.0])
        optimizer.param_groups[0].update(
            lr=0.1 / (step + 1), weight_decay=0.1 + step, eps=1e-8 * (step + 1), betas=(0.9 - step / 100, 0.99)
        )
        optimizer.step()
        sizes.append(TRIE.size)
    assert sizes[2:] == sizes[2:3] * 4


@pytest.mark.parametrize("lr", [np.float64(0.5), np.float32(0.5), flambeau.tensor(0.5)])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSprop, optim.Adagrad])
def test_learning_rates_of_other_classes(make: type, lr: object) -> None:
    found = []
    for rate in (0.5, lr):
        p = nn.Parameter(flambeau.tensor([1.0, 2.0]))
        optimizer = make([p], lr=rate)
        for _ in range(2):
            p.grad = flambeau.tensor([0.5, -1.0])
            optimizer.step()
        found.append(p.tolist())
    assert found[0] == found[1]


def test_versions_count_the_writes() -> None:
    p = nn.Parameter(flambeau.ones(3))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = flambeau.ones(3)
    before = p._version
    optimizer.step()
    assert p._version == before + 1


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSprop, optim.Adagrad])
def test_parameters_that_share_memory_are_changed_one_after_another(make: type) -> None:
    """A parameter that stands twice in a group takes two steps, the second from where the first has led."""
    options = {"lr": 0.1}
    p = nn.Parameter(flambeau.tensor([1.0, 2.0]))
    with pytest.warns(UserWarning, match="duplicate"):
        optimizer = make([p, p], **options)
    once = nn.Parameter(flambeau.tensor([1.0, 2.0]))
    other = make([once], **options)
    for _ in range(2):
        p.grad = flambeau.tensor([0.5, -1.0])
        optimizer.step()
        for _ in range(2):
            once.grad = flambeau.tensor([0.5, -1.0])
            other.step()
    assert p.tolist() == once.tolist()


def test_a_gradient_that_is_the_parameter() -> None:
    p = nn.Parameter(flambeau.tensor([1.0, 2.0]))
    p.grad = p.detach()
    optim.SGD([p], lr=0.5).step()
    assert p.tolist() == [0.5, 1.0]


def test_parts_of_one_storage() -> None:
    flat = flambeau.arange(6.0)
    p, q = nn.Parameter(flat[:2]), nn.Parameter(flat[2:].view(2, 2))
    p.grad, q.grad = flambeau.ones(2), flambeau.ones(2, 2)
    optim.SGD([p, q], lr=1.0).step()
    assert flat.tolist() == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_part_of_a_storage_alone() -> None:
    flat = flambeau.arange(4.0)
    p = nn.Parameter(flat[1:3])
    p.grad = flambeau.ones(2)
    optim.SGD([p], lr=1.0).step()
    assert flat.tolist() == [0.0, 0.0, 1.0, 3.0]


def test_a_parameter_that_numpy_sees() -> None:
    p, q = nn.Parameter(flambeau.ones(3)), nn.Parameter(flambeau.ones(2))
    array = p.detach().numpy()
    optimizer = optim.Adam([p, q], lr=0.5)
    for _ in range(3):
        p.grad, q.grad = flambeau.ones(3), flambeau.ones(2)
        optimizer.step()
    assert array.tolist() == p.tolist() == [q[0].item()] * 3
    array[:] = 7.0
    p.grad, q.grad = flambeau.zeros(3), None
    optimizer.step()
    assert p.tolist() == array.tolist() and 6.0 < array[0] < 7.0


def test_a_transposed_parameter_keeps_its_layout() -> None:
    p = nn.Parameter(flambeau.arange(6.0).view(2, 3).t())
    p.grad = flambeau.ones(3, 2)
    optim.SGD([p], lr=1.0).step()
    assert p.stride() == (1, 3) and p.tolist() == [[-1.0, 2.0], [0.0, 3.0], [1.0, 4.0]]


def test_a_count_that_a_record_has_yet_to_read_is_not_changed_under_it() -> None:
    p = nn.Parameter(flambeau.ones(1))
    optimizer = optim.Adam([p])
    p.grad = flambeau.ones(1)
    optimizer.step()
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.state[p]["step"] * 10.0))
    for _ in range(3):
        optimizer.step()
    assert [each.item() for each in seen] == [10.0, 20.0, 30.0]


def test_a_count_that_is_shared_with_numpy() -> None:
    p = nn.Parameter(flambeau.ones(1))
    optimizer = optim.Adam([p])
    p.grad = flambeau.ones(1)
    optimizer.step()
    array = optimizer.state[p]["step"].numpy()
    optimizer.step()
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 3.0 and array == 1.0


def test_an_error_of_the_data_leaves_parameters_and_state() -> None:
    """What depends on a failing record keeps its bytes."""
    p, q = nn.Parameter(flambeau.ones(2)), nn.Parameter(flambeau.ones(2))
    optimizer = optim.Adam([p, q], lr=0.5)
    p.grad, q.grad = flambeau.ones(2), flambeau.ones(2)
    optimizer.step()
    before = p.tolist(), optimizer.state[q]["exp_avg"].tolist()
    p.grad = flambeau.ones(3).gather(0, flambeau.tensor([0, 5]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        optimizer.step()
    assert (p.tolist(), optimizer.state[q]["exp_avg"].tolist()) == before


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, optim.RAdam, optim.NAdam, optim.Adamax])
def test_groups_whose_state_is_new_count_their_own_steps(make: type) -> None:
    first, second = (nn.Parameter(flambeau.ones(2)) for _ in range(2))
    optimizer = make([{"params": [first]}, {"params": [second]}], lr=0.1)
    (first.sum() + second.sum()).backward()
    for count in (1, 2):
        optimizer.step()
        assert optimizer.state[first]["step"].item() == optimizer.state[second]["step"].item() == count
        assert first.tolist() == second.tolist()
