"""The named tuples that functions of several results return, with PyTorch's names."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from flambeau._ops.arguments import into


def _repr(self: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
    return f"torch.return_types.{type(self).__name__}(\n{fields})"


def _make(name: str, *fields: str) -> type:
    made = namedtuple(name, fields)
    return type(name, (made,), {"__slots__": (), "__repr__": _repr, "__module__": "flambeau.return_types"})


aminmax = _make("aminmax", "min", "max")
cummax = _make("cummax", "values", "indices")
cummin = _make("cummin", "values", "indices")
frexp = _make("frexp", "mantissa", "exponent")
geqrf = _make("geqrf", "a", "tau")
histogram = _make("histogram", "hist", "bin_edges")
histogramdd = _make("histogramdd", "hist", "bin_edges")
kthvalue = _make("kthvalue", "values", "indices")
linalg_cholesky_ex = _make("linalg_cholesky_ex", "L", "info")
linalg_eig = _make("linalg_eig", "eigenvalues", "eigenvectors")
linalg_eigh = _make("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_inv_ex = _make("linalg_inv_ex", "inverse", "info")
linalg_ldl_factor = _make("linalg_ldl_factor", "LD", "pivots")
linalg_ldl_factor_ex = _make("linalg_ldl_factor_ex", "LD", "pivots", "info")
linalg_lstsq = _make("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_lu = _make("linalg_lu", "P", "L", "U")
linalg_lu_factor = _make("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = _make("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_qr = _make("linalg_qr", "Q", "R")
linalg_slogdet = _make("linalg_slogdet", "sign", "logabsdet")
linalg_solve_ex = _make("linalg_solve_ex", "result", "info")
linalg_svd = _make("linalg_svd", "U", "S", "Vh")
lu_unpack = _make("lu_unpack", "P", "L", "U")
max = _make("max", "values", "indices")
median = _make("median", "values", "indices")
min = _make("min", "values", "indices")
mode = _make("mode", "values", "indices")
nanmedian = _make("nanmedian", "values", "indices")
qr = _make("qr", "Q", "R")
slogdet = _make("slogdet", "sign", "logabsdet")
sort = _make("sort", "values", "indices")
svd = _make("svd", "U", "S", "V")
topk = _make("topk", "values", "indices")
triangular_solve = _make("triangular_solve", "solution", "cloned_coefficient")


def several(kind: type, out: Any, *results: Any) -> Any:
    """The results as a named tuple, written into the tensors of ``out=`` if there are any."""
    return kind(*(results if out is None else into(out, results)))
