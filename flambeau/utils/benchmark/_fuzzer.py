"""Random inputs to time operators with: sizes are drawn from distributions, and tensors are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor

__all__ = ["FuzzedParameter", "FuzzedSparseTensor", "FuzzedTensor", "Fuzzer", "ParameterAlias", "dtype_size"]

_ATTEMPTS = 1000


def dtype_size(dtype: flambeau.dtype) -> int:
    """The bytes of an element; a truth value counts as one."""
    return dtype.itemsize


class ParameterAlias:
    """What stands in a parameter's distribution for the value of another one, so that sizes are equal more often than by chance.

    Example:
        >>> from flambeau.utils.benchmark import FuzzedParameter, ParameterAlias
        >>> width = FuzzedParameter("width", distribution={ParameterAlias("height"): 0.5, 1: 0.5})
    """

    def __init__(self, alias_to: str) -> None:
        self.alias_to = alias_to

    def __repr__(self) -> str:
        return f"ParameterAlias[alias_to: {self.alias_to}]"


class FuzzedParameter:
    """A number that is drawn anew for each example.

    Args:
        name: of the number
        minval, maxval: the smallest and the largest one
        distribution: `"uniform"` or `"loguniform"` between these (whole numbers, if these are), or a dictionary from values to probabilities, which
            may hold `ParameterAlias`es
        strict: refuse probabilities whose sum is not 1; otherwise they are scaled

    Raises:
        ValueError: there is no such distribution, or its limits are missing
    """

    def __init__(
        self, name: str, minval: Any = None, maxval: Any = None, distribution: str | Mapping[Any, float] | None = None, strict: bool = False
    ) -> None:
        self._name = name
        if distribution is None:
            distribution = "uniform"
        if isinstance(distribution, str):
            if distribution not in ("uniform", "loguniform"):
                raise ValueError(f"the distribution of {name!r} is 'uniform', 'loguniform' or a dictionary, not {distribution!r}")
            if minval is None or maxval is None or minval > maxval:
                raise ValueError(f"a {distribution} distribution of {name!r} needs minval <= maxval, not {minval} and {maxval}")
        else:
            total = sum(distribution.values())
            if strict and abs(total - 1) > 1e-6:
                raise ValueError(f"the probabilities of {name!r} have the sum {total}, and not 1")
            distribution = {value: probability / total for value, probability in distribution.items()}
        self._minval, self._maxval, self._distribution = minval, maxval, distribution

    @property
    def name(self) -> str:
        """The number's name."""
        return self._name

    def sample(self, state: np.random.RandomState) -> Any:
        """A value."""
        if not isinstance(self._distribution, str):
            values = list(self._distribution)
            return values[int(state.choice(len(values), p=list(self._distribution.values())))]
        low, high = self._minval, self._maxval
        whole = isinstance(low, int) and isinstance(high, int)
        if self._distribution == "uniform":
            return int(state.randint(low, high + 1)) if whole else float(state.uniform(low, high))
        drawn = math.exp(state.uniform(math.log(low), math.log(high + (1 if whole else 0))))
        return min(max(int(drawn), low), high) if whole else drawn


