from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flambeau._runtime import cache, jit
from tests._runtime.little_kernels import scale

_numbers = itertools.count()


def fresh_name() -> str:
    """A name that no other test uses: kernels stay for as long as the process."""
    return f"jit_test_{next(_numbers)}"


def apply(address: int, number: float) -> float:
    value = ctypes.c_float(number)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(value))
    return value.value


def test_compiles_and_runs(cache_home: Path) -> None:
    name = fresh_name()
    address = jit.compile_kernels({name: scale(name, 3.0)})[name]
    assert apply(address, 7.0) == 21.0


def test_several_at_once_are_all_there(cache_home: Path) -> None:
    names = [fresh_name() for _ in range(20)]
    addresses = jit.compile_kernels({name: scale(name, float(number)) for number, name in enumerate(names)})
    assert [apply(addresses[name], 2.0) for name in names] == [2.0 * number for number in range(20)]


def test_longest_kernels_come_first_and_the_interval_of_switches_comes_back(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_one = jit._compile
    monkeypatch.setattr(jit.targets, "available_cores", lambda: 0)

    def note(tasks: list[jit._Task]) -> dict[str, jit._Entry]:
        compiled.extend(task.name for task in tasks)
        return compile_one(tasks)

    monkeypatch.setattr(jit, "_compile", note)
    names = [fresh_name() for _ in range(3)]
    interval = sys.getswitchinterval()
    jit.compile_kernels({name: scale(name, 2.0) + ";" * length for name, length in zip(names, (10, 1000, 100), strict=True)})
    assert compiled == [names[1], names[2], names[0]]
    assert sys.getswitchinterval() == interval


def test_second_time_compiles_nothing(cache_home: Path) -> None:
    name = fresh_name()
    first = jit.compile_kernels({name: scale(name, 3.0)})
    before = jit.statistics()
    assert jit.compile_kernels({name: scale(name, 3.0)}) == first
    after = jit.statistics()
    assert (after["compiled"], after["reused"]) == (before["compiled"], before["reused"] + 1)


def test_same_name_with_other_ir_is_refused(cache_home: Path) -> None:
    name = fresh_name()
    jit.compile_kernels({name: scale(name, 3.0)})
    with pytest.raises(ValueError, match=f"'{name}' exists in this process with other IR"):
        jit.compile_kernels({name: scale(name, 4.0)})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ret i32 0", "malformed LLVM IR.*value doesn't match function result type"),
        ("%a = add i32 %b, 1\n  %b = add i32 %a, 1\n  ret void", "invalid LLVM IR.*Instruction does not dominate all uses"),
    ],
)
def test_wrong_ir_is_an_error_that_says_why(cache_home: Path, body: str, message: str) -> None:
    name = fresh_name()
    with pytest.raises(ValueError, match=f"(?s)kernel '{name}': {message}"):
        jit.compile_kernels({name: f"define void @{name}() {{\n  {body}\n}}"})
    good = fresh_name()
    assert apply(jit.compile_kernels({good: scale(good, 2.0)})[good], 4.0) == 8.0  # the compiler survived


