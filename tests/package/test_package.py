"""Packages: code and objects that leave, and come back in another process's place."""

from __future__ import annotations

import importlib
import io
import sys
import zipfile

import pytest

import flambeau as torch
from flambeau import nn, package
from flambeau.package import GlobGroup, PackageExporter, PackageImporter, PackagingError, analyze

SOURCES = {
    "__init__.py": "VALUE = 1\n",
    "model.py": """
import torch
import json
from . import helpers
from .inner import deep
import outside


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x):
        return helpers.twice(self.layer(x)) + deep.SHIFT


class Holder:
    class Inner:
        value = 5


def where():
    import os
    return os.sep, __torch_package__


def fail():
    raise ValueError("from the package")
""",
    "helpers.py": "def twice(x):\n    return 2 * x\n",
    "inner/__init__.py": "",
    "inner/deep.py": "SHIFT = 3\nfrom .. import helpers\n",
}


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A package of Python's on the path, and the module `outside` that it needs."""
    folder = tmp_path / "code"
    for name, source in SOURCES.items():
        path = folder / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    (folder / "outside.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "torch", torch)
    yield importlib.import_module("shop.model")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "outside")]:
        del sys.modules[name]


@pytest.fixture
def net(code):
    torch.manual_seed(0)
    return code.Net()


def exported(net, **options):
    file = io.BytesIO()
    with PackageExporter(file, **options) as exporter:
        exporter.extern("outside")
        exporter.intern("shop.**")
        exporter.save_pickle("model", "model.pkl", net)
        exporter.save_text("data", "names.txt", "ü")
        exporter.save_binary("data", "raw.bin", b"\0\1")
    return file


def test_a_network_comes_back_with_its_code(net):
    importer = PackageImporter(exported(net))
    loaded = importer.load_pickle("model", "model.pkl")
    x = torch.ones(1, 2)
    assert torch.equal(loaded(x), net(x)) and type(loaded) is not type(net)
    assert package.is_from_package(loaded) and not package.is_from_package(net) and package.is_from_package(importer.import_module("shop"))
    assert type(loaded).__module__ == f"{importer.id()}.shop.model" and isinstance(loaded, nn.Module)
    assert importer.load_text("data", "names.txt") == "ü" and importer.load_binary("data", "raw.bin") == b"\0\1"
    assert importer.python_version() == ".".join(map(str, sys.version_info[:3]))


def test_modules_are_apart_from_those_of_this_python(net, code):
    importer = PackageImporter(exported(net))
    module = importer.import_module("shop.model")
    assert module is not code and sys.modules["shop.model"] is code and module.helpers.twice(2) == 4 and module.where()[1] is True
    assert module.torch is torch and module.outside is sys.modules["outside"] and module.deep.helpers is module.helpers
    assert importer.import_module(".helpers", "shop") is module.helpers
    other = PackageImporter(exported(net))
    assert other.id() != importer.id() and other.import_module("shop.helpers") is not module.helpers
    with pytest.raises(ValueError, match="from the package") as error:
        module.fail()
    assert "raise ValueError" in str(error.traceback[-1].statement)  # the source is shown


def test_reading_runs_nothing():
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.save_source_string("poison.deep", "raise SystemExit('the code was run')")
    importer = PackageImporter(file)
    assert importer.file_structure().has_file("poison/deep.py") and importer.get_source("poison.deep").startswith("raise")
    assert "deep.py" in str(importer.file_structure(include="**/*.py")) and not importer.file_structure(exclude="poison/**").has_file(
        "poison"
    )
    with pytest.raises(SystemExit):
        importer.import_module("poison.deep")
    assert "poison.deep" not in importer.modules


def test_structure_as_text(net):
    text = str(PackageImporter(exported(net)).file_structure(include=["shop/**", "data/*"]))
    assert text.splitlines()[0] == "─── <binary>"
    assert "    ├── data\n    │   ├── names.txt\n    │   └── raw.bin\n" in text and "    └── shop\n        ├── inner\n" in text


def test_tensors_share_memory_as_they_did(tmp_path):
    x = torch.arange(6.0)
    path = tmp_path / "tensors.pt"
    with PackageExporter(path) as exporter:
        exporter.save_pickle(
            "t", "both.pkl", {"whole": x, "part": x[2:4], "none": torch.ones(0), "half": torch.ones(2, dtype=torch.bfloat16)}
        )
    found = PackageImporter(path).load_pickle("t", "both.pkl")
    found["part"][0] = 9
    assert found["whole"].tolist() == [0, 1, 9, 3, 4, 5] and found["none"].shape == (0,) and found["half"].dtype is torch.bfloat16


