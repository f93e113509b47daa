"""Constraints: which values a parameter or a sample of a distribution may take.

``constraint.check(value)`` says for each event whether it holds. https://docs.pytorch.org/docs/stable/distributions.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor


class Constraint:
    """A region in which values are valid.

    Attributes:
        is_discrete: whether the region is a set of separate points
        event_dim: how many dimensions on the right are checked together
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """For each event whether it lies in the region: bool, of the value's shape without its last ``event_dim`` dimensions."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}()"


def _rule(name: str, rule: Callable[[Tensor], Tensor], event_dim: int = 0, discrete: bool = False) -> Constraint:
    """A constraint that is one formula; its class bears the name, for packages derive from the types of constraints."""
    body = {"check": lambda self, value: rule(value), "event_dim": event_dim, "is_discrete": discrete, "__module__": __name__}
    cls = globals()[name] = type(name, (Constraint,), body)
    return cls()


class _Dependent(Constraint):
    """The region depends on other parameters; it is a property of the distribution."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete = is_discrete
        self.event_dim = event_dim

    def __call__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> _Dependent:
        return _Dependent(
            is_discrete=self.is_discrete if is_discrete is None else is_discrete,
            event_dim=self.event_dim if event_dim is None else event_dim,
        )

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


class _DependentProperty(property, _Dependent):
    """A property of a distribution that returns a constraint, and that stands for "it depends" on the class itself."""

    def __init__(self, function: Callable | None = None, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        super().__init__(function)
        self.is_discrete = is_discrete
        self.event_dim = event_dim

    def __call__(self, function: Callable) -> _DependentProperty:
        return _DependentProperty(function, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint can be checked only on an instance of its distribution."""
    return isinstance(constraint, _Dependent)


class independent(Constraint):
    """``base_constraint`` with its last ``reinterpreted_batch_ndims`` batch dimensions checked together."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        result = self.base_constraint.check(value)
        if result.dim() < self.reinterpreted_batch_ndims:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.dim()}")
        return result.reshape((*result.shape[: result.dim() - self.reinterpreted_batch_ndims], -1)).all(-1)

    def __repr__(self) -> str:
        return f"independent({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Bounds(Constraint):
    """Between bounds, numbers or tensors."""

    def __init__(self, lower_bound: Any = None, upper_bound: Any = None) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def __repr__(self) -> str:
        bounds = [
            f"{name}={bound}" for name, bound in (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound)) if bound is not None
        ]
        name = "".join(part[:1].upper() + part[1:] for part in type(self).__name__.split("_"))  # as PyTorch's classes are called
        return f"{name}({', '.join(bounds)})"


class greater_than(_Bounds):
    """Values above ``lower_bound``."""

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound)

    def check(self, value: Tensor) -> Tensor:
        return value > self.lower_bound


class greater_than_eq(_Bounds):
    """Values not below ``lower_bound``."""

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound)

    def check(self, value: Tensor) -> Tensor:
        return value >= self.lower_bound


class less_than(_Bounds):
    """Values below ``upper_bound``."""

    def __init__(self, upper_bound: Any) -> None:
        super().__init__(None, upper_bound)

    def check(self, value: Tensor) -> Tensor:
        return value < self.upper_bound


class interval(_Bounds):
    """Values from ``lower_bound`` to ``upper_bound``, both included."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class half_open_interval(_Bounds):
    """Values from ``lower_bound`` up to, but without, ``upper_bound``."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value < self.upper_bound)


class integer_interval(_Bounds):
    """Whole numbers from ``lower_bound`` to ``upper_bound``, both included."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound) & (value <= self.upper_bound)


class _IntegerGreaterThan(_Bounds):
    is_discrete = True

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound)

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound)


class multinomial(Constraint):
    """Vectors of counts with at most ``upper_bound`` in all."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class cat(Constraint):
    """Constraints applied to parts of a tensor along ``dim``, of the ``lengths`` given."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> None:
        self.cseq = list(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.dim = dim
        self.is_discrete = any(constraint.is_discrete for constraint in self.cseq)
        self.event_dim = max(constraint.event_dim for constraint in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = value.split(self.lengths, self.dim)
        return flambeau.cat([constraint.check(part) for constraint, part in zip(self.cseq, parts, strict=True)], self.dim)


class stack(Constraint):
    """Constraints applied to the slices of a tensor along ``dim``."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq = list(cseq)
        self.dim = dim
        self.is_discrete = any(constraint.is_discrete for constraint in self.cseq)
        dim_of_event = max(constraint.event_dim for constraint in self.cseq)
        self.event_dim = dim_of_event + 1 if self.dim + dim_of_event < 0 else dim_of_event

    def check(self, value: Tensor) -> Tensor:
        return flambeau.stack(
            [constraint.check(part) for constraint, part in zip(self.cseq, value.unbind(self.dim), strict=True)], self.dim
        )


def _square(value: Tensor) -> Tensor:
    return flambeau.full(value.shape[:-2], value.shape[-2] == value.shape[-1], dtype=flambeau.bool)


def _symmetric(value: Tensor) -> Tensor:
    if value.shape[-2] != value.shape[-1]:
        return _square(value)
    return flambeau.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)


def _definite(value: Tensor) -> Tensor:
    return _symmetric(value) & (flambeau.linalg.cholesky_ex(value).info == 0)


def _semidefinite(value: Tensor) -> Tensor:
    return _symmetric(value) & (flambeau.linalg.eigvalsh(value) >= 0).all(-1)


def _lower(value: Tensor) -> Tensor:
    return (value.tril() == value).reshape((*value.shape[:-2], -1)).all(-1)


def _positive_diagonal(value: Tensor) -> Tensor:
    return (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _unit_rows(value: Tensor) -> Tensor:
    tolerance = flambeau.finfo(value.dtype).eps * value.shape[-1] * 10
    return ((flambeau.linalg.norm(value.detach(), dim=-1) - 1).abs() < tolerance).all(-1)


dependent = _Dependent()
dependent_property = _DependentProperty
boolean = _rule("_Boolean", lambda value: (value == 0) | (value == 1), discrete=True)
one_hot = _rule("_OneHot", lambda value: ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1), 1, True)
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
real = _rule("_Real", lambda value: value == value)
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
simplex = _rule("_Simplex", lambda value: (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6), 1)
square = _rule("_Square", _square, 2)
symmetric = _rule("_Symmetric", _symmetric, 2)
positive_semidefinite = _rule("_PositiveSemidefinite", _semidefinite, 2)
positive_definite = _rule("_PositiveDefinite", _definite, 2)
lower_triangular = _rule("_LowerTriangular", _lower, 2)
lower_cholesky = _rule("_LowerCholesky", lambda value: _lower(value) & _positive_diagonal(value), 2)
corr_cholesky = _rule("_CorrCholesky", lambda value: _lower(value) & _positive_diagonal(value) & _unit_rows(value), 2)

__all__ = [
    "Constraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property", "greater_than", "greater_than_eq", "half_open_interval",
    "independent", "integer_interval", "interval", "is_dependent", "less_than", "lower_cholesky", "lower_triangular", "multinomial", "nonnegative",
    "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex",
    "square", "stack", "symmetric", "unit_interval",
]  # fmt: skip
