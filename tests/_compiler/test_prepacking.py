"""Weights stay packed from run to run, as long as their bytes do, and nobody can tell from the results."""

from __future__ import annotations

import copy
import ctypes
import gc
import io
import threading
from collections.abc import Callable

import numpy
import pytest

import flambeau
from flambeau import nn
from flambeau._compiler import prepacking
from flambeau._runtime import targets
from flambeau._tape import tape as tapes
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE
from flambeau.nn import functional as F

RUNS = 5


@pytest.fixture(autouse=True)
def new_programs() -> None:
    """The same numbers for each test, and programs that have no history."""
    flambeau.manual_seed(0)
    flambeau.flush()
    TRIE.clear()
    LOCAL.tape.cursor = TRIE.root


def kept(weight: flambeau.Tensor) -> list[int]:
    """Bytes of all that is kept of a weight, and has been filled."""
    packed = getattr(weight.memory.buffer, "packed", None)
    return [each.buffer.nbytes for each in packed.values() if each is not None and each.ready] if isinstance(packed, dict) else []


def layer(inputs: int = 160, outputs: int = 128, window: int = 3) -> nn.Conv2d:
    """A layer whose weight is packed, known as a weight or not: whoever compiles a program first decides whether it is."""
    return nn.Conv2d(inputs, outputs, window).to(memory_format=flambeau.channels_last)


def image(*shape: int) -> flambeau.Tensor:
    return flambeau.randn(shape or (1, 160, 7, 7)).to(memory_format=flambeau.channels_last)


def evaluate(module: Callable, x: flambeau.Tensor, runs: int = RUNS) -> list[list]:
    with flambeau.no_grad():
        return [module(x).tolist() for _ in range(runs)]


def unkept(module: nn.Module) -> nn.Module:
    """The module with plain tensors, which nothing is kept of."""
    other = copy.deepcopy(module)
    for part in other.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                del part._parameters[name]
                part.__dict__[name] = parameter.detach().clone()
    return other


CASES = {
    "3 x 3": (lambda: nn.Conv2d(64, 96, 3, padding=1), (1, 64, 9, 9)),
    "3 x 3, two images": (lambda: nn.Conv2d(256, 160, 3, padding=1), (2, 256, 10, 10)),
    "1 x 1 with a stride": (lambda: nn.Conv2d(160, 130, 1, stride=2), (1, 160, 9, 9)),
    "groups": (lambda: nn.Conv2d(128, 128, 3, groups=2), (1, 128, 8, 8)),
    "transposed": (lambda: nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1), (1, 64, 7, 7)),
    "one dimension": (lambda: nn.Conv1d(128, 200, 5), (3, 128, 40)),
    "chains": (lambda: nn.Linear(1500, 70), (40, 1500)),
    "one row": (lambda: nn.Linear(300, 260), (1, 300)),
    "some rows": (lambda: nn.Linear(300, 260), (33, 300)),
    "bfloat16": (lambda: nn.Linear(300, 260).bfloat16(), (33, 300)),
    "float64": (lambda: nn.Linear(300, 260).double(), (33, 300)),
    "complex": (lambda: nn.Linear(160, 130, dtype=flambeau.complex64), (9, 160)),
    "attention": (lambda: nn.MultiheadAttention(136, 2, batch_first=True), (2, 7, 136)),
    "recurrent": (lambda: nn.LSTM(150, 140), (6, 3, 150)),
}


READ_WHERE_IT_LIES = ["one row"] * (targets.current().vector_bits >= 256) + ["bfloat16"] * targets.current().has_amx
"""With long vectors a row goes the way of few rows; what matrix registers read is packed each time."""
CAST_IF_INNERMOST = ["3 x 3", "3 x 3, two images", "transposed"]
"""Where channels are innermost, casting packs the weights as a part of each run (which its estimate counts); how many cores there are decides for it or not."""


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_weights_that_are_packed_each_time(name, layout):
    make, shape = CASES[name]
    module = make().eval()
    x = flambeau.randn(shape, dtype=next(module.parameters()).dtype)
    if layout == "channels_last":
        if len(shape) != 4:
            pytest.skip("images only")
        module, x = module.to(memory_format=flambeau.channels_last), x.to(memory_format=flambeau.channels_last)
    run = (lambda x: module(x, x, x)[0]) if name == "attention" else (lambda x: module(x)[0]) if name == "recurrent" else module
    first, *others = evaluate(run, x)
    assert all(each == first for each in others)
    if name not in ("attention", "recurrent"):
        assert evaluate(unkept(module), x, 1) == [first]
        if layout == "contiguous" or name not in CAST_IF_INNERMOST:
            assert bool(kept(module.weight)) != (name in READ_WHERE_IT_LIES)


