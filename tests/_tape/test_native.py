"""Native recording and flushing give what Python's give, and step back where something is out of the ordinary."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau._ops.registry import OPERATORS
from flambeau._runtime import random_kernels, words
from flambeau._tape import tape as tapes
from flambeau._tape.native import WARM
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE

pytestmark = pytest.mark.skipif(not words.supported() or tapes.MAX_SLOTS < 0, reason="everything is done in Python here")


@pytest.fixture(autouse=True)
def warm() -> Iterator[None]:
    """The native code is loaded, and the tape is empty."""
    for _ in range(WARM + 1):
        (flambeau.ones(2) + 1).tolist()
    yield
    flambeau.flush()


def native() -> bool:
    """Whether native code does the work: it does not once a second thread has appeared in this process."""
    return tapes._native is not None and tapes._share is not None


@pytest.fixture
def python() -> Iterator[Callable[[], None]]:
    """A switch: after it is called, everything is done in Python until the test ends."""
    state = tapes._native
    word = state.places["tape"] // 8 if state is not None else 0

    def switch() -> None:
        if state is not None:
            state.words[word] = 0

    yield switch
    if native():
        tapes._follow(LOCAL.tape)


def record() -> list[flambeau.Tensor]:
    """Records of many kinds: numbers of each class, one tensor twice, views, several results, gradients, writes in place."""
    x = flambeau.arange(6.0).reshape(2, 3).requires_grad_()
    y = (x * 2 + True - 0.5) / 4
    z = y @ y.t() + (y * y).sum()
    largest = flambeau.max(z, 1)
    w = flambeau.zeros(4)
    w += 3
    w[1:3].mul_(2.0)
    picked = flambeau.index_select(w, 0, flambeau.tensor([2, 0]))
    (largest.values.sum() * 1.5).backward()
    assert x.grad is not None
    return [y, z, *largest, w, picked, x.grad]


def test_values_are_those_of_python(python: Callable[[], None]) -> None:
    for _ in range(3):
        found = [each.tolist() for each in record()]
    python()
    assert [each.tolist() for each in record()] == found


def test_both_walk_the_same_path(python: Callable[[], None]) -> None:
    def path() -> object:
        results = record()
        node = LOCAL.tape.cursor
        assert all(each.memory.pending for each in results[:2])
        flambeau.flush()
        return node

    path(), path()
    node, size = path(), TRIE.size
    python()
    assert path() is node and TRIE.size == size


def test_native_code_is_in_use() -> None:
    if not native():
        pytest.skip("a second thread has appeared")
    x = flambeau.ones(3)
    flambeau.flush()
    (x + 1).tolist()
    y = x + 1
    assert tapes._quick(LOCAL.tape) is True
    assert not y.memory.pending and y.tolist() == [2.0] * 3


def test_histories_are_those_of_python(python: Callable[[], None]) -> None:
    def nodes() -> list[tuple]:
        x = flambeau.ones(2, 3, requires_grad=True)
        result = ((x * 3.0).exp().reshape(3, 2) + 1).max(0).values
        found, node = [], result.grad_fn
        while node is not None and hasattr(node, "saved"):
            found.append((node.name(), len(node.inputs), len(node.saved), node.layouts))
            node = node.inputs[0][0]
        assert node.variable is x
        flambeau.flush()
        return found

    nodes(), nodes()
    found = nodes()
    python()
    assert nodes() == found and len(found) > 4


@pytest.mark.parametrize("bad", ["text", None, [1.0]])
def test_operands_of_other_kinds_are_refused_as_ever(bad: object) -> None:
    x = flambeau.ones(2)
    with pytest.raises(TypeError):
        x + bad
    with pytest.raises(TypeError):
        OPERATORS["add"](x, bad)
    assert (x + 1).tolist() == [2.0, 2.0]


def test_the_other_operand_may_know_better() -> None:
    class Other:
        def __radd__(self, left: object) -> str:
            return "mine"

    assert flambeau.ones(2) + Other() == "mine"
    assert (flambeau.ones(2) + np.float32(1.5)).tolist() == [2.5, 2.5]
    assert (flambeau.ones(2) + 2j).tolist() == [1 + 2j, 1 + 2j]


def test_a_failing_call_leaves_nothing_behind() -> None:
    x, y, z = flambeau.ones(2), flambeau.ones(3), flambeau.ones(2)
    flambeau.flush()
    for _ in range(3):
        with pytest.raises(RuntimeError):
            x + y
        with pytest.raises(RuntimeError, match="Overflow"):
            z + (1 << 70)
        assert LOCAL.tape.values == [] and LOCAL.tape.numbers == []
        assert (x + z).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("count", [60, 61, 63, 64, 65, 200])
def test_many_operands(count: int) -> None:
    """Which of them require grad is a word of bits."""
    rows = [flambeau.full((2,), float(number), requires_grad=True) for number in range(count)]
    for _ in range(3):
        joined = flambeau.stack(rows)
        assert joined.tolist() == [[float(number)] * 2 for number in range(count)]
        (gradient,) = flambeau.autograd.grad((joined * joined).sum(), [rows[-1]])
        assert gradient.tolist() == [2.0 * (count - 1)] * 2


def test_bad_data_raise_at_the_flush_and_name_the_line() -> None:
    table, index = flambeau.arange(3.0), flambeau.tensor([1])
    for value in (1, 7, 2, 9):
        index.fill_(value)
        picked = table.index_select(0, index) * 1
        if value < 3:
            assert picked.item() == value
        else:
            with pytest.raises(IndexError, match=f"index {value} is out of .*test_native.py"):
                picked.item()


def test_one_line_is_not_another() -> None:
    table, index = flambeau.arange(3.0), flambeau.tensor([5])
    messages = []
    for _ in range(3):
        with pytest.raises(IndexError) as error:
            table.index_select(0, index).item()
        messages.append(str(error.value))
        with pytest.raises(IndexError) as error:
            table.index_select(0, index).item()
        messages.append(str(error.value))
    assert len(set(messages)) == 2


def test_tensors_of_subclasses_are_operands() -> None:
    parameter = nn.Parameter(flambeau.ones(3))
    for _ in range(3):
        result = parameter * 2
        assert type(result) is flambeau.Tensor and result.requires_grad and result.tolist() == [2.0] * 3


def test_numbers_in_many_places() -> None:
    x = flambeau.arange(3)
    for number in (1, True, -(1 << 62), 2.5, -1.0, float("inf")):
        for _ in range(2):
            assert (x * 0 + number).tolist() == [number] * 3


def test_items_of_each_dtype() -> None:
    for dtype in (flambeau.float32, flambeau.float64, flambeau.int64, flambeau.int32, flambeau.bool, flambeau.bfloat16, flambeau.float16):
        one = (flambeau.zeros(2, dtype=dtype) + flambeau.ones(2, dtype=dtype))[1]
        assert (
            one.item() == 1
            and type(one.item()) is {"f": float, "i": int, "b": bool}[one.numpy().dtype.kind if dtype is not flambeau.bfloat16 else "f"]
        )
    with pytest.raises(RuntimeError, match="3 elements"):
        flambeau.ones(3).item()


def written() -> list:
    """Tensors that were written in place in many ways, whole and in part, and how often they count that they were."""
    x = flambeau.arange(6.0).reshape(2, 3)
    x.mul_(2.0).add_(flambeau.ones(3))
    turned = x.t().clone()
    turned.t().exp_().clamp_(max=1e3)
    x[1].neg_()
    x.view(-1).add_(x.sum())
    leaf = flambeau.ones(3, requires_grad=True)
    with flambeau.no_grad():
        leaf.sub_(0.5).copy_(leaf * 3)
    history = leaf * 2
    history.mul_(leaf)
    history.sum().backward()
    cast = flambeau.arange(3)
    cast.add_(flambeau.ones(3, dtype=flambeau.int32)).fill_(7)
    tensors = [x, turned, leaf, history, leaf.grad, cast]
    versions = [each._version for each in tensors]
    return [[each.tolist() for each in tensors], versions]


def test_writes_in_place_are_those_of_python(python: Callable[[], None]) -> None:
    for _ in range(3):
        found = written()
    python()
    assert written() == found


def test_a_write_in_place_that_may_not_be_is_refused_as_ever() -> None:
    x, leaf = flambeau.ones(3), flambeau.ones(3, requires_grad=True)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="leaf"):
            leaf.mul_(2.0)
        with pytest.raises(RuntimeError, match="broadcast"):
            x.add_(flambeau.ones(2, 3))
        with pytest.raises(RuntimeError, match="single memory location"):
            x[:1].expand(3).mul_(2.0)
        product = leaf * x
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.sum().backward()
        assert x.mul_(1.0).tolist()[0] > 1


def test_shared_memory_stays_shared() -> None:
    x = flambeau.zeros(3)
    array = x.numpy()
    for number in range(4):
        x += 1
        y = x * 2
        assert array.tolist() == [number + 1] * 3 and y.tolist() == [2 * number + 2] * 3
        array[0] = number + 1


def test_a_step_writes_in_place_and_counts_versions() -> None:
    model = nn.Linear(3, 2)
    optimizer = flambeau.optim.Adam(model.parameters())
    addresses = set()
    for number in range(6):
        model(flambeau.ones(4, 3)).sum().backward()
        version = model.weight._version
        optimizer.step()
        optimizer.zero_grad()
        assert model.weight._version == version + 1
        if number > 1:
            addresses.add(model.weight.data_ptr())
    assert len(addresses) == 1


def test_nothing_is_held_or_let_go_too_often() -> None:
    x = flambeau.arange(6.0).reshape(2, 3)

    def work() -> None:
        for each in record():
            each.tolist()
        flambeau.rand(3)
        flambeau.nn.functional.one_hot(flambeau.tensor([0, 1]), 2).sum().item()
        (x + 1).numpy()

    for _ in range(5):
        work()
    watched = (None, False, (), float, flambeau.Tensor, tapes.Storage, x, x.memory, x.layout, OPERATORS["add"], LOCAL.tape)
    gc.collect()
    before = [sys.getrefcount(each) for each in watched]
    for _ in range(100):
        work()
    gc.collect()
    after = [sys.getrefcount(each) for each in watched]
    assert all(abs(old - new) < 50 for old, new in zip(before, after, strict=True)), (before, after)


def test_an_interrupt_comes_between_calls() -> None:
    """Ctrl-C again and again while a loop records and flushes: what it leaves is whole."""
    x = flambeau.ones(8)
    total = 0
    for _ in range(3):  # no interrupt comes while something is compiled
        assert (x * 2 + 1).sum().item() == 24 and (x * 2 + 1).tolist() == [3.0] * 8
    for _ in range(20):
        handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.01, 0.5)  # again, should it come in a finalizer, whose errors Python ignores
                while True:
                    total += (x * 2 + 1).sum().item() == 24
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        assert (x * 2 + 1).tolist() == [3.0] * 8
    assert total


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_a_second_thread_takes_it_back() -> None:
    output = run(
        """
