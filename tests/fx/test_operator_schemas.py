"""Calls brought to one form."""

from __future__ import annotations

import operator
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.fx.operator_schemas import (
    ArgsKwargsPair,
    create_type_hint,
    get_signature_for_torch_op,
    normalize_function,
    normalize_module,
    type_matches,
)


def test_functions():
    x = torch.ones(2)
    assert normalize_function(torch.nn.functional.relu, (x,)) == ArgsKwargsPair((x,), {"inplace": False})
    assert normalize_function(torch.sum, (x,), {"dim": 0}) == ((x,), {"dim": 0, "keepdim": False, "dtype": None})
    names = normalize_function(torch.add, (x, 2), normalize_to_only_use_kwargs=True)
    assert names == ((), {"input": x, "other": 2, "alpha": 1})
    assert normalize_function(operator.add, (x, 2), normalize_to_only_use_kwargs=True) == ((), {"input": x, "other": 2})
    assert normalize_function(torch.ops.aten.relu.default, (x,)) == ((x,), {})
    assert normalize_function(torch.relu, (x, 1, 2)) is None and normalize_function(torch.zeros, (2, 3)) is None
    assert normalize_function(lambda a, b=3: a, (1,)) == ((1,), {"b": 3})


def test_signatures():
    (signature,) = get_signature_for_torch_op(torch.lerp)
    assert list(signature.parameters) == ["input", "end", "weight"]
    assert get_signature_for_torch_op(len) is None and get_signature_for_torch_op(torch.relu, True)[1] is None


def test_modules():
    x, network = torch.ones(2), nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    assert normalize_module(network, "0", (x,), normalize_to_only_use_kwargs=True) == ((), {"input": x})
    network.add_module("own", type("Own", (nn.Module,), {"forward": lambda self, a: a})())
    assert normalize_module(network, "own", (x,)) is None
    with pytest.raises(RuntimeError, match="none of this name"):
        normalize_module(network, "nowhere", (x,))


def test_types():
    assert (
        create_type_hint([int, bool]) == list[int]
        and create_type_hint((int, float)) == tuple[Any, ...]
        and create_type_hint([]) == list[Any]
    )
    assert (
        type_matches(int | None, int)
        and type_matches(int | str, str)
        and type_matches(list[int], int)
        and type_matches(list[float], list[int])
    )
    assert type_matches(float, int) and not type_matches(int, str) and not type_matches(list[int], list[str]) and type_matches(Any, str)
