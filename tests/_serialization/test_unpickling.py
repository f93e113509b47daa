"""The restricted reader: what it builds, and the pickles that try to do more."""

from __future__ import annotations

import io
import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest

import flambeau
from flambeau._serialization import names
from flambeau._serialization.tensors import LoadedStorage
from flambeau._serialization.unpickling import load_anything, load_weights


@pytest.fixture(autouse=True)
def _nothing_allowed() -> Iterator[None]:
    names.clear_safe_globals()
    yield
    names.clear_safe_globals()


def no_storage(identity: Any) -> Any:
    raise AssertionError("no storage is asked for")


def read(data: bytes, **options: Any) -> Any:
    return load_weights(io.BytesIO(data), no_storage, **options)


def a_global(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Slotted:
    __slots__ = ("x",)


class WithState(Point):
    def __setstate__(self, state: dict) -> None:
        self.x = state["x"] * 2


VALUES = [
    None, True, 0, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**64), 1.5, float("inf"),
    "", "text", "ünïcödé \U0001f525", "x" * 300, b"", b"bytes\xff", b"y" * 300, bytearray(b"z\xfe"), 1 - 2j,
    (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], list(range(2000)), {}, {"a": 1}, {i: str(i) for i in range(2000)},
    {1, 2}, set(), frozenset({1, 2}), OrderedDict(a=1, b=[2]), Counter("hello"), [[[[]]]], {"nested": ({"x": [()]},)},
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(protocol: int) -> None:
    for value in VALUES:
        again = read(pickle.dumps(value, protocol))
        assert again == value and type(again) is type(value)


def test_shared_and_recursive_objects() -> None:
    shared: list[Any] = [1]
    shared.append(shared)
    again = read(pickle.dumps([shared, shared], 2))
    assert again[0] is again[1] and again[0][1] is again[0]


def test_attributes_of_ordered_dicts() -> None:
    value = OrderedDict(a=1)
    value._metadata = {"version": 2}  # type: ignore[attr-defined]
    assert read(pickle.dumps(value, 2))._metadata == {"version": 2}


def test_strings_of_python_2() -> None:
    data = b"\x80\x02U\x04caf\xe9."
    assert read(data, encoding="latin1") == "café"
    assert read(data, encoding="bytes") == b"caf\xe9"


def test_names_of_python_2() -> None:
    assert read(b"\x80\x02" + a_global("__builtin__", "set") + b"].".replace(b".", b"\x85R.")) == set()


# -------------------------------------------------------------------------------------------- what is not allowed


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("posix", "system"),
        ("__builtin__", "getattr"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("subprocess", "Popen"),
        ("functools", "partial"),
        ("numpy", "fromfile"),
        ("flambeau", "ones"),
    ],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_other_globals(module: str, name: str, stacked: bool) -> None:
    reference = text(module) + text(name) + b"\x93" if stacked else a_global(module, name)
    with pytest.raises(pickle.UnpicklingError, match=rf"GLOBAL .*{name}"):
        read(b"\x80\x04" + reference + b".")


def test_the_message_says_how_to_allow_it() -> None:
    with pytest.raises(pickle.UnpicklingError, match="was not an allowed global by default") as raised:
        read(b"\x80\x02" + a_global("somewhere.inside", "Thing") + b".")
    for hint in ("add_safe_globals([somewhere.inside.Thing])", "safe_globals([somewhere.inside.Thing])", "weights_only=False"):
        assert hint in str(raised.value)


def test_nobody_can_allow_the_operating_system() -> None:
    import os

    names.add_safe_globals([(os.system, "posix.system")])
    with pytest.raises(pickle.UnpicklingError, match=r"unsupported GLOBAL posix\.system whose module posix is blocked"):
        read(b"\x80\x02" + a_global("posix", "system") + b".")


def test_state_cannot_be_set_on_what_is_ours() -> None:
    state = b"N}" + text("itemsize") + b"K\x08s\x86b."  # (None, {"itemsize": 8})
    for target in (a_global("torch", "float32"), a_global("torch", "Size"), a_global("torch._utils", "_rebuild_tensor_v2"), b"]"):
        with pytest.raises(pickle.UnpicklingError, match="Can only set the state of OrderedDict or of classes that were allowed"):
            read(b"\x80\x02" + target + state)
    assert flambeau.float32.itemsize == 4


@pytest.mark.parametrize(
    "program",
    [
        b"]K\x01\x85R.",  # call a list
        a_global("torch", "float32") + b")R.",  # call a dtype
        a_global("torch", "Tensor") + b"(J\xff\xff\xff\x7ftR.",  # allocate a huge tensor
        a_global("torch", "FloatStorage") + b")\x81.",  # make a storage
        a_global("collections", "OrderedDict") + b")R" + b")R.",  # call what was made
        b"K\x01)\x81.",  # make an object of a number
    ],
)
def test_only_globals_are_called(program: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="Trying to call"):
        read(b"\x80\x02" + program)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"}K\x01a.", "Can only append to a list"),
        (b"K\x01(K\x02e.", "Can only append to a list"),
        (b"](K\x02\x90.", "Can only add to a set"),
        (b"]K\x00K\x01s.", "Can only set items of dict"),
        (b"K\x05Q.", "Only persistent_load of storage is allowed"),
        (text("module") + b"N\x86Q.", "Only persistent_load of storage is allowed"),
        (a_global("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.", "bytearray are made of what they hold, not of its size"),
        (a_global("_codecs", "encode") + text("x") + text("zlib") + b"\x86R.", "cannot be encoded as 'zlib'"),
        (a_global("torch._utils", "_rebuild_parameter") + b"K\x01\x89N\x87R.", "Parameter"),
        (a_global("torch._tensor", "_rebuild_from_type_v2") + a_global("builtins", "set") + b"N)Nt(tR.", "."),
        (b"0.", "empty stack"),
        (b"t.", "a mark that it has not set"),
        (b"h\x05.", "refers to value 5, which it has not made"),
        (b"}(K\x01u.", "a key without a value"),
        (b"I01\n.", "Unsupported operand"),
        (b"P1\n.", "Unsupported operand"),
        (b"\x80\xff.", "unsupported pickle protocol"),
        (b"}]K\x01s.", "unhashable"),
        (b"X\xff\xff\xff\x7fabc", "cut off"),
        (b"\x8e" + b"\xff" * 8 + b"abc", "cut off"),
        (b"cposix" + b"x" * 10000, "name is too long"),
        (b"", "cut off"),
    ],
)
def test_pickles_that_make_no_sense(program: bytes, message: str) -> None:
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match=message):
        read(b"\x80\x02" + program)


