"""Entry points on this machine, and files by URL."""

from __future__ import annotations

import hashlib
import importlib
import sys

import pytest

import flambeau as torch
from flambeau import hub


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_folder", str(tmp_path / "hub"))
    (tmp_path / "repository").mkdir()
    return tmp_path


def test_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_folder", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert hub.get_dir() == str(tmp_path / "hub")
    hub.set_dir(tmp_path / "other")
    assert hub.get_dir() == str(tmp_path / "other")


def test_entry_points(folder):
    (folder / "repository" / "hubconf.py").write_text(
        "dependencies = ['numpy']\nimport flambeau\nfrom helper import SIZE\ndef net(width=SIZE):\n    'A network.'\n    return flambeau.nn.Linear(width, 2)\n"
    )
    (folder / "repository" / "helper.py").write_text("SIZE = 7\n")
    where = str(folder / "repository")
    assert hub.list(where, source="local") == ["net"] and hub.help(where, "net", source="local") == "A network."
    assert hub.load(where, "net", source="local").in_features == 7 and hub.load(where, "net", width=3, source="local").in_features == 3
    with pytest.raises(RuntimeError, match="callable absent"):
        hub.load(where, "absent", source="local")
    (folder / "repository" / "hubconf.py").write_text("dependencies = ['no_such_package']\n")
    with pytest.raises(RuntimeError, match="no_such_package"):
        hub.list(where, source="local")


def test_refusals(folder):
    with pytest.raises(NotImplementedError, match="clone it"):
        hub.load("pytorch/vision", "resnet18")
    with pytest.raises(FileNotFoundError, match=r"hubconf\.py"):
        hub.load(str(folder), "net", source="local")
    with pytest.raises(ValueError, match="Unknown source"):
        hub.load(str(folder), "net", source="web")


def test_state_dict(folder):
    torch.save({"w": torch.arange(3)}, folder / "saved.pth")
    digest = hashlib.sha256((folder / "saved.pth").read_bytes()).hexdigest()
    named = folder / f"net-{digest[:8]}.pth"
    (folder / "saved.pth").rename(named)
    assert hub.load_state_dict_from_url(named.as_uri(), check_hash=True, progress=False)["w"].tolist() == [0, 1, 2]
    kept = folder / "hub" / "checkpoints" / named.name
    assert kept.is_file()
    named.unlink()
    assert hub.load_state_dict_from_url(named.as_uri(), check_hash=True)["w"].tolist() == [0, 1, 2]


def test_wrong_hash_leaves_nothing(folder):
    source = folder / "net-00000000.pth"
    source.write_bytes(b"other bytes")
    with pytest.raises(RuntimeError, match="invalid hash"):
        hub.load_state_dict_from_url(source.as_uri(), check_hash=True, progress=False)
    assert not list((folder / "hub" / "checkpoints").iterdir())


def test_progress_without_its_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "flambeau.hub")
    tqdm = importlib.import_module("flambeau.hub").tqdm
    assert list(tqdm([1, 2, 3], desc="three")) == [1, 2, 3]
    with tqdm(total=10) as shown:
        shown.update(5)
    with tqdm(total=10, disable=True) as shown:
        shown.update(5)
    lines = capsys.readouterr().err.replace("\r", "|").splitlines()
    assert lines == ["|three:  33% of 3|three:  67% of 3|three: 100% of 3", "|:  50% of 10"]
