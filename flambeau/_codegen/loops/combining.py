"""The kernel that adds up what the chunks of a split reduction left."""

from __future__ import annotations

from functools import lru_cache

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module, Value, i64
from flambeau._codegen.loops.naming import finish
from flambeau._codegen.loops.reducing import Total
from flambeau._codegen.loops.spec import Instr
from flambeau._types.dtype import dtype as DType


@lru_cache(maxsize=256)
def combine_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """Adds up the partial results of a split reduction: ``out[i] = fold over j of partial[j * results + i]``.

    Parameters: ``[slot, byte offset of the partials, parts, results, slot, byte offset of the results]``; a tile is one result.
    """
    module = Module(features)
    f = module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )
    table, params, begin, end, _ = f.parameters
    words = [f.load(f.offset(params, position, "i64"), "i64") for position in range(6)]
    source = f.offset(f.load(f.offset(table, words[0], "ptr"), "ptr"), words[1], "i8")
    target = f.offset(f.load(f.offset(table, words[4], "ptr"), "ptr"), words[5], "i8")
    instr = Instr("reduce", of, (), (kind,))
    total = Total(f, instr)

    def element(base: Value, index: Value) -> Value:
        return f.offset(base, f.mul(index, i64(2)) if of.is_complex else index, scalar.memory_type(of))

    with f.loop(begin, end) as tiles:
        with f.loop(0, words[2], 1, total.start(1)) as parts:
            item = scalar.load(f, element(source, f.add(f.mul(parts.index, words[3]), tiles.index)), of, 1)
            parts.carry(*total.add(parts.carried, item))
        scalar.store(f, total.rounded(parts.carried), element(target, tiles.index), of)
    f.ret()
    return finish(module)
