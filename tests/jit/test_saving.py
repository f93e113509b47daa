"""Loaded TorchScript programs, saved again and loaded: the same program with what it holds now. (`python -m parity.programs` lets PyTorch load them.)"""

from __future__ import annotations

import copy
import io
import pickletools
import re
import zipfile

import pytest

import flambeau as torch
from flambeau import jit
from tests.jit.test_torchscript import EXPECTED, NAMES, PROGRAMS, assert_same, loaded


def again(module, **options):
    file = io.BytesIO()
    jit.save(module, file, **options)
    file.seek(0)
    return jit.load(file)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_program_gives_the_same(name):
    args = EXPECTED[name]["args"]
    module = jit.load(PROGRAMS / name)
    copied = again(module)
    assert copied.training == module.training and copied.original_name == module.original_name
    assert [key for key, _ in copied.named_parameters()] == [key for key, _ in module.named_parameters()]
    state = module.state_dict()
    assert all(torch.equal(each, state[key]) for key, each in copied.state_dict().items()) and list(copied.state_dict()) == list(state)
    with torch.no_grad():
        twice, results = again(copied), module(*args)
        assert_same(copied(*args), results)
        assert_same(twice(*args), results)


def test_what_has_changed_is_saved(tmp_path):
    module = loaded("scripted_resnet")
    x = torch.ones(1, 3, 8, 8)
    with torch.no_grad():
        module.fc.bias.add_(1)
    module.train()
    module.save(tmp_path / "net.pt")
    copied = jit.load(tmp_path / "net.pt")
    assert copied.training and all(each.training for each in copied.modules())
    assert torch.equal(copied.eval()(x), module.eval()(x)) and torch.equal(copied.fc.bias, module.fc.bias)
    assert again(module.double()).fc.weight.dtype is torch.float64


def test_attributes_keep_their_types_and_identities():
    module = loaded("scripted_language")
    module.table = {"b": [3], "c": []}
    copied = again(module)
    assert copied.table == {"b": [3], "c": []} and copied.cache is None and copied.colour.name == "RED"
    assert copied.again[0] is copied.weight and type(copied.weight) is torch.nn.Parameter
    assert again(copy.deepcopy(module)).again[0] is not module.weight
    part = again(loaded("scripted_resnet").get_submodule("fc"))
    assert part.original_name == "Linear" and part(torch.ones(1, part.weight.shape[1])).shape == (1, part.weight.shape[0])


def test_extra_files_and_records(tmp_path):
    module = loaded("scripted_resnet")
    module.save(str(tmp_path / "net.pt"), _extra_files={"note.txt": "a note", "bytes": b"\x00\x01"})
    found = {"note.txt": "", "bytes": "", "none": ""}
    jit.load(tmp_path / "net.pt", _extra_files=found)
    assert found == {"note.txt": b"a note", "bytes": b"\x00\x01", "none": ""}
    with zipfile.ZipFile(tmp_path / "net.pt") as written, zipfile.ZipFile(PROGRAMS / "scripted_resnet.pt") as original:
        code = {name.partition("/")[2]: original.read(name) for name in original.namelist() if name.endswith(".py")}
        assert {name.partition("/")[2]: written.read(name) for name in written.namelist() if name.endswith(".py")} == code
        pickled = written.read("archive/data.pkl")
        versions = [
            {name.rpartition("/")[2]: file.read(name) for name in file.namelist() if name.endswith("version")}
            for file in (written, original)
        ]
        assert versions[0] == versions[1]
    names = {argument for operation, argument, _ in pickletools.genops(pickled) if operation.name == "GLOBAL"}
    assert {re.split("[. ]", name)[0] for name in names} == {"__torch__", "collections", "torch"}


def test_a_missing_attribute_is_said():
    module = loaded("scripted_resnet")
    del module.fc
    with pytest.raises(RuntimeError, match="no attribute 'fc'"):
        jit.save(module, io.BytesIO())