def test_deep_nesting_is_no_danger() -> None:
    value = read(b"\x80\x04" + b")" + b"\x85" * 100_000 + b".")
    depth = 0
    while value:
        value = value[0]
        depth += 1
    assert depth == 100_000


DEEP, WIDE = b")" + b"\x85" * 1_000_000, b")" + b"2\x86" * 60
"""Tuples in each other, more than the stack has room for; and pairs of one and the same, more than there is time for."""


@pytest.mark.parametrize("bomb", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize(
    "use",
    [
        b"}%bNs.",  # a key
        b"}(%bNu.",
        b"\x8f(%b\x90.",  # an element of a set
        b"(%b\x91.",
        a_global("builtins", "set") + b"](%be\x85R.",
        a_global("builtins", "frozenset") + b"](%be\x85R.",
        a_global("collections", "Counter") + b"](%be\x85R.",
        a_global("collections", "OrderedDict") + b"](%bN\x86e\x85R.",
    ],
)
def test_tuples_that_cannot_be_hashed(use: bytes, bomb: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="too many, or too deep"):
        read(b"\x80\x04" + use % bomb)


def test_tuples_that_can_be_hashed() -> None:
    key = tuple((number, (str(number), frozenset([number]))) for number in range(1000))
    assert read(pickle.dumps({key: key, "set": {key}}, 4)) == {key: key, "set": {key}}


@pytest.mark.parametrize(
    "program",
    [
        b"%bQ.",  # a storage
        b"%b)R.",  # a call
        b"%b)\x81.",
        a_global("_codecs", "encode") + text("x") + b"%b\x86R.",
        a_global("torch.serialization", "_get_layout") + b"%b\x85R.",
        a_global("torch.storage", "UntypedStorage") + b"0" + a_global("torch._utils", "_rebuild_tensor_v3") + b"(N%bNNNNN" + b"tR.",
        a_global("torch._tensor", "_rebuild_from_type_v2") + b"(%bNNNtR.",
        a_global("torch", "device") + b"%b\x85R.",
    ],
)
def test_errors_do_not_write_down_what_has_no_end(program: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, RuntimeError)) as raised:
        read(b"\x80\x04" + program % WIDE)
    assert len(str(raised.value)) < 500