import threading, flambeau
from flambeau._tape import tape as tapes
x = flambeau.ones(4)
def work():
    for number in range(300):
        assert (x * 2).add_(number).sum().item() == 4 * (number + 2)
work()
print(tapes._native is not None)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
work()
for thread in threads:
    thread.join()
work()
print(tapes._quick(tapes.LOCAL.tape), "done")
"""
    )
    assert output.split() == ["True", "False", "done"]


def test_a_thread_that_only_looks() -> None:
    """It records nothing itself, and takes what the first thread has recorded."""
    x = flambeau.ones(4)
    pending = [x * number for number in range(5)]
    found: list[list[float]] = []
    thread = threading.Thread(target=lambda: found.extend(each.tolist() for each in pending))
    thread.start()
    thread.join()
    assert found == [[float(number)] * 4 for number in range(5)]


def test_classes_that_want_to_be_asked_are_asked() -> None:
    """Also if the first of them appears when tensors' operators are native."""
    output = run(
        """
import flambeau
x = flambeau.ones(3)
for _ in range(150):
    (x + 1).tolist()
calls = []
class Asked(flambeau.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        calls.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})
asked = flambeau.ones(3).as_subclass(Asked)
print(flambeau._tape.tape._native is not None, *[type(each).__name__ for each in (asked + 1, 1 + asked, x * asked, x + 1)], *calls)
"""
    )
    assert output.split() == ["True", "Asked", "Asked", "Asked", "Tensor", "add", "add", "mul"]


