"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import flambeau
from flambeau import nn


def layers(*sizes):
    return [nn.Linear(size, size) for size in sizes]


def sizes(container):
    return [layer.in_features for layer in container]


def test_sequential():
    net = nn.Sequential(*layers(1, 2, 3))
    assert sizes(net) == [1, 2, 3] and len(net) == 3
    assert net[-1].in_features == 3 and sizes(net[1:]) == [2, 3]
    assert list(net[1:]._modules) == ["1", "2"]
    net[0] = nn.Linear(9, 9)
    del net[1]
    assert sizes(net) == [9, 3] and list(net._modules) == ["0", "1"]
    net.insert(1, nn.Linear(5, 5)).append(nn.Linear(6, 6)).extend(layers(7))
    assert sizes(net) == [9, 5, 3, 6, 7]
    assert net.pop(0).in_features == 9 and sizes(net) == [5, 3, 6, 7]
    del net[::2]
    assert sizes(net) == [3, 7] and sizes(net + nn.Sequential(*layers(1))) == [3, 7, 1]
    net += nn.Sequential(*layers(2))
    assert sizes(net) == [3, 7, 2] and sizes(net * 2) == sizes(2 * net) == [3, 7, 2] * 2
    net *= 2
    assert sizes(net) == [3, 7, 2] * 2
    assert nn.Sequential()(5) == 5


def test_sequential_with_names():
    net = nn.Sequential(OrderedDict(a=nn.Identity(), b=nn.Linear(1, 2)))
    assert net.a is net[0] and net.b is net[1]
    assert list(net[:1]._modules) == ["a"]
    net[1] = nn.Identity()
    assert isinstance(net.b, nn.Identity)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda net: net[3], IndexError, "index 3 is out of range"),
        (lambda net: net.__add__([1]), ValueError, "add operator supports only objects of Sequential class"),
        (lambda net: net * 0, ValueError, "Non-positive multiplication factor 0"),
        (lambda net: net * "x", TypeError, "unsupported operand type"),
        (lambda net: net.insert(9, nn.Identity()), IndexError, "Index out of range: 9"),
        (lambda net: net.append(3), TypeError, "int is not a Module subclass"),
    ],
)
def test_sequential_errors(act, error, text):
    with pytest.raises(error, match=text):
        act(nn.Sequential(*layers(1, 2, 3)))


def test_module_list():
    held = nn.ModuleList(layers(1, 2))
    held += layers(3)
    held.insert(0, nn.Linear(9, 9))
    assert sizes(held) == [9, 1, 2, 3] and sizes(held[-2:]) == [2, 3]
    assert sizes(held + layers(4)) == [9, 1, 2, 3, 4]
    del held[1]
    assert sizes(held) == [9, 2, 3] and held.pop(-1).in_features == 3
    assert len(list(held.parameters())) == 4
    with pytest.raises(TypeError, match="extend should be called with an iterable, but got int"):
        held.extend(3)
    with pytest.raises(NotImplementedError):
        held(1)


def test_module_list_repr_joins_equal_neighbours():
    held = nn.ModuleList([nn.Identity(), nn.Identity(), nn.ReLU()])
    assert repr(held) == "ModuleList(\n  (0-1): 2 x Identity()\n  (2): ReLU()\n)"
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_module_dict():
    held = nn.ModuleDict({"b": nn.Identity(), "a": nn.ReLU()})
    assert list(held) == ["b", "a"] and "a" in held and isinstance(held["a"], nn.ReLU)
    held.update([("c", nn.Tanh())])
    assert list(held.keys()) == ["b", "a", "c"] and isinstance(held.pop("b"), nn.Identity)
    assert [name for name, _ in held.items()] == ["a", "c"] and len(list(held.values())) == 2
    held.clear()
    assert len(held) == 0
    with pytest.raises(ValueError, match="element #0 has length 3; 2 is required"):
        held.update([("a", nn.Identity(), 1)])
    with pytest.raises(TypeError, match="should be called with an iterable of key/value pairs, but got int"):
        held.update(3)
    with pytest.raises(KeyError, match="attribute 'keys' already exists"):
        held["keys"] = nn.Identity()


def test_parameter_list():
    held = nn.ParameterList([flambeau.ones(2), nn.Parameter(flambeau.ones(3)), "text"])
    assert len(held) == 3 and isinstance(held[0], nn.Parameter) and held[-1] == "text"
    assert len(list(held.parameters())) == 2
    held[0] = flambeau.zeros(4)
    held += [flambeau.ones(1)]
    assert held[0].shape == (4,) and len(held[1:]) == 3
    assert repr(held) == (
        "ParameterList(\n"
        "    (0): Parameter containing: [torch.float32 of size 4]\n"
        "    (1): Parameter containing: [torch.float32 of size 3]\n"
        "    (2): Object of type: str\n"
        "    (3): Parameter containing: [torch.float32 of size 1]\n"
        ")"
    )
    with pytest.raises(RuntimeError, match="should not be called"):
        held()
    with pytest.raises(TypeError, match="extend should be called with an iterable"):
        held.extend(flambeau.ones(2))


def test_parameter_dict():
    held = nn.ParameterDict({"b": flambeau.ones(2), "a": flambeau.ones(3)})
    assert list(held) == ["a", "b"]  # a plain dict is taken in sorted order
    held["c"] = flambeau.ones(1)
    assert list(reversed(held)) == ["c", "b", "a"] and "c" in held and len(held) == 3
    assert held.get("x", 5) == 5 and held.setdefault("d", 3) == 3
    assert held.popitem() == ("d", 3) and held.pop("c").shape == (1,)
    other = held | nn.ParameterDict(OrderedDict(z=flambeau.zeros(1)))
    assert list(other) == ["a", "b", "z"] and list(held) == ["a", "b"]
    held |= other
    assert list(held.copy()) == ["a", "b", "z"] and [name for name, _ in held.items()] == ["a", "b", "z"]
    assert list(held.fromkeys(["x"], 1)) == ["x"]
    del held["a"]
    held.clear()
    assert len(held) == 0
    with pytest.raises(TypeError, match="not a string"):
        held[3] = 1
