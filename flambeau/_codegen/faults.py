"""How a kernel reports bad data: the error block (``docs/design/0001-architecture.md``, the kernel ABI)."""

from __future__ import annotations

from flambeau._codegen.ir import Builder, Value, i64


def report(f: Builder, number: int, position: Value, detail: Value) -> None:
    """Leave in the error block that check ``number`` of this kernel (from 0) failed at ``position``.

    Of several failures the one of the first check counts, and of that the smallest position: the same on any number of threads.
    """
    if not f.module.has_function("fault"):
        _define(f)
    f.call("@fault", f.parameters[0], i64(1 + number), position, detail)


def any_outside(f: Builder, index: Value, size: Value) -> Value:
    """Whether any lane of an index (int64) is not in ``[0, size)``, for a positive size.

    Such a lane has the sign of ``index | (size - 1 - index)``: with AVX2 that is a third of the instructions that comparisons take, which have
    to be packed into a mask.
    """
    signs = f.halved("or", f.binary("or", index, f.sub(f.splat(f.sub(size, i64(1)), index.width), index)), 4)
    bad = f.compare("slt", signs, 0)
    return bad if bad.width == 1 else f.compare("ne", f.cast("bitcast", bad, f"i{bad.width}"), 0)


def _define(f: Builder) -> None:
    g = f.module.function(
        "fault", [("ptr", "table"), ("i64", "code"), ("i64", "position"), ("i64", "detail")], linkage="internal", attributes="noinline cold"
    )
    table, code, position, detail = g.parameters
    block = g.load(table, "ptr")
    words = [g.offset(block, word, "i64") for word in range(4)]
    with g.repeat([]) as attempt:
        pair = g.value(f"cmpxchg ptr {words[3].text}, i64 0, i64 1 acquire monotonic", "{ i64, i1 }")
        attempt.again(g.compare("eq", g.value(f"extractvalue {pair.type} {pair.text}, 1", "i1"), 0))
    before = g.load(words[0], "i64")
    none = g.compare("eq", before, 0)
    same = g.binary("and", g.compare("eq", code, before), g.compare("slt", position, g.load(words[1], "i64")))
    earlier = g.binary("or", none, g.binary("or", same, g.compare("slt", code, before)))
    with g.when(earlier):
        for word, value in zip(words, (code, position, detail), strict=False):
            g.store(value, word)
    g.emit(f"store atomic i64 0, ptr {words[3].text} release, align 8")
    g.ret()
