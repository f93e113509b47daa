"""Contractions: which elementwise work they take along, and the kernel calls that they become.

Before::

    cluster 1: %5 = contract (%3, %4)        cluster 2: %7 = map add (%5, view of bias)   %8 = map maximum (%7, 0)

After: one cluster of three nodes. The contraction's kernel computes ``%8`` from each sum while that is in a register, and ``%5``
is never written to memory unless somebody else reads it. The scalar code is that of loops, so that bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

from flambeau._codegen import contract as contraction
from flambeau._codegen import scalar
from flambeau._codegen.contract.arithmetic import compute_dtype, narrow
from flambeau._codegen.ir import Builder
from flambeau._codegen.loops import Instr
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.cluster import Clustering
from flambeau._compiler.digits import Cluster, digit_strides, interval
from flambeau._compiler.nest import Nest
from flambeau._compiler.node import Node, base_of
from flambeau._compiler.prepacking import LEAST_KEPT
from flambeau._runtime import targets

_MOST_INSTRUCTIONS = 6
"""Besides casts. More take longer here than in a loop of their own, and make a kernel of each contraction that has them: with Adam's 13 beside the gradients
of weights a step of two layers of 512 by 2048 took 17 % longer, those of DCGAN, GPT and a VAE 5 to 10 %, and their first steps 10 to 20 %."""

_SHORT = frozenset(("abs", "add", "copy", "fma", "maximum", "minimum", "mul", "neg", "sub", "where"))
"""Operators that are an instruction or a few."""

_LARGE = 1 << 16
"""Elements from which on it matters in which order a result is written."""


# -- which work a contraction takes along ------------------------------------------------------------------------------


def absorb(clustering: Clustering) -> None:
    """Move contractions into the clusters that do elementwise work on their results."""
    for cluster in list(clustering.clusters.values()):
        if _is_elementwise(cluster):
            found = {base.index: base for node in cluster.nodes for base, _ in map(base_of, node.args) if base.kind == "contract"}
            # The one that comes last: what the others computed before is read beside it.
            for index in sorted(found, reverse=True):
                if _take(clustering, cluster, found[index]):
                    break


def _is_elementwise(cluster: Cluster) -> bool:
    if not cluster.dims or cluster.reduced is not None or 0 in cluster.extents:
        return False
    if sum(node.kind != "cast" for node in cluster.nodes) > _MOST_INSTRUCTIONS:
        return False
    for node in cluster.nodes:
        if node.kind not in ("map", "cast", "update") or node.dtype.is_complex:
            return False
        for argument in node.args[node.kind == "update" :]:
            base, view = base_of(argument)
            if base.kind == "iota" or base.dtype.is_complex or (view is not None and view.attrs[1]):
                return False
    return True


def _take(clustering: Clustering, cluster: Cluster, node: Node) -> bool:
    """Let the contraction ``node`` be computed by the cluster that reads it, if each element is read once, where it is made."""
    own = clustering.home[node.index]
    if len(own.nodes) > 1:
        return False  # another cluster has it already
    bit, new = 1 << own.number, 1 << cluster.number
    between = [each for each in clustering.clusters.values() if cluster.ancestors >> each.number & 1]
    if any(each.ancestors & bit for each in between):
        return False  # somebody else reads it before this cluster can run
    reads = []
    for each in cluster.nodes:
        for argument in each.args[each.kind == "update" :]:
            base, view = base_of(argument)
            if base is node:
                if view is not None and view.attrs[0]:
                    return False
                strides = node.strides if view is None else view.strides
                reads.append(digit_strides(cluster.dims[each.index], strides, cluster.extents))
    moves = [{digit: stride for digit, stride in read.items() if stride and cluster.extents[digit] > 1} for read in reads]
    if any(each != moves[0] for each in moves):
        return False
    state = cluster.snapshot()
    dims = _dims(cluster, node, moves[0])
    if dims is None or {digit for digits in dims for digit in digits} != {i for i, extent in enumerate(cluster.extents) if extent > 1}:
        cluster.restore(state)
        return False
    if dims and _scatters(cluster, dims[-1]):
        cluster.restore(state)
        return False
    cluster.dims[node.index] = dims
    cluster.nodes.insert(0, node)
    clustering.home[node.index] = cluster
    del clustering.clusters[own.number]
    cluster.ancestors = (cluster.ancestors | own.ancestors) & ~bit
    for each in clustering.clusters.values():
        if each.ancestors & bit:
            each.ancestors = each.ancestors & ~bit | new | cluster.ancestors
    return True


def _scatters(cluster: Cluster, lanes: tuple[int, ...]) -> bool:
    """Whether what a register holds would be written number by number: results that lie in another order are better transposed by a loop.

    A grouped convolution with channels_last images, 4 x 128 x 56 x 56, spent 5 ms on it, which takes a loop 0.6.
    """
    if not lanes or prod(cluster.extents) < _LARGE:
        return False
    return any(abs(cluster.strides(each).get(lanes[-1], 0)) > 2 for each in cluster.nodes)


def _dims(cluster: Cluster, node: Node, moves: dict[int, int]) -> tuple[tuple[int, ...], ...] | None:
    """The axes of the contraction's result in digits; ``moves`` says how far each digit moves in its memory. Splits digits where needed."""
    dims: list[tuple[int, ...]] = []
    place = -1 - node.index
    cluster.dims[place] = tuple((digit,) for digit in moves)  # is kept up to date while digits are split
    strides = list(moves.values())
    for size, stride in zip(node.shape, node.strides, strict=True):
        if size == 1:
            dims.append(())
            continue
        current = digit_strides(cluster.dims[place], strides, cluster.extents)
        found = interval(cluster, sorted((step, digit) for digit, step in current.items()), stride, size)
        if found is None:
            del cluster.dims[place]
            return None
        dims.append(found)
    del cluster.dims[place]
    return tuple(dims)


