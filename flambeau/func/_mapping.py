"""``vmap``: a function of one sample, applied to many at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops.batching import Level
from flambeau._tape.tape import LOCAL
from flambeau.func._trees import flatten

__all__ = ["debug_unwrap", "vmap"]


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None) -> Callable:
    """A function that applies ``func`` to each slice of its arguments along ``in_dims`` and stacks the results along ``out_dims``.

    ``func`` is called once, with tensors of one sample's shape; every operator that it calls runs for all samples (``docs/design/0009-vmap.md``).

    Args:
        in_dims: a dimension for all arguments, or a tuple with one for each (nested as the arguments are); ``None`` where an argument
            is the same for all slices. Arguments by name are the same for all.
        out_dims: where the new dimension stands in each result; ``None`` for a result that is the same for all slices
        randomness: "different" lets each slice draw random numbers of its own, "same" lets all draw the same; "error" forbids to draw
        chunk_size: how many slices are computed at once, for less memory; all by default

    Raises:
        ValueError: no argument has a dimension to map over, their sizes differ, or the function returns something else than tensors.
        RuntimeError: the function looks at elements (``item()``, ``if``), draws random numbers, or writes what differs into what does not.

    Example::

        >>> flambeau.func.vmap(flambeau.dot)(flambeau.ones(2, 3), flambeau.ones(2, 3))
        tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        given = _Arguments(getattr(func, "__name__", repr(func)), in_dims, args)
        if chunk_size is None or chunk_size >= given.size:
            return given.call(func, given.leaves, kwargs, given.size, out_dims, randomness)
        starts = [*range(0, given.size, chunk_size), given.size]
        state = flambeau.get_rng_state() if randomness == "same" else None
        found = []
        for start, end in pairwise(starts):
            if state is not None:
                flambeau.set_rng_state(state)
            found.append(given.call(func, given.part(start, end), kwargs, end - start, out_dims, randomness))
        return _joined(found, out_dims)

    return mapped


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """All samples of a tensor in a mapped function, ``(B, *shape)``, to look at in a debugger; another tensor as it is.

    What the function computes with them is not mapped.

    Args:
        recurse: whether the samples are of all maps that are within each other, ``(B, B2, …, *shape)``, or of the innermost one that
            the tensor belongs to

    Example::

        >>> def show(x):
        ...     print(flambeau.func.debug_unwrap(x * 2))
        ...     return x
        >>> _ = flambeau.func.vmap(show)(flambeau.tensor([1.0, 2.0]))
        tensor([2., 4.])
    """
    level = LOCAL.tape
    if not isinstance(level, Level):
        return tensor
    if not level.holds(tensor):
        return level.outside(debug_unwrap, tensor, recurse=recurse)
    return level.outside(lambda: debug_unwrap(level.samples(tensor)) if recurse else level.samples(tensor))


class _Arguments:
    """The arguments of a mapped function.

    Attributes:
        leaves: the tensors and other things in them
        dims: for each the dimension to map over, or ``None``
        size: how many slices there are
    """

    def __init__(self, name: str, in_dims: Any, args: tuple) -> None:
        if not args:
            raise ValueError(f"vmap({name}): got no inputs; a function without arguments has nothing to map over")
        if not isinstance(in_dims, (int, tuple, list)):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}): expected in_dims to be an int or a tuple that is nested as the inputs are, got {type(in_dims).__name__}"
            )
        self.name = name
        self.leaves, self.build = flatten(args)
        self.dims = [
            self._checked(leaf, dim)
            for leaf, dim in zip(self.leaves, spread(in_dims, args, f"vmap({name}): in_dims", "inputs"), strict=True)
        ]
        sizes = list(dict.fromkeys(leaf.shape[dim] for leaf, dim in zip(self.leaves, self.dims, strict=True) if dim is not None))
        if not sizes:
            raise ValueError(f"vmap({name}): at least one input has to have a dimension to map over, but in_dims is {in_dims}")
        if len(sizes) > 1:
            raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}")
        self.size = sizes[0]

    def _checked(self, leaf: Any, dim: Any) -> int | None:
        if dim is None:
            return None
        if not isinstance(dim, int):
            raise ValueError(f"vmap({self.name}): a dimension in in_dims must be an int or None, got {dim!r}")
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"vmap({self.name}): Got in_dim={dim} for an input of type {type(leaf).__name__}, which has no dimensions; give it in_dim=None"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"vmap({self.name}): Got in_dim={dim} for a tensor of shape {list(leaf.shape)}; expected {-leaf.ndim} <= in_dim < {leaf.ndim}"
            )
        return dim % leaf.ndim

    def part(self, start: int, end: int) -> list[Any]:
        """The leaves of some of the slices."""
        return [leaf if dim is None else leaf.narrow(dim, start, end - start) for leaf, dim in zip(self.leaves, self.dims, strict=True)]

    def call(self, func: Callable, leaves: list[Any], kwargs: dict, size: int, out_dims: Any, randomness: str) -> Any:
        """Call a function once for all slices."""
        level = Level(size, randomness)
        ones = [leaf if dim is None else level.one_of(leaf, dim) for leaf, dim in zip(leaves, self.dims, strict=True)]
        with level.running():
            result = func(*self.build(ones), **kwargs)
        parts, join = flatten(result)
        dims = spread(out_dims, result, f"vmap({self.name}): out_dims", "outputs")
        return join([self._result(level, part, dim) for part, dim in zip(parts, dims, strict=True)])

    def _result(self, level: Level, part: Any, dim: Any) -> Any:
        if dim is None:
            if level.holds(part):
                raise ValueError(f"vmap({self.name}): a result that differs from slice to slice cannot be returned with out_dim=None")
            return part
        if not isinstance(part, Tensor):
            raise ValueError(
                f"vmap({self.name}): `{self.name}` must only return Tensors, got type {type(part).__name__}; give it out_dim=None to return it as it is"
            )
        found = level.spread(part)
        return found.movedim(0, dim) if dim else found


def _joined(found: list[Any], out_dims: Any) -> Any:
    """The results of chunks as one."""
    parts = [flatten(each)[0] for each in found]
    join = flatten(found[0])[1]
    dims = spread(out_dims, found[0], "vmap: out_dims", "outputs")
    return join(
        [pieces[0] if dim is None else flambeau.cat(pieces, dim) for pieces, dim in zip(zip(*parts, strict=True), dims, strict=True)]
    )


def spread(dims: Any, tree: Any, name: str, what: str) -> list[Any]:
    """The dimension of each leaf of a tree; a dimension given for a part of the tree holds for all of it.

    Raises:
        ValueError: the dimensions are nested in another way.
    """
    if dims is None or not isinstance(dims, (tuple, list, dict)):
        return [dims for _ in flatten(tree)[0]]
    if isinstance(tree, dict) and isinstance(dims, dict) and dims.keys() == tree.keys():
        return [dim for key in tree for dim in spread(dims[key], tree[key], name, what)]
    if not isinstance(tree, (tuple, list)) or isinstance(dims, dict) or len(dims) != len(tree):
        raise ValueError(f"{name}={dims} is not compatible with the structure of the {what}: it must be nested as they are, or an int")
    return [dim for part, each in zip(dims, tree, strict=True) for dim in spread(part, each, name, what)]
