"""Programs in the disk cache: what their key follows from, and that a second process gets the same bits without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import flambeau
from flambeau._compiler import lazy
from flambeau._ops.operator import Operator
from flambeau._ops.registry import OPERATORS
from flambeau._runtime import targets
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE
from tests._runtime.conftest import run_python

ROOT = Path(__file__).resolve().parents[2]


def key_of(record: Callable[..., Any], *inputs: Any) -> str | None:
    """The key of the program of what ``record(*inputs)`` leaves alive; nothing is computed."""
    flambeau.flush()
    kept = record(*inputs)
    tape = LOCAL.tape
    key = lazy.program_key(tape.cursor.path(), tape.alive())
    flambeau.flush()
    del kept
    return key


@pytest.fixture
def x() -> Any:
    value = flambeau.arange(12.0).reshape(3, 4).contiguous()
    flambeau.flush()
    return value


def test_key_is_that_of_equal_records(x: Any) -> None:
    first = key_of(lambda x: (x * 2).sum(0), x)
    TRIE.clear()
    assert first is not None
    assert key_of(lambda x: (x * 3).sum(0), x.clone()) == first  # another number, another tensor, another line


@pytest.mark.parametrize(
    "other",
    [
        lambda x: (x + 2).sum(0),  # operator
        lambda x: (x * 2).sum(1),  # static
        lambda x: (x * True).sum(0),  # class of a number
        lambda x: (x * 2.0).sum(0),
        lambda x: (x * 2).sum(0, dtype=flambeau.float64),
        lambda x: (x.t() * 2).sum(0),  # layout
        lambda x: (x[:2] * 2).sum(0),
        lambda x: (x.double() * 2).sum(0),
        lambda x: ((y := x * 2), y.sum(0)),  # what is alive
        lambda x: (x * 2).sum(0) * 1,
        lambda x: x.mul_(2).sum(0),  # what is overwritten
    ],
)
def test_key_changes_with_everything_that_matters(x: Any, other: Callable[..., Any]) -> None:
    assert key_of(other, x.clone()) not in (None, key_of(lambda x: (x * 2).sum(0), x))


def test_key_changes_with_the_order_of_operands(x: Any) -> None:
    y = x + 1
    assert key_of(lambda: (x - y).exp()) != key_of(lambda: (z := y, (x - z).exp(), z - x)[1:])


def test_key_changes_with_the_machine(x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of(lambda: x + 1)}
    lazy._surroundings.cache_clear()
    monkeypatch.setattr(targets, "available_cores", lambda: 77)
    keys.add(key_of(lambda: x + 1))
    lazy._surroundings.cache_clear()
    monkeypatch.setattr(targets, "cache_sizes", lambda: (1, 2, 3))
    keys.add(key_of(lambda: x + 1))
    monkeypatch.undo()
    lazy._surroundings.cache_clear()
    threads = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(threads + 1)
        keys.add(key_of(lambda: x + 1))
    finally:
        flambeau.set_num_threads(threads)
    assert len(keys) == 4 and None not in keys


def test_digest_of_sources(tmp_path: Path) -> None:
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x = 1\n")
    two.write_text("y = 2\n")
    digests = {lazy._digest([str(one)]), lazy._digest([str(one), str(two)]), lazy._digest([str(two), str(one)])}
    one.write_text("x = 2\n")
    digests.add(lazy._digest([str(one)]))
    assert len(digests) == 4


def test_every_source_that_programs_follow_from_counts() -> None:
    files = {os.path.relpath(path, Path(lazy.__file__).parents[1]) for path, _ in lazy._source_files()}
    assert {"_ops/reduction.py", "_codegen/contract/kernel.py", "_compiler/lazy.py", "_runtime/llvm.py", "_types/layout.py"} <= files


def test_without_sources_nothing_is_kept(x: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "__file__", str(tmp_path / "_compiler" / "lazy.py"))
    for rooms in ((), lazy._ROOMS):  # as in an archive, and where there is nothing but compiled modules
        for room in rooms:
            (tmp_path / room).mkdir()
        lazy._surroundings.cache_clear()
        assert key_of(lambda: x + 1) is None
    monkeypatch.undo()
    lazy._surroundings.cache_clear()
    assert key_of(lambda: x + 1) is not None


def _same(operands: tuple, statics: tuple) -> Any:
    return operands[0]


def _lower(graph: Any, operands: list, statics: tuple, layouts: tuple) -> Any:
    return operands[0] + 1


def _lower_as_if_ours(graph: Any, operands: list, statics: tuple, layouts: tuple) -> Any:
    return operands[0] + 1


_lower_as_if_ours.__module__ = "flambeau._ops.elementwise"
_OUTSIDE, _INSIDE = (
    OPERATORS.pop(Operator(f"key_test{lower.__name__}", ("input",), ("static",), infer=_same, lower=lower).name)
    for lower in (_lower, _lower_as_if_ours)
)


class _Nameless:
    """A static attribute that no other process has a name for."""


def test_records_that_have_no_name_elsewhere_have_no_key(x: Any) -> None:
    assert key_of(lambda: _OUTSIDE(x, statics=(1,))) is None
    assert key_of(lambda: _INSIDE(x, statics=(_Nameless(),))) is None
    assert key_of(lambda: _INSIDE(x, statics=((1, "two", None),))) is not None
    assert key_of(lambda: _INSIDE(x, statics=(flambeau.float32,))) not in (None, key_of(lambda: _INSIDE(x, statics=(flambeau.int32,))))
    assert key_of(lambda: _INSIDE(x, statics=(_same,))) not in (None, key_of(lambda: _INSIDE(x, statics=(key_of,))))


_RUN = """
import gc, hashlib, sys
import flambeau
gc.disable()  # when the collector runs decides which values are alive at a flush
from flambeau._runtime import jit
from tests.samples.programs import PROGRAMS
digest = hashlib.sha256()
for name in ("chain", "softmaxes", "linear_layers", "indexing"):
    for tensor in PROGRAMS[name](flambeau):
        digest.update(tensor.detach().numpy().tobytes())
