"""Tensors whose dimensions have names: what makes one, and what functions do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flambeau import Tensor
from flambeau._named.inference import ALONG, NAMELESS, RULES, Call
from flambeau._named.names import Names, checked, distinct, is_rest, position, shown
from flambeau._tensor import overriding
from flambeau._tensor.function_names import is_property, name_of
from flambeau._tensor.overriding import Disabled

__all__ = ["NamedTensor", "align_tensors", "align_to", "given", "refine_names", "rename", "rename_"]


class NamedTensor(Tensor):
    """A tensor of which at least one dimension has a name. A function is told by a name what to work along, checks the names of its arguments
    against each other, and gives its result those that follow (``inference.py``).

    Histories have no names: gradients are plain tensors. What has no rule yet is refused.

    Example:
        >>> images = flambeau.zeros(2, 3, 4, 4, names=("N", "C", "H", "W"))
        >>> images.mean(("H", "W")).names
        ('N', 'C')
    """

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, tuple(args), dict(kwargs or {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            with Disabled():
                memo[id(self)] = named(Tensor.__deepcopy__(self.as_subclass(Tensor), memo), self.names)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        raise RuntimeError(
            "Named tensors don't support serialization. Drop names with `tensor = tensor.rename(None)`, and give them to what was read."
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        with Disabled():
            return Tensor.__repr__(self, tensor_contents=tensor_contents)

    __str__ = __repr__

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0))


def named(tensor: Any, names: Names) -> Any:
    """The tensor itself, with names.

    Raises:
        TypeError: it is of another class, and not plain
    """
    if type(tensor) not in (Tensor, NamedTensor):
        raise TypeError(f"a {type(tensor).__name__} is given no names: x.as_subclass(torch.Tensor) is a tensor that can have some")
    if any(name is not None for name in names):
        overriding.activate()
        tensor.__class__, tensor._names = NamedTensor, names
    elif type(tensor) is NamedTensor:
        tensor.__class__ = Tensor
        del tensor._names
    return tensor


def given(made: Tensor, names: Any) -> Tensor:
    """A new tensor with the names that a function that makes tensors was given."""
    return named(made, checked(names, made.dim()))


# -- names of a tensor ---------------------------------------------------------------------------------------------------


def rename(tensor: Tensor, names: tuple, renamed: Mapping[str, str | None]) -> Tensor:
    """A tensor over the same memory with other names; see ``Tensor.rename``."""
    return named(_plain(tensor), _new_names(tensor, names, renamed))


def rename_(tensor: Tensor, names: tuple, renamed: Mapping[str, str | None]) -> Tensor:
    """The tensor itself with other names."""
    return named(tensor, _new_names(tensor, names, renamed))


def _new_names(tensor: Tensor, names: tuple, renamed: Mapping[str, str | None]) -> Names:
    old = tensor.names
    if names and renamed:
        raise RuntimeError("rename: names are given by place or by what they were, not both")
    if renamed:
        for name in renamed:
            position(old, name)
        return checked([renamed.get(name, name) if name else None for name in old], len(old))
    return (None,) * len(old) if names == (None,) else checked(_with_rest(names, old), len(old))


def _with_rest(names: tuple, old: Names) -> tuple:
    """Names with those of the dimensions that ``...`` stands for in its place."""
    rest = [number for number, name in enumerate(names) if is_rest(name)]
    if len(rest) > 1:
        raise RuntimeError(f"'...' stands once for the rest of the names, but it is {len(rest)} times in {names}")
    if not rest:
        return names
    before, behind = names[: rest[0]], names[rest[0] + 1 :]
    return (*before, *old[len(before) : len(old) - len(behind)], *behind)


def refine_names(tensor: Tensor, names: tuple) -> Tensor:
    """A tensor over the same memory whose dimensions without a name get one."""
    old = tensor.names
    new = checked(_with_rest(names, old), len(old))
    for one, other in zip(old, new, strict=True):
        if one is not None and one != other:
            raise RuntimeError(
                f"refine_names: cannot coerce Tensor{shown(old)} to Tensor{shown(new)} because '{one}' is different from {other!r} at that place"
            )
    return named(_plain(tensor), new)


def align_to(tensor: Tensor, names: tuple) -> Tensor:
    """A view whose dimensions are in the order of names, with one of size 1 for each that the tensor has not."""
    old = tensor.names
    if None in old:
        raise RuntimeError(f"align_to: all dims of the tensor must have names, but it is Tensor{shown(old)}; see refine_names")
    wanted: list[Any] = [name for name in names if not is_rest(name)]
    if None in wanted:
        raise RuntimeError(f"align_to: every dim needs a name in {names}")
    if len(wanted) < len(names):
        place = next(number for number, name in enumerate(names) if is_rest(name))
        wanted[place:place] = [name for name in old if name not in wanted]
    new = distinct(wanted, "align_to: duplicate names")
    missing = [name for name in old if name not in new]
    if missing:
        raise RuntimeError(f"align_to: the dims {shown(missing)} of Tensor{shown(old)} are not among {shown(new)}")
    with Disabled():
        plain = _plain(tensor).permute([old.index(name) for name in new if name in old])
        for number, name in enumerate(new):
            if name not in old:
                plain = plain.unsqueeze(number)
    return named(plain, new)


def align_tensors(*tensors: Any) -> tuple:
    """The tensors with the dimensions of the one that has most, in its order; see ``torch.align_tensors``."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    names = max((tensor.names for tensor in given), key=len, default=())
    return tuple([align_to(tensor, names) for tensor in given])


