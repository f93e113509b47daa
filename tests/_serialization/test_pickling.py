"""Pickles with PyTorch's names."""

from __future__ import annotations

import io
import pickle
import pickletools
from types import SimpleNamespace
from typing import Any

import pytest

import flambeau
from flambeau import nn
from flambeau._serialization import pickling
from flambeau._serialization.unpickling import load_anything


def dumped(obj: Any, protocol: int = 2, pickle_module: Any = pickle) -> bytes:
    stream = io.BytesIO()
    pickling.dump(obj, stream, pickle_module, protocol, lambda reference: ("storage", reference.type, "0", "cpu", reference.numel))
    return stream.getvalue()


def names_in(data: bytes) -> set[str]:
    return {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}


class Inside:
    class Nested:
        pass


def test_ours_are_written_as_pytorchs() -> None:
    assert names_in(dumped([flambeau.Size([1]), flambeau.float16, flambeau.device("cpu"), nn.Linear, Inside])) == {
        "torch Size",
        "torch float16",
        "torch device",
        "torch.nn.modules.linear Linear",
        f"{__name__} Inside",
    }
    assert names_in(dumped([flambeau.ones(1), nn.Parameter(flambeau.ones(1)), flambeau.ones(1, dtype=flambeau.uint16)])) == {
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v3",
        "torch FloatStorage",
        "torch.storage UntypedStorage",
        "torch uint16",
        "collections OrderedDict",
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_classes_and_functions_come_back(protocol: int) -> None:
    objects = [flambeau.float32, flambeau.Size, nn.Linear, nn.functional.relu, Inside.Nested, len, dumped]
    assert load_anything(io.BytesIO(dumped(objects, protocol)), pytest.fail, pickle) == objects


def test_what_cannot_be_found_again_is_an_error() -> None:
    class Local(nn.Module):
        pass

    Local.__module__ = "flambeau.nn"
    with pytest.raises(pickle.PicklingError, match=r"not found as flambeau\.nn\.test_what_.*Local"):
        dumped(Local)


def test_a_pickler_that_cannot_write_names() -> None:
    module = SimpleNamespace(__name__="fast", Pickler=pickle.Pickler)
    with pytest.raises(TypeError, match=r"fast\.Pickler cannot save tensors: it is not derived from"):
        dumped([], pickle_module=module)


def test_keys_of_storages() -> None:
    base = flambeau.ones(3)
    storages = pickling.Storages()
    references = [pickling.reduce_tensor(tensor)[1][0] for tensor in (base, base[1:], flambeau.ones(2))]
    assert [storages.key(reference) for reference in references] == ["0", "0", "1"]
    assert list(storages.by_key) == ["0", "1"] and storages.by_key["0"].numel == 3
