"""What functions say of arguments that they do not take, and what is left behind them: nothing."""

from __future__ import annotations

import sys
import traceback
from types import FunctionType

import pytest

import flambeau
from flambeau._ops import refusals
from flambeau._tensor import overriding
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(not refusals.GUARDED, reason="code of this Python has no exception table of a known form")

X = flambeau.ones(3)
WRONG = {
    "a method's tensor": (lambda: X.isclose(2), r"isclose\(\): argument 'other' \(position 2\) must be Tensor, not int"),
    "a function's tensor": (lambda: flambeau.isclose("a", X), r"isclose\(\): argument 'input' \(position 1\) must be Tensor, not str"),
    "of nn.functional": (lambda: F.mse_loss(X, 3.0), r"mse_loss\(\): argument 'target' \(position 2\) must be Tensor, not float"),
    "of linalg": (
        lambda: flambeau.linalg.vector_norm([1.0]),
        r"vector_norm\(\): argument 'x' \(position 1\) must be Tensor, not list of float",
    ),
    "of fft": (lambda: flambeau.fft.fft(None), r"fft\(\): argument 'input' \(position 1\) must be Tensor, not NoneType"),
    "of special": (lambda: flambeau.special.i0(object()), r"i0\(\): argument 'input' \(position 1\) must be Tensor, not object"),
    "an element": (
        lambda: flambeau.linalg.multi_dot([X, None]),
        r"multi_dot\(\): argument 'tensors' \(position 1\) must be tuple of Tensors, not list of Tensor, NoneType",
    ),
    "a flag": (lambda: X.sum(0, keepdim="yes"), r"sum\(\): argument 'keepdim' \(position 3\) must be bool, not str \('yes'\)"),
    "a keyword": (lambda: X.uniform_(generator=3), r"uniform_\(\): argument 'generator' must be torch.Generator, not int \(3\)"),
    "an option": (lambda: flambeau.logspace(0, 1, 3, dtype="f"), r"logspace\(\): argument 'dtype' must be torch.dtype, not str \('f'\)"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_the_argument_is_named(call, message):
    for _ in range(2):
        with pytest.raises(TypeError, match=message) as caught:
            call()
        assert type(caught.value).__name__ == "TypeError" and caught.value.__suppress_context__
        assert (X + 1).tolist() == [2, 2, 2]


def test_it_is_an_attribute_error_too():
    """PyTorch's functions in Python look for a method of what they are given."""
    with pytest.raises(AttributeError, match="must be Tensor"):
        F.mse_loss(X, None)


def test_judgements_stay_as_they_are():
    with pytest.raises(IndexError, match="Dimension out of range"):
        X.sum(5)
    with pytest.raises(TypeError, match=r"dim must be an int, not 0.0"):
        X.gather(0.0, flambeau.tensor([0]))
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        X.gather(0, flambeau.tensor([[0]]))


def guarded(source: str) -> FunctionType:
    scope: dict = {}
    exec(compile("from __future__ import annotations\n" + source, "<guarded>", "exec"), scope)
    refusals.guard(scope["f"])
    return scope["f"]


def test_code_with_handlers_of_its_own_is_guarded_around_them():
    f = guarded("""
def f(x: int, log: list):
    for each in (1, 2):
        try:
            try:
                log.append(x + each)
            except TypeError as error:
                log.append(type(error))
                raise ValueError(x) from error
            finally:
                log.append("inner")
        except ValueError:
            if x == "pass":
                continue
        with open("/dev/null"):
            log.append(len(x) if x != 1 else each)
    return x + 1
""")
    log: list = []
    assert f(1, log) == 2 and log == [2, "inner", 1, 3, "inner", 2]
    log.clear()
    with pytest.raises(TypeError, match=r"f\(\): argument 'x' \(position 1\) must be int, not str"):
        f("pass", log)
    assert log == [TypeError, "inner", TypeError, "inner"]
    assert sys.exc_info() == (None, None, None)


def test_the_handled_error_of_the_caller_stays():
    f = guarded("def f(x: int):\n    return x.real.nothing\n")
    try:
        raise KeyError("outer")
    except KeyError:
        with pytest.raises(TypeError, match="must be int"):
            f("a")
        with pytest.raises(AttributeError, match="nothing"):
            f(1)
        assert isinstance(sys.exc_info()[1], KeyError)


def test_errors_that_are_not_explained_pass_with_their_line():
    f = guarded("def f(x: int):\n    y = x\n    return y / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        f(1)
    assert [entry.lineno for entry in traceback.extract_tb(caught.value.__traceback__)][1:] == [4]
    with pytest.raises(KeyboardInterrupt):
        guarded("def f(x: int):\n    raise KeyboardInterrupt\n")("a")


def test_variables_of_inner_functions_are_seen():
    f = guarded("def f(x: int, *rest, y: float = 1.0):\n    g = lambda: x + y\n    return g()\n")
    assert f(1) == 2
    with pytest.raises(TypeError, match=r"f\(\): argument 'y' must be float, not str"):
        f(1, y="a")
    with pytest.raises(TypeError, match=r"f\(\): argument 'x' \(position 1\) must be int, not list"):
        f([1])


def test_a_function_is_guarded_once():
    f = guarded("def f(x: int):\n    return x + 1\n")
    code = f.__code__
    refusals.guard(f, len, 3)
    assert f.__code__ is code
    assert guarded("def f(x: int):\n    yield x\n")(1).__next__() == 1


def test_what_depends_on_nothing_refused_is_computed():
    """A dtype that an operator does not take is refused at the call, and values that wait are computed."""
    waiting = X * 3
    with pytest.raises(NotImplementedError, match=r"clamp_min\(\): \"maximum\" is not implemented for torch.complex64"):
        flambeau.clamp(X, flambeau.ones(3, dtype=flambeau.complex64))
    assert waiting.tolist() == [3, 3, 3]


def test_it_is_so_when_classes_are_asked_too():
    """Functions have another code then, and run as functions of their own."""
    with overriding.Active():
        with pytest.raises(TypeError, match=r"isclose\(\): argument 'other' \(position 2\) must be Tensor, not int"):
            X.isclose(2)
        with pytest.raises(TypeError, match=r"block_diag\(\): argument 'tensors' \(position 2\) must be Tensor, not str"):
            flambeau.block_diag(X, "a")


NUMBERS = {
    "elements": (lambda: X.isclose(X, rtol=flambeau.ones(2)), r"argument 'rtol' \(position 3\) must be float, not Tensor of shape \[2\]"),
    "an offset": (lambda: flambeau.diag_embed(X, offset=flambeau.tensor(1)), r"'offset' \(position 2\) must be int, not Tensor of shape"),
    "a size": (
        lambda: F.local_response_norm(X[None, None], flambeau.tensor(2)),
        r"'size' \(position 2\) must be int, not Tensor of shape \[\] and dtype torch.int64",
    ),
}


@pytest.mark.parametrize(("call", "message"), NUMBERS.values(), ids=NUMBERS)
def test_tensors_in_the_place_of_numbers(call, message):
    """Their elements would have to be looked at, in the worst case while a program is made."""
    with pytest.raises(TypeError, match=message):
        call()
    assert (X + 1).tolist() == [2, 2, 2]


def test_tensors_of_one_element_are_numbers_where_they_can_be():
    assert X.isclose(X, rtol=flambeau.tensor(0.1)).all() and X.roll(flambeau.tensor(1)).tolist() == [1, 1, 1]


def test_too_much_memory_is_one_error_whoever_has_none():
    for call in (lambda: F.adaptive_avg_pool2d(flambeau.ones(1, 1, 4, 4), (2**40, 2)), lambda: flambeau.empty(2**45).fill_(1).sum().item()):
        for kind in (RuntimeError, MemoryError):
            with pytest.raises(kind, match=r"allocate"):
                call()


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_factors_are_finite(scale):
    with pytest.raises(RuntimeError, match="scale_factor must be finite numbers"):
        F.interpolate(flambeau.ones(1, 1, 4, 4), scale_factor=scale)


def test_numbers_are_of_64_bits():
    for kind in (OverflowError, RuntimeError):
        with pytest.raises(kind, match="does not fit into 64 bits"):
            flambeau.add(X, X, alpha=2**70)
    with pytest.raises(OverflowError):
        X.clone().cauchy_(0, 10**400)
    with pytest.raises(TypeError):
        X.clone().cauchy_(1j)
    with pytest.raises(RuntimeError, match="num groups to be greater than 0"):
        flambeau.native_group_norm(flambeau.ones(1, 6, 3), None, None, 1, 6, 3, 0, 0.1)
    with pytest.raises(TypeError, match=r"argument 'a' \(position 1\) must be Tensor, not NoneType"):
        flambeau.sparse.mm(None, X)


ELSEWHERE = {
    "grad": (
        RuntimeError,
        lambda: flambeau.autograd.grad(flambeau.ones(1, requires_grad=True).sum(), "a"),
        "all inputs have to be Tensors",
    ),
    "can_cast": (TypeError, lambda: flambeau.can_cast("a", flambeau.float32), r"'from_' \(position 1\) must be torch.dtype, not str"),
    "promote_types": (TypeError, lambda: flambeau.promote_types(flambeau.int8, 1), r"'type2' \(position 2\) must be torch.dtype, not int"),
    "finfo": (TypeError, lambda: flambeau.finfo("float32"), r"'type' \(position 1\) must be torch.dtype, not str"),
    "iinfo": (TypeError, lambda: flambeau.iinfo(8), r"'type' \(position 1\) must be torch.dtype, not int"),
    "functional_call": (
        ValueError,
        lambda: flambeau.func.functional_call(flambeau.nn.ReLU(), 3, X),
        "or a list/tuple of dicts, but got int",
    ),
    "a generator": (RuntimeError, lambda: flambeau.Generator().manual_seed("7"), "manual_seed expected a long, but got str"),
    "threads": (RuntimeError, lambda: flambeau.set_num_threads(2.5), "expects an int, but got float"),
    "pad_sequence": (TypeError, lambda: flambeau.nn.utils.rnn.pad_sequence([X, None]), "element 1 in argument 0, but got NoneType"),
    "a parameter": (AttributeError, lambda: flambeau.nn.Parameter([1.0]), "takes a tensor, not list"),
    "shapes": (RuntimeError, lambda: flambeau.broadcast_shapes(2.5), "Input shapes should be of type ints"),
    "no categories": (RuntimeError, lambda: flambeau.multinomial(flambeau.ones(0), 1, True), "no categories"),
}


@pytest.mark.parametrize(("kind", "call", "message"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_arguments_of_other_functions(kind, call, message):
    with pytest.raises(kind, match=message):
        call()