DERIVED = {
    "a cast": lambda weight, x: x.bfloat16() @ weight.bfloat16().t(),
    "autocast": lambda weight, x: F.linear(x, weight),
    "a sum with itself": lambda weight, x: x @ (weight + weight.flip(0)),
    "what is read twice": lambda weight, x: (x @ weight.exp(), x.abs() @ weight.exp().t()),
    "bits": lambda weight, x: (weight.exp().view(flambeau.int32) & 0xFFFF0000).view(flambeau.float32) @ x.t(),
    "two dtypes": lambda weight, x: x.bfloat16() @ weight.bfloat16() + (x.double() @ weight.double()).float(),
}


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_made_of_a_weight_alone_is_kept_too(name):
    function = DERIVED[name]

    def run(weight):
        with flambeau.no_grad(), flambeau.autocast("cpu", dtype=flambeau.bfloat16, enabled=name == "autocast"):
            results = function(weight, x)
        return [each.tolist() for each in (results if isinstance(results, tuple) else (results,))]

    weight, x = nn.Parameter(flambeau.randn(192, 192) / 8), flambeau.randn(48, 192)
    flambeau.flush()
    seen = [run(weight) for _ in range(RUNS)]
    assert kept(weight)
    assert seen == [run(weight.detach().clone())] * RUNS
    with flambeau.no_grad():
        weight.mul_(0.5)
    assert [run(weight) for _ in range(RUNS)] == [run(weight.detach().clone())] * RUNS != seen