class FuzzedTensor:
    """A tensor whose sizes and steps are parameters.

    Args:
        name: of the tensor
        size: for each dimension a number or a parameter's name
        steps: how far elements are apart in each dimension of a larger tensor that it is a part of; 1 by default
        probability_contiguous: how often dimensions lie in memory in their order; otherwise they are permuted
        min_elements, max_elements, max_allocation_bytes: limits; examples beyond them are drawn again
        dim_parameter: the parameter that says how many of the sizes there are
        roll_parameter: the parameter that says by how far sizes and steps are turned
        dtype: of the elements
        cuda: has to be False: there are no GPUs here
        tensor_constructor: makes a tensor, called with `size=`, `dtype=` and the parameters

    Raises:
        ValueError: there is another number of steps than of sizes
    """

    def __init__(
        self, name: str, size: Sequence[str | int], steps: Sequence[str | int] | None = None, probability_contiguous: float = 0.5, min_elements: int | None = None,
        max_elements: int | None = None, max_allocation_bytes: int | None = None, dim_parameter: str | None = None, roll_parameter: str | None = None,
        dtype: flambeau.dtype = flambeau.float32, cuda: bool = False, tensor_constructor: Callable[..., Tensor] | None = None,
    ) -> None:  # fmt: skip
        if steps is not None and len(steps) != len(size):
            raise ValueError(f"the tensor {name!r} has {len(size)} sizes, but {len(steps)} steps")
        if cuda:
            raise ValueError(f"the tensor {name!r} is to be on a GPU, but Flambeau runs on CPUs")
        self._name = name
        self._size, self._steps = tuple(size), None if steps is None else tuple(steps)
        self._probability_contiguous = probability_contiguous
        self._min_elements, self._max_elements, self._max_allocation_bytes = min_elements, max_elements, max_allocation_bytes
        self._dim_parameter, self._roll_parameter = dim_parameter, roll_parameter
        self._dtype = dtype
        self._tensor_constructor = tensor_constructor

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self._name

    @staticmethod
    def default_tensor_constructor(size: Sequence[int], dtype: flambeau.dtype, **kwargs: Any) -> Tensor:
        """Random numbers: normal ones, or whole ones up to 127."""
        if dtype.is_floating_point or dtype.is_complex:
            return flambeau.rand(size, dtype=dtype)
        return flambeau.randint(1, 127, size).to(dtype)

    def sizes(self, params: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """What the parameters say: the sizes, the steps, and the sizes of the tensor that it is a part of."""

        def resolved(values: Sequence[str | int]) -> tuple[int, ...]:
            found = tuple([params[value] if isinstance(value, str) else value for value in values])
            shift = params[self._roll_parameter] if self._roll_parameter else 0
            found = found[: params[self._dim_parameter]] if self._dim_parameter else found
            return found[-shift % len(found) :] + found[: -shift % len(found)] if shift and found else found

        size = resolved(self._size)
        steps = (1,) * len(size) if self._steps is None else resolved(self._steps)
        return size, steps, tuple([extent * step for extent, step in zip(size, steps)])

    def satisfies_constraints(self, params: Mapping[str, Any]) -> bool:
        """Whether a tensor with these parameters is within the limits."""
        size, _, allocated = self.sizes(params)
        numel = math.prod(size)
        return not (
            (self._max_allocation_bytes is not None and math.prod(allocated) * dtype_size(self._dtype) > self._max_allocation_bytes)
            or (self._max_elements is not None and numel > self._max_elements)
            or (self._min_elements is not None and numel < self._min_elements)
        )

    def make(self, params: Mapping[str, Any], state: np.random.RandomState) -> tuple[Tensor, dict[str, Any]]:
        """A tensor, and what it is: `numel`, `order` of the dimensions in memory, `steps`, `is_contiguous` and `dtype`."""
        size, steps, allocated = self.sizes(params)
        order = list(range(len(size)))
        if state.rand() > self._probability_contiguous:
            order = [int(axis) for axis in state.permutation(len(size))]
        construct = self._tensor_constructor or self.default_tensor_constructor
        whole = construct(size=tuple([allocated[axis] for axis in order]), dtype=self._dtype, **params)
        tensor = whole.permute([order.index(axis) for axis in range(len(size))])[tuple([slice(None, None, step) for step in steps])]
        properties = {
            "numel": tensor.numel(), "order": np.array(order), "steps": steps, "is_contiguous": tensor.is_contiguous(), "dtype": str(self._dtype),
        }  # fmt: skip
        return tensor, properties


class FuzzedSparseTensor(FuzzedTensor):
    """A sparse tensor whose sizes are parameters.

    Args:
        name, size, min_elements, max_elements, dim_parameter, dtype, cuda: as those of `FuzzedTensor`
        sparse_dim: the parameter that says how many dimensions are sparse
        nnz: the parameter that says which part of the elements there is, from 0 to 1
        density: not used
        coalesced: the parameter that says whether each place is there once
    """

    def __init__(
        self, name: str, size: Sequence[str | int], min_elements: int | None = None, max_elements: int | None = None, dim_parameter: str | None = None,
        sparse_dim: str | None = None, nnz: str | None = None, density: str | None = None, coalesced: str | None = None, dtype: flambeau.dtype = flambeau.float32,
        cuda: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, size, None, 1.0, min_elements, max_elements, None, dim_parameter, None, dtype, cuda)
        self._sparse_dim, self._nnz, self._coalesced = sparse_dim, nnz, coalesced

    def make(self, params: Mapping[str, Any], state: np.random.RandomState) -> tuple[Tensor, dict[str, Any]]:
        """A tensor, and what it is: `numel`, `shape`, `is_coalesced`, `density`, `sparse_dim`, `dense_dim` and `dtype`."""
        size, _, _ = self.sizes(params)
        sparse_dim = min(params[self._sparse_dim], len(size)) if self._sparse_dim else len(size)
        share = params[self._nnz] if self._nnz else 0.5
        places = math.prod(size[:sparse_dim])
        count = math.ceil(places * share)
        flat = state.choice(places, count, replace=not (self._coalesced and params[self._coalesced]))
        indices = flambeau.from_numpy(np.stack(np.unravel_index(np.sort(flat), size[:sparse_dim])).astype(np.int64))
        values = self.default_tensor_constructor(size=(count, *size[sparse_dim:]), dtype=self._dtype)
        tensor = flambeau.sparse_coo_tensor(indices, values, size)
        if self._coalesced and params[self._coalesced]:
            tensor = tensor.coalesce()
        properties = {
            "numel": math.prod(size), "shape": tensor.size(), "is_coalesced": tensor.is_coalesced(), "density": count / places if places else 0.0,
            "sparse_dim": sparse_dim, "dense_dim": len(size) - sparse_dim, "dtype": str(self._dtype),
        }  # fmt: skip
        return tensor, properties


class Fuzzer:
    """Examples with random parameters and tensors.

    Args:
        parameters: the numbers; a list may be among them
        tensors: made of the numbers; a list may be among them
        constraints: functions of all parameters, by their names, that have to hold; others are drawn where one does not
        seed: of the random generator

    Raises:
        ValueError: two have one name

    Example:
        >>> from flambeau.utils.benchmark import FuzzedParameter, FuzzedTensor, Fuzzer
        >>> fuzzer = Fuzzer([FuzzedParameter("n", 1, 64, "loguniform")], [FuzzedTensor("x", ("n", 3))], seed=0)
        >>> for tensors, properties, params in fuzzer.take(2):
        ...     assert tensors["x"].shape == (params["n"], 3)
    """

    def __init__(
        self,
        parameters: Sequence[Any],
        tensors: Sequence[Any],
        constraints: Sequence[Callable[..., bool]] | None = None,
        seed: int | None = None,
    ) -> None:
        self._parameters: list[FuzzedParameter] = _flat(parameters)
        self._tensors: list[FuzzedTensor] = _flat(tensors)
        self._constraints = tuple(constraints or ())
        self._seed = int(np.random.RandomState().randint(0, 2**32 - 1, dtype=np.int64)) if seed is None else seed
        names = [each.name for each in (*self._parameters, *self._tensors)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"parameters and tensors have names of their own, but {', '.join(repeated)} is there more than once")
        self._rejections = self._generated = 0

    @property
    def rejection_rate(self) -> float:
        """Which part of what was drawn has been drawn again."""
        return self._rejections / self._generated if self._generated else 0.0

    def take(self, n: int) -> Iterator[tuple[dict[str, Tensor], dict[str, dict[str, Any]], dict[str, Any]]]:
        """So many examples: tensors, what they are, and parameters, each by name.

        Raises:
            ValueError: nothing within the limits was drawn
        """
        state = np.random.RandomState(self._seed)
        for _ in range(n):
            params = self._drawn(state)
            made = {each.name: each.make(params, state) for each in self._tensors}
            yield {name: tensor for name, (tensor, _) in made.items()}, {name: about for name, (_, about) in made.items()}, params

    def _drawn(self, state: np.random.RandomState) -> dict[str, Any]:
        for _ in range(_ATTEMPTS):
            drawn = {each.name: each.sample(state) for each in self._parameters}
            params = {name: self._resolved(drawn, name) for name in drawn}
            self._generated += 1
            if all(condition(**params) for condition in self._constraints) and all(
                each.satisfies_constraints(params) for each in self._tensors
            ):
                return params
            self._rejections += 1
        raise ValueError(f"of {_ATTEMPTS} examples none was within the limits of the tensors and constraints")

    @staticmethod
    def _resolved(drawn: dict[str, Any], name: str) -> Any:
        """A parameter's value; an alias of an alias is followed."""
        seen = {name}
        while isinstance(drawn[name], ParameterAlias):
            name = drawn[name].alias_to
            if name in seen or name not in drawn:
                raise ValueError(f"the alias of a parameter to {name!r} leads nowhere")
            seen.add(name)
        return drawn[name]


def _flat(given: Sequence[Any]) -> list[Any]:
    return [part for each in given for part in (each if isinstance(each, (list, tuple)) else [each])]
