"""Batches as microbatches, and their results as those of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["TensorChunkSpec", "merge_chunks", "split_args_kwargs_into_chunks", "sum_reducer"]

DEFAULT_CHUNK_DIM = 0


class TensorChunkSpec:
    """A tensor is cut along a dimension, or put together.

    Args:
        split_dim: the dimension
    """

    def __init__(self, split_dim: int) -> None:
        self.split_dim = split_dim

    @staticmethod
    def from_tuple(chunk_dims: Sequence[int]) -> tuple[TensorChunkSpec, ...]:
        """A specification for each of some dimensions."""
        return tuple(map(TensorChunkSpec, chunk_dims))

    @staticmethod
    def from_dict(chunk_dims: dict[str, int]) -> dict[str, TensorChunkSpec]:
        """A specification for each of some named dimensions."""
        return {name: TensorChunkSpec(dim) for name, dim in chunk_dims.items()}

    def __repr__(self) -> str:
        return f"TensorChunkSpec({self.split_dim})"


class _Replicate:
    """Every microbatch gets the whole value."""


class _CustomReducer:
    """Results of microbatches are put together by a function of two.

    Args:
        init_value: what to begin with
        reduce_fn: the function
    """

    def __init__(self, init_value: Any, reduce_fn: Callable[[Any, Any], Any]) -> None:
        self.init_value, self.reduce_fn = init_value, reduce_fn


class _LossReducer(_CustomReducer):
    """A reducer of losses."""


sum_reducer = _LossReducer(flambeau.tensor(0.0), lambda first, second: first + second)
"""Losses of microbatches are added up."""


def _is_spec(value: Any) -> bool:
    return isinstance(value, (TensorChunkSpec, _CustomReducer)) or value is _Replicate or isinstance(value, _Replicate)


def _specs(value: Any, spec: Any) -> list[Any]:
    """A specification for each leaf of a value: the one given, or that of its class.

    Raises:
        ValueError: what is given has another structure
    """
    leaves = tree_flatten(value)[0]
    if spec is None:
        return [TensorChunkSpec(DEFAULT_CHUNK_DIM) if isinstance(leaf, Tensor) else _Replicate() for leaf in leaves]
    if _is_spec(spec):
        return [spec] * len(leaves)
    found: list[Any] = []
    if isinstance(value, dict) and isinstance(spec, dict) and value.keys() == spec.keys():
        for name in value:
            found += _specs(value[name], spec[name])
    elif isinstance(value, (list, tuple)) and isinstance(spec, (list, tuple)) and len(value) == len(spec):
        for each, own in zip(value, spec, strict=True):
            found += _specs(each, own)
    else:
        raise ValueError(f"the chunk specification {spec!r} has another structure than the values, of which there are {len(leaves)}")
    return found


def split_args_kwargs_into_chunks(
    args: tuple, kwargs: dict[str, Any] | None, chunks: int, args_chunk_spec: Any = None, kwargs_chunk_spec: Any = None
) -> tuple[list[tuple], list[dict[str, Any]]]:
    """Cut the arguments of a call into those of several calls.

    Args:
        chunks: how many; a tensor that is shorter makes them fewer
        args_chunk_spec, kwargs_chunk_spec: how, in the same structure; by default tensors are cut along dimension 0, and others given to all

    Returns:
        The positional and the named arguments of each call.

    Example:
        >>> x = flambeau.arange(5)
        >>> args, kwargs = split_args_kwargs_into_chunks((x, 2), {}, 2)
        >>> args
        [(tensor([0, 1, 2]), 2), (tensor([3, 4]), 2)]
    """
    kwargs = kwargs or {}
    whole: tuple = (args, kwargs)
    leaves, structure = tree_flatten(whole)
    specs = [*_specs(args, args_chunk_spec), *_specs(kwargs, kwargs_chunk_spec)]
    cut = [isinstance(leaf, Tensor) and isinstance(spec, TensorChunkSpec) for leaf, spec in zip(leaves, specs, strict=True)]
    sizes = [leaf.size(spec.split_dim) for leaf, spec, is_cut in zip(leaves, specs, cut, strict=True) if is_cut]
    count = min([chunks, *sizes])
    parts = [
        leaf.tensor_split(count, spec.split_dim) if is_cut else [leaf] * count
        for leaf, spec, is_cut in zip(leaves, specs, cut, strict=True)
    ]
    found = [tree_unflatten([part[number] for part in parts], structure) for number in range(count)]
    return [each for each, _ in found], [each for _, each in found]


def merge_chunks(chunks: Sequence[Any], chunk_spec: Any) -> Any:
    """Put the results of several calls together.

    Args:
        chunks: what each call returned, all of one structure
        chunk_spec: how, in the same structure; by default tensors are put one after the other along dimension 0

    Raises:
        ValueError: the structures differ, or something that is no tensor does
    """
    flat = [tree_flatten(chunk) for chunk in chunks]
    structure = flat[0][1]
    if any(other != structure for _, other in flat):
        raise ValueError(f"microbatches have results of different structures: {[str(each) for _, each in flat]}")
    specs = _specs(chunks[0], chunk_spec)
    merged = [_merge([leaves[place] for leaves, _ in flat], spec) for place, spec in enumerate(specs)]
    return tree_unflatten(merged, structure)


def _merge(parts: list[Any], spec: Any) -> Any:
    if isinstance(spec, TensorChunkSpec):
        return flambeau.cat(parts, spec.split_dim)
    if isinstance(spec, _CustomReducer):
        value = spec.init_value
        for part in parts:
            value = spec.reduce_fn(value, part)
        return value
    if any(part is not parts[0] and part != parts[0] for part in parts if not isinstance(part, Tensor)):
        raise ValueError(f"microbatches have different results where one is expected: {parts}")
    return parts[0]


def detached(value: Any) -> Any:
    """A value whose tensors have no history."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, value)
