"""Replayed backward passes: they give what a pass that runs gives, and whatever a replay cannot do makes the pass run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau._tape import trie
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE
from flambeau.autograd import replay


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the passes that were replayed."""
    count = [0]
    plain = replay._replay

    def counted(*args: Any) -> Any:
        count[0] += 1
        return plain(*args)

    monkeypatch.setattr(replay, "_replay", counted)
    return count


def leaf(*values: float) -> flambeau.Tensor:
    x = flambeau.tensor(values, requires_grad=True)
    flambeau.flush()  # so that all passes begin alike
    return x


def bits(tensor: flambeau.Tensor | None) -> bytes | None:
    return None if tensor is None else np.ascontiguousarray(tensor.detach()._array()).tobytes()


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.LayerNorm(8), nn.GELU(),
        nn.Dropout(0.1), nn.Linear(8, 5),
    )  # fmt: skip


def train(steps: int, optimizer: Callable, look: bool = False) -> list[bytes]:
    """Losses and final parameters of a small training, every step of which has other data."""
    flambeau.manual_seed(0)
    model = network()
    update = optimizer(model.parameters())
    losses = []
    for _ in range(steps):
        images, labels = flambeau.randn(6, 1, 8, 8), flambeau.randint(0, 5, (6,))
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        if look:
            loss.item()
        loss.backward()
        update.step()
        losses.append(bits(loss))
    return [*losses, *[bits(parameter) for parameter in model.parameters()]]


