"""Ready-made parametrisations: orthogonal, spectral and weight normalisation."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._normalization import normalize
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.parametrize import register_parametrization
from flambeau.nn.utils.spectral_norm import as_matrix, default_dim
from flambeau.nn.utils.weight_norm import norm_except_dim, normalized

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Separates length and direction of a weight: w = g v / ‖v‖ (Salimans and Kingma 2016, arXiv:1602.07868).

    Args:
        module: whose weight it is.
        name: the weight's name; g and v are then ``parametrizations.<name>.original0`` and ``original1``.
        dim: the dimension along which each slice has a length of its own; ``None`` for one length.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def load_older(state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # What the hook of nn.utils.weight_norm saved under other names.
        keys = [f"{prefix}{name}_{suffix}" for suffix in "gv"]
        if all(key in state_dict for key in keys):
            for i, key in enumerate(keys):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(load_older)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        dims = weight.dim()
        if not -dims <= dim < dims:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{dims}, {dims - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim = dim % dims
        self.eps = eps
        if dims > 1:
            self.n_power_iterations = n_power_iterations
            with flambeau.no_grad():
                matrix = as_matrix(weight, self.dim)
                u, v = (matrix.new_empty(size).normal_(0, 1) for size in matrix.shape)
                self.register_buffer("_u", normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", normalize(v, dim=0, eps=eps))
                self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, iterations: int) -> None:
        """Improves the estimate of the singular vectors."""
        with flambeau.no_grad():
            for _ in range(iterations):
                self._u.copy_(normalize(flambeau.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(normalize(flambeau.mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # The next call changes the buffers in place; backward needs the values of this one.
        u, v = self._u.clone(), self._v.clone()
        return weight / flambeau.dot(u, flambeau.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> Module:
    """Divides a weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    Args:
        module: whose weight it is.
        name: the weight's name.
        n_power_iterations: how often the estimate of the singular vectors is improved in each call in training.
        eps: the least norm that is divided by.
        dim: the dimension of the outputs; 0, or 1 for transposed convolutions, if left out.
    """
    weight = _tensor_of(module, name)
    dim = default_dim(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


class _Orthogonal(Module):
    """Maps a matrix (n, k) to one with orthonormal columns.

    ``matrix_exp`` gives exp(A) for a skew-symmetric A, ``cayley`` (1 - A/2)⁻¹ (1 + A/2), and ``householder`` a product of reflections,
    whose vectors are the columns below the diagonal. Each begins at the unit matrix, and the result is multiplied by a fixed ``base`` from
    the left, so that any orthogonal matrix can be assigned.
    """

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        transposed = x.size(-2) < x.size(-1)
        if transposed:
            x = x.mT
        q = _reflected(x) if self.orthogonal_map == "householder" else self._turned(x)[..., : x.size(-1)]
        if "base" in self._buffers:
            q = self.base @ q
        return q.mT if transposed else q

    def _turned(self, x: Tensor) -> Tensor:
        """The square orthogonal matrix of the skew-symmetric one that has x's lower triangle."""
        n, k = x.shape[-2:]
        lower = x.tril()
        if n != k:
            zeros = x.new_zeros(*x.shape[:-2], n, n - k)
            lower = flambeau.cat([lower, zeros], -1)
        skew = lower - lower.mH
        if self.orthogonal_map == "matrix_exp":
            return flambeau.matrix_exp(skew)
        identity = flambeau.eye(n, dtype=x.dtype, device=x.device)
        return flambeau.linalg.solve(identity - skew / 2, identity + skew / 2)

    def right_inverse(self, q: Tensor) -> Tensor:
        if q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}.")
        if "base" not in self._buffers and self.orthogonal_map == "householder":
            with flambeau.no_grad():
                return _reflections(q.mT).mT if q.size(-2) < q.size(-1) else _reflections(q)
        if "base" not in self._buffers:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when use_trivialization=False."
            )
        with flambeau.no_grad():
            start = q
            if q.size(-2) < q.size(-1):
                q = q.mT
            n, k = q.size(-2), q.size(-1)
            if n != k:
                noise = flambeau.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
                q = flambeau.cat([q, noise], -1)
            if n != k or not _is_orthogonal(q):
                q = _nearest_signs(q)
            self.base = q.clone()
            # tril(-1) minus its transpose is 0: the map begins at its base.
            result = flambeau.zeros_like(start)
            result.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return result


def _reflected(x: Tensor) -> Tensor:
    """The product of the reflections at x's columns below the diagonal, with the signs of the diagonal."""
    vectors = x.tril(diagonal=-1)
    q = flambeau.linalg.householder_product(vectors, 2.0 / (1.0 + (vectors * vectors).sum(dim=-2)))
    return q * x.diagonal(dim1=-2, dim2=-1).detach().sgn().unsqueeze(-2)


def _reflections(q: Tensor) -> Tensor:
    """A matrix whose ``_reflected`` is q: a column that needs no reflection is one whose vector is 0, and its sign is turned."""
    packed, tau = flambeau.geqrf(q)
    signs = packed.diagonal(dim1=-2, dim2=-1).sgn()
    packed.diagonal(dim1=-2, dim2=-1).copy_(flambeau.where(tau == 0, -signs, signs))
    return packed


def _is_orthogonal(q: Tensor) -> bool:
    identity = flambeau.eye(q.size(-1), dtype=q.dtype, device=q.device)
    return bool(flambeau.allclose(q.mH @ q, identity, atol=10.0 * q.size(-2) * flambeau.finfo(q.dtype).eps))


def _nearest_signs(a: Tensor) -> Tensor:
    """The orthogonal factor of a = q r, with the signs that make the diagonal of r positive."""
    q, r = flambeau.linalg.qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True) -> Module:
    """Keeps a weight orthogonal, or with orthonormal rows or columns (Lezcano-Casado 2019, arXiv:1909.09501).

    Args:
        module: whose weight it is.
        name: the weight's name; a matrix or a batch of matrices.
        orthogonal_map: ``"matrix_exp"`` (of square and complex weights, if left out), ``"cayley"`` or ``"householder"`` (of others).
        use_trivialization: whether a fixed orthogonal matrix is multiplied from the left, so that weights can be assigned.

    Raises:
        ValueError: there is no such weight, it is no matrix, or the map is unknown.
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) or weight.is_complex() else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    if orthogonal_map == "householder" and weight.is_complex():
        raise ValueError("The householder parametrization does not support complex tensors.")
    parametrization = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, parametrization, unsafe=True)
