"""The rules of well-formed graphs: what each kind of node demands of its arguments, attributes, dtype and shape."""

from __future__ import annotations

from collections.abc import Callable

from flambeau._codegen import scalar
from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.steps import STEPS
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

REDUCTIONS = frozenset(("sum", "squares", "prod", "max", "min", "any", "all"))
SCANS = frozenset(("sum", "prod", "max", "min", "logaddexp"))
COMBINATIONS = frozenset(("sum", "prod", "max", "min", "set"))
TRANSFORMS = frozenset(("plain", "convolution", "fold", "open", "first half", "second half"))
FLAT = frozenset(("input", "bitcast"))
"""Kinds that are flat memory, of a size that need not be known (-1)."""


class MalformedGraph(ValueError):
    """A node that breaks a rule; the message has the node's line and the rule."""


def verify(graph: Graph) -> None:
    """Check every node of a graph.

    Raises:
        MalformedGraph: of the first node that breaks a rule.
    """
    for position, node in enumerate(graph.nodes):
        problem = _problem(graph, node, position)
        if problem:
            raise MalformedGraph(f"{node!r}: {problem}")


def _problem(graph: Graph, node: Node, position: int) -> str | None:
    if node.index != position:
        return f"it stands at position {position}"
    for argument in node.args:
        if argument.index >= position or graph.nodes[argument.index] is not argument:
            return f"%{argument.index} is no earlier node of this graph"
        if argument.kind in ("host", "recur", "linear", "check") and node.kind != "item":
            return f"%{argument.index} has no elements to read"
    rule = _RULES.get(node.kind)
    if rule is None:
        return f"there is no kind {node.kind!r}"
    if len(node.shape) != len(node.strides):
        return f"{len(node.shape)} dimensions, but {len(node.strides)} strides"
    if node.kind not in FLAT and node.kind != "view" and not lay.layout(node.shape, node.strides, 0, node.dtype).dense:
        return f"memory of its own must be dense, but the strides are {node.strides}"
    return rule(node)


# -- a rule for each kind ------------------------------------------------------------------------------------------------


def _source(node: Node) -> str | None:
    return "it takes no arguments" if node.args else None


def _flat(node: Node) -> str | None:
    if len(node.shape) != 1:
        return "it is flat memory, with one dimension"
    return None if len(node.args) == (node.kind == "bitcast") else "wrong number of arguments"


def _number(node: Node) -> str | None:
    if node.shape or node.args:
        return "it is a scalar without arguments"
    return None if node.attrs[1] in (int, float, complex, bool) else f"{node.attrs[1]} is no class of numbers"


def _iota(node: Node) -> str | None:
    if node.dtype is not dt.int64:
        return "an index is int64"
    return None if not node.args and 0 <= node.attrs[0] < node.ndim else f"there is no axis {node.attrs[0]}"


def _map(node: Node) -> str | None:
    op = node.attrs[0]
    shapes = [argument.shape for argument in node.args]
    if any(shape != node.shape for shape in shapes):
        return f"its arguments have the shapes {shapes}"
    dtypes = [argument.dtype for argument in node.args]
    if op == "copy":
        return None if dtypes == [node.dtype] else "a copy keeps the dtype of its one argument"
    if op not in scalar.OPS:
        return f"there is no scalar operator {op!r}"
    if len(node.args) != scalar.OPS[op].arity:
        return f"{op} takes {scalar.OPS[op].arity} arguments"
    if op == "where":
        if dtypes[0] is not dt.bool:
            return "a condition is bool"
        dtypes = dtypes[1:]
    if any(each is not dtypes[0] for each in dtypes):
        return f"its arguments have the dtypes {[each.name for each in dtypes]}"
    expected = scalar.OPS[op].result_dtype(dtypes[0])
    return None if node.dtype is expected else f"{op} of {dtypes[0].name} gives {expected.name}"