@pytest.mark.parametrize("look", [False, True])
def test_a_training_has_the_same_bits_with_and_without_replays(look: bool, replays: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = lambda parameters: flambeau.optim.Adam(parameters, lr=0.01)
    replayed = train(7, optimizer, look)
    assert replays == [5]  # the first is noted, the second watched
    monkeypatch.setattr(replay, "survey", lambda *args: None)
    assert train(7, optimizer, look) == replayed


def iterate(body: Callable[[], flambeau.Tensor], leaves: list[flambeau.Tensor], times: int = 4) -> list[list[bytes | None]]:
    """The gradients of the leaves after each of some passes that begin alike."""
    found = []
    for _ in range(times):
        for each in leaves:
            each.grad = None
        body().backward()
        flambeau.flush()
        found.append([bits(each.grad) for each in leaves])
    return found


def test_the_third_pass_is_replayed(replays: list[int]) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    assert len({tuple(grads) for grads in map(tuple, iterate(lambda: (x * w).exp().sum(), [x, w], 5))}) == 1
    assert replays == [3]


def test_a_replay_grows_nothing() -> None:
    x = leaf(1.0, 2.0)
    body = lambda: (x.sin() * 3.0).sum()
    iterate(body, [x])
    size = TRIE.size
    iterate(body, [x])
    assert size == TRIE.size


def test_other_values_in_the_same_graph(replays: list[int]) -> None:
    w = leaf(1.0, 2.0)
    for step in range(5):
        x = flambeau.tensor([float(step), 1.0])
        w.grad = None
        (w * x).sum().backward()
        assert w.grad.tolist() == [float(step), 1.0]
    assert replays == [3]


def test_a_graph_that_was_computed_before_the_pass(replays: list[int]) -> None:
    w = leaf(1.0, 2.0)
    for step in range(5):
        x = flambeau.tensor([float(step), 3.0])
        w.grad = None
        loss = (w * x * x).sum()
        loss.item()
        loss.backward()
        assert w.grad.tolist() == [step**2, 9.0]
    assert replays == [3]


def test_saved_tensors_that_are_one_or_two(replays: list[int]) -> None:
    """Whether two saved tensors share a storage that the tape does not know is part of what a pass depends on."""
    a, b = leaf(1.0), leaf(1.0)
    x, y = flambeau.tensor([2.0]), flambeau.tensor([3.0])
    flambeau.flush()
    for first, second in [(x, x)] * 3 + [(x, y)] * 3 + [(y, x)]:
        a.grad = b.grad = None
        loss = (a * first + b * second).sum()
        flambeau.flush()
        loss.backward()
        assert (a.grad.item(), b.grad.item()) == (first.item(), second.item())
    assert replays == [3]


def test_which_leaves_require_grad_is_part_of_the_graph() -> None:
    x, w = leaf(2.0), leaf(3.0)
    for wanted in [(True, True)] * 3 + [(True, False)] * 3 + [(False, True)] * 3:
        x.requires_grad_(wanted[0]), w.requires_grad_(wanted[1])
        x.grad = w.grad = None
        (x * w).sum().backward()
        assert [None if grad is None else grad.item() for grad in (x.grad, w.grad)] == [
            3.0 if wanted[0] else None,
            2.0 if wanted[1] else None,
        ]


def test_saved_numbers_are_part_of_the_key(replays: list[int]) -> None:
    x = leaf(1.0)
    for factor in (2.0, 2.0, 2.0, 5.0, 2.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0):
        x.grad = None
        (x * factor).sum().backward()
        assert np.copysign(1.0, x.grad.item()) == np.copysign(1.0, factor) and x.grad.item() == factor
    assert replays == [4]


def test_numbers_that_always_differ_stay_bounded() -> None:
    x = leaf(1.0)
    for step in range(3 * replay.MAX_REPLAYS):
        x.grad = None
        loss = (x * (step + 0.5)).sum()
        node = LOCAL.tape.cursor
        loss.backward()
        flambeau.flush()
        assert len(node.replays) <= replay.MAX_REPLAYS


def test_gradients_that_exist_are_added_to(replays: list[int]) -> None:
    x = leaf(1.0, 2.0)
    for step in range(1, 5):
        (x * 2.0).sum().backward()
        flambeau.flush()
        assert x.grad.tolist() == [2.0 * step] * 2
    assert replays == [0]


def test_a_given_gradient(replays: list[int]) -> None:
    x = leaf(1.0, 2.0)
    for step in range(5):
        x.grad = None
        (x * 2.0).backward(flambeau.tensor([step + 1.0, 1.0]))
        assert x.grad.tolist() == [2.0 * step + 2.0, 2.0]
    assert replays == [3]


def test_a_gradient_is_never_the_one_that_was_given() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(4):
        x.grad = None
        given = flambeau.ones(2)
        (x + 1.0).backward(given)
        given.add_(1.0)
        assert x.grad.tolist() == [1.0, 1.0]


def test_leaves_never_share_a_gradient(replays: list[int]) -> None:
    x, y = leaf(1.0), leaf(2.0)
    for _ in range(4):
        x.grad = y.grad = None
        (x + y).sum().backward()
        x.grad.add_(1.0)
        assert (x.grad.item(), y.grad.item()) == (2.0, 1.0)
    assert replays == [2]


def test_hooks_make_a_pass_run(replays: list[int]) -> None:
    x = leaf(1.0)
    seen = []
    for step in range(6):
        x.grad = None
        y = x * 2.0
        if step > 3:
            y.register_hook(lambda grad: seen.append(grad.item()) or grad * 10.0)
        y.sum().backward()
        assert x.grad.item() == (20.0 if step > 3 else 2.0)
    assert seen == [1.0, 1.0]
    assert replays == [2]


def test_hooks_of_leaves_make_a_pass_run() -> None:
    x = leaf(1.0)
    body = lambda: (x * 2.0).sum()
    iterate(body, [x])
    handle = x.register_hook(lambda grad: grad * 5.0)
    assert iterate(body, [x], 1) == [[np.float32(10.0).tobytes()]]
    handle.remove()
    after = []
    x.register_post_accumulate_grad_hook(lambda tensor: after.append(tensor.grad.item()))
    iterate(body, [x], 2)
    assert after == [2.0, 2.0]


def test_anomaly_mode_makes_a_pass_run(replays: list[int]) -> None:
    x = leaf(-1.0)
    body = lambda: (x.abs().sqrt() * 2.0).sum()
    iterate(body, [x])
    before = replays[0]
    with flambeau.autograd.detect_anomaly():
        iterate(body, [x], 2)
    assert replays == [before]


def test_a_second_pass_over_a_graph_is_an_error_after_replays() -> None:
    x = leaf(1.0)
    for _ in range(5):
        x.grad = None
        loss = (x * x).sum()
        loss.backward()
        x.grad = None
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_a_retained_graph_can_be_passed_over_again(replays: list[int]) -> None:
    x = leaf(3.0)
    for _ in range(5):
        x.grad = None
        loss = (x * x).sum()
        loss.backward(retain_graph=True)
        assert x.grad.item() == 6.0
        loss.backward()
        assert x.grad.item() == 12.0
    assert replays == [3]


def test_a_saved_tensor_that_was_changed_is_an_error_after_replays() -> None:
    x, w = leaf(1.0), flambeau.ones(1)
    for step in range(5):
        x.grad = None
        loss = (x * w).sum()
        if step == 4:
            w.add_(1.0)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()
            assert x.grad is None
        else:
            loss.backward()


def test_functions_of_the_user_always_run(replays: list[int]) -> None:
    class Count(flambeau.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx: object, x: flambeau.Tensor) -> flambeau.Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: object, grad: flambeau.Tensor) -> flambeau.Tensor:
            Count.calls += 1
            return grad * Count.calls

    x = leaf(1.0)
    found = [struct[0] for struct in iterate(lambda: Count.apply(x).sum(), [x], 4)]
    assert found == [np.float32(step).tobytes() for step in (1, 2, 3, 4)]
    assert replays == [0]


