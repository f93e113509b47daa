"""Running programs with `torch` meaning Flambeau, each in a process of its own."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flambeau", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **environment},
    )


def output(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def script(tmp_path: Path):
    def write(source: str, name: str = "script.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), "utf-8")
        return str(path)

    return write


def test_an_installed_torchvision_keeps_its_name(script, tmp_path):
    script(
        "import torch\nfrom torchvision import inner\nprint(inner.double(torch.ones(1)).item(), __name__)", "site/torchvision/__init__.py"
    )
    script("def double(x): return x * 2", "site/torchvision/inner.py")
    script("Metadata-Version: 2.1\nName: torchvision\nVersion: 9.9\n", "site/torchvision-9.9.dist-info/METADATA")
    path = script("import importlib.metadata, torchvision\nprint(importlib.metadata.version('torchvision'), torchvision.__file__)")
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])}
    expected = f"2.0 torchvision\n9.9 {tmp_path / 'site' / 'torchvision' / '__init__.py'}"
    assert output(run(path, cwd=tmp_path, **environment)) == expected


def test_further_paths_of_modules_hide_nothing(script, tmp_path):
    path = script("""
        import importlib
        import types
        import flambeau
        from flambeau._paths import PATHS

        def at(path):
            return importlib.import_module("flambeau." + PATHS.get(path, path))

        before = {path: vars(at(path.rpartition(".")[0])).get(path.rpartition(".")[2]) for path in PATHS}
        assert all(found is None or isinstance(found, types.ModuleType) for found in before.values()), before
        for path in PATHS:
            assert importlib.import_module(f"torch.{path}") is at(path)
        from torch.profiler.profiler import profile
        from torch.signal.windows.windows import hann
        import torch
        print(torch.profiler.profile is profile, torch.signal.windows.hann is hann)
    """)
    assert output(run(path, cwd=tmp_path)) == "True True"


def test_torch_is_flambeau(script, tmp_path):
    path = script("""
        import sys
        import flambeau, flambeau.version
        import torch, torch.version
        from torch.version import release
        assert torch is flambeau and sys.modules["torch"] is flambeau
        assert torch.version is flambeau.version
        assert torch.__name__ == "torch" and torch.__spec__.name == "flambeau"  # packages ask for the name
        assert torch.version.__spec__.name == "flambeau.version"
        print(release == flambeau.version.release)
    """)
    assert output(run(path, cwd=tmp_path)) == "True"


def test_find_spec_and_metadata_answer_for_torch(tmp_path):
    code = """
