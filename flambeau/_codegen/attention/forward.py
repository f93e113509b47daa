"""The forward pass: for some queries of one head all keys in blocks, with an online softmax.

For each block of keys and each block of queries::

    scores = q (k * scale)            maximum = max(maximum, scores)
    weights = exp(scores - maximum)   sums, totals = (sums, totals) * exp(old maximum - maximum) + (weights, weights v)

and in the end ``totals / sums`` (Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135).
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.attention.blocks import emit_product
from flambeau._codegen.attention.kernel import Kernel, choose
from flambeau._codegen.attention.structure import KEYS, LANES, ROWS, Structure
from flambeau._codegen.attention.weights import emit_finish, emit_softmax
from flambeau._codegen.contract.kernel import Code, finished
from flambeau._codegen.ir import Value, i64


@cache
def forward_kernel(structure: Structure) -> Code:
    kernel = _Forward(structure)
    kernel.emit()
    return finished(kernel.module, kernel.parameters)


class _Forward(Kernel):
    def __init__(self, structure: Structure) -> None:
        compute = structure.dtype.compute
        super().__init__(structure, {**dict.fromkeys(("q", "k", "v"), structure.dtype), "out": structure.out, "statistics": compute})
        module, tile, self.pitch = self.module, self.tile, structure.pitch(KEYS)
        self.scores = emit_product(module, tile, self.micros, "scores")
        self.totals = emit_product(module, tile, self.micros, "queries")
        self.softmax = [emit_softmax(module, structure, self.pitch, limited) for limited in (False, True)]
        self.finish = emit_finish(module, structure)
        self.copies_queries = structure.dtype is not compute  # else they are read where they are

    def emit(self) -> None:
        f, read = self.f, self.read
        _, _, begin, end, _ = f.parameters
        bases = self.bases()
        area = {name: self.area(name) for name in ("q", "k", "v", "scores", "totals", "maxima", "sums", "inverses", "factors", "factor")}
        f.store(self.scale(), area["factor"])
        self.fill(area["factors"], i64(ROWS), 0.0)  # they are computed in whole vectors, and what was left there may be subnormal
        with f.loop(begin, end) as loop:
            at = self.at_batch(bases, f.binary("udiv", loop.index, read("tiles")))
            first = f.mul(f.binary("urem", loop.index, read("tiles")), read("block"))
            rows = f.intrinsic("smin", f.sub(read("queries"), first), read("block"))
            if self.copies_queries:
                source, stride, pitch = self.row(at, "q", first), read("q.row"), read("features.pitch")
                self.call(self.gather_rows, source, stride, rows, read("features"), self.one, 0, area["q"], pitch, self.tile.lanes)
            self.fill(area["totals"], f.mul(rows, read("values.pitch")), 0.0)
            self.fill(area["sums"], f.mul(rows, LANES), 0.0)
            self.fill(area["maxima"], rows, float("-inf"))
            self._keys(at, area, first, rows)
            self._results(at, area, first, rows)
        f.ret()

    def _keys(self, at: dict[str, Value], area: dict[str, Value], first: Value, rows: Value) -> None:
        """Every block of keys that the queries see, in order."""
        f, read = self.f, self.read
        end = f.intrinsic("smin", read("keys"), f.add(first, rows)) if self.structure.is_causal else read("keys")
        with f.loop(0, end, KEYS) as key:
            count = f.intrinsic("smin", f.sub(read("keys"), key.index), i64(KEYS))
            k, v, size, width = self.row(at, "k", key.index), self.row(at, "v", key.index), read("features"), self.tile.lanes
            self.call(self.gather_columns, k, read("k.row"), count, size, area["factor"], area["k"], read("features.panel"))
            self.call(self.gather_rows, v, read("v.row"), count, read("values"), self.one, 0, area["v"], width, KEYS * width)
            start = i64(0)
            if self.structure.is_causal:
                before = f.intrinsic("smax", f.sub(key.index, first), i64(0))
                start = f.mul(f.binary("udiv", before, ROWS), ROWS)
            with f.loop(start, rows, ROWS) as block:
                self._block(at, area, first, block.index, f.intrinsic("smin", f.sub(rows, block.index), i64(ROWS)), key.index, count)

    def _block(self, at: dict[str, Value], area: dict[str, Value], first: Value, row: Value, here: Value, key: Value, count: Value) -> None:
        """A block of queries and one of keys."""
        f, read, width = self.f, self.read, self.tile.lanes
        query = f.add(first, row)
        diagonal = self.diagonal(query, key)
        seen = f.intrinsic("smin", count, f.add(diagonal, here))
        with f.when(f.compare("sgt", seen, 0)):
            if self.copies_queries:
                q, stride = self.element(area["q"], f.mul(row, read("features.pitch"))), read("features.pitch")
            else:
                q, stride = self.row(at, "q", query), read("q.row")
            totals = self.element(area["totals"], f.mul(row, read("values.pitch")))
            self.call(
                self.scores, q, stride, 1, area["k"], width, read("features.panel"), read("features"), area["scores"], self.pitch,
                here, seen, diagonal,
            )  # fmt: skip
            limit, whole = self.limit(count, diagonal)
            maxima, sums = self.element(area["maxima"], row), self.element(area["sums"], f.mul(row, LANES))
            choose(
                f, self, whole, self.softmax, area["scores"], here, maxima, sums, area["factors"], *limit, seen,
                *self.mask_at(at, query, key),
            )  # fmt: skip
            self.call(
                self.totals, area["scores"], self.pitch, 1, area["v"], width, KEYS * width, seen, totals, read("values.pitch"), here,
                read("values"), diagonal, area["factors"], 1,
            )  # fmt: skip

    def _results(self, at: dict[str, Value], area: dict[str, Value], first: Value, rows: Value) -> None:
        f, read, tile = self.f, self.read, self.tile
        self.call(self.finish, rows, area["maxima"], area["sums"], area["inverses"])
        self.call(
            self.scatter_rows, area["totals"], read("values.pitch"), rows, read("values"), area["inverses"], 1, self.row(at, "out", first),
            read("out.row"),
        )  # fmt: skip
        with f.when(f.compare("ne", read("saves"), 0)):
            most = self.row(at, "statistics", first)
            f.copy(most, area["maxima"], f.mul(rows, tile.bytes))
            f.copy(self.element(most, read("plane")), area["inverses"], f.mul(rows, tile.bytes))