# -- kernel calls ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _planned(problem: contraction.Contract, target: targets.Target, cores: int) -> contraction.ContractPlan:
    """The plan of a contraction, which follows from the number of cores, too. Layers of a network often have the same, and so do programs of which none comes again."""
    return contraction.plan(problem, target)


def lower(cluster: Cluster, stored: set[int], home: dict[int, Cluster], is_weight: Callable[[Node], bool]) -> list[KernelCall]:
    """The kernel calls of a contraction, and of what it has taken along. All but the last pack an operand into a temporary.

    ``is_weight`` tells which operands are likely to be the same in the next run.
    """
    node = cluster.nodes[0]
    batch, m, n, k, bundle = node.attrs
    operands, nodes = [], {}
    for name, argument in zip("ab", node.args, strict=True):
        nodes[name], view = base_of(argument)
        offset, bounds = view.attrs if view is not None else (0, ())
        limits = tuple(contraction.Bound(bound.coefficients, bound.start, bound.extent) for bound in bounds)
        stays = is_weight(nodes[name]) and argument.numel * argument.dtype.itemsize >= LEAST_KEPT
        operands.append(contraction.Operand(argument.dtype, argument.strides, offset, limits, stays))
    left, right = (argument.shape for argument in node.args)
    groups = left[:batch], left[batch : batch + m], right[batch + k :], left[batch + m :]
    numbers: dict[str, int] = {}
    sizes: dict[str, int] = {}
    if len(cluster.nodes) == 1:
        problem = contraction.Contract(*groups, *operands, contraction.Operand(node.dtype, node.strides), bundle=bundle)
        nodes["out"] = node
    else:
        problem = _Ending(cluster, stored, home).contract(groups, operands, nodes, numbers, sizes)
    plan = _planned(problem, targets.current(), targets.available_cores())
    temporaries = {f"t{number}": nbytes for number, nbytes in enumerate(plan.temporaries)}
    calls = []
    for call in plan.calls:
        params, buffers = list(call.params), []
        for position, name in call.buffers:
            if name in numbers:  # run-time scalars lie side by side in a buffer of their own
                params[position], params[position + 1] = 1, 8 * numbers[name]
            elif name not in sizes:
                buffers.append((position, nodes.get(name, name)))
        told = [(position, sizes[name]) for position, name in call.buffers if name in sizes]
        own = {name: temporaries.pop(name) for _, name in call.buffers if name in temporaries}
        inside = tuple(cluster.nodes) if call is plan.calls[-1] else (node,)
        keeps = [(nodes[each.operand], each.nbytes, each.key, each.mode, each.slot) for each in call.keeps]
        calls.append(
            KernelCall(call.kernel, call.source, params, buffers, call.tiles, call.grain, call.scratch_bytes, inside, own, keeps, told)
        )
    return calls


