"""The rules that keep the tape sound: what is static and what is not, what is computed, and when."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

import flambeau
from flambeau._ops.operator import Operator
from flambeau._ops.registry import OPERATORS
from flambeau._runtime import allocator, jit
from flambeau._tape import tape as tapes
from flambeau._tape import trie
from flambeau._tape.tape import LOCAL, Tape
from flambeau._tape.trie import TRIE


@pytest.fixture(autouse=True)
def clean_tape():
    """Each test starts at the root of the trie."""
    flambeau.flush()
    yield
    flambeau.flush()


def growth(action: Callable[[], object]) -> tuple[int, int, int]:
    """By how much an action grows the trie, the compiled kernels and the programs of all nodes."""

    def measure() -> tuple[int, int, int]:
        statistics = jit.statistics()
        return TRIE.size, statistics["compiled"] + statistics["loaded"] + statistics["reused"], len(list(programs()))

    before = measure()
    action()
    after = measure()
    return tuple(new - old for new, old in zip(after, before, strict=True))  # type: ignore[return-value]


def programs():
    stack = [TRIE.root]
    while stack:
        node = stack.pop()
        yield from node.programs.values()
        stack.extend(node.values())


def training_step(lr: float, optimizer_class=flambeau.optim.SGD) -> Callable[[], float]:
    flambeau.manual_seed(1)
    net = flambeau.nn.Linear(5, 3)
    optimizer = optimizer_class(net.parameters(), lr=lr)
    x = flambeau.randn(4, 5)

    def step() -> float:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    step.optimizer = optimizer  # type: ignore[attr-defined]
    return step


# -- structure is static, numbers are operands ---------------------------------------------------------------------------


@pytest.mark.parametrize("first, second", [(2.0, 3.5), (2, 7), (True, False), (1 + 2j, 3 - 1j)])
def test_numbers_are_operands(first: complex, second: complex) -> None:
    x = flambeau.arange(4, dtype=flambeau.complex128 if isinstance(first, complex) else flambeau.float64)
    flambeau.flush()
    assert (x * first).tolist() == [each * first for each in range(4)]

    def other() -> None:
        assert (x * second).tolist() == [each * second for each in range(4)]

    assert growth(other) == (0, 0, 0)


def test_numbers_of_different_classes_are_different_records() -> None:
    x = flambeau.arange(3)
    assert (x + 1).dtype is flambeau.int64
    assert (x + 1.0).dtype is flambeau.float32
    assert (x + 1j).dtype is flambeau.complex64


@pytest.mark.parametrize("optimizer", [flambeau.optim.SGD, flambeau.optim.Adam, flambeau.optim.AdamW])
def test_learning_rate_and_step_count_grow_nothing(optimizer: type) -> None:
    step = training_step(0.1, optimizer)
    for _ in range(3):
        step()

    def more() -> None:
        for number in range(5):
            step.optimizer.param_groups[0]["lr"] = 0.1 / (number + 2)  # type: ignore[attr-defined]
            step()

    assert growth(more) == (0, 0, 0)


def test_dropout_seed_grows_nothing() -> None:
    x = flambeau.ones(50)
    draws = [flambeau.dropout(x, 0.5, True).tolist() for _ in range(2)]
    assert draws[0] != draws[1]
    assert growth(lambda: flambeau.dropout(x, 0.5, True).tolist()) == (0, 0, 0)


def test_second_iteration_adds_nothing() -> None:
    step = training_step(0.1)
    losses = [step(), step()]
    assert growth(lambda: losses.append(step())) == (0, 0, 0)
    assert losses[0] > losses[1] > losses[2]


def test_other_shapes_reuse_kernels() -> None:
    def run(rows: int, columns: int) -> None:
        x = flambeau.arange(rows * columns).reshape(rows, columns).double()
        expected = np.tanh(np.arange(rows * columns).reshape(rows, columns) * 2.0).sum(1)
        np.testing.assert_allclose((x * 2).tanh().sum(1).numpy(), expected)

    run(40, 50)
    before = jit.statistics()
    run(41, 50)
    run(90, 70)
    after = jit.statistics()
    assert (after["compiled"], after["loaded"]) == (before["compiled"], before["loaded"])


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_loop_that_nobody_looks_at_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "MAX_SLOTS", 64)
    monkeypatch.setattr(LOCAL.tape, "limit", 64)
    x = flambeau.zeros(1000)
    longest = 0
    seen = []
    for number in range(1000):
        x = x + 1
        longest = max(longest, len(LOCAL.tape.values))
        if number >= 200 and number % 100 == 0:
            gc.collect()
            seen.append(allocator.statistics()["allocated"])
    assert longest <= 65
    assert max(seen) - min(seen) <= 16 * 4096
    assert x[0].item() == 1000 and x.sum().item() == 1_000_000


@pytest.fixture
def short_generations(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trie, "GENERATION", 20)
    monkeypatch.setattr(trie, "PROGRAMS", 2)
    flambeau.flush()
    TRIE.clear()
    LOCAL.tape.cursor = TRIE.root
    yield
    monkeypatch.undo()
    flambeau.flush()
    TRIE.clear()
    LOCAL.tape.cursor = TRIE.root


def test_what_is_not_used_is_forgotten_and_what_is_used_is_kept(short_generations: None) -> None:
    """Of ever new programs between which one recurs, that one and the latest are there in the end, with all that they refer to."""
    x = flambeau.ones(3)
    recurring = set()
    for number in range(1, 60):
        z = y = flambeau.ones(number)
        for _ in range(number % 7):
            y = y * 2 + z
        assert y.tolist() == [float(2 ** (number % 7 + 1) - 1)] * number
        assert (x + 5).exp().log().tolist() == pytest.approx([6.0] * 3)
        recurring.add(LOCAL.tape.flushed)
    assert len(recurring) == 1 and TRIE.generation >= 5
    nodes = [TRIE.root]
    for node in nodes:
        nodes += node.values()
        assert node.latest is None or node.latest.used >= 0
    assert len(nodes) - 1 == TRIE.size <= (trie.KEPT + 1) * (20 + 2 * 7)
    known = {id(node) for node in nodes}
    gc.collect()
    strays = [each for each in gc.get_objects() if type(each) is trie.TrieNode and id(each) not in known and each.used < 0]
    assert not any(each.programs or each.launches for each in strays)


def test_some_sizes_in_turn_are_all_kept(short_generations: None) -> None:
    """A round through all of them makes fewer records than two generations."""
    sizes = range(3, 11)

    def turn() -> list[object]:
        ends = []
        for size in sizes:
            x = flambeau.ones(size)
            assert (x * 2 + 1).sum().item() == 3 * size
            ends.append(LOCAL.tape.flushed)
        return ends

    turn()
    known = turn()
    assert all(turn() == known for _ in range(5))


def test_what_was_forgotten_can_be_recorded_and_followed_again(monkeypatch: pytest.MonkeyPatch, short_generations: None) -> None:
    """Also by a tape that stands in it."""
    monkeypatch.setattr(trie, "KEPT", 0)
    x = flambeau.ones(3) + 1
    stands = LOCAL.tape.cursor
    TRIE.turn = -1
    TRIE.programs = 100
    TRIE.generation += 1
    TRIE.age()
    assert stands.used == -1
    y = x * 3
    assert (x.tolist(), y.tolist()) == ([2.0] * 3, [6.0] * 3)
    assert LOCAL.tape.cursor is TRIE.root and TRIE.size <= 1


def test_another_tape_survives_that_the_trie_is_dropped() -> None:
    x = flambeau.ones(3) + 1
    TRIE.clear()
    y = x * 3
    assert (x.tolist(), y.tolist()) == ([2.0] * 3, [6.0] * 3)
    assert LOCAL.tape.cursor is TRIE.root


# -- what is computed ----------------------------------------------------------------------------------------------------


def last_program() -> object:
    return list(LOCAL.tape.flushed.programs.values())[-1]


def test_dead_values_are_not_written() -> None:
    x = flambeau.arange(6.0)
    flambeau.flush()
    y = x * 2
    z = y.exp()
    w = x.cumsum(0)
    del y, w
    flambeau.flush()
    program = last_program()
    assert len(program.results) == 1  # type: ignore[attr-defined]
    assert {node.kind for call in program.plan().steps for node in call.nodes} <= {"map", "cast"}  # type: ignore[attr-defined]
    np.testing.assert_allclose(z.numpy(), np.exp(2 * np.arange(6.0)), rtol=1e-6)


def test_a_program_of_nothing_alive_runs_nothing() -> None:
    x = flambeau.arange(6.0)
    flambeau.flush()
    x.exp()
    flambeau.flush()
    assert last_program().plan().steps == []  # type: ignore[attr-defined]


def test_a_program_that_computes_more_is_reused() -> None:
    x = flambeau.arange(6.0)

    def run(keep: bool) -> float:
        flambeau.flush()
        y = x * 3
        z = y + 2
        if not keep:
            del y
        return z.sum().item()

    first = run(True)
    known = {id(program) for program in programs()}
    assert run(False) == first
    assert {id(program) for program in programs()} == known


def test_values_kept_by_a_superset_program_are_right() -> None:
    x = flambeau.ones(2)
    a, b = x + 1, x + 2
    flambeau.flush()
    a, b = x + 1, x + 2
    del a
    assert b.tolist() == [3.0, 3.0]


# -- versions ------------------------------------------------------------------------------------------------------------


def test_in_place_writes_do_not_change_what_was_recorded_before() -> None:
    x = flambeau.ones(4)
    flambeau.flush()
    y = x * 10
    x.add_(5)
    z = x * 10
    assert (y.tolist(), x.tolist(), z.tolist()) == ([10.0] * 4, [6.0] * 4, [60.0] * 4)


def test_a_write_through_a_view_is_seen_by_all() -> None:
    x = flambeau.zeros(3, 4)
    row = x[1]
    before = row * 1
    row.add_(1)
    x[:, 2].mul_(7)
    assert before.tolist() == [0.0] * 4
    assert row.tolist() == [1.0, 1.0, 7.0, 1.0]
    assert x.sum().item() == 10.0


def test_a_partial_write_happens_in_place() -> None:
    x = flambeau.ones(1000)
    flambeau.flush()
    address = x.data_ptr()
    for _ in range(3):
        x[10:20].mul_(2)
        flambeau.flush()
        assert x.data_ptr() == address
    assert x.sum().item() == 990 + 80


# -- foreign memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, (tapes.SNAPSHOT_BYTES // 8) + 1])
def test_a_foreign_array_is_read_when_the_call_is_made(count: int) -> None:
    array = np.ones(count)
    x = flambeau.from_numpy(array)
    y = x + x * 2
    array[:] = 100
    z = x + 1
    assert (y[0].item(), y.sum().item()) == (3.0, 3.0 * count)
    assert z[0].item() == 101.0


def test_a_large_foreign_array_flushes_a_small_one_does_not() -> None:
    small, large = flambeau.from_numpy(np.ones(4)), flambeau.from_numpy(np.ones(tapes.SNAPSHOT_BYTES // 8 + 1))
    y = small + 1
    assert y.memory.pending
    z = large + 1
    assert not z.memory.pending and not y.memory.pending


def test_in_place_operators_write_the_foreign_array_at_once() -> None:
    array = np.arange(6.0).reshape(2, 3)
    x = flambeau.from_numpy(array)
    x.mul_(2)
    assert array[1].tolist() == [6.0, 8.0, 10.0]
    x[0].fill_(-1)
    assert array[0].tolist() == [-1.0] * 3
    x[:, 1] = flambeau.tensor([5.0, 6.0], dtype=flambeau.float64)
    assert array.tolist() == [[-1.0, 5.0, -1.0], [6.0, 6.0, 10.0]]
    x.copy_(flambeau.zeros(2, 3))
    assert not array.any()


def test_numpy_shares_memory_both_ways() -> None:
    x = flambeau.zeros(3)
    array = x.numpy()
    x.add_(2)
    assert array.tolist() == [2.0] * 3
    array[1] = 9
    assert (x * 1).tolist() == [2.0, 9.0, 2.0]
    x.zero_()
    assert not array.any()


def test_records_read_a_tensor_before_numpy_hands_it_out() -> None:
    x = flambeau.ones(3)
    flambeau.flush()
    y = x * 2
    array = x.numpy()
    array[:] = 50
    assert y.tolist() == [2.0] * 3


def test_a_pending_write_is_not_lost_when_the_array_is_handed_out() -> None:
    x = flambeau.ones(3)
    x.add_(1)
    array = x.numpy()
    x[0] = 7
    assert array.tolist() == [7.0, 2.0, 2.0]


# -- failures at the call ------------------------------------------------------------------------------------------------


def test_a_failing_shape_rule_leaves_the_tape_as_it_was() -> None:
    x, y = flambeau.ones(3), flambeau.ones(4)
    flambeau.flush()
    before = x * 2
    slots, numbers, size = len(LOCAL.tape.values), list(LOCAL.tape.numbers), TRIE.size
    with pytest.raises(RuntimeError, match="must match the size"):
        x + y
    assert (len(LOCAL.tape.values), LOCAL.tape.numbers, TRIE.size) == (slots, numbers, size)
    assert (before.tolist(), (y + 1).tolist()) == ([2.0] * 3, [2.0] * 4)


@pytest.mark.parametrize("bad", [lambda x: flambeau._ops.registry.OPERATORS["add"](3.0, x, "text"), lambda x: x + 2**70])
def test_a_call_that_fails_while_it_reads_its_operands_leaves_no_number(bad: Callable) -> None:
    x = flambeau.ones(3)
    assert (x * 5.0).tolist() == [5.0] * 3
    with pytest.raises((TypeError, RuntimeError)):
        bad(x)
    assert LOCAL.tape.numbers == [] and LOCAL.tape.values == [] and not LOCAL.tape.inputs
    assert (x * 7.0).tolist() == [7.0] * 3


# -- failures at the flush -----------------------------------------------------------------------------------------------


def bad_scatter(target: flambeau.Tensor) -> tuple[flambeau.Tensor, int]:
    """Write out of range; gives the result and the line of the call."""
    result = target.scatter_(0, flambeau.tensor([1, 7]), 5.0)
    return result, bad_scatter.__code__.co_firstlineno + 2


def test_an_index_out_of_range_is_raised_at_the_flush_and_nothing_is_written() -> None:
    x = flambeau.zeros(4)
    x.add_(1)
    _, line = bad_scatter(x)
    with pytest.raises(
        IndexError, match=rf"index 7 is out of bounds for dimension 0 with size 4.*scatter, called at .*test_tape\.py:{line}"
    ):
        flambeau.flush()
    assert x.tolist() == [1.0] * 4
    assert x.scatter_(0, flambeau.tensor([1, 3]), 5.0).tolist() == [1.0, 5.0, 1.0, 5.0]


def test_what_does_not_depend_on_a_failure_is_computed() -> None:
    x = flambeau.ones(3, 2)
    before = x * 2
    bad = x.index_select(0, flambeau.tensor([0, 9]))
    dependent = bad.sum() + x
    after = x.exp().sum()
    worse = x.gather(0, flambeau.tensor([[-4, 0]]))
    last = after + before
    with pytest.raises(IndexError, match="index 9"):
        flambeau.flush()
    assert before.tolist() == [[2.0, 2.0]] * 3
    np.testing.assert_allclose(last.numpy(), 2 + 6 * np.e, rtol=1e-6)
    for lost, text in ((bad, "index 9"), (dependent, "index 9"), (worse, "index")):
        with pytest.raises(IndexError, match=text):
            lost.tolist()
    with pytest.raises(IndexError, match="index 9"):
        bad + 1
    assert (x + 1).tolist() == [[2.0, 2.0]] * 3


def test_an_input_is_not_overwritten_before_a_later_failure() -> None:
    x, y = flambeau.zeros(5), flambeau.ones(3)
    flambeau.flush()
    x[1:3] = 4
    kept = x * 1
    bad = y.index_select(0, flambeau.tensor([5]))
    x[3:] = 6
    with pytest.raises(IndexError):
        flambeau.flush()
    assert kept.tolist() == [0.0, 4.0, 4.0, 0.0, 0.0]
    assert x.tolist() == [0.0, 4.0, 4.0, 6.0, 6.0]
    del bad


def test_the_same_failing_step_fails_each_time() -> None:
    table = flambeau.ones(4, 2)
    for index, good in ((1, True), (4, False), (3, True), (-1, False), (0, True)):
        value = flambeau.embedding(table, flambeau.tensor([index]))
        if good:
            assert value.tolist() == [[1.0, 1.0]]
        else:
            with pytest.raises(IndexError):
                value.tolist()


# -- interrupts ----------------------------------------------------------------------------------------------------------


HOST_SORT = OPERATORS.pop(
    Operator(
        "_host_sort", ("input",), infer=lambda operands, statics: operands[0],
        lower=lambda graph, operands, statics, layouts: graph.host(
            lambda array: (np.sort(array),), (operands[0],), ((layouts[0].dtype, layouts[0].shape),)
        )[0],
    ).name
)  # fmt: skip
"""An operator that calls back into Python while a program runs."""


def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next call of a host function be interrupted."""
    from flambeau._compiler.program import CompiledProgram

    def interrupt(*ignored: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(CompiledProgram, "_run_host", interrupt)


def test_an_interrupt_leaves_everything_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    x = flambeau.tensor([3.0, 1.0, 2.0])
    flambeau.flush()
    x[0] = 5
    y = x * 2
    values = HOST_SORT(y)
    x[1] = 7
    interrupted(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        flambeau.flush()
    assert y.memory.pending and x.memory.pending and values.memory.pending
    z = values + 1
    assert z.tolist() == [3.0, 5.0, 11.0]
    assert (y.tolist(), x.tolist()) == ([10.0, 2.0, 4.0], [5.0, 7.0, 2.0])


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_an_interrupt_while_results_are_given_out_computes_nothing_twice(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may have overwritten its inputs: what it computed must not be computed from them again."""
    x, y = flambeau.zeros(1000), flambeau.zeros(1000)
    flambeau.flush()
    commit = Tape._commit

    def interrupted(tape: Tape, results: Iterable) -> None:
        monkeypatch.undo()
        if when == "after":
            commit(tape, results)
        elif when == "within":
            slot, buffer = next(iter(results))
            tape.values[slot].tape, tape.values[slot].buffer = None, buffer
        raise KeyboardInterrupt

    x += 1
    y += x
    monkeypatch.setattr(Tape, "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        flambeau.flush()
    assert (x.unique().tolist(), y.unique().tolist()) == ([1.0], [1.0])
    x += 1
    assert x.unique().tolist() == [2.0]


def test_a_host_function_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau._compiler.program import CompiledProgram, HostCall

    x = flambeau.tensor([3.0, 1.0, 2.0])
    y = HOST_SORT(x) + 1
    other = x.exp()
    run = CompiledProgram._run_host

    def fail(program: CompiledProgram, step: HostCall, addresses: list[int]) -> None:
        monkeypatch.undo()
        program._hosts[step.node] = (lambda *arrays: 1 / 0, (), program.graph().origins[step.node])
        run(program, step, addresses)

    monkeypatch.setattr(CompiledProgram, "_run_host", fail)
    with pytest.raises(ZeroDivisionError):
        flambeau.flush()
    np.testing.assert_allclose(other.numpy(), np.exp([3.0, 1.0, 2.0]), rtol=1e-6)
    with pytest.raises(ZeroDivisionError):
        y.tolist()
    TRIE.clear()
    flambeau.flush()


def test_an_interrupted_call_leaves_the_tape_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    x = flambeau.ones(3)
    flambeau.flush()
    operator = flambeau._ops.registry.OPERATORS["add"]

    def interrupt(*ignored: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(operator, "infer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        x.reshape(3, 1, 1) + 5.5
    monkeypatch.undo()
    assert LOCAL.tape.numbers == [] and LOCAL.tape.values == []
    assert (x + 2.5).tolist() == [3.5] * 3


def test_memory_that_nobody_looks_at_any_more_is_ours_again() -> None:
    x = flambeau.arange(6.0).reshape(2, 3)
    view = x.numpy()[1:]
    doubled = x * 2
    view[0, 0] = 7.0
    assert x.memory.is_seen and doubled[1, 0] == 6.0 and x[1, 0] == 7.0
    seen = memoryview(view)
    del view
    x.add_(1)
    assert x.memory.is_seen and seen[0, 0] == 8.0
    del seen
    assert not x.memory.is_seen
    address = x.memory.buffer.address
    first, second = x.numpy(), x.numpy()
    del first
    x.add_(1)
    assert second[1, 0] == x[1, 0] == 9.0 and x.memory.buffer.address == address
    del second
    assert (x + 1)[1, 0] == 10.0 and x.memory.exported is False
