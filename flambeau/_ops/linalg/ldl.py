"""The LDL decomposition of symmetric and Hermitian matrices that need not be definite, by SciPy's LAPACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.linalg.host import check_floating, check_matrix, check_square, checked, column_major, host_operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import LinAlgError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def _lapack() -> Any:
    try:
        from scipy.linalg import lapack
    except ImportError:
        raise ImportError('linalg.ldl_factor and linalg.ldl_solve need SciPy: pip install "flambeau[scipy]"') from None
    return lapack


def _routine(kind: str, dtype: np.dtype, hermitian: bool) -> Any:
    letter = {"f": "s", "d": "d", "F": "c", "D": "z"}[dtype.char]
    return getattr(_lapack(), f"{letter}{'he' if hermitian and dtype.kind == 'c' else 'sy'}{kind}")


def _infer_ldl(operands: tuple, statics: tuple) -> tuple[Layout, Layout, Layout]:
    source = operands[0]
    pivots = lay.contiguous(source.shape[:-1], dt.int32)
    return column_major(source.shape, source.dtype), pivots, lay.contiguous(source.shape[:-2], dt.int32)


def _compute_ldl(a: np.ndarray, hermitian: bool, check: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packed, pivots, info = np.empty_like(a), np.empty(a.shape[:-1], np.int32), np.zeros(a.shape[:-2], np.int32)
    if not a.size:
        return packed, pivots, info
    factor = _routine("trf", a.dtype, hermitian)
    for position in np.ndindex(info.shape):
        found, pivots[position], info[position] = factor(a[position], lower=1)
        packed[position] = np.tril(found)
        if check and info[position]:
            raise LinAlgError(f"torch.linalg.ldl_factor_ex: D[{info[position]},{info[position]}] is zero, the matrix is singular.")
    return packed, pivots, info


LDL = host_operator("linalg_ldl_factor_ex", ("A",), ("hermitian", "check"), infer=_infer_ldl, compute=_compute_ldl)


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """``A = L D L^T`` (``L D L^H`` if Hermitian) by Bunch and Kaufman's pivoting, packed as LAPACK does it; needs SciPy."""
    check_square("torch.linalg.ldl_factor_ex", A)
    check_floating("torch.linalg.ldl_factor_ex", A)
    return return_types.several(
        return_types.linalg_ldl_factor_ex, out, *checked(LDL(A, statics=(bool(hermitian), bool(check_errors))), check_errors)
    )


def ldl_factor(A: Tensor, *, hermitian: bool = False, out: Any = None) -> Any:
    """``ldl_factor_ex``, which raises where a matrix is singular.

    Raises:
        LinAlgError: a matrix is singular.
    """
    packed, pivots, _ = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    return return_types.several(return_types.linalg_ldl_factor, out, packed, pivots)


def _infer_ldl_solve(operands: tuple, statics: tuple) -> Layout:
    b = operands[2]
    return column_major(b.shape, b.dtype)


def _compute_ldl_solve(packed: np.ndarray, pivots: np.ndarray, b: np.ndarray, hermitian: bool) -> np.ndarray:
    result = np.empty_like(b)
    if not b.size:
        return result
    solve = _routine("trs", b.dtype, hermitian)
    for position in np.ndindex(b.shape[:-2]):
        result[position] = solve(packed[position], pivots[position], b[position], lower=1)[0]
    return result


LDL_SOLVE = host_operator("linalg_ldl_solve", ("LD", "pivots", "B"), ("hermitian",), infer=_infer_ldl_solve, compute=_compute_ldl_solve)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False, out: Tensor | None = None) -> Tensor:
    """The solution X of ``A X = B`` from ``ldl_factor(A)``; needs SciPy."""
    check_square("torch.linalg.ldl_solve", LD, "LD")
    check_matrix("torch.linalg.ldl_solve", B, letter="B")
    check_floating("torch.linalg.ldl_solve", LD, B)
    if B.layout.shape[-2] != LD.layout.shape[-1]:
        raise RuntimeError(
            f"torch.linalg.ldl_solve: Incompatible matrix sizes for ldl_solve: each A matrix is {LD.layout.shape[-1]} by {LD.layout.shape[-1]} "
            f"but each b matrix is {B.layout.shape[-2]} by {B.layout.shape[-1]}"
        )
    if pivots.layout.dtype.category != dt.INTEGER:
        raise RuntimeError(f"torch.linalg.ldl_solve: Expected pivots to be integers. Got {pivots.layout.dtype!r}")
    if pivots.layout.shape != LD.layout.shape[:-1]:
        raise RuntimeError("torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same")
    batch = lay.broadcast_shapes(LD.layout.shape[:-2], B.layout.shape[:-2])
    return into(
        out,
        LDL_SOLVE(
            LD.expand(*batch, *LD.layout.shape[-2:]),
            pivots.expand(*batch, pivots.layout.shape[-1]),
            B.expand(*batch, *B.layout.shape[-2:]),
            statics=(bool(hermitian),),
        ),
    )
