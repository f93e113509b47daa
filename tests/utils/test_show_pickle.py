"""Pickles as text: nothing in them is run."""

from __future__ import annotations

import io
import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils import show_pickle


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle was run')",)


class Plain:
    def __init__(self):
        self.value = 1


def test_a_saved_module(tmp_path):
    torch.save({"a": torch.ones(2), "m": nn.Linear(1, 1)}, tmp_path / "x.pt")
    out = io.StringIO()
    assert show_pickle.main(["show_pickle", f"{tmp_path / 'x.pt'}@*/data.pkl"], out) is None
    text = out.getvalue()
    assert "torch._utils._rebuild_tensor_v2(pers.obj(('storage', torch.FloatStorage, '0', 'cpu', 2),)" in text
    assert "torch.nn.modules.linear.Linear" in text and "'in_features': 1" in text


@pytest.mark.parametrize("protocol", range(2, 6))
def test_nothing_is_run(tmp_path, protocol):
    data = pickle.dumps([Harmful(), Plain(), {1, 2}], protocol=protocol)
    out = io.StringIO()
    found = show_pickle.DumpUnpickler.dump(io.BytesIO(data), out)
    assert 'exec("raise SystemExit' in out.getvalue() and "Plain" in out.getvalue() and "'value': 1" in out.getvalue() and len(found) == 3


def test_old_opcodes_run_nothing_either():
    for data in (b"(S'x'\nios\nsystem\n.", b"(cos\nsystem\nS'x'\no.", b"cos\nsystem\n(S'x'\ntR."):
        assert "os.system('x',)" in repr(show_pickle.DumpUnpickler(io.BytesIO(data)).load())


def test_usage(tmp_path, capsys):
    assert show_pickle.main(["show_pickle"]) == 2 and "usage" in capsys.readouterr().err
    torch.save(torch.ones(1), tmp_path / "x.pt")
    assert show_pickle.main(["show_pickle", f"{tmp_path / 'x.pt'}@*.other"]) == 2