counts = jit.statistics()
compiler = any(name.startswith(("llvmlite", "flambeau._runtime.llvm", "flambeau._codegen.contract", "flambeau._codegen.loops", "flambeau._compiler.plan")) for name in sys.modules)
print(digest.hexdigest(), int(counts["compiled"]), int(counts["loaded"]), compiler)
"""


def programs(cache_home: Path) -> dict[str, bytes]:
    """All entries by name, and what programs' say; kernels' hold constants of those that the same thread compiled with them, whichever these were."""
    entries = {path.name: path.read_bytes() for path in cache_home.glob("*/*.entry")}
    return {name: b"" if is_kernel(entry) else entry for name, entry in entries.items()}


def is_kernel(entry: bytes) -> bool:
    return b"FLBIMAGE" in entry or b"\x7fELF" in entry


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """What a process that finds nothing prints, and the folder that it leaves behind: no test writes there."""
    home = tmp_path_factory.mktemp("cold")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FLAMBEAU_CACHE", raising=False)
        return run_python(_RUN, XDG_CACHE_HOME=str(home), PYTHONHASHSEED="1").split(), home / "flambeau"


def test_second_process_compiles_nothing_and_gets_the_same_bits(
    python: Callable[..., str], cache_home: Path, cold: tuple[list[str], Path]
) -> None:
    printed, folder = cold
    copytree(folder, cache_home)
    warm = python(_RUN, PYTHONHASHSEED="2").split()
    assert int(printed[1]) > 10 and printed[3] == "True"
    assert warm[0] == printed[0]
    assert warm[1] == "0" and warm[3] == "False"
    assert programs(cache_home) == programs(folder)
    assert python(_RUN, FLAMBEAU_CACHE="off").split()[0] == printed[0]


def test_blueprints_are_the_same_in_every_process(python: Callable[..., str], cache_home: Path, cold: tuple[list[str], Path]) -> None:
    python(_RUN, PYTHONHASHSEED="2")
    assert programs(cache_home) == programs(cold[1])


def test_damaged_entries_are_made_again(python: Callable[..., str], cache_home: Path, cold: tuple[list[str], Path]) -> None:
    printed, folder = cold
    copytree(folder, cache_home)
    for path in cache_home.glob("*/*.entry"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    again = python(_RUN).split()
    assert again[:2] == printed[:2]
    assert programs(cache_home) == programs(folder)


def test_program_whose_kernels_are_gone_is_compiled_again(
    python: Callable[..., str], cache_home: Path, cold: tuple[list[str], Path]
) -> None:
    printed, folder = cold
    copytree(folder, cache_home)
    kernels = [path for path in cache_home.glob("*/*.entry") if is_kernel(path.read_bytes())]
    for path in kernels[::2]:
        path.unlink()
    again = python(_RUN).split()
    assert again[0] == printed[0] and 0 < int(again[1]) < int(printed[1])


def test_processes_that_start_at_once(cache_home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _RUN]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    results = [process.communicate(timeout=240)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len({result[0] for result in results}) == 1


_FAULTS = """
import sys
import flambeau
x, index = flambeau.arange(6.0), flambeau.tensor([1, 9])
flambeau.flush()
y = x + 1
try:
    print(flambeau.gather(y, 0, index))
except Exception as error:
    print(type(error).__name__, error)
print(y.tolist(), flambeau.linalg.eigvalsh(flambeau.eye(2) * 3).tolist())
print(any(name.startswith(("llvmlite", "flambeau._runtime.llvm")) for name in sys.modules))
"""


def test_errors_and_host_steps_of_programs_from_the_cache(python: Callable[..., str]) -> None:
    cold, warm = python(_FAULTS).splitlines(), python(_FAULTS).splitlines()
    assert "index 9 is out of bounds" in cold[0] and "(in gather, called at <string>:8)" in cold[0]
    assert cold[1] == "[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] [3.0, 3.0]"
    assert warm[:2] == cold[:2]
    assert (cold[2], warm[2]) == ("True", "False")


def test_explain_of_a_program_from_the_cache(python: Callable[..., str]) -> None:
    source = """
import flambeau
x = flambeau.arange(1000.0)
explanation = flambeau.explain(lambda: (2 * x + 1).exp().sum())
print(explanation.kernels[-1].summary, "fadd" in explanation.kernels[-1].ir, explanation.compiled)
"""
    cold, warm = python(source).rsplit(maxsplit=1), python(source).rsplit(maxsplit=1)
    assert cold[0] == warm[0] and "True" in cold[0]
    assert int(cold[1]) > 0 and warm[1] == "0"