def test_what_is_needed_is_found(net):
    exporter = PackageExporter(io.BytesIO())
    exporter.extern("outside")
    exporter.intern("shop.**")
    seen = []
    handle = exporter.register_intern_hook(lambda exporter, name: seen.append(name))
    exporter.register_extern_hook(lambda exporter, name: seen.append(f"extern {name}"))
    exporter.save_pickle("model", "model.pkl", net)
    assert (
        {"shop.model", "shop.helpers", "shop.inner.deep"} == set(exporter.interned_modules()) == {name for name in seen if " " not in name}
    )
    assert {"torch", "json", "os", "outside"} <= set(exporter.externed_modules()) and "extern outside" in seen
    assert set(exporter.get_rdeps("shop.helpers")) == {"shop.model", "shop.inner.deep"}
    assert '"shop.model" -> "shop.inner.deep"' in exporter.all_paths("<model.model.pkl>", "shop.inner.deep")
    assert "outside" not in exporter.all_paths("<model.model.pkl>", "shop.inner.deep") and "outside" in exporter.dependency_graph_string()
    handle.remove()
    exporter.save_module("shop")
    assert "shop" in exporter.interned_modules() and "shop" not in seen
    exporter.close()


def test_what_no_pattern_fits(net):
    why = r"(?s)no pattern.*shop\.model, needed by <model\.model\.pkl>"
    with pytest.raises(PackagingError, match=why) as error, PackageExporter(io.BytesIO()) as exporter:
        exporter.save_pickle("model", "model.pkl", net)
    assert analyze.find_first_use_of_broken_modules(error.value) == {"shop.model": ["<model.model.pkl>", "shop.model"]}
    with pytest.raises(PackagingError, match="digraph"), PackageExporter(io.BytesIO(), debug=True) as exporter:
        exporter.save_pickle("model", "model.pkl", net)


def test_the_first_pattern_counts_and_deny_is_an_error(net):
    with pytest.raises(PackagingError, match=r"(?s)denies.*shop\.inner\.deep"), PackageExporter(io.BytesIO()) as exporter:
        exporter.deny("shop.inner.*")
        exporter.intern("shop.**")
        exporter.extern("outside")
        exporter.save_pickle("model", "model.pkl", net)
    assert exporter.denied_modules() == ["shop.inner.deep"]


def test_mocked_modules_can_be_imported_and_not_used(net):
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.mock(["outside", "shop.inner.**"])
        exporter.intern("shop.**")
        exporter.save_pickle("model", "model.pkl", net)
    assert set(exporter.mocked_modules()) == {"outside", "shop.inner.deep"}
    importer = PackageImporter(file)
    loaded = importer.load_pickle("model", "model.pkl")
    with pytest.raises(NotImplementedError, match=r"shop\.inner\.deep\.SHIFT was left out"):
        loaded(torch.ones(1, 2))
    with pytest.raises(NotImplementedError, match="__call__"):
        importer.import_module("outside").function()
    with pytest.raises(PackagingError, match=r"(?s)mocked.*Net in <model\.model\.pkl>"), PackageExporter(io.BytesIO()) as exporter:
        exporter.mock("shop.**")
        exporter.save_pickle("model", "model.pkl", net)


def test_a_loaded_object_can_be_packaged_again(net):
    first = PackageImporter(exported(net))
    loaded = first.load_pickle("model", "model.pkl")
    second = PackageImporter(exported(loaded, importer=(first, package.sys_importer)))
    x = torch.ones(1, 2)
    assert torch.equal(second.load_pickle("model", "model.pkl")(x), net(x))
    with pytest.raises(package.ObjMismatchError, match="importer"):
        exported(loaded)


def test_classes_within_classes(code):
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.extern("outside")
        exporter.intern("shop.**")
        exporter.save_pickle("c", "c.pkl", [code.Holder.Inner, code.Holder.Inner()])
    importer = PackageImporter(file)
    inner, instance = importer.load_pickle("c", "c.pkl")
    assert inner.value == 5 and type(instance) is inner
    again = io.BytesIO()
    with PackageExporter(again, importer=(importer, package.sys_importer)) as exporter:
        exporter.extern("outside")
        exporter.intern("shop.**")
        exporter.save_pickle("c", "c.pkl", [inner, instance])
    assert PackageImporter(again).load_pickle("c", "c.pkl")[1].value == 5


class Packaged:
    """Packages itself as text."""

    def __init__(self, text):
        self.text = text

    def __reduce_package__(self, exporter):
        name = f"text{exporter.get_unique_id()}"
        exporter.save_text("packaged", name, self.text)
        return unpackage, (name,)


def unpackage(importer, name):
    return Packaged(importer.load_text("packaged", name))


def test_objects_that_package_themselves():
    file = io.BytesIO()
    one = Packaged("hello")
    with PackageExporter(file) as exporter:
        exporter.extern(__name__)
        exporter.save_pickle("p", "p.pkl", [one, one])
    first, second = PackageImporter(file).load_pickle("p", "p.pkl")
    assert first.text == "hello" and first is second


def test_source_files(tmp_path):
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .part import X\n")
    (folder / "part.py").write_text("X = 7\n")
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.save_source_file("lib", str(folder))
        exporter.save_source_file("single", str(folder / "part.py"))
    importer = PackageImporter(file)
    assert importer.import_module("lib").X == importer.import_module("single").X == 7
    assert list(importer.get_resource_reader("lib").contents()) == ["part.py", "__init__.py"] or importer.get_resource_reader(
        "lib"
    ).is_resource("part.py")


