"""Linear algebra: ``torch.linalg``'s names. How they are computed stands in ``_ops/linalg/``."""

from __future__ import annotations

from flambeau._ops.autocast import in_float32
from flambeau._ops.linalg.factor import cholesky as cholesky
from flambeau._ops.linalg.factor import cholesky_ex as cholesky_ex
from flambeau._ops.linalg.factor import householder_product as householder_product
from flambeau._ops.linalg.factor import lu as lu
from flambeau._ops.linalg.factor import lu_factor as lu_factor
from flambeau._ops.linalg.factor import lu_factor_ex as lu_factor_ex
from flambeau._ops.linalg.factor import lu_solve as lu_solve
from flambeau._ops.linalg.factor import qr as qr
from flambeau._ops.linalg.ldl import ldl_factor as ldl_factor
from flambeau._ops.linalg.ldl import ldl_factor_ex as ldl_factor_ex
from flambeau._ops.linalg.ldl import ldl_solve as ldl_solve
from flambeau._ops.linalg.least_squares import lstsq as lstsq
from flambeau._ops.linalg.least_squares import matrix_rank as matrix_rank
from flambeau._ops.linalg.least_squares import pinv as pinv
from flambeau._ops.linalg.norms import cond as cond
from flambeau._ops.linalg.norms import matrix_norm as matrix_norm
from flambeau._ops.linalg.norms import norm as norm
from flambeau._ops.linalg.norms import vector_norm as vector_norm
from flambeau._ops.linalg.products import cross as cross
from flambeau._ops.linalg.products import diagonal as diagonal
from flambeau._ops.linalg.products import matrix_exp as matrix_exp
from flambeau._ops.linalg.products import matrix_power as matrix_power
from flambeau._ops.linalg.products import multi_dot as multi_dot
from flambeau._ops.linalg.products import tensorinv as tensorinv
from flambeau._ops.linalg.products import tensorsolve as tensorsolve
from flambeau._ops.linalg.products import vander as vander
from flambeau._ops.linalg.products import vecdot as vecdot
from flambeau._ops.linalg.solve import det as det
from flambeau._ops.linalg.solve import inv as inv
from flambeau._ops.linalg.solve import inv_ex as inv_ex
from flambeau._ops.linalg.solve import slogdet as slogdet
from flambeau._ops.linalg.solve import solve as solve
from flambeau._ops.linalg.solve import solve_ex as solve_ex
from flambeau._ops.linalg.solve import solve_triangular as solve_triangular
from flambeau._ops.linalg.spectral import eig as eig
from flambeau._ops.linalg.spectral import eigh as eigh
from flambeau._ops.linalg.spectral import eigvals as eigvals
from flambeau._ops.linalg.spectral import eigvalsh as eigvalsh
from flambeau._ops.linalg.spectral import svd as svd
from flambeau._ops.linalg.spectral import svdvals as svdvals
from flambeau._ops.matrix import matmul as matmul
from flambeau._ops.refusals import guard
from flambeau._types.errors import LinAlgError as LinAlgError

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor",
    "ldl_factor_ex", "ldl_solve", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm",
    "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

for _name in (
    "cholesky", "cholesky_ex", "cond", "eig", "eigh", "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "lstsq", "matrix_rank", "qr", "solve", "svd", "svdvals",
    "tensorinv", "tensorsolve",
):  # fmt: skip
    globals()[_name] = in_float32(globals()[_name])

guard(*[globals()[_name] for _name in __all__])
