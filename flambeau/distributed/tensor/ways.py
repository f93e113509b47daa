"""How a function of distributed tensors is computed: by one of the ways that its rule lists, the one that exchanges least.

A *way* says how each distributed argument lies along one dimension of the mesh while the function runs on the pieces, and how the
results lie then. Two ways of ``x @ w``, for two matrices:

```
x in rows, w whole         ->  the product in rows
x in columns, w in rows    ->  the product as parts of a sum
```

That everything is whole in each process is a way of every function. Dimensions of a mesh do not concern each other, so that one is
chosen for each. An argument that is whole where the results are not has a gradient that is a sum over the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from threading import local
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.overriding import AllDisabled
from flambeau._types.dtype import dtype as DType
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.dtensor import DTensor, local_of, moved, wrap
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard
from flambeau.distributed.tensor.redistribute import SumGradient
from flambeau.distributed.tensor.spec import DTensorSpec

Way = tuple[Sequence[Placement], Placement]
"""The placements of the distributed arguments, and that of the results."""

Rule = Callable[["Call", int], Iterable[Way]]
"""``rule(call, axis)``: the ways along a dimension of the mesh, besides that everything is whole."""

WHOLE = Replicate()


class _Mixing(local):
    """Whether ordinary tensors may be among distributed ones, as whole in each process."""

    allowed = False


MIXING = _Mixing()


class Call:
    """A call of a function with distributed tensors among its arguments (also in lists and tuples).

    Attributes:
        name, function, args, kwargs: what was called
        tensors: the distributed arguments, in order
        mesh: where they lie

    Raises:
        RuntimeError: their meshes differ, or an ordinary tensor of more than one element is among the arguments
    """

    def __init__(self, function: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.name: str = function.__name__
        self.function, self.args, self.kwargs = function, tuple(args), kwargs
        given = list(_flat((*args, *kwargs.values())))
        self.mesh: DeviceMesh = next(each.device_mesh for each in given if isinstance(each, DTensor))
        if MIXING.allowed:
            self.args, values = (_replaced(each, self._whole, Tensor) for each in (self.args, list(kwargs.values())))
            self.kwargs = dict(zip(kwargs, values))
            given = list(_flat((*self.args, *values)))
        self.tensors: list[DTensor] = [each for each in given if isinstance(each, DTensor)]
        self._check(given)

    def _whole(self, tensor: Tensor) -> DTensor:
        if isinstance(tensor, DTensor):
            return tensor
        return DTensor.from_local(tensor, self.mesh, [WHOLE] * self.mesh.ndim)

    def _check(self, given: list[Any]) -> None:
        for each in given:
            if isinstance(each, Tensor) and not isinstance(each, DTensor) and each.numel() != 1:
                raise RuntimeError(
                    f"{self.name}: got mixed torch.Tensor and DTensor: an ordinary tensor of shape {list(each.shape)} is among distributed ones; "
                    "say how it lies with distribute_tensor() or DTensor.from_local()"
                )
        if any(each.device_mesh is not self.mesh and each.device_mesh != self.mesh for each in self.tensors):
            raise RuntimeError(f"{self.name}: the tensors lie on different meshes: {[each.device_mesh for each in self.tensors]}")

    def at(self, axis: int) -> list[Placement]:
        """How each tensor lies along a dimension of the mesh."""
        return [each.placements[axis] for each in self.tensors]


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for each in values:
        if isinstance(each, (tuple, list)):
            yield from _flat(each)
        else:
            yield each


def _replaced(value: Any, replacement: Callable[[Any], Any], kind: type = DTensor) -> Any:
    if isinstance(value, kind):
        return replacement(value)
    if isinstance(value, (tuple, list)):
        parts = [_replaced(each, replacement, kind) for each in value]
        return type(value)._make(parts) if hasattr(value, "_make") else type(value)(parts)
    return value


# -- choosing ---------------------------------------------------------------------------------------------------------


def _cost(source: Placement, target: Placement, size: int) -> float:
    """What it costs to bring a tensor of so many elements from one placement to another."""
    if source == target:
        return 0.0
    if isinstance(target, Partial):
        return float("inf")
    return size * (1e-3 if isinstance(source, Replicate) else 1.0)


def choose(call: Call, rule: Rule | None) -> list[Way]:
    """The cheapest way along each dimension of the mesh."""
    chosen = []
    for axis in range(call.mesh.ndim):
        ways: list[Way] = [([WHOLE] * len(call.tensors), WHOLE), *(rule(call, axis) if rule is not None else ())]
        now = call.at(axis)
        costs = [
            sum(_cost(before, after, max(each.numel(), 1)) for before, after, each in zip(now, inputs, call.tensors)) for inputs, _ in ways
        ]
        chosen.append(ways[costs.index(min(costs))])
    return chosen


# -- running ----------------------------------------------------------------------------------------------------------


def run(
    call: Call, ways: Sequence[Way], shape: Sequence[int] | None = None, function: Callable | None = None, spec: DTensorSpec | None = None
) -> Any:
    """Bring the arguments to where the ways want them, run the function on the pieces, and say how the results lie.

    Args:
        shape: of the (one) result; if it is not given, the function is asked with tensors that have shapes and no more
        function: what runs on the pieces, if it is not the function itself
        spec: of the (one) result, if it is known
    """
    pieces = pieces_of(call, ways)
    args, kwargs = (_replaced(each, lambda tensor: next(pieces)) for each in (call.args, list(call.kwargs.items())))
    result = (function or call.function)(*args, **dict(kwargs))
    if spec is not None:
        return wrap(result, spec)
    placements = tuple([output for _, output in ways])
    if shape is None and any(isinstance(each, Shard) for each in placements):
        layouts = iter(_whole_layouts(call))
        return _wrapped(result, lambda local: DTensorSpec(call.mesh, placements, *next(layouts)))
    if shape is not None:
        return _wrapped(result, lambda local: DTensorSpec(call.mesh, placements, shape))
    return _wrapped(result, lambda local: DTensorSpec(call.mesh, placements, local.shape, local.stride()))


def pieces_of(call: Call, ways: Sequence[Way]) -> Any:
    """An iterator over the pieces of the arguments, lying as the ways want them."""
    records = flambeau.is_grad_enabled()
    for number, tensor in enumerate(call.tensors):
        local = local_of(moved(tensor, [inputs[number] for inputs, _ in ways]))
        if records and local.requires_grad:
            axes = [
                axis
                for axis, (inputs, output) in enumerate(ways)
                if isinstance(inputs[number], Replicate) and not isinstance(output, Replicate) and call.mesh.size(axis) > 1
            ]
            if axes:
                local = SumGradient.apply(local, call.mesh, axes)
        yield local


def _wrapped(result: Any, spec: Callable[[Tensor], DTensorSpec]) -> Any:
    if isinstance(result, Tensor):
        return result if isinstance(result, DTensor) else wrap(result, spec(result))
    if isinstance(result, (tuple, list)):
        parts = [_wrapped(each, spec) for each in result]
        return type(result)._make(parts) if hasattr(result, "_make") else type(result)(parts)
    return result


def of_rule(rule: Rule | None) -> Callable[[Call], Any]:
    """What a function does that a rule tells the ways of."""
    return lambda call: run(call, choose(call, rule))


_MAX_PLANS = 4096


def remembered(find: Callable[[Call], tuple[list[Way], Sequence[int] | None]]) -> Callable[[Call], Any]:
    """What a function of one result does, for which ``find`` gives the ways, and the shape if it knows that.

    What was found for a call holds for those with the same shapes, placements and kinds of arguments; numbers must not matter but by their class.
    """
    plans: dict[Any, tuple[list[Way], DTensorSpec]] = {}

    def handler(call: Call) -> Any:
        key = call.function, call.mesh, _signature(call.args), _signature(tuple(call.kwargs.items()))
        try:
            known = plans.get(key)
        except TypeError:  # an argument that has no hash
            return run(call, *find(call))
        if known is not None:
            ways, spec = known
            if spec.mesh is not call.mesh:  # an equal one, of other groups, which may be closed
                spec = DTensorSpec(call.mesh, spec.placements, spec.shape, spec.stride)
            return run(call, ways, spec=spec)
        ways, shape = find(call)
        result = run(call, ways, shape)
        if isinstance(result, DTensor):
            if len(plans) >= _MAX_PLANS:
                plans.clear()
            plans[key] = ways, result._spec
        return result

    return handler


def _signature(value: Any) -> Any:
    """What counts of an argument: of numbers only the class."""
    if isinstance(value, DTensor):
        return value._spec.shape, value._spec.placements, value.layout.dtype
    if isinstance(value, Tensor):
        return value.layout.shape, value.layout.dtype
    if isinstance(value, tuple):
        return tuple(map(_signature, value))
    return value.__class__ if value.__class__ in (int, float, bool, complex) else value


# -- shapes -----------------------------------------------------------------------------------------------------------


class _Shape:
    """The place of a tensor among arguments of which only shapes and dtypes count."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: DType) -> None:
        self.shape, self.dtype = tuple(shape), dtype

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))


def _whole_layouts(call: Call) -> tuple:
    """Shape and strides of each result, for tensors of which each process had all."""
    key = _frozen((call.args, tuple(call.kwargs.items())))
    try:
        return _asked(call.function, *key)
    except TypeError:  # an argument that has no hash
        return _asked.__wrapped__(call.function, *key)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return _Shape(value.shape, value.dtype)
    if isinstance(value, (tuple, list)):
        return tuple(map(_frozen, value))
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, _Shape):
        return flambeau.zeros((), dtype=value.dtype).expand(value.shape)
    return tuple(map(_thawed, value)) if isinstance(value, tuple) else value


@lru_cache(maxsize=4096)
def _asked(function: Callable, args: tuple, kwargs: tuple) -> tuple:
    """Record the function with tensors that nobody will look at."""
    with AllDisabled(), flambeau.no_grad():
        result = function(*map(_thawed, args), **{name: _thawed(value) for name, value in kwargs})
        return tuple([(tuple(each.shape), each.stride()) for each in _flat((result,)) if isinstance(each, Tensor)])


def argument(call: Call, position: int, name: str, default: Any = None) -> Any:
    """An argument by its position or its name."""
    if len(call.args) > position:
        return call.args[position]
    return call.kwargs.get(name, default)
