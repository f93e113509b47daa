"""The backward pass: the scores of a block again, and from them the gradients of its queries, keys and values.

With ``p = exp(q (k * scale) - maximum)``, the inverse ``i`` of a row's sum of weights, ``g = grad * i`` and ``delta = sum(g * out)``::

    d = p (g v - delta)      grad v += p g      grad k += d q * scale      grad q += d (k * scale)

A tile owns the gradients that it adds up, block after block in the order of keys and queries: either all those of a head, or those of
some of its keys, or of some of its queries. The two latter compute scores twice, and give the same bits.
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.attention.blocks import emit_product
from flambeau._codegen.attention.kernel import Kernel, choose
from flambeau._codegen.attention.structure import BACKWARD_KEYS, ROWS, Structure
from flambeau._codegen.attention.weights import emit_gradients
from flambeau._codegen.contract.kernel import Code, finished
from flambeau._codegen.contract.micro import Walk, emit_micro
from flambeau._codegen.ir import Value, i64


@cache
def backward_kernel(structure: Structure) -> Code:
    kernel = _Backward(structure)
    kernel.emit()
    return finished(kernel.module, kernel.parameters)


class _Backward(Kernel):
    def __init__(self, structure: Structure) -> None:
        compute, names = structure.dtype.compute, ("q", "k", "v", "grad", "grad_q", "grad_k", "grad_v")
        self.pitch = structure.pitch(BACKWARD_KEYS)
        super().__init__(structure, {**dict.fromkeys(names, structure.dtype), "statistics": compute, "delta": compute})
        across = emit_micro(self.module, self.tile, self.tile.rows, False, walk=Walk(1, self.pitch), label="_across")
        micros = {"scores": self.micros, "queries": self.micros, "keys": {**self.micros, self.tile.rows: across}}
        self.product = {kind: emit_product(self.module, self.tile, each, kind) for kind, each in micros.items()}
        self.gradients = [emit_gradients(self.module, structure, self.pitch, limited) for limited in (False, True)]

    def emit(self) -> None:
        f, read = self.f, self.read
        _, _, begin, end, _ = f.parameters
        bases = self.bases()
        names = ("q", "grad", "k", "k_columns", "v_columns", "weights", "scores", "grad_q", "grad_k", "grad_v", "deltas", "factor")
        area = {name: self.area(name) for name in names}
        f.store(self.scale(), area["factor"])
        with f.loop(begin, end) as loop:
            key = f.mul(f.binary("urem", loop.index, read("key.tiles")), read("key.block"))
            rest = f.binary("udiv", loop.index, read("key.tiles"))
            query = f.mul(f.binary("urem", rest, read("query.tiles")), read("query.block"))
            at = self.at_batch(bases, f.binary("udiv", rest, read("query.tiles")))
            rows = f.intrinsic("smin", f.sub(read("queries"), query), read("query.block"))
            stop = f.intrinsic("smin", f.add(key, read("key.block")), read("keys"))
            self._prepare(at, area, query, rows)
            if self.structure.is_causal:  # without gradients to write for keys, those that nobody sees are of no interest
                seen = f.intrinsic("smin", stop, f.add(query, rows))
                stop = f.select(self.wants("keys"), stop, seen)
            with f.loop(key, stop, BACKWARD_KEYS) as block:
                self._keys(at, area, query, rows, block.index)
            with f.when(self.wants("queries")):
                self._write(area["grad_q"], "features", rows, self.one, at, "grad_q", query)
        f.ret()

    def wants(self, what: str) -> Value:
        return self.f.compare("ne", self.read(f"wants.{what}"), 0)

    def _write(self, source: Value, size: str, rows: Value, factors: Value, at: dict[str, Value], name: str, first: Value) -> None:
        read = self.read
        self.call(
            self.scatter_rows, source, read(f"{size}.pitch"), rows, read(size), factors, 0, self.row(at, name, first), read(f"{name}.row")
        )

    def _prepare(self, at: dict[str, Value], area: dict[str, Value], query: Value, rows: Value) -> None:
        """All queries and gradients of the tile, in the compute dtype, the gradients times the inverse sums of weights."""
        f, read, tile = self.f, self.read, self.tile
        inverses = self.element(self.row(at, "statistics", query), read("plane"))
        for name, size, factors, step in (("q", "features", self.one, 0), ("grad", "values", inverses, 1)):
            source, stride = self.row(at, name, query), read(f"{name}.row")
            self.call(self.gather_rows, source, stride, rows, read(size), factors, step, area[name], read(f"{size}.pitch"), tile.lanes)
        deltas = self.row(at, "delta", query)
        with f.loop(0, rows) as row:
            delta, inverse = (f.load(self.element(each, row.index), tile.element) for each in (deltas, inverses))
            f.store(f.mul(delta, inverse), self.element(area["deltas"], row.index))
        with f.when(self.wants("queries")):
            self.fill(area["grad_q"], f.mul(rows, read("features.pitch")), 0.0)

    def _keys(self, at: dict[str, Value], area: dict[str, Value], query: Value, rows: Value, key: Value) -> None:
        """A block of keys, with all queries of the tile that see it."""
        f, read, lanes = self.f, self.read, self.tile.lanes
        count = f.intrinsic("smin", f.sub(read("keys"), key), i64(BACKWARD_KEYS))
        k, v = self.row(at, "k", key), self.row(at, "v", key)
        self.call(self.gather_columns, k, read("k.row"), count, read("features"), area["factor"], area["k_columns"], read("features.panel"))
        self.call(self.gather_columns, v, read("v.row"), count, read("values"), self.one, area["v_columns"], read("values.panel"))
        with f.when(self.wants("queries")):
            self.call(
                self.gather_rows, k, read("k.row"), count, read("features"), area["factor"], 0, area["k"], lanes, BACKWARD_KEYS * lanes
            )
        for name, size in (("grad_k", "features"), ("grad_v", "values")):
            self.fill(area[name], f.mul(count, read(f"{size}.pitch")), 0.0)
        start = i64(0)
        if self.structure.is_causal:
            start = f.mul(f.binary("udiv", f.intrinsic("smax", f.sub(key, query), i64(0)), ROWS), ROWS)
        with f.loop(start, rows, ROWS) as block:
            here = f.intrinsic("smin", f.sub(rows, block.index), i64(ROWS))
            self._block(at, area, query, block.index, here, key, count)
        with f.when(self.wants("keys")):
            self._write(area["grad_k"], "features", count, area["factor"], at, "grad_k", key)
            self._write(area["grad_v"], "values", count, self.one, at, "grad_v", key)

    def _block(self, at: dict[str, Value], area: dict[str, Value], query: Value, row: Value, here: Value, key: Value, count: Value) -> None:
        """A block of queries and one of keys."""
        f, read, pitch, lanes = self.f, self.read, self.pitch, self.tile.lanes
        features, values = read("features.pitch"), read("values.pitch")
        first = f.add(query, row)
        diagonal = self.diagonal(first, key)
        q, grad, grad_q = (
            self.element(area[name], f.mul(row, size)) for name, size in (("q", features), ("grad", values), ("grad_q", features))
        )
        scores, weights = area["scores"], area["weights"]
        for a, size, b, out in ((q, "features", "k_columns", weights), (grad, "values", "v_columns", scores)):
            operands = (a, read(f"{size}.pitch"), 1, area[b], lanes, read(f"{size}.panel"), read(size))
            self.call(self.product["scores"], *operands, out, pitch, here, count, diagonal)
        limit, whole = self.limit(count, diagonal)
        most, deltas = self.element(self.row(at, "statistics", query), row), self.element(area["deltas"], row)
        choose(f, self, whole, self.gradients, weights, scores, here, most, deltas, *limit, count, *self.mask_at(at, first, key))
        with f.when(self.wants("keys")):
            for a, b, size, out in ((weights, grad, "values", "grad_v"), (scores, q, "features", "grad_k")):
                operands = (a, 1, pitch, b, read(f"{size}.pitch"), lanes, here)
                self.call(self.product["keys"], *operands, area[out], read(f"{size}.pitch"), count, read(size), diagonal, self.one, 0)
        with f.when(self.wants("queries")):
            operands = (scores, pitch, 1, area["k"], lanes, BACKWARD_KEYS * lanes, count)
            self.call(self.product["queries"], *operands, grad_q, features, here, read("features"), diagonal, self.one, 0)
