"""PyTorch's names for ours, and what the user allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction

import pytest

import flambeau
from flambeau import nn
from flambeau._serialization import names


@pytest.fixture(autouse=True)
def _nothing_allowed() -> Iterator[None]:
    names.clear_safe_globals()
    yield
    names.clear_safe_globals()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("flambeau", "torch"),
        ("flambeau.nn.modules.linear", "torch.nn.modules.linear"),
        ("flambeau.vision", "torchvision"),
        ("flambeau.vision.models.resnet", "torchvision.models.resnet"),
        ("flambeaux", "flambeaux"),
        ("collections", "collections"),
    ],
)
def test_modules(ours: str, theirs: str) -> None:
    assert names.torch_module(ours) == theirs
    assert names.our_module(theirs) == ours


def test_find_imports_what_a_name_stands_for() -> None:
    assert names.find("torch.nn.modules.linear", "Linear") is nn.Linear
    assert names.find("torch", "Size") is flambeau.Size
    assert names.find("torch", "bfloat16") is flambeau.bfloat16
    assert names.find("collections", "OrderedDict.fromkeys")("a") == OrderedDict(a=None)
    with pytest.raises(AttributeError):
        names.find("torch.nn", "NoSuchLayer")


def test_what_is_safe_by_itself() -> None:
    assert names.safe("torch.nn.parameter", "Parameter") is nn.Parameter
    assert names.safe("collections", "OrderedDict") is OrderedDict
    for module, name in (("builtins", "eval"), ("torch.nn.modules.linear", "Linear"), ("os", "system")):
        with pytest.raises(KeyError):
            names.safe(module, name)


def test_allowing_more() -> None:
    names.add_safe_globals([Fraction, (Fraction, "other.place.Fraction"), nn.Linear])
    assert names.safe("fractions", "Fraction") is names.safe("other.place", "Fraction") is Fraction
    assert names.safe("torch.nn.modules.linear", "Linear") is nn.Linear
    assert names.is_allowed(Fraction) and not names.is_allowed(dict)
    assert names.get_safe_globals() == [Fraction, (Fraction, "other.place.Fraction"), nn.Linear]
    names.clear_safe_globals()
    assert names.get_safe_globals() == []


def test_a_context_allows_for_a_while() -> None:
    names.add_safe_globals([Fraction])
    with pytest.raises(ZeroDivisionError), names.safe_globals([nn.Linear, Fraction]):
        assert names.get_safe_globals() == [Fraction, nn.Linear]
        raise ZeroDivisionError
    assert names.get_safe_globals() == [Fraction]


def test_what_cannot_be_allowed() -> None:
    for value in (3, (Fraction, 3)):
        with pytest.raises(TypeError, match="expected"):
            names.add_safe_globals([value])  # type: ignore[list-item]


def test_a_context_is_of_its_thread() -> None:
    seen: list[int] = []
    with names.safe_globals([Fraction]):
        thread = threading.Thread(target=lambda: seen.append(len(names.get_safe_globals())))
        thread.start()
        thread.join()
        assert names.get_safe_globals() == [Fraction] and names.is_allowed(Fraction)
    assert seen == [0] and not names.is_allowed(Fraction)