# -- calls -----------------------------------------------------------------------------------------------------------------


def _plain(tensor: Tensor) -> Tensor:
    with Disabled():
        return tensor.as_subclass(Tensor)


def _call(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    name = name_of(func)
    tensors = [each for each in overriding.flat((*args, *kwargs.values())) if isinstance(each, Tensor)]
    if name == "__setitem__":
        _named_index(args)
    elif is_property(func) and name not in ("T", "mT", "H", "mH", "real", "imag"):
        with Disabled():
            return func(*args, **kwargs)
    if name in ALONG and tensors:
        names = tensors[0].names
        args = (*args[:1], *[_positions(each, names) for each in args[1:]])
        kwargs = {key: _positions(each, names) if key in _DIMENSIONS else each for key, each in kwargs.items()}
    own = _OWN.get(name)
    if own is not None:
        return own(func, *args, **kwargs)
    rule = RULES.get(name) or RULES.get(name.rstrip("_"))
    if rule is None and name not in NAMELESS:
        raise RuntimeError(
            f"{name} is not supported with named tensors. Drop names with `tensor = tensor.rename(None)`, call it with an unnamed tensor, and give names to the result."
        )
    out = kwargs.get("out")
    with Disabled():
        result = func(*args, **kwargs)
    if rule is None:
        return result
    parts = [each for each in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(each, Tensor)]
    if parts and tensors:
        inputs = [each for each in tensors if each is not out]
        found = rule(Call(func, args, kwargs, inputs, parts[0]))
        for part in parts:
            _give(part, found, part is out)
    return result


def _give(result: Tensor, names: Names, is_out: bool) -> None:
    if is_out and result.names not in (names, (None,) * result.dim()):
        raise RuntimeError(
            f"out has the names {shown(result.names)}, and what is written to it {shown(names)}: they must be equal, or out has none"
        )
    named(result, names)


_DIMENSIONS = frozenset({"axis", "dim", "dim0", "dim1", "dims", "end_dim", "source", "destination", "start_dim"})


def _positions(value: Any, names: Names) -> Any:
    """An argument, with the positions of dimensions in the place of their names."""
    if isinstance(value, str):
        return position(names, value)
    if isinstance(value, (list, tuple)) and any(isinstance(each, str) for each in value):
        return [_positions(each, names) for each in value]
    return value


def _named_index(args: tuple) -> None:
    if any(isinstance(each, Tensor) for each in overriding.flat((args[1],))):
        raise RuntimeError("a named tensor is not written at places that another tensor says: drop names with rename(None)")


def _flatten(func: Callable, tensor: Tensor, *args: Any, out_dim: str | None = None, **kwargs: Any) -> Tensor:
    """``flatten(dims, out_dim)`` and ``flatten(start_dim, end_dim, out_dim)``; without ``out_dim`` the result has no name there."""
    dims = [*args, *[kwargs[key] for key in ("dims", "start_dim", "end_dim") if key in kwargs]]
    if out_dim is None and len(dims) > 1 and isinstance(dims[-1], str):
        out_dim = dims.pop()
    names, ndim = tensor.names, tensor.dim()
    together = [_positions(each, names) for each in dims]
    if len(together) == 1 and not isinstance(together[0], int):
        together = [each % ndim for each in together[0]]
        if together != list(range(together[0], together[0] + len(together))):
            raise RuntimeError(f"flatten: {dims[0]} are not dims of Tensor{shown(names)} that follow each other")
        together = [together[0], together[-1]]
    start, end = [each % ndim for each in (*together, *(0, -1)[len(together) :])]
    with Disabled():
        plain = func(_plain(tensor), start, end)
    return named(plain, distinct((*names[:start], out_dim, *names[end + 1 :]), "flatten: the result would have duplicate names"))


def _unflatten(func: Callable, tensor: Tensor, dim: Any, sizes: Any) -> Tensor:
    """``unflatten(dim, ((name, size), …))``, or sizes alone."""
    pairs = list(sizes.items() if isinstance(sizes, Mapping) else sizes)
    inner: Names = (None,) * len(pairs)
    if pairs and isinstance(pairs[0], (list, tuple)):
        inner, pairs = tuple([name for name, _ in pairs]), [size for _, size in pairs]
    names, dim = tensor.names, dim % tensor.dim()
    with Disabled():
        plain = func(_plain(tensor), dim, pairs)
    return named(plain, checked((*names[:dim], *inner, *names[dim + 1 :]), plain.dim()))


_OWN: dict[str, Callable] = {"flatten": _flatten, "unflatten": _unflatten}
"""Functions that give the result names that they are told."""