def test_wrong_ir_among_others_is_named(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short kernels are compiled together, until one of them cannot be."""
    monkeypatch.setattr(jit.targets, "available_cores", lambda: 0)
    good, bad, other = (fresh_name() for _ in range(3))
    with pytest.raises(ValueError, match=f"kernel '{bad}': malformed"):
        jit.compile_kernels({good: scale(good, 2.0), bad: f"define void @{bad}() {{\n  ret i32 0\n}}", other: scale(other, 3.0)})
    assert apply(jit.compile_kernels({other: scale(other, 3.0)})[other], 4.0) == 12.0


def test_missing_symbol_is_an_error_and_not_the_end(cache_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = fresh_name()
    source = f"declare void @no_such_function()\ndefine void @{name}() {{\n  call void @no_such_function()\n  ret void\n}}"
    with pytest.raises(RuntimeError, match=name) as caught:
        jit.compile_kernels({name: source})
    assert "no_such_function" in str(caught.value) + capfd.readouterr().err  # LLVM's linker prints it
    other = fresh_name()
    assert apply(jit.compile_kernels({other: scale(other, 2.0)})[other], 4.0) == 8.0


def test_ir_and_assembly_of_a_kernel(cache_home: Path) -> None:
    name = fresh_name()
    jit.compile_kernels({name: scale(name, 3.0)})
    assert jit.ir(name) == scale(name, 3.0)
    assert f"{name}:" in jit.assembly(name)
    with pytest.raises(KeyError):
        jit.ir("no_such_kernel")


def test_threads_that_ask_for_the_same_kernels(cache_home: Path) -> None:
    names = [fresh_name() for _ in range(8)]
    sources = {name: scale(name, float(number)) for number, name in enumerate(names)}
    before = jit.statistics()["compiled"]
    barrier = threading.Barrier(6)

    def ask(_: int) -> dict[str, int]:
        barrier.wait()
        return jit.compile_kernels(sources)

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(ask, range(6)))
    assert all(result == results[0] for result in results)
    assert jit.statistics()["compiled"] == before + 8


_COMPILE = """
from tests._runtime.little_kernels import scale
from flambeau._runtime import cache, jit
names = [f"shared_{number}" for number in range(4)]
addresses = jit.compile_kernels({name: scale(name, 2.0) for name in names})
counts = jit.statistics()
print(counts["compiled"], counts["loaded"], jit.ir("shared_3") == scale("shared_3", 2.0))
"""


def test_another_process_finds_object_code_on_disk(python: Callable[..., str]) -> None:
    assert python(_COMPILE).split() == ["4", "0", "True"]
    assert python(_COMPILE).split() == ["0", "4", "True"]


@pytest.mark.parametrize("is_made", [True, False], ids=["made", "given up"])
def test_what_another_process_compiles_is_waited_for(is_made: bool, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_SECONDS_OF_A_CLAIM", 60)
    names = theirs, ours = fresh_name(), fresh_name()
    sources = {name: scale(name, 2.0) for name in names}
    entry = jit._compile([jit._Task(theirs, sources[theirs], sources[theirs], ())])[theirs]
    before = jit.statistics()
    assert cache.claim("kernel", theirs)
    with ThreadPoolExecutor(1) as pool:
        addresses = pool.submit(jit.compile_kernels, sources)
        while cache.get("kernel", ours) is None:
            assert not addresses.done()
            time.sleep(1e-3)
        time.sleep(5 * jit._GLANCE_SECONDS)
        assert not addresses.done()
        if is_made:
            jit._write(theirs, entry)
        cache.disclaim("kernel", theirs)
        assert [apply(address, 3.0) for address in addresses.result().values()] == [6.0, 6.0]
    after = jit.statistics()
    assert after["loaded"] - before["loaded"] == is_made
    assert after["compiled"] - before["compiled"] == 2 - is_made
    assert not list(cache_home.glob("*/*.claim"))


def test_what_a_dead_process_was_to_compile_is_compiled(cache_home: Path) -> None:
    name = fresh_name()
    assert cache.claim("kernel", name)
    (mark,) = cache_home.glob("*/*.claim")
    os.utime(mark, (0, 0))
    assert apply(jit.compile_kernels({name: scale(name, 2.0)})[name], 4.0) == 8.0
    assert not mark.exists()


def test_cache_is_of_one_processor(python: Callable[..., str]) -> None:
    assert python(_COMPILE, FLAMBEAU_CPU="native").split()[0] == "4"
    assert python(_COMPILE, FLAMBEAU_CPU="x86-64-v2").split()[0] == "4"
    assert python(_COMPILE, FLAMBEAU_CPU="x86-64-v2").split()[0] == "0"


def test_same_name_with_other_ir_on_disk_is_compiled_again(python: Callable[..., str]) -> None:
    python(_COMPILE)
    changed = _COMPILE.replace("2.0", "5.0")
    assert python(changed).split() == ["4", "0", "True"]
    assert python(changed).split() == ["0", "4", "True"]


def test_cache_that_is_off(python: Callable[..., str], cache_home: Path) -> None:
    for _ in range(2):
        assert python(_COMPILE, FLAMBEAU_CACHE="off").split() == ["4", "0", "True"]
    assert not cache_home.exists()


def test_loads_by_name_without_ir(python: Callable[..., str]) -> None:
    python(_COMPILE)
    output = python("""
import ctypes
from tests._runtime.little_kernels import scale
from flambeau._runtime import cache, jit
addresses = jit.load_kernels(["shared_1", "unknown"])
assert list(addresses) == ["shared_1"], addresses
value = ctypes.c_float(3.0)
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(addresses["shared_1"])(ctypes.addressof(value))
assert value.value == 6.0
assert jit.ir("shared_1") == scale("shared_1", 2.0)
assert jit.compile_kernels({"shared_1": scale("shared_1", 2.0)}) == addresses
print(jit.statistics()["compiled"], jit.statistics()["loaded"])
""")
    assert output.split() == ["0", "1"]


def test_log_says_what_was_compiled_and_why(python: Callable[..., str]) -> None:
    first, second = python(_COMPILE, FLAMBEAU_LOG="compile"), python(_COMPILE, FLAMBEAU_LOG="compile")
    assert first.count("flambeau: compiled shared_") == 4
    assert "as it was in no cache" in first
    assert second.count("flambeau: loaded shared_") == 4
    assert "flambeau" not in python(_COMPILE)


def test_compiles_while_the_interpreter_exits(python: Callable[..., str]) -> None:
    output = python(f"import atexit\nfrom flambeau._runtime import jit\natexit.register(lambda: exec({_COMPILE!r}, {{}}))")
    assert output.split() == ["4", "0", "True"]


def test_fork_while_another_thread_compiles(python: Callable[..., str]) -> None:
    output = python(
        """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about any fork beside threads
from tests._runtime.little_kernels import scale
from flambeau._runtime import cache, jit
stop = False
def work():
    number = 0
    while not stop:
        jit.compile_kernels({f"busy_{number}_{part}": scale(f"busy_{number}_{part}", 2.0) for part in range(3)})
        number += 1
thread = threading.Thread(target=work)
thread.start()
for child in range(5):
    pid = os.fork()
    if pid == 0:
        jit.compile_kernels({f"child_{child}": scale(f"child_{child}", 2.0)})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
thread.join()
print("done")
""",
        FLAMBEAU_CACHE="off",
    )
    assert "done" in output


def test_an_interrupt_leaves_no_thread_that_compiles(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile = jit._compile

    def slow(tasks: list) -> dict:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.2)
        return compile(tasks)

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(jit, "_compile", slow)
    with pytest.raises(KeyboardInterrupt), jit.Compilation() as compilation:
        names = [fresh_name() for _ in range(6)]
        for name in names:
            compilation.add(name, scale(name, 2.0))
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        compilation.finish()
    assert not any(thread.name == "flambeau-compile" for thread in threading.enumerate())
    assert len(jit.compile_kernels({name: scale(name, 2.0) for name in names})) == 6


def test_import_does_not_load_llvm(python: Callable[..., str]) -> None:
    python("""
import sys
from flambeau._runtime import allocator, cache, jit, pool, targets
assert not any(name.startswith(("llvmlite", "flambeau._runtime.llvm")) for name in sys.modules)
""")