def test_patterns():
    def fits(group, names):
        return [group.matches(name) for name in names]

    assert fits(GlobGroup("a.**"), ["a", "a.b", "a.b.c", "ab"]) == [True, True, True, False]
    assert fits(GlobGroup("a.*"), ["a", "a.b", "a.b.c"]) == [False, True, False]
    assert fits(GlobGroup("**.b"), ["b", "a.b", "a.c.b", "ab"]) == [True, True, True, False]
    assert fits(GlobGroup(["a.b*", "c"], exclude="a.bc"), ["a.b", "a.bc", "a.bd", "c"]) == [True, False, True, True]
    assert repr(GlobGroup("a.**")) == "GlobGroup(include=a.**, exclude=())"
    with pytest.raises(ValueError, match="whole segments"):
        GlobGroup("a.**b")
    with pytest.raises(package.EmptyMatchError, match="unused"), PackageExporter(io.BytesIO()) as exporter:
        exporter.intern("unused.**", allow_empty=False)


def test_what_cannot_be_packaged(tmp_path):
    for source, match in (("import sys", r"(?s)no pattern.*sys"), ("import not_there_at_all", "not_there_at_all"), ("x = = 1", "Python")):
        with pytest.raises(PackagingError, match=match), PackageExporter(io.BytesIO()) as exporter:
            exporter.save_source_string("m", source)
    with pytest.raises(PackagingError, match=r"compiled|no source"), PackageExporter(io.BytesIO()) as exporter:
        exporter.intern("sys")
        exporter.save_source_string("m", "import sys")
    path = tmp_path / "x.pt"
    with pytest.raises(RuntimeError, match="stop"), PackageExporter(path) as exporter:
        exporter.save_text("a", "b", "c")
        raise RuntimeError("stop")
    assert not path.exists()
    with pytest.raises(RuntimeError, match="finished"):
        exporter.save_text("a", "b", "c")
    with pytest.raises(ValueError, match="without a folder"):
        PackageExporter(path).save_text("a", "../b", "c")


def test_bad_files(tmp_path, net):
    with pytest.raises(FileNotFoundError):
        PackageImporter(tmp_path / "none.pt")
    with pytest.raises(RuntimeError, match="no package"):
        PackageImporter(io.BytesIO(b"text"))
    file = io.BytesIO()
    torch.save({"a": 1}, file)
    with pytest.raises(RuntimeError, match=r"torch\.load"):
        PackageImporter(file)
    good = exported(net)
    importer = PackageImporter(good)
    for call in (lambda: importer.load_text("data", "missing"), lambda: importer.load_pickle("data", "missing")):
        with pytest.raises(RuntimeError, match="no record data/missing"):
            call()
    for name in ("nothing", "shop.nothing"):
        with pytest.raises(ModuleNotFoundError, match=name):
            importer.import_module(name)
    with pytest.raises(ImportError, match="no code"):
        importer.get_source("nothing")
    with pytest.raises(ImportError, match="'outside'"):
        PackageImporter(good, lambda name: name != "outside")
    data = bytearray(good.getvalue())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        start = bytes(data).index(archive.read("archive/shop/helpers.py"))
    data[start] ^= 1
    with pytest.raises(RuntimeError, match=r"helpers\.py"):
        PackageImporter(io.BytesIO(bytes(data))).import_module("shop.helpers")
    for end in range(0, len(data), 997):
        with pytest.raises(RuntimeError):
            PackageImporter(io.BytesIO(bytes(data[:end])))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/.data/extern_modules", "x" * 10_000_000)
    with pytest.raises(RuntimeError, match="compressed"):
        PackageImporter(packed)


def test_sizes_that_lie():
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.save_text("a", "b.txt", "text")
    data = file.getvalue()
    start = data.index(b"PK\x01\x02")  # the directory's first entry: its sizes are at 20 and 24
    lie = (1 << 31).to_bytes(4, "little")
    forged = data[: start + 20] + lie * 2 + data[start + 28 :]
    with pytest.raises(RuntimeError, match=r"claims 2147483648 bytes|cannot be read"):
        PackageImporter(io.BytesIO(forged)).load_text("a", "b.txt")


def test_traced_dependencies(code):
    assert "shop.helpers" in analyze.trace_dependencies(code.helpers.twice, [(1,)])


def test_a_path_without_end_takes_no_memory():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("p/.data/extern_modules", "")
        archive.writestr("p/" + "a/" * 30000 + "x.py", "")
    with pytest.raises(RuntimeError, match="30000 deep"):
        PackageImporter(file)


@pytest.mark.parametrize("record", [".data/extern_modules", ".data/python_version", "m.py"])
def test_what_is_no_text(record):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in {".data/extern_modules", record}:
            archive.writestr(f"p/{name}", b"\xff\xfe" if name == record else b"")
    with pytest.raises(RuntimeError, match=f"{record} of <binary> is no text"):
        importer = PackageImporter(file)
        importer.python_version()
        importer.get_source("m")