def test_a_pass_that_looks_at_data_always_runs(replays: list[int]) -> None:
    """A formula that asks for bytes may do something else the next time."""
    from flambeau._ops import elementwise

    operator = elementwise.ADD
    plain = operator._formulas["input"]
    try:
        operator._formulas["input"] = (lambda grad, other: grad * 2 if other.item() > 0 else grad * 3, ("grad", "other"))
        operator._plans.clear()
        x = leaf(1.0)
        for value in (1.0, 1.0, 1.0, -1.0):
            x.grad = None
            y = flambeau.tensor([value])
            (x + y).sum().backward()
            assert x.grad.item() == (2.0 if value > 0 else 3.0)
    finally:
        operator._formulas["input"] = plain
        operator._plans.clear()
    assert replays == [0]


def test_writes_through_views_always_run(replays: list[int]) -> None:
    x = leaf(1.0, 2.0)

    def body() -> flambeau.Tensor:
        y = x * 1.0
        y[0] = 5.0
        return (y * y).sum()

    assert iterate(body, [x]) == [[np.float32([0.0, 4.0]).tobytes()]] * 4
    assert replays == [0]


def test_views_are_replayed(replays: list[int]) -> None:
    x = leaf(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    for row in (0, 0, 0, 1, 1, 1):
        x.grad = None
        (x.view(2, 3)[row].exp() * x.reshape(3, 2).t()[0]).sum().backward()
        expected = np.zeros(6, np.float32)
        values = np.arange(6, dtype=np.float32)
        expected[3 * row : 3 * row + 3] += np.exp(values[3 * row : 3 * row + 3]) * values[::2]
        expected[::2] += np.exp(values[3 * row : 3 * row + 3])
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)
    assert replays == [2]


def test_slices_are_replayed(replays: list[int]) -> None:
    x = leaf(1.0, 2.0, 3.0, 4.0)
    for start in (0, 0, 0, 1, 1, 1):
        x.grad = None
        (x[start::2] * x[None, ..., :2]).sum().backward()
        expected = np.zeros(4)
        expected[start::2] += [1.0, 2.0]
        expected[:2] += np.arange(1.0, 5.0)[start::2]
        assert x.grad.tolist() == expected.tolist()
    assert replays == [2]


def test_a_foreign_array_is_read_when_it_is_replayed(replays: list[int]) -> None:
    w = leaf(1.0, 1.0)
    for step in range(5):
        array = np.float32([step, 2.0])
        x = flambeau.from_numpy(array)
        w.grad = None
        (w * x).sum().backward()
        array[:] = -1.0
        assert w.grad.tolist() == [step, 2.0]
    assert replays == [3]


def test_the_default_dtype_is_part_of_the_key() -> None:
    x = leaf(1.0)
    body = lambda: (x * 2.0).sum()
    iterate(body, [x])
    flambeau.set_default_dtype(flambeau.float64)
    try:
        assert iterate(body, [x], 3) == [[np.float32(2.0).tobytes()]] * 3
    finally:
        flambeau.set_default_dtype(flambeau.float32)


def test_regions_of_autocast_are_part_of_the_key(replays: list[int]) -> None:
    """A pass within a region casts what it multiplies."""
    x, w = leaf(1.0, 0.1).view(1, 2).detach().requires_grad_(), leaf(1.0, 0.3).view(2, 1).detach().requires_grad_()

    def gradients(inside: bool) -> bytes:
        x.grad = w.grad = None
        loss = (x @ w).exp().sum()
        if inside:
            with flambeau.autocast("cpu"):
                loss.backward()
        else:
            loss.backward()
        flambeau.flush()
        return bits(x.grad) + bits(w.grad)

    outside = [gradients(False) for _ in range(4)]
    within = [gradients(True) for _ in range(4)]
    assert len(set(outside)) == len(set(within)) == 1 and outside[0] != within[0]
    assert gradients(False) == outside[0] and gradients(True) == within[0]
    assert replays[0] >= 4