def _cast(node: Node) -> str | None:
    return None if len(node.args) == 1 and node.args[0].shape == node.shape else "it has one argument of its shape"


def _view(node: Node) -> str | None:
    (base,) = node.args
    offset, bounds = node.attrs
    if base.kind == "view":
        return "a view is of memory, not of another view"
    if base.dtype is not node.dtype:
        return f"a view keeps the dtype, {base.dtype.name}"
    if any(len(bound.coefficients) != node.ndim for bound in bounds):
        return "a bound has a coefficient for each dimension"
    return None if bounds or _fits(node.shape, node.strides, offset, base) else f"it reaches out of the memory of %{base.index}"


def _fits(shape: tuple, strides: tuple, offset: int, base: Node) -> bool:
    """Whether all places lie in a node's memory (as far as its size is known)."""
    if 0 in shape:
        return True
    reach = [stride * (size - 1) for size, stride in zip(shape, strides, strict=True)]
    low, high = offset + sum(min(each, 0) for each in reach), offset + sum(max(each, 0) for each in reach)
    return low >= 0 and (base.shape == (-1,) or high < base.numel)


def _gather(node: Node) -> str | None:
    strides, _, index_strides, _ = node.attrs
    source, *indices = node.args
    if source.dtype is not node.dtype or source.kind == "view":
        return "it reads memory of its dtype"
    if len(strides) != node.ndim:
        return "a stride for each dimension is missing"
    return _indices(indices, index_strides, node.shape)


def _indices(indices: list[Node], strides: tuple, shape: tuple, dtypes: tuple = (dt.int64,)) -> str | None:
    if len(indices) != len(strides):
        return f"{len(indices)} indices, but {len(strides)} strides of indices"
    for index in indices:
        if index.dtype not in dtypes or index.shape != shape:
            return f"the index %{index.index} must be {' or '.join(each.name for each in dtypes)} of shape {list(shape)}"
    return None


def _reduce(node: Node) -> str | None:
    kind, axes = node.attrs
    (source,) = node.args
    if kind not in REDUCTIONS:
        return f"there is no reduction {kind!r}"
    if not axes or list(axes) != sorted(set(axes)) or not all(0 <= axis < source.ndim for axis in axes):
        return f"{axes} are not different axes of the argument, in order"
    if node.dtype is not source.dtype:
        return f"a reduction keeps the dtype, {source.dtype.name}"
    expected = tuple(size for axis, size in enumerate(source.shape) if axis not in axes)
    return None if node.shape == expected else f"what is left of {list(source.shape)} is {list(expected)}"


def _scan(node: Node) -> str | None:
    kind, axis = node.attrs
    (source,) = node.args
    if kind not in SCANS:
        return f"there is no scan {kind!r}"
    if source.shape != node.shape or source.dtype is not node.dtype:
        return "a scan keeps shape and dtype"
    return None if 0 <= axis < node.ndim else f"there is no axis {axis}"


def _sort(node: Node) -> str | None:
    axis, _, low, high = node.attrs
    source, *ranks = node.args
    if any(each.dtype is not dt.int64 or each.shape != node.shape or (low, high) != (0, 1) for each in ranks):
        return "a rank for each line is an int64, and there is one"
    if not 0 <= axis < source.ndim or not 0 <= low <= high <= source.shape[axis] < 1 << 31:
        return "it sorts along an axis of less than 2^31 elements, and its ranks are among them"
    expected = (*source.shape[:axis], high - low, *source.shape[axis + 1 :])
    return None if node.shape == expected and node.dtype is dt.int64 else f"the positions have the shape {list(expected)}"


def _attention(node: Node) -> str | None:
    q, k, v, *mask = node.args
    problem = _attends(q, k, v, mask)
    if problem:
        return problem
    result, rows = node.attrs[0], q.shape[:-1]
    shape = (2, *rows) if result else (*rows, v.shape[-1])
    dtypes = {q.dtype.compute} if result else {q.dtype, q.dtype.compute}
    return None if node.shape == shape and node.dtype in dtypes else f"result {result} is {shape} of {dtypes}"