class _Ending(Nest):
    """What a cluster does with each sum."""

    def _node(self, node: Node) -> int:
        return self._instr(Instr("sum", node.dtype, ())) if node.kind == "contract" else super()._node(node)

    def contract(
        self, groups: tuple[tuple[int, ...], ...], operands: list[contraction.Operand], nodes: dict[str, Node], numbers: dict[str, int],
        sizes: dict[str, int],
    ) -> contraction.Contract:  # fmt: skip
        """The contraction over the cluster's digits; tells which ``nodes``, run-time scalars and sizes its operands are."""
        extents, node = self.cluster.extents, self.cluster.nodes[0]
        batch, m, _, k = groups
        dims = self.cluster.dims[node.index]
        of_batch, of_m, of_n = dims[: len(batch)], dims[len(batch) : len(batch) + len(m)], dims[len(batch) + len(m) :]
        a, b = operands
        sides = [self._over_digits(a, [of_batch, of_m, len(k)]), self._over_digits(b, [of_batch, len(k), of_n])]
        digits = [[digit for each in part for digit in each] for part in (of_batch, of_m, of_n)]
        reads, writes, body = self._operations([digit for part in digits for digit in part])
        for name, group in (("read", reads), ("write", writes[1:])):
            for i, (_, buffer, number) in enumerate(group):
                if buffer is None:
                    numbers[f"{name}{i}"] = number
                elif isinstance(buffer, int):
                    sizes[f"{name}{i}"] = buffer
                else:
                    nodes[f"{name}{i}"] = buffer
        nodes["out"] = writes[0][1]
        compute, of = compute_dtype(a.dtype), node.dtype

        def end(f: Builder, value: scalar.Operand, loaded: list[scalar.Operand]) -> list[scalar.Operand]:
            return evaluate(f, body, narrow(f, value, of, compute), loaded)  # no node: kernels are remembered, and graphs are not

        return contraction.Contract(
            *[tuple(extents[digit] for digit in part) for part in digits], k, *sides, writes[0][0],
            tuple(each for each, _, _ in writes[1:]), tuple(each for each, _, _ in reads), contraction.Epilogue(body, end, _is_short(body)),
            node.attrs[-1],
        )  # fmt: skip

    def _over_digits(self, operand: contraction.Operand, parts: list[Any]) -> contraction.Operand:
        """An operand of the node as one of the cluster: ``parts`` are axes as digits, or how many axes of k there are."""
        extents = self.cluster.extents

        def spread(numbers: tuple[int, ...]) -> tuple[int, ...]:
            found: list[int] = []
            left = iter(numbers)
            for part in parts:
                if isinstance(part, int):
                    found += [next(left) for _ in range(part)]
                    continue
                for each in part:
                    number = next(left)
                    found += [number * prod(extents[digit] for digit in each[i + 1 :]) for i in range(len(each))]
            return tuple(found)

        bounds = tuple(contraction.Bound(spread(bound.coefficients), bound.start, bound.extent) for bound in operand.bounds)
        return contraction.Operand(operand.dtype, spread(operand.strides), operand.offset, bounds, operand.stays)

    def _operations(self, order: list[int]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], tuple[tuple, ...]]:
        """What the body reads and writes, each an operand over the digits in ``order`` with its node, the number of a scalar, or its size; and the body."""
        reads: list[tuple[Any, ...]] = []
        writes: list[tuple[Any, ...]] = []
        body: list[tuple] = []
        for number, instr in enumerate(self.body):
            if instr.op in ("load", "store"):
                access = self.accesses[instr.attrs[0]]
                assert access.dtype is not None and access.buffer is not None
                where = contraction.Operand(access.dtype, tuple(access.strides.get(digit, 0) for digit in order), access.offset)
                group = reads if instr.op == "load" else writes
                group.append((where, access.buffer, -1))
                body.append((instr.op, instr.dtype, len(group) - 1, instr.args))
            elif instr.op == "number":
                reads.append((contraction.Operand(instr.dtype, (0,) * len(order)), None, self.extras[number][0]))
                body.append(("load", instr.dtype, len(reads) - 1, ()))
            elif instr.op == "index":
                reads.append((contraction.Operand(instr.dtype, (0,) * len(order)), self.accesses[instr.attrs[0]].offset, -1))
                body.append(("load", instr.dtype, len(reads) - 1, ()))
            else:
                body.append((instr.op, instr.dtype, instr.attrs, instr.args))
        return reads, writes, tuple(body)


def _is_short(body: tuple[tuple, ...]) -> bool:
    """Whether a body has no functions, which are long where each vector of a register tile has its own copy of it."""
    return all(op in ("sum", "load", "store", "constant", "cast") or attrs[0] in _SHORT for op, _, attrs, _ in body)


def evaluate(f: Builder, body: tuple[tuple, ...], total: scalar.Operand, loaded: list[scalar.Operand]) -> list[scalar.Operand]:
    """What a body stores, given the contraction's sum and what is loaded beside it: as loops compute it.

    What is made of operands of one lane alone has one lane, too: a number that a sum is multiplied by is converted once, not in each lane.
    """
    width = scalar.unpack(total)[0].width
    values: list[scalar.Operand] = []
    stored = []

    def lanes(argument: int) -> int:
        return scalar.unpack(values[argument])[0].width

    def spread(argument: int) -> scalar.Operand:
        value = values[argument]
        return value if lanes(argument) == width else scalar.splat(f, value, body[argument][1], width)

    for op, of, attrs, args in body:
        if op == "store" or len({lanes(argument) for argument in args}) > 1:
            operands = [spread(argument) for argument in args]
        else:
            operands = [values[argument] for argument in args]
        if op == "sum":
            value = total
        elif op == "load":
            value = loaded[attrs]
        elif op == "constant":
            value = scalar.splat_constant(of, attrs[0], 1)
        elif op == "cast":
            value = scalar.cast(f, operands[0], body[args[0]][1], of)
        elif op == "store":
            value = operands[0]
            stored.append(value)
        elif attrs[0] == "copy":
            value = operands[0]
        elif attrs[0] == "where":
            value = scalar.select(f, operands[0], operands[1], operands[2])
        else:
            value = scalar.emit(f, attrs[0], body[args[0]][1], *operands)
        values.append(value)
    return stored
