"""The compiler's entry: from the records on a trie path to a program.

A program that was compiled before comes from the disk cache, and neither the compiler nor LLVM is loaded. Its key is everything that it
follows from: the records, what is alive after them, this package's sources, the processor. The key is the same in every process,
and the content is plain numbers; nothing in an entry is ever executed as Python.
"""

from __future__ import annotations

import gc
import hashlib
import marshal
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flambeau._compiler.prepacking import PackedOperand
from flambeau._compiler.program import Array, Blueprint, CompiledProgram, HostCall
from flambeau._runtime import cache, jit, runner, targets
from flambeau._runtime.pool import get_num_threads
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.plan import Plan

_ROOMS = ("_types", "_runtime", "_codegen", "_compiler", "_tape", "_ops")
_MARSHAL = 2  # the newest version of the format that does not depend on how often an object is referred to


def compile(path: Sequence[Any], alive: Sequence[tuple[int, int]], weights: Sequence[int] = ()) -> CompiledProgram:
    """The program of the records on a trie path that computes what is alive after them; ``weights`` are as for ``Plan``."""
    key = program_key(path, alive, weights)
    if key is not None:
        blueprint = _read(key)
        if blueprint is not None:
            addresses = jit.load_kernels(blueprint.kernels)
            if len(addresses) == len(blueprint.kernels):
                return _program(blueprint, addresses, path, alive, weights)
    with jit.Compilation() as compilation, _no_collections():
        compilation.add(*runner.kernel())  # what walks the program is compiled beside it, if this is the process's first
        blueprint = _blueprint(path, alive, weights, compilation.add)
        compilation.finish()
    if key is not None:
        cache.put("program", key, marshal.dumps(_plain(blueprint), _MARSHAL))
    return _program(blueprint, jit.load_kernels(blueprint.kernels), path, alive, weights)


def _blueprint(
    path: Sequence[Any], alive: Sequence[tuple[int, int]], weights: Sequence[int], compile: Callable[[str, str], None]
) -> Blueprint:
    """What is to be known of a plan, all else of which is given up."""
    plan = _plan(path, alive, weights, compile)
    blueprint = plan.blueprint()
    plan.graph.dissolve()
    return blueprint


@contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage is collected inside: of what a plan consists nothing is, and to look at all objects of a process takes up to 50 ms."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _program(
    blueprint: Blueprint, addresses: dict[str, int], path: Sequence[Any], alive: Sequence[tuple[int, int]], weights: Sequence[int]
) -> CompiledProgram:
    return CompiledProgram(blueprint, addresses, partial(_graph, path, alive), partial(_plan, path, alive, weights))


def _graph(path: Sequence[Any], alive: Sequence[tuple[int, int]]) -> Graph:
    from flambeau._compiler import graph

    return graph.build(path, alive)[0]


def _plan(
    path: Sequence[Any],
    alive: Sequence[tuple[int, int]],
    weights: Sequence[int],
    compile: Callable[[str, str], None] = lambda name, text: None,
) -> Plan:
    from flambeau._compiler import graph, plan

    return plan.Plan(*graph.build(path, alive), alive, compile, weights)


# -- the key -----------------------------------------------------------------------------------------------------------


def program_key(path: Sequence[Any], alive: Sequence[tuple[int, int]], weights: Sequence[int] = ()) -> str | None:
    """What names the program in the disk cache; ``None`` if something in its records, or what it follows from, has no name that lasts."""
    layouts: dict[Layout, int] = {}
    number = lambda layout: layout.__name__ if isinstance(layout, type) else layouts.setdefault(layout, len(layouts))
    records = []
    try:
        for record in path:
            lower = record.op.lower
            if not lower.__module__.startswith("flambeau."):
                return None
            operands = tuple((slot, number(layout)) for slot, layout in record.operands)
            results = record.first, tuple(map(number, record.layouts))
            records.append((lower.__module__, record.op.name, _named(record.statics), operands, results))
        content = marshal.dumps((tuple(records), tuple(map(_named, layouts)), tuple(alive), tuple(weights)), _MARSHAL)
    except (AttributeError, ValueError):
        return None
    surroundings = _surroundings()
    if surroundings is None:
        return None
    digest = hashlib.sha256(surroundings)
    digest.update(b"%d\0" % get_num_threads())
    digest.update(content)
    return digest.hexdigest()


def _named(static: Any) -> Any:
    """A static attribute with names in place of our own objects; what marshal does not know makes it raise ``ValueError``."""
    if isinstance(static, tuple):
        return tuple(map(_named, static))
    if isinstance(static, DType):
        return "dtype", static.name
    if isinstance(static, Layout):
        return "layout", static.shape, static.strides, static.offset, static.dtype.name
    if isinstance(static, FunctionType) and "<" not in static.__qualname__:
        return "function", static.__module__, static.__qualname__
    return static


@lru_cache(maxsize=1)
def _surroundings() -> bytes | None:
    """What programs follow from besides their records: our sources, and the sizes that plans are made for.

    ``None`` where there are no sources, as in an archive or a frozen application: nothing would tell one version's programs from another's.
    """
    try:
        files = sorted(_source_files())
    except OSError:
        return None
    if not files:
        return None
    state = [(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) for path, status in files]
    known = hashlib.sha256(repr(state).encode()).hexdigest()
    digest = cache.get("sources", known)  # reading a hundred files takes longer than asking whether they have changed
    if digest is None:
        digest = _digest([path for path, _ in files])
        cache.put("sources", known, digest)
    return digest + repr((targets.cache_sizes(), targets.available_cores())).encode()


def _source_files() -> Iterator[tuple[str, os.stat_result]]:
    folders = [str(Path(__file__).parents[1] / room) for room in _ROOMS]
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    yield entry.path, entry.stat()


def _digest(paths: Sequence[str]) -> bytes:
    """A digest of what files contain, wherever they lie."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            content = file.read()
        digest.update(b"%s %d\0" % (os.path.basename(path).encode(), len(content)))
        digest.update(content)
    return digest.digest()


# -- the content -------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A blueprint in plain tuples."""
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _read(key: str) -> Blueprint | None:
    content = cache.get("program", key)
    if content is None:
        return None
    blueprint = Blueprint(*marshal.loads(content))
    segments = [each if len(each) == 2 else _host_call(*each) for each in blueprint.segments]
    return blueprint._replace(segments=tuple(segments), packed=tuple(PackedOperand(*each) for each in blueprint.packed))


def _host_call(node: int, arguments: tuple, items: tuple) -> HostCall:
    return HostCall(node, tuple(Array(*each) for each in arguments), tuple((number, Array(*item)) for number, item in items))