def test_passes_in_a_thread_that_records_beside_others() -> None:
    import threading

    failed = []

    def work(seed: int) -> None:
        try:
            x = leaf(float(seed), 1.0)
            for grads in iterate(lambda: (x * x).sum(), [x], 20):
                assert grads == [np.float32([2.0 * seed, 2.0]).tobytes()]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_records_that_keep_their_line_are_replayed_for_that_line_only(replays: list[int]) -> None:
    weight, index = flambeau.ones(3, 2, requires_grad=True), flambeau.tensor([[0, 1]])
    flambeau.flush()

    def first() -> set[int]:
        loss.backward()
        return {record.origin[1] for record in LOCAL.tape.cursor.path() if record.origin}

    def second() -> set[int]:
        loss.backward()
        return {record.origin[1] for record in LOCAL.tape.cursor.path() if record.origin}

    lines = {first: set(), second: set()}
    for backward in [first] * 4 + [second] * 2 + [first] * 2:
        weight.grad = None
        loss = weight.gather(0, index).sum()
        lines[backward] |= backward()
        assert weight.grad.sum().item() == 2.0
    ours = lines[first] & lines[second]  # the line of the gather itself
    assert len(ours) == 1 and len(lines[first] - ours) == len(lines[second] - ours) == 1
    assert replays == [4]


def test_the_trie_may_be_dropped_between_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = leaf(1.0)
    body = lambda: (x.exp() * 2.0).sum()
    expected = iterate(body, [x])
    for name in ("GENERATION", "PROGRAMS", "KEPT"):  # all is forgotten at each flush
        monkeypatch.setattr(trie, name, 0)
    TRIE.turn = 0
    assert iterate(body, [x]) == expected


def test_gradients_that_are_asked_for_are_replayed(replays: list[int]) -> None:
    """Of leaves and of what lies between, in the order in which they are asked for; what has no part has none."""
    x, w, unused = leaf(1.0, -2.0, 3.0), leaf(0.5, 2.0, -1.0), leaf(1.0)
    x.grad = flambeau.ones(3)  # is not added to, and does not matter
    flambeau.flush()
    for step in range(5):
        scale = flambeau.tensor([1.0 + step, 2.0, 3.0])
        hidden = x * w * scale
        found = flambeau.autograd.grad((hidden * hidden).sum(), [w, hidden, unused, x], allow_unused=True)
        assert found[2] is None
        np.testing.assert_array_equal(found[1].numpy(), 2 * hidden.detach().numpy())
        np.testing.assert_array_equal(found[0].numpy(), (2 * hidden * x * scale).detach().numpy())
        np.testing.assert_array_equal(found[3].numpy(), (2 * hidden * w * scale).detach().numpy())
    assert replays == [3]
    assert x.grad.tolist() == [1.0, 1.0, 1.0] and w.grad is None


def test_which_gradients_are_asked_for_is_part_of_the_key(replays: list[int]) -> None:
    x, y = leaf(2.0), leaf(3.0)

    def grad(*inputs: flambeau.Tensor) -> list[list[float]]:
        flambeau.flush()
        return [each.tolist() for each in flambeau.autograd.grad((x * y * y).sum(), inputs)]

    for _ in range(4):
        assert grad(x, y) == [[9.0], [12.0]]
        assert grad(y, x) == [[12.0], [9.0]]
        assert grad(x) == [[9.0]]
    assert replays == [6]


def test_gradients_that_share_memory_are_replayed_as_such(replays: list[int]) -> None:
    x = leaf(1.0, 2.0, 3.0, 4.0)
    for _ in range(4):
        first, second = (2 * x).split(2)
        total = (flambeau.cat([first, second]) ** 2).sum()
        found = flambeau.autograd.grad(total, [first, second])
        assert [each.tolist() for each in found] == [[4.0, 8.0], [12.0, 16.0]]
        found[0].zero_()
        assert found[1].tolist() == [12.0, 16.0]
    assert replays == [2]


def test_gradients_that_are_written_to_are_new_in_each_pass(replays: list[int]) -> None:
    x = leaf(1.0, 2.0)
    for _ in range(5):
        (found,) = flambeau.autograd.grad((x**3).sum(), x)
        assert found.tolist() == [3.0, 12.0]
        found.add_(1.0)
        assert found.tolist() == [4.0, 13.0]
    assert replays == [3]


def test_asking_twice_is_an_error_after_replays() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(4):
        total = (x**3).sum()
        flambeau.autograd.grad(total, x)
        with pytest.raises(RuntimeError, match="second time"):
            flambeau.autograd.grad(total, x)