import importlib.metadata, importlib.util, sys
print(importlib.util.find_spec("torch") is not None)
print(importlib.metadata.version("torch"), importlib.metadata.metadata("torchvision")["Name"])
print("torch" in sys.modules)
import torch
print(importlib.util.find_spec("torch") is not None, importlib.util.find_spec("torch.no_such_module"))
"""
    from flambeau import version

    expected = f"True\n{version.__version__} torchvision\nFalse\nTrue None"
    assert output(run("-c", code, cwd=tmp_path)) == expected


def test_missing_submodule_is_an_ordinary_import_error(tmp_path):
    result = run("-c", "import torch.no_such_module", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith("ModuleNotFoundError: No module named 'torch.no_such_module'")


def test_program_sees_its_own_main(script, tmp_path):
    path = script(
        """
        import sys, __main__
        print(__name__, __file__ == sys.argv[0], sys.argv[1:], __main__.here, sys.path[0] == __file__.rpartition("/")[0], __spec__)
    """.replace("print", "here = 1\n        print")
    )
    assert output(run(path, "a", "--b", cwd=Path("/"))) == "__main__ True ['a', '--b'] 1 True None"


def test_future_imports_of_ours_do_not_leak(script, tmp_path):
    path = script("def f(x: int): pass\nprint(f.__annotations__)")
    assert output(run(path, cwd=tmp_path)) == "{'x': <class 'int'>}"


def test_code_module_folder_and_stdin(script, tmp_path):
    script("import sys, torch; print(torch.__spec__.name, __name__, sys.argv[1:])", "package/__main__.py")
    script("", "package/__init__.py")
    expected = "flambeau __main__ ['1']"
    assert output(run("-m", "package", "1", cwd=tmp_path)) == expected
    assert output(run("package", "1", cwd=tmp_path)) == expected
    assert output(run("-", "1", cwd=tmp_path, stdin="import sys, torch; print(torch.__spec__.name, __name__, sys.argv[1:])")) == expected
    assert output(run("-c", "import sys; print(sys.argv)", "x", cwd=tmp_path)) == "['-c', 'x']"


@pytest.mark.parametrize(
    ("statement", "status"),
    [("raise SystemExit(7)", 7), ("import sys; sys.exit('bye')", 1), ("1 / 0", 1), ("raise KeyboardInterrupt", -2), ("x =", 1)],
)
def test_exit_status_and_traceback_are_plain_pythons(script, tmp_path, statement, status):
    path = script(f"def f():\n    {statement}\nf()")
    ours = run(path, cwd=tmp_path)
    plain = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
    assert ours.returncode == status


def test_missing_script_and_missing_arguments(tmp_path):
    missing = run("nowhere.py", cwd=tmp_path)
    assert missing.returncode == 2
    assert "can't open file" in missing.stderr and "nowhere.py" in missing.stderr
    assert run(cwd=tmp_path).returncode == 2
    assert run("-m", cwd=tmp_path).returncode == 2
    bare = {"PYTHONOPTIMIZE": "2", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}  # no docstrings, and ASCII alone
    assert output(run("--help", cwd=tmp_path, **bare)) == output(run("--help", cwd=tmp_path)) and "usage:" in run(cwd=tmp_path).stderr


def test_missing_module(script, tmp_path):
    script("import no_such_module", "there.py")
    for name in ("no_such_module", "package.no_such_module"):
        result = run("-m", name, cwd=tmp_path)
        plain = subprocess.run([sys.executable, "-m", name], cwd=tmp_path, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (plain.returncode, plain.stderr)
    result = run("-m", "there", cwd=tmp_path)
    assert result.returncode == 1 and result.stderr.startswith("Traceback") and "there.py" in result.stderr


def test_child_processes_follow(script, tmp_path):
    path = script("""
        import multiprocessing, subprocess, sys

        def name(_):
            import torch
            return torch.__spec__.name

        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(method, *pool.map(name, [0]))
            child = "import torch; print(torch.__spec__.name)"
            grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
            subprocess.run([sys.executable, "-c", grandchild], check=True)
    """)
    assert output(run(path, cwd=tmp_path)).split() == ["fork", "flambeau", "spawn", "flambeau", "flambeau"]


def test_package_in_an_archive(script, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", ROOT, "flambeau")
    path = script("""
        import subprocess, sys
        import torch
        layer = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.randn(4, 3)).sum().backward()
        optimizer.step()
        subprocess.run([sys.executable, "-c", "import torch; print(torch.__file__)"], check=True)
    """)
    result = run(path, cwd=tmp_path, PYTHONPATH=archive)
    assert output(result) == os.path.join(archive, "flambeau", "__init__.py") and not result.stderr


def test_tensors_have_the_names_that_packages_ask_for(script, tmp_path):
    path = script("""
        import pickle, torch
        x, weight = torch.ones(2), torch.nn.Parameter(torch.ones(2))
        print(type(x), type(weight), torch.typename(x), repr(x))
        pickle.dump([x, weight], open("tensors.pickle", "wb"))
    """)
    result = run(path, cwd=tmp_path)
    assert output(result) == "<class 'torch.Tensor'> <class 'torch.nn.parameter.Parameter'> torch.FloatTensor tensor([1., 1.])"
    with open(tmp_path / "tensors.pickle", "rb") as file:  # here nothing has the name torch
        assert [type(each).__module__ for each in pickle.load(file)] == ["flambeau._tensor.tensor", "flambeau.nn.parameter"]


def test_classes_are_asked_for_methods(script, tmp_path):
    program = """
        import torch

        class Telling(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                print(func.__name__)
                return super().__torch_function__(func, types, args, kwargs or {})

        torch.ones(2).as_subclass(Telling).add_(1).mean()
        table = torch.nn.Embedding(3, 1, sparse=True, _weight=torch.ones(3, 1))
        table(torch.tensor([1, 1])).sum().backward()
        torch.optim.SGD(table.parameters(), lr=1.0).step()
        print(table.weight.data.flatten().tolist())
    """
    assert output(run(str(script(program)), cwd=tmp_path)).split() == ["add_", "mean", "[1.0,", "-1.0,", "1.0]"]


def test_children_do_not_import_flambeau_unless_they_say_torch(tmp_path):
    child = "import sys; print([name for name in sys.modules if name.partition('.')[0] in ('flambeau', 'numpy', 'torch')])"
    result = run("-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)", cwd=tmp_path)
    assert output(result) == "['flambeau._alias']"


def test_hidden_sitecustomize_still_runs(script, tmp_path):
    script("import os; os.environ['SEEN'] = 'yes'", "site/sitecustomize.py")
    child = "import os, sys, sitecustomize; print(os.environ['SEEN'], sitecustomize.__file__, any(p.endswith('_site') for p in sys.path))"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    result = run("-c", code, cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path / "site")]))
    assert output(result) == f"yes {tmp_path / 'site' / 'sitecustomize.py'} False"


def test_real_torch_is_untouched_outside(script, tmp_path):
    script("name = 'the real one'", "torch.py")
    code = "import flambeau, torch; print(torch.name)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert output(result) == "the real one"


def test_install_as_torch_refuses_when_the_real_one_is_loaded(script, tmp_path):
    script("name = 'the real one'", "torch.py")
    code = "import torch\nfrom flambeau._alias import install_as_torch\ninstall_as_torch()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert "RuntimeError: torch is already imported, from" in result.stderr