def test_the_end_of_the_process() -> None:
    """Objects that outlive the modules may still free memory and look at tensors."""
    output = run(
        """
import flambeau
x = flambeau.ones(3)
for _ in range(100):
    (x + 1).tolist()
class Late:
    def __init__(self):
        self.itself, self.tensor = self, x + 1
    def __del__(self):
        print("late")
        try:
            self.tensor.sum().item()
        except Exception:
            pass
late = Late()
"""
    )
    assert output.split() == ["late"]


def test_a_short_process_never_loads_it() -> None:
    output = run("import flambeau; x = flambeau.ones(3); [(x + 1).tolist() for _ in range(5)]; print(flambeau._tape.tape._native)")
    assert output.split() == ["None"]


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.int64, flambeau.bool, flambeau.complex64, flambeau.float16], ids=str)
def test_arrays_are_those_of_python(python: Callable[[], None], dtype: flambeau.dtype) -> None:
    x = flambeau.arange(24).reshape(2, 3, 4).to(dtype)
    shown = [x, x[1, :, 1:], x.permute(2, 0, 1)[::2], x[0, 0, 0], x[:, :0], x.expand(5, 2, 3, 4)]
    natively = [each.numpy() for each in shown]
    python()
    for array, expected in zip(natively, [each.numpy() for each in shown], strict=True):
        assert (array.dtype, array.shape, array.strides) == (expected.dtype, expected.shape, expected.strides)
        assert array.size == 0 or array.__array_interface__["data"] == expected.__array_interface__["data"]
        assert str(array.flags) == str(expected.flags)
        array.flags.writeable = False
        array.flags.writeable = True  # NumPy asks the array's base


