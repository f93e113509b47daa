"""Which sizes of a program's arguments are free."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, NamedTuple

from flambeau import Tensor
from flambeau._dynamo.exc import UserError
from flambeau.fx.experimental.symbolic_shapes import ConstraintViolationError
from flambeau.utils import _pytree
from flambeau.utils._pytree import tree_flatten_with_path, tree_leaves_with_path, tree_map_only

__all__ = ["AdditionalInputs", "Dim", "ShapesCollection", "dims", "register_dataclass"]

_INFINITE = 1 << 62


class _DimHint:
    """How a size without a name is treated: `Dim.AUTO`, `Dim.DYNAMIC`, `Dim.STATIC`; called, with limits."""

    def __init__(self, kind: str, min: int | None = None, max: int | None = None) -> None:
        self.kind, self.min, self.max = kind, min, max

    def __call__(self, min: int | None = None, max: int | None = None) -> _DimHint:
        if self.kind == "STATIC":
            raise AssertionError("Dim.STATIC has no limits: the size is that of the example")
        return _DimHint(self.kind, min, max)

    def __repr__(self) -> str:
        return f"DimHint({self.kind})"


class Dim:
    """A size that is free, with a name: where it is given twice, the sizes are equal. `2 * Dim("half") + 1` is a size, too.

    Args:
        name: an identifier
        min, max: the sizes that it may have; 0 and any size by default

    Raises:
        AssertionError: the name is no identifier, or `min` is more than `max`

    Example:
        >>> from flambeau.export import Dim
        >>> Dim("batch", min=1, max=64), 2 * Dim("half") + 1
        (Dim('batch', min=1, max=64), 2*half + 1)
    """

    AUTO = _DimHint("AUTO")
    DYNAMIC = _DimHint("DYNAMIC")
    STATIC = _DimHint("STATIC")

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        low, high = 0 if min is None else min, _INFINITE if max is None else max
        if not isinstance(name, str) or not name.isidentifier():
            raise AssertionError(f"the name of a Dim is an identifier, not {name!r}")
        if low > high:
            raise AssertionError(f"Dim {name!r} cannot be at least {low} and at most {high}")
        self.__name__ = name
        self.min = low
        self.max: Any = float("inf") if max is None else max
        self.root, self.factor, self.offset = self, 1, 0

    def _derived(self, factor: int, offset: int) -> Dim:
        if factor <= 0 or not isinstance(factor, int) or not isinstance(offset, int):
            raise NotImplementedError(f"sizes are made of {self!r} with a positive integer factor and an integer added")
        made = object.__new__(Dim)
        made.root, made.factor, made.offset = self.root, factor, offset
        text = self.root.__name__ if factor == 1 else f"{factor}*{self.root.__name__}"
        made.__name__ = f"{text} {'+' if offset > 0 else '-'} {abs(offset)}" if offset else text
        made.min, made.max = factor * self.root.min + offset, factor * self.root.max + offset
        return made

    def __add__(self, other: int) -> Dim:
        return self._derived(self.factor, self.offset + other)

    __radd__ = __add__

    def __sub__(self, other: int) -> Dim:
        return self._derived(self.factor, self.offset - other)

    def __mul__(self, other: int) -> Dim:
        return self._derived(self.factor * other, self.offset * other)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        if self.root is not self:
            return self.__name__
        limit = "" if self.max == float("inf") else f", max={self.max}"
        return f"Dim({self.__name__!r}, min={self.min}{limit})"


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """Several `Dim`s with the same limits."""
    return tuple([Dim(name, min=min, max=max) for name in names])


class ShapesCollection:
    """`dynamic_shapes` by tensor: `shapes[tensor] = {0: Dim("batch")}`; for arguments whose containers are deep.

    Example:
        >>> import flambeau
        >>> from flambeau.export import Dim, ShapesCollection
        >>> x = flambeau.ones(2, 3)
        >>> shapes = ShapesCollection()
        >>> shapes[x] = {0: Dim("batch")}
        >>> shapes.dynamic_shapes(flambeau.nn.Identity(), (x,))
        {'input': {0: Dim('batch', min=0)}}
    """

    def __init__(self) -> None:
        self._shapes: dict[int, tuple[Tensor, Any]] = {}

    def __setitem__(self, t: Tensor, shape: Any) -> None:
        if not isinstance(t, Tensor):
            raise AssertionError(f"sizes are given for tensors, not for a {type(t).__name__}")
        self._shapes[id(t)] = (t, shape)

    def __getitem__(self, t: Tensor) -> Any:
        return self._shapes.setdefault(id(t), (t, {}))[1]

    def __len__(self) -> int:
        return len(self._shapes)

    def dynamic_shapes(self, m: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """The shapes by the names of a module's arguments.

        Raises:
            ValueError: a tensor is none of the arguments
        """
        found: set[int] = set()

        def shape(leaf: Any) -> Any:
            if id(leaf) in self._shapes:
                found.add(id(leaf))
                return self._shapes[id(leaf)][1]
            return None

        by_name = {name: tree_map_only(lambda leaf: True, shape, value) for name, value in bound_arguments(m, args, kwargs or {}).items()}
        missing = [tuple(tensor.shape) for key, (tensor, _) in self._shapes.items() if key not in found]
        if missing:
            raise ValueError(f"tensors of shapes {missing} are in the ShapesCollection, but not among the arguments")
        return by_name


class AdditionalInputs:
    """Further examples: sizes in which they differ from the first are free.

    Example:
        >>> import flambeau
        >>> from flambeau.export import AdditionalInputs
        >>> inputs = AdditionalInputs()
        >>> inputs.add((flambeau.ones(5, 3),))
        >>> inputs.dynamic_shapes(flambeau.nn.Identity(), (flambeau.ones(2, 3),))
        {'input': {0: DimHint(DYNAMIC)}}
    """

    def __init__(self) -> None:
        self._examples: list[tuple[tuple, dict[str, Any]]] = []

    def add(self, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        """Add an example."""
        self._examples.append((tuple(args), dict(kwargs or {})))

    def dynamic_shapes(self, m: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """The shapes by the names of a module's arguments."""
        first = bound_arguments(m, args, kwargs or {})
        others = [bound_arguments(m, *example) for example in self._examples]
        sizes: dict[int, dict[int, Any]] = {}
        for values in others:
            for (_, mine), (_, theirs) in zip(tree_flatten_with_path(first)[0], tree_flatten_with_path(values)[0], strict=True):
                if isinstance(mine, Tensor):
                    differing = [dim for dim, (a, b) in enumerate(zip(mine.shape, theirs.shape, strict=True)) if a != b]
                    sizes.setdefault(id(mine), {}).update(dict.fromkeys(differing, Dim.DYNAMIC))
        return {name: tree_map_only(lambda leaf: True, lambda leaf: sizes.get(id(leaf)), value) for name, value in first.items()}

    def verify(self, ep: Any) -> None:
        """Call an exported program with all examples.

        Raises:
            AssertionError: one does not fit
        """
        module = ep.module()
        for args, kwargs in self._examples:
            module(*args, **kwargs)