WRITTEN = {
    "a part": lambda value, x, run: value[3:5].add_(x[:2]),
    "by a scatter": lambda value, x, run: value.scatter_add_(0, flambeau.zeros(1, 192, dtype=flambeau.int64), x),
    "as bits": lambda value, x, run: value.view(flambeau.int32)[2:4].add_(7),
    "all of it": lambda value, x, run: value.add_(x[0]),
    "numbers of the run": lambda value, x, run: value.mul_(0.5 + run),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_made_of_a_weight_may_be_written_over(name):
    def run(weight, number):
        with flambeau.no_grad():
            value = weight.exp()
            WRITTEN[name](value, x, number)
            result = x @ value
        del value  # or it would be a result, and not be kept
        return result.tolist()

    weight, x = nn.Parameter(flambeau.randn(192, 192) / 8), flambeau.randn(48, 192)
    flambeau.flush()
    for number in range(RUNS):
        assert run(weight, number) == run(weight.detach().clone(), number)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_another_batch_finds_what_was_kept_or_packs_its_own(rows):
    module = nn.Conv2d(96, 128, 3, padding=1)
    x = flambeau.randn(rows, 96, 6, 6)
    for each in (x, x[:1], x, x[:1]):
        assert evaluate(module, each, 2) == evaluate(unkept(module), each, 1) * 2


WRITES = {
    "in place": lambda weight: weight.mul_(2),
    "a view": lambda weight: weight[1:3].add_(1),
    "one element": lambda weight: [weight.__setitem__((0, 1, 0, 0), 5.0) for _ in range(20)],
    "data": lambda weight: weight.data.mul_(3),
    "new data": lambda weight: setattr(weight, "data", flambeau.randn_like(weight)),
    "copy": lambda weight: weight.copy_(flambeau.randn_like(weight)),
    "random numbers, drawn": lambda weight: weight.normal_(),
    "random numbers": lambda weight: nn.init.normal_(weight),
    "NumPy": lambda weight: weight.detach().numpy().__imul__(2),
    "NumPy, a row": lambda weight: weight.detach().numpy()[2].__imul__(2),
    "DLPack": lambda weight: flambeau.from_dlpack(weight.detach()).add_(1),
    "its storage": lambda weight: numpy.asarray(weight.untyped_storage()).view(numpy.float32).__imul__(2),
    "a part of its storage": lambda weight: numpy.asarray(weight.untyped_storage()[:64]).view(numpy.float32).__iadd__(1),
    "NumPy's DLPack": lambda weight: numpy.asarray(weight.detach()).__iadd__(1),
}


@pytest.mark.parametrize("write", WRITES)
def test_whoever_changes_a_weight_changes_what_comes_of_it(write):
    module, x = layer(), image()
    before = evaluate(module, x)
    assert kept(module.weight)
    with flambeau.no_grad():
        WRITES[write](module.weight)
    after = evaluate(module, x)
    assert after[0] != before[0]
    assert after == evaluate(unkept(module), x, 1) * RUNS


def test_memory_that_others_hold_is_looked_at_each_time():
    module, x = layer(), image()
    evaluate(module, x)
    array = module.weight.detach().numpy()
    for _ in range(4):
        array *= 2
        assert evaluate(module, x, 2) == evaluate(unkept(module), x, 1) * 2
    del array
    evaluate(module, x, prepacking.RESTS + RUNS)
    assert kept(module.weight)
    address = module.weight.data_ptr()
    memory = flambeau.frombuffer((ctypes.c_char * module.weight.nbytes).from_address(address), dtype=flambeau.float32)
    for _ in range(4):
        memory *= 2
        assert evaluate(module, x, 2) == evaluate(unkept(module), x, 1) * 2
    assert not kept(module.weight)


def test_training_and_evaluation_in_turn():
    module, x = nn.Sequential(layer(), nn.ReLU(), layer(128, 64)), image()
    optimizer = flambeau.optim.SGD(module.parameters(), lr=1e-4)
    seen = []
    for _ in range(150):  # long enough for native code to take over
        seen += evaluate(module, x, 1)
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
    assert all(one != other for one, other in zip(seen, seen[1:]))
    assert evaluate(module, x) == evaluate(unkept(module), x, 1) * RUNS


def test_training_keeps_nothing():
    module, x = layer(), image()
    optimizer = flambeau.optim.SGD(module.parameters(), lr=1e-4)
    for _ in range(prepacking.PATIENCE + 2):
        optimizer.zero_grad()
        loss = module(x).square().sum()
        loss.item()
        loss.backward()
        optimizer.step()
        assert not kept(module.weight)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights each program was planned to find packed."""
    found: list[int] = []
    compile_program = tapes._compile

    def compile(path, alive, weights=()):
        found.append(len(weights))
        return compile_program(path, alive, weights)

    monkeypatch.setattr(tapes, "_compile", compile)
    return found


def test_programs_without_gradients_are_planned_to_find_weights_packed(planned):
    module, x = layer(), image()
    flambeau.flush()
    planned.clear()
    with flambeau.no_grad():
        module(x).tolist()
        later = module(x) + 1
    later.tolist()  # nobody is in no_grad any more
    module.requires_grad_(False)
    (module(x) * 2).tolist()
    assert planned == [2, 2, 2]


@pytest.mark.parametrize("looks", [False, True], ids=["at the gradient", "at the loss and the gradient"])
def test_programs_of_training_are_not(planned, looks):
    """Neither those of whole steps nor those of a backward pass alone, also where the pass is replayed, and more is asked for than before."""
    module, x = layer(), image().requires_grad_()
    flambeau.flush()
    planned.clear()
    asked = []
    for step in range(4):
        module.zero_grad()
        loss = module(x).square().sum()
        if looks:
            loss.item()
        loss.backward()
        asked += [module.weight.grad * 2] * (step == 3)
        (module.weight.grad.sum() + x.grad.sum()).item()
    assert len(planned) >= 2 + looks and not any(planned)


def test_weights_that_a_program_writes_are_not_expected_to_stay(planned):
    module, x = layer(), image()
    flambeau.flush()
    planned.clear()
    gradient = flambeau.ones_like(module.weight)
    with flambeau.no_grad():
        before = module(x).sum()
        module.weight.sub_(gradient, alpha=0.1)
        after = module(x).sum()
    assert before.item() != after.item()
    assert planned == [1]  # the bias


def test_a_program_that_rests_looks_again():
    module, x = layer(), image()
    with flambeau.no_grad():
        for _ in range(2 * prepacking.PATIENCE):
            module.weight.mul_(0.9)
            module(x).sum().item()
        assert not kept(module.weight)
        for _ in range(prepacking.RESTS + 3):
            last = module(x).sum().item()
        assert kept(module.weight)
        assert last == unkept(module)(x).sum().item()


def test_frozen_layers_are_kept_while_others_train():
    frozen, trained, x = layer(256, 256), layer(256, 64), image(1, 256, 14, 14)
    frozen.requires_grad_(False)
    optimizer = flambeau.optim.SGD(trained.parameters(), lr=1e-4)
    for _ in range(4):
        trained(frozen(x)).square().sum().backward()
        optimizer.step()
    assert kept(frozen.weight)
    assert not kept(trained.weight)


def test_what_is_kept_is_freed_with_the_weight_or_its_change():
    gc.collect()
    before = prepacking._kept_bytes
    module, x = layer(), image()
    evaluate(module, x)
    assert prepacking._kept_bytes > before
    with flambeau.no_grad():
        module.weight.mul_(2)
    flambeau.flush()
    assert prepacking._kept_bytes == before
    evaluate(module, x)
    assert prepacking._kept_bytes > before
    del module
    gc.collect()
    assert prepacking._kept_bytes == before


def test_no_more_is_kept_than_allowed(monkeypatch):
    monkeypatch.setattr(prepacking, "MOST_KEPT", prepacking._kept_bytes + 100_000)
    module, x = layer(), image()
    assert evaluate(module, x) == evaluate(unkept(module), x, 1) * RUNS
    assert not kept(module.weight)


def test_weights_that_are_too_much_to_keep_are_read_where_they_lie(monkeypatch):
    """A product of a few rows reads its matrix once: packing it for that would take longer than reading it."""
    module, x = nn.Linear(512, 500), flambeau.randn(9, 512)
    evaluate(module, x)
    assert kept(module.weight)
    module, x = nn.Linear(512, 496), flambeau.randn(9, 512)
    monkeypatch.setattr(prepacking, "MOST_KEPT", sum(each.nbytes for each in prepacking._expected) + module.weight.nbytes - 1)
    evaluate(module, x)
    assert not getattr(module.weight.memory.buffer, "packed", None)


def test_small_weights_and_plain_tensors_are_not_kept():
    module, x = nn.Linear(20, 18), flambeau.randn(9, 20)
    evaluate(module, x)
    assert not kept(module.weight)
    weight, x = flambeau.randn(180, 200), flambeau.randn(9, 200)
    evaluate(lambda x: F.linear(x, weight), x)
    assert not kept(weight)


def test_a_run_that_fails_has_kept_nothing():
    module, x = layer(), image()

    def run(index: int) -> list:
        with flambeau.no_grad():
            return module(x.index_select(2, flambeau.tensor([0, 1, index]))).tolist()

    run(1)
    with pytest.raises(IndexError):
        run(100)
    with pytest.raises(IndexError):
        run(100)
    with flambeau.no_grad():
        expected = unkept(module)(x[:, :, [0, 1, 1]]).tolist()
    assert [run(1) for _ in range(RUNS)] == [expected] * RUNS


def test_several_models_share_a_program():
    models, x = [layer() for _ in range(3)], image()
    evaluate(models[0], x, 1)
    expected = [evaluate(unkept(each), x, 1)[0] for each in models]
    for _ in range(4):
        assert [evaluate(each, x, 1)[0] for each in models] == expected
    assert all(kept(each.weight) for each in models)
    state = io.BytesIO()
    flambeau.save(models[0].state_dict(), state)
    state.seek(0)
    models[1].load_state_dict(flambeau.load(state))
    assert evaluate(models[1], x) == [expected[0]] * RUNS


def test_threads_evaluate_while_one_changes_weights():
    module, x = layer(), image()
    with flambeau.no_grad():
        module.weight.fill_(1)
        module.bias.zero_()
    x = flambeau.ones_like(x)
    wrong = []

    def look() -> None:
        for _ in range(40):
            (values,) = evaluate(module, x, 1)
            if len(set(flambeau.tensor(values).flatten().tolist())) != 1:
                wrong.append(values)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for each in threads:
        each.start()
    for number in range(30):
        with flambeau.no_grad():
            module.weight.fill_(float(number))
    for each in threads:
        each.join()
    assert not wrong
    assert set(flambeau.tensor(evaluate(module, x, 3)).flatten().tolist()) == {160 * 9 * 29.0}