def _attention_backward(node: Node) -> str | None:
    q, k, v, statistics, grad, delta, *mask = node.args
    problem = _attends(q, k, v, mask)
    if problem:
        return problem
    if statistics.shape != (2, *q.shape[:-1]) or delta.shape != q.shape[:-1] or grad.shape != (*q.shape[:-1], v.shape[-1]):
        return "statistics, grad or delta have another shape than the forward pass's rows"
    same = node.dtype is q.dtype and node.shape == node.args[node.attrs[0]].shape
    return None if same else "a gradient looks like what it is the gradient of"


def _attends(q: Node, k: Node, v: Node, mask: list[Node]) -> str | None:
    if q.ndim < 2 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2] or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        return f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)} do not fit"
    if not q.dtype is k.dtype is v.dtype or q.dtype.category != dt.FLOAT:
        return "the operands are of one real floating-point dtype"
    if 0 in (*q.shape, *k.shape, *v.shape):
        return "nothing is empty"
    if mask and mask[0].shape != (*q.shape[:-1], k.shape[-2]):
        return f"the mask is of the shape {[*q.shape[:-1], k.shape[-2]]}"
    return None


def _contract(node: Node) -> str | None:
    batch, m, n, k, bundle = node.attrs
    a, b = node.args
    if bundle == PAIRS and not (a.dtype is b.dtype is dt.float32):
        return "pairs are float32"
    if bundle not in ("", PAIRS) and not (a.dtype is b.dtype is node.dtype is dt.int32):
        return "quads and their sums are int32"
    if a.ndim != batch + m + k or b.ndim != batch + k + n:
        return f"the arguments need {batch + m + k} and {batch + k + n} dimensions"
    if a.shape[:batch] != b.shape[:batch] or a.shape[batch + m :] != b.shape[batch : batch + k]:
        return f"{list(a.shape)} and {list(b.shape)} do not fit"
    expected = a.shape[: batch + m] + b.shape[batch + k :]
    return None if node.shape == expected else f"the result's shape is {list(expected)}"


def _update(node: Node) -> str | None:
    strides, offset = node.attrs
    target, value = node.args
    if value.dtype is not node.dtype or len(strides) != value.ndim:
        return "the value has the dtype of the target, and a stride for each dimension"
    return _overwrites(node, target) or (None if _fits(value.shape, strides, offset, target) else f"it writes outside of %{target.index}")


def _scatter(node: Node) -> str | None:
    combine, shape, strides, _, index_strides, sizes, _, rows, errors, _ = node.attrs
    target, value, *indices = node.args
    if combine not in COMBINATIONS:
        return f"there is no way to combine {combine!r}"
    if rows is not None:
        named = [indices.pop() for _ in range(1 + rows.scaled)][::-1]
        if [each.dtype for each in named] != [dt.int64, node.dtype][: len(named)] or any(each.shape != shape for each in named):
            return f"a row has a place (int64) and may have a factor, of the shape {list(shape)}"
        if len(rows.strides) != len(shape) or rows.strides[-1] != 1 or any(each.strides[-1] for each in named):
            return "rows lie side by side, and have one place each"
    elif value.shape != shape:
        return f"the value must be {node.dtype.name}{list(shape)}"
    if value.dtype is not node.dtype or len(strides) != len(shape):
        return f"the value must be {node.dtype.name}{list(shape)}"
    if not len(sizes) == len(errors) == len(indices):
        return "each index has a size and an error"
    same = target.shape == node.shape and target.dtype is node.dtype and (target.kind == "constant" or target.strides == node.strides)
    if not same or target.kind in ("number", "iota") or (target.kind == "view" and not (target.attrs == (0, ()) and target.layout.dense)):
        return f"the result must look like the target, %{target.index}, which lies in memory from its start on or is a constant"
    return _indices(indices, index_strides, shape, (dt.int64, dt.int32))