def test_arrays_share_memory_and_keep_it() -> None:
    x = flambeau.ones(4) + 1
    array = x.numpy()
    y = x * 3  # reads the bytes as they are now
    array[0] = 9.0
    assert x.tolist() == [9, 2, 2, 2]
    assert y.tolist() == [6, 6, 6, 6]
    x += 1
    flambeau.flush()
    assert array.tolist() == [10, 3, 3, 3]
    part = array[1:]
    del x, array
    gc.collect()
    others = [flambeau.zeros(4) + number for number in range(8)]
    flambeau.flush()
    assert part.tolist() == [3, 3, 3]
    assert len(others) == 8


def test_an_array_is_made_after_what_reads_its_memory() -> None:
    x = flambeau.ones(4) + 1
    flambeau.flush()
    y = x * 3
    x.numpy()[:] = 0.0
    assert y.tolist() == [6, 6, 6, 6]


def test_tensors_that_have_no_array_say_so() -> None:
    with pytest.raises(RuntimeError, match="requires grad"):
        flambeau.ones(2, requires_grad=True).numpy()
    assert flambeau.ones(2, requires_grad=True).numpy(force=True).tolist() == [1, 1]
    with pytest.raises(TypeError, match="NumPy has no"):
        flambeau.ones(2, dtype=flambeau.bfloat16).numpy()
    with pytest.raises(TypeError, match="meta tensor"):
        flambeau.ones(2, device="meta").numpy()


@pytest.mark.parametrize("size", [1, 10, 5000])
def test_random_numbers_are_those_of_python(python: Callable[[], None], size: int) -> None:
    def draw() -> list[np.ndarray]:
        flambeau.manual_seed(3)
        made = flambeau.rand(size), flambeau.randn(size), flambeau.randint(2, 9, (size,)), flambeau.rand(size, dtype=flambeau.float64)
        return [each.numpy() for each in made]

    natively = draw()
    before = random_kernels.run_at
    random_kernels.run_at = random_kernels.run_in_python
    try:
        python()
        for each, expected in zip(natively, draw(), strict=True):
            np.testing.assert_array_equal(each, expected)
    finally:
        random_kernels.run_at = before


def test_methods_that_somebody_has_exchanged_stay_exchanged() -> None:
    """Before native code is loaded as afterwards, under the name of torch, and where all methods are functions of Python in between."""
    output = run(
        """
import flambeau
from flambeau._alias import install_as_torch
from flambeau._ops import native
from flambeau._tape import tape

install_as_torch()
calls = {}
def watch(owner, name):
    before = getattr(owner, name)
    def counted(*arguments):
        calls[name] = calls.get(name, 0) + 1
        return before(*arguments)
    setattr(owner, name, counted)

watch(flambeau.Tensor, "__add__")
watch(flambeau.Tensor, "item")
watch(tape.Tape, "flush")
for _ in range(200):
    (flambeau.ones(2) + 1).sum().item()
assert tape._native is not None or tape._share is None
watch(flambeau.Tensor, "__mul__")
native.plain_methods()
native.native_methods()
for _ in range(200):
    (flambeau.ones(2) * 2 + 1).sum().item()
print(calls["__add__"], calls["item"], calls["__mul__"])
"""
    )
    assert output.split() == ["400", "400", "200"]


def test_a_process_that_only_makes_tensors_has_native_code_too() -> None:
    script = """if True:
        import flambeau
        from flambeau._tape import native, tape
        assert tape._native is None
        for _ in range(16 * native.WARM + 1):
            flambeau.rand(3)
        assert tape._native is not None or tape._share is None
        flambeau.manual_seed(0)
        print(flambeau.rand(3).tolist())
    """
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    flambeau.manual_seed(0)
    assert found.stdout.strip() == str(flambeau.rand(3).tolist())
