"""Linear algebra, by kernels of ours or by NumPy's LAPACK (docs/design/0012-linear-algebra.md); gradients are formulas in operators.

``host`` has what all share; ``flambeau.linalg`` lists the public names, and here stand those that are the package's or methods.
"""

from __future__ import annotations

from flambeau._ops.linalg.factor import geqrf as geqrf
from flambeau._ops.linalg.factor import lu_unpack as lu_unpack
from flambeau._ops.linalg.factor import ormqr as ormqr
from flambeau._ops.linalg.low_rank import pca_lowrank as pca_lowrank
from flambeau._ops.linalg.low_rank import svd_lowrank as svd_lowrank
from flambeau._ops.linalg.norms import dist as dist
from flambeau._ops.linalg.old import adjoint as adjoint
from flambeau._ops.linalg.old import chain_matmul as chain_matmul
from flambeau._ops.linalg.old import cholesky as cholesky
from flambeau._ops.linalg.old import det as det
from flambeau._ops.linalg.old import inverse as inverse
from flambeau._ops.linalg.old import lu as lu
from flambeau._ops.linalg.old import lu_solve as lu_solve
from flambeau._ops.linalg.old import norm as norm
from flambeau._ops.linalg.old import orgqr as orgqr
from flambeau._ops.linalg.old import pinverse as pinverse
from flambeau._ops.linalg.old import qr as qr
from flambeau._ops.linalg.old import slogdet as slogdet
from flambeau._ops.linalg.old import svd as svd
from flambeau._ops.linalg.old import triangular_solve as triangular_solve
from flambeau._ops.linalg.old import vander as vander
from flambeau._ops.linalg.products import matrix_exp as matrix_exp
from flambeau._ops.linalg.products import matrix_power as matrix_power
from flambeau._ops.linalg.solve import cholesky_inverse as cholesky_inverse
from flambeau._ops.linalg.solve import cholesky_solve as cholesky_solve
from flambeau._ops.linalg.solve import logdet as logdet

_BOTH = (
    "adjoint", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "dist", "geqrf", "inverse", "logdet", "lu", "lu_solve", "matrix_exp", "matrix_power",
    "norm", "orgqr", "ormqr", "pinverse", "qr", "slogdet", "svd", "triangular_solve",
)  # fmt: skip
PUBLIC = (*_BOTH, "chain_matmul", "lu_unpack", "pca_lowrank", "svd_lowrank", "vander")
METHODS = _BOTH