def _overwrites(node: Node, target: Node) -> str | None:
    if target.kind in ("view", "constant", "number", "iota"):
        return f"%{target.index} has no memory of its own"
    same = target.shape == node.shape and target.strides == node.strides and target.dtype is node.dtype
    return None if same else f"the result must look like the target, %{target.index}"


def _host(node: Node) -> str | None:
    return None if callable(node.attrs[0]) else "it calls no function"


def _recur(node: Node) -> str | None:
    step, _, _, _, sizes, units, _, bundle = node.attrs
    if step not in STEPS:
        return f"there is no step {step!r}"
    if list(sizes) != sorted(sizes, reverse=True) or sizes[-1] < 1:
        return f"{sizes} are not numbers of sequences that come to their ends"
    rows, dtype = sum(sizes), node.args[0].dtype
    if node.args[0].shape[0] != rows or node.args[2].shape[1:] != (sizes[0], units):
        return f"the first argument has {rows} rows, and the states are {(sizes[0], units)}"
    if bundle and (bundle != PAIRS or units % 2 or node.args[1].dtype is not dt.float32):
        return f"{bundle!r} are not what {units} units of {dtype.name} are multiplied in"
    return None if all(each.dtype is dtype for each in (node.args[0], *node.args[2:])) else f"the arguments are {dtype.name}"


def _linear(node: Node) -> str | None:
    if any(argument.ndim < 2 or not argument.layout.contiguous for argument in node.args):
        return "the arguments are batches in row-major memory"
    return None if node.args[0].dtype in (dt.float32, dt.float64, dt.int32) else f"the first argument is {node.args[0].dtype.name}"


def _fourier(node: Node) -> str | None:
    what, n, _, _, _, moves = node.attrs
    source, table = node.args
    if what not in TRANSFORMS:
        return f"there is no transform {what!r}"
    if source.ndim != 3 or not source.layout.contiguous or not table.dtype.is_complex:
        return "it is along the middle axis of three in row-major memory, and has a table of complex numbers"
    outer, count, inner = source.shape
    size = {"plain": n, "convolution": n, "fold": n + 1, "open": 2 * n}.get(what, count)
    expected = {"fold": 2 * n, "open": n + 1}.get(what, size)
    if "half" not in what and count != expected:
        return f"there are {count} numbers along the axis, not {expected}"
    shape = (outer, inner, size) if moves else (outer, size, inner)
    return None if node.shape == shape else f"the shape must be {list(shape)}"


def _item(node: Node) -> str | None:
    (call,) = node.args
    if call.kind not in ("host", "recur", "linear"):
        return f"%{call.index} is no host node, and no recur or linear node"
    number = node.attrs[0]
    results = call.attrs[2]
    if not 0 <= number < len(results):
        return f"%{call.index} has {len(results)} results"
    return None if results[number] == (node.dtype, node.shape) else f"result {number} of %{call.index} is {results[number]}"


def _check(node: Node) -> str | None:
    good = [argument.dtype for argument in node.args] == [dt.bool, dt.int64] and all(each.shape == node.shape for each in node.args)
    return None if good else "a check has a condition (bool) and a detail (int64) of its shape"


_RULES: dict[str, Callable[[Node], str | None]] = {
    "input": _flat,
    "number": _number,
    "constant": _source,
    "iota": _iota,
    "map": _map,
    "cast": _cast,
    "view": _view,
    "gather": _gather,
    "reduce": _reduce,
    "contract": _contract,
    "attention": _attention,
    "attention_backward": _attention_backward,
    "scan": _scan,
    "sort": _sort,
    "empty": _source,
    "update": _update,
    "scatter": _scatter,
    "bitcast": _flat,
    "fourier": _fourier,
    "host": _host,
    "recur": _recur,
    "linear": _linear,
    "item": _item,
    "check": _check,
}
