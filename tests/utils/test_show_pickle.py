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


class Ring(list):
    pass


def test_what_holds_itself():
    ring = Ring()
    ring.append(ring)
    out = io.StringIO()
    show_pickle.DumpUnpickler.dump(io.BytesIO(pickle.dumps(ring)), out)
    assert "Ring(...,)" in out.getvalue()


@pytest.mark.parametrize("data", [b"\x8c\x02\xff\xfe.", b"X\x02\0\0\0\xff\xfe.", b"\x8d\x02\0\0\0\0\0\0\0\xff\xfe."])
def test_text_that_is_none(data):
    assert "unrecoverable" in show_pickle.DumpUnpickler.dump(io.BytesIO(data), io.StringIO())
    with pytest.raises(pickle.UnpicklingError, match="UnicodeDecodeError"):
        show_pickle.DumpUnpickler(io.BytesIO(data)).load()


HUGE = (1 << 62).to_bytes(8, "little")


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"(lp0\n", b"\x96" + HUGE + b".", b"\x8d" + HUGE + b".", b"cos\nsystem\nI1\nI2\ns.", b"}(]I1\nu."]
)
def test_damaged_pickles(data, tmp_path, capsys):
    with pytest.raises(pickle.UnpicklingError, match="no pickle, or it is damaged"):
        show_pickle.DumpUnpickler(io.BytesIO(data)).load()
    (tmp_path / "x.pkl").write_bytes(data)
    assert show_pickle.main(["show_pickle", str(tmp_path / "x.pkl")]) == 2 and "x.pkl: this is no pickle" in capsys.readouterr().err


def test_usage(tmp_path, capsys):
    assert show_pickle.main(["show_pickle"]) == 2 and "usage" in capsys.readouterr().err
    torch.save(torch.ones(1), tmp_path / "x.pt")
    for name in ("x.pt@*.other", "missing", "missing@*"):
        assert show_pickle.main(["show_pickle", str(tmp_path / name)]) == 2 and name in capsys.readouterr().err