def register_dataclass(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Let instances of a dataclass be arguments and results of exported modules, with tensors in their fields.

    Args:
        cls: the dataclass
        serialized_type_name: for PyTorch's sake: programs with such arguments are not saved

    Raises:
        AssertionError: it is no dataclass
        ValueError: it is known already

    Example:
        >>> from dataclasses import dataclass
        >>> import flambeau
        >>> @dataclass
        ... class Batch:
        ...     x: flambeau.Tensor
        ...     scale: float
        >>> flambeau.export.register_dataclass(Batch)
        >>> class Scaled(flambeau.nn.Module):
        ...     def forward(self, batch):
        ...         return batch.x * batch.scale
        >>> program = flambeau.export.export(Scaled(), (Batch(flambeau.ones(2), 3.0),))
        >>> program.graph_signature.user_inputs, program.module()(Batch(flambeau.zeros(2), 3.0))
        (('batch_x', 3.0), tensor([0., 0.]))
    """
    if not is_dataclass(cls):
        raise AssertionError(f"{cls.__name__} is no dataclass")
    _pytree.register_dataclass(cls, serialized_type_name=serialized_type_name)


# -- from what the user says to symbols --------------------------------------------------------------------------------


def bound_arguments(module: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of `forward`'s parameters.

    Raises:
        UserError: `forward` does not take them
    """
    signature = signature_of_forward(module)
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise UserError(f"{type(module).__name__}.forward{signature} cannot be called with the examples: {error}") from error


def signature_of_forward(module: Any) -> inspect.Signature:
    """The arguments of a module; those of an exported one are its program's."""
    program = module.__dict__.get("_program")
    return inspect.signature(module.forward) if program is None else program.signature


@dataclass
class FlatShapes:
    """What `dynamic_shapes` says of each leaf of the arguments, in order."""

    shapes: list[Any]


@dataclass
class Symbol:
    """A free size: its name, what it is in the example and in the other variants, and what it may be."""

    name: str
    values: tuple[int, ...]
    min: int
    max: float
    auto: bool = False


class Free(NamedTuple):
    """A dimension of a tensor that is free: `factor * symbol + offset`."""

    symbol: Symbol
    factor: int
    offset: int

    def size(self, variant: int) -> int:
        return self.factor * self.symbol.values[variant] + self.offset


class Symbols:
    """Makes symbols of `Dim`s; tells which dimensions of which tensors are free."""

    def __init__(self) -> None:
        self.by_name: dict[str, Symbol] = {}
        self._dims: dict[str, Dim] = {}

    def free(self, where: str, size: int, dim: Any) -> Free | None:
        """The symbol of a dimension, or nothing if it is fixed.

        Raises:
            UserError, ConstraintViolationError: what is said of it does not fit the example
        """
        if dim is None or (isinstance(dim, _DimHint) and dim.kind == "STATIC"):
            return None
        if isinstance(dim, int) and not isinstance(dim, bool):
            if dim != size:
                raise UserError(f"{where} is said to be {dim}, but it is {size} in the example")
            return None
        if isinstance(dim, _DimHint):
            if size < 2:
                if dim.kind == "AUTO":
                    return None
                raise ValueError(
                    f"{where} is to be free, but it is {size} in the example: 0 and 1 are special; give an example of 2 or more"
                )
            low, high = 0 if dim.min is None else dim.min, float("inf") if dim.max is None else dim.max
            return Free(self._symbol(f"s{len(self.by_name)}", where, size, low, high, dim.kind == "AUTO"), 1, 0)
        if not isinstance(dim, Dim):
            raise UserError(f"{where} is given as {dim!r}: a size is a Dim, Dim.AUTO, Dim.DYNAMIC, Dim.STATIC, None, or the size itself")
        root = dim.root
        known = self._dims.setdefault(root.__name__, root)
        if (known.min, known.max) != (root.min, root.max):
            raise UserError(f"there are two Dims with the name {root.__name__!r} and other limits: {known!r} and {root!r}")
        value, rest = divmod(size - dim.offset, dim.factor)
        if rest:
            raise UserError(f"{where} is to be {dim!r}, but it is {size} in the example, which is that for no {root.__name__}")
        if not root.min <= value <= root.max:
            raise ConstraintViolationError(f"{where} gives {root.__name__} = {value}, which is not from {root.min} to {root.max}")
        return Free(self._symbol(root.__name__, where, value, root.min, root.max, False), dim.factor, dim.offset)

    def _symbol(self, name: str, where: str, value: int, low: int, high: float, auto: bool) -> Symbol:
        found = self.by_name.get(name)
        if found is None:
            if value < 2:
                raise UserError(
                    f"Constraints violated ({name})! {where} is to be free, but it is {value} in the example: 0 and 1 are special (they are broadcast, "
                    "or empty), and a program that is traced with them would be theirs alone; give an example of 2 or more"
                )
            other = self._other(value, low, high)
            if other is None:
                raise UserError(f"Constraints violated ({name})! {where} may be {value} only: declare it Dim.STATIC")
            found = self.by_name[name] = Symbol(name, (value, other), low, high, auto)
        elif found.values[0] != value:
            raise UserError(f"{where} gives {name} = {value}, but another size gives {name} = {found.values[0]}: they have one Dim")
        return found

    def _other(self, value: int, low: int, high: float) -> int | None:
        """Another size, that no other symbol has, and that (as 2n + 1) is divisible by nothing that the first one is."""
        taken = {each for symbol in self.by_name.values() for each in symbol.values} | {value}
        wanted = [2 * value + 1, 4 * value + 1, 6 * value + 1, *range(value + 1, value + 64), *range(value - 1, 1, -1)]
        return next((each for each in wanted if max(low, 2) <= each <= high and each not in taken), None)


def leaf_specifications(module: Any, args: tuple, kwargs: dict[str, Any], shapes: Any) -> Iterator[tuple[str, Any, Any]]:
    """For each leaf of the arguments its name, its value, and what `dynamic_shapes` says of it.

    Raises:
        UserError: `dynamic_shapes` has another form than the arguments
    """
    if isinstance(shapes, (ShapesCollection, AdditionalInputs)):
        shapes = shapes.dynamic_shapes(module, args, kwargs)
    arguments = bound_arguments(module, args, kwargs)
    if isinstance(shapes, FlatShapes):
        named = [(name, value) for name, whole in arguments.items() for name, value, _ in _leaves(name, whole, None)]
        yield from [(*leaf, each) for leaf, each in zip(named, shapes.shapes, strict=True)]
        return
    if isinstance(shapes, (tuple, list)):
        if len(shapes) != len(arguments):
            raise UserError(f"dynamic_shapes is for {len(shapes)} arguments, but there are {len(arguments)}: {list(arguments)}")
        shapes = dict(zip(arguments, shapes))
    elif shapes is not None and set(shapes) != set(arguments):
        raise UserError(f"dynamic_shapes names the arguments {list(shapes)}, but the arguments are {list(arguments)}")
    for name, value in arguments.items():
        yield from _leaves(name, value, None if shapes is None else shapes[name])


def _leaves(name: str, value: Any, shapes: Any) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(value, (list, tuple, dict)):
        known = tree_leaves_with_path(value)
        if len(known) == 1 and not known[0][0]:
            yield name, value, shapes
            return
        if shapes is not None:
            raise UserError(
                f"dynamic_shapes of {name} is {shapes!r}, but the sizes of a {type(value).__name__} cannot be free: pass its tensors"
            )
        for path, leaf in known:
            yield "_".join([name, *[_key(step) for step in path]]), leaf, None
        return
    children = value.items() if isinstance(value, dict) else enumerate(value)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if shapes is not None and not isinstance(shapes, (list, tuple, dict)):
        raise UserError(f"dynamic_shapes of {name} is {shapes!r}, but the argument is a {type(value).__name__} of {len(value)}")
    if shapes is not None and (len(shapes) != len(value) or (isinstance(shapes, dict) and set(shapes) != set(keys))):
        raise UserError(f"dynamic_shapes of {name} has {len(shapes)} parts, but the argument is a {type(value).__name__} of {keys}")
    for key, child in children:
        yield from _leaves(f"{name}_{key}", child, None if shapes is None else shapes[key])


def _key(step: Any) -> str:
    return str(next((getattr(step, each) for each in ("name", "key", "idx") if hasattr(step, each)), step))


def free_dimensions(symbols: Symbols, name: str, tensor: Tensor, shapes: Any) -> dict[int, Free]:
    """The free dimensions of a tensor.

    Raises:
        UserError: there are no such dimensions
        IndexError: a dimension is out of range
    """
    if shapes is None:
        return {}
    if isinstance(shapes, (list, tuple)):
        if len(shapes) != tensor.dim():
            raise UserError(f"dynamic_shapes of {name} gives {len(shapes)} sizes, but the tensor has {tensor.dim()}")
        shapes = dict(enumerate(shapes))
    if not isinstance(shapes, dict):
        raise UserError(f"dynamic_shapes of {name} is a dictionary from dimensions to Dims, or a list of them, not {shapes!r}")
    found = {}
    for dim, what in shapes.items():
        if not -tensor.dim() <= dim < tensor.dim():
            raise IndexError(f"dynamic_shapes of {name} names dimension {dim}, but the tensor has {tensor.dim()}")
        place = dim % tensor.dim()
        free = symbols.free(f"size {place} of {name}", tensor.shape[place], what)
        if free is not None:
            found[place] = free
    return found
