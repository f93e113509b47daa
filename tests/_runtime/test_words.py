"""The language of words: what its constructs compute, and that Python's objects are where it takes them to be."""

from __future__ import annotations

import ctypes
import sys

import pytest

from flambeau._runtime import words

pytestmark = pytest.mark.skipif(not words.supported(), reason="this Python's objects are not known to `words`")


def compiled(source: str, name: str, structures: dict[str, words.Structure] | None = None):
    """A function of a text, as one that Python can call with integers."""
    address = words.build(source, structures or {}, (name,))[name]
    count = source[source.index(f"def {name}(") :].partition(")")[0].count(",") + 1
    return ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(address)


def test_arithmetic_and_comparisons() -> None:
    function = compiled("def f(a, b):\n    return (a + b) * 3 - (a << 2) + (b & 6) + ~a + (a < b) + (a == b) * 100 + -b", "f")
    for a, b in ((1, 2), (5, 5), (-3, 7), (7, -3)):
        assert function(a, b) == (a + b) * 3 - (a << 2) + (b & 6) + ~a + (a < b) + (a == b) * 100 + -b


def test_loops_and_conditions() -> None:
    source = """
def odd(number):
    return number & 1

def f(end):
    total = 0
    number = 0
    while number < end:
        if odd(number) and not number == 3 or number == 8:
            total += number
        elif number == 4:
            total += 1000
        number += 1
    return total
"""
    assert compiled(source, "f")(10) == 1 + 5 + 7 + 9 + 8 + 1000


def test_what_is_not_needed_is_not_evaluated() -> None:
    source = "def f(address):\n    if address != 0 and at(address) == 7:\n        return 1\n    return 0"
    function = compiled(source, "f")
    assert function(0) == 0 and function(ctypes.addressof(ctypes.c_int64(7))) == 1


def test_memory_and_floats() -> None:
    source = """
def f(address):
    put(address + 8, at(address) + 1)
    return PyFloat_FromDouble(single(address + 16))
"""
    block = (ctypes.c_int64 * 3)(41, 0, 0)
    ctypes.c_float.from_address(ctypes.addressof(block) + 16).value = 2.5
    address = words.build(source, {}, ("f",))["f"]
    assert ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_int64)(address)(ctypes.addressof(block)) == 2.5
    assert block[1] == 42


class Pair:
    __slots__ = ("first", "second")


def test_assigning_to_a_field_takes_over_a_reference() -> None:
    source = """
def swap(pair: Pair):
    first = pair.first
    Py_IncRef(first)
    Py_IncRef(pair.second)
    pair.first = pair.second
    pair.second = first
    return references(first)
"""
    swap = compiled(source, "swap", {"Pair": words.Structure.of_class(Pair, Pair.__slots__)})
    pair, objects = Pair(), [object(), object()]
    pair.first, pair.second = objects
    before = [sys.getrefcount(each) for each in objects]
    for _ in range(5):
        swap(id(pair))
    assert (pair.first, pair.second) == (objects[1], objects[0])
    assert [sys.getrefcount(each) for each in objects] == before


def test_a_field_that_was_never_set_is_zero() -> None:
    get = compiled("def get(pair: Pair):\n    return pair.second", "get", {"Pair": words.Structure.of_class(Pair, Pair.__slots__)})
    pair = Pair()
    assert get(id(pair)) == 0
    pair.second = pair
    assert get(id(pair)) == id(pair)
    pair.second = None


def test_references_are_counted_as_python_does() -> None:
    count = compiled("def count(object):\n    return references(object)", "count")
    some = object()
    others = [some] * 5
    assert count(id(some)) == sys.getrefcount(some) - 1 == 1 + len(others)