# ------------------------------------------------------------------------------------------------ what was allowed


@pytest.mark.parametrize("protocol", [2, 4])
def test_objects_of_allowed_classes(protocol: int) -> None:
    slotted = Slotted()
    slotted.x = 7  # type: ignore[attr-defined]
    data = pickle.dumps([Point(3), slotted, WithState(4)], protocol)
    with pytest.raises(pickle.UnpicklingError, match="Point was not an allowed global"):
        read(data)
    names.add_safe_globals([Point, Slotted, WithState])
    point, slotted, with_state = read(data)
    assert type(point) is Point and point.x == 3
    assert type(slotted) is Slotted and slotted.x == 7
    assert type(with_state) is WithState and with_state.x == 8


# ------------------------------------------------------------------------------------------------------ tensors


def rebuild(offset: Any, size: Any, stride: Any, **options: Any) -> flambeau.Tensor:
    """What a file gets that asks for these numbers of a storage of 12 floats."""
    function = names.safe("torch._utils", "_rebuild_tensor_v2")
    return function(LoadedStorage.empty(48, flambeau.float32), offset, size, stride, False, OrderedDict(), **options)


def test_tensors_within_their_storage() -> None:
    assert rebuild(0, (3, 4), (4, 1)).shape == (3, 4)
    assert rebuild(11, (1,), (100,)).shape == (1,)
    assert rebuild(12, (0,), (1,)).shape == (0,)
    assert rebuild(3, (5, 2), (0, 1)).stride() == (0, 1)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (13,), (1,)), (1, (12,), (1,)), (0, (3, 4), (5, 1)), (12, (1,), (1,)), (0, (2,), (2**62,)), (2**62, (1,), (1,))],
)
def test_tensors_that_reach_past_their_storage(offset: int, size: tuple, stride: tuple) -> None:
    with pytest.raises(RuntimeError, match=r"requires a storage of \d+ bytes, but the file has one of 48 bytes"):
        rebuild(offset, size, stride)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), ()),
        (0, (2.0,), (1,)),
        (0, ("2",), (1,)),
        (None, (), ()),
        (0, (2**63,), (0,)),
    ],
)
def test_tensors_of_impossible_numbers(offset: Any, size: Any, stride: Any) -> None:
    with pytest.raises(RuntimeError, match="invalid tensor"):
        rebuild(offset, size, stride)


def test_pending_conjugation_and_negation_are_done() -> None:
    storage = LoadedStorage.empty(8, flambeau.complex64)
    storage.data().view("complex64")[:] = 1 + 2j
    function = names.safe("torch._utils", "_rebuild_tensor_v2")
    assert function(storage, 0, (), (), False, None, {"conj": True}).item() == 1 - 2j
    assert function(storage, 0, (), (), False, None, {"neg": True}).item() == -1 - 2j


def test_fields_of_tensors_cannot_be_set() -> None:
    function = names.safe("torch._utils", "_rebuild_parameter_with_state")
    for name in ("_grad", "_views", "layout", "add", "__class__"):
        with pytest.raises(RuntimeError, match=f"'{name}' is an attribute of every tensor, which a file cannot change"):
            function(flambeau.ones(1), True, None, {name: 1})


def test_the_unrestricted_reader_translates_names() -> None:
    data = b"\x80\x02" + a_global("torch.nn.modules.activation", "ReLU") + b")\x81."
    assert isinstance(load_anything(io.BytesIO(data), no_storage, pickle), flambeau.nn.ReLU)
    assert load_anything(io.BytesIO(pickle.dumps(Point)), no_storage, pickle) is Point
