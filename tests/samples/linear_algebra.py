"""Samples of linear algebra, spectra, windows and special functions; the form of a row is that of ``tests/samples/operators.py``.

Factors that are only determined up to a phase are multiplied together again, so that their gradients are defined.
"""

from __future__ import annotations

from typing import Any

from tests.samples.operators import rows


def regular(f: Any, x: Any, *batch: int, size: int = 3) -> Any:
    """Matrices that are far from singular."""
    return x(*batch, size, size) + 4 * f.eye(size, dtype=x.dtype)


def definite(f: Any, x: Any, size: int = 3) -> Any:
    """A Hermitian positive definite matrix."""
    a = x(size, size)
    return a @ a.mH + f.eye(size, dtype=x.dtype)


def product(parts: Any) -> Any:
    left, *rest = parts
    for each in rest:
        left = left @ each
    return left


rows(
    "Fc",
    adjoint=lambda f, x: f.adjoint(x(2, 3, 4)),
    chain_matmul=lambda f, x: f.chain_matmul(x(2, 5), x(5, 3), x(3, 4)),
    cholesky=[lambda f, x: f.cholesky(definite(f, x)), lambda f, x: f.cholesky(definite(f, x), upper=True)],
    cholesky_inverse=lambda f, x: f.cholesky_inverse(f.tril(regular(f, x))),
    cholesky_solve=lambda f, x: f.cholesky_solve(x(3, 2), f.tril(regular(f, x))),
    det=[lambda f, x: f.det(regular(f, x, 2)), lambda f, x: f.det(x(0, 0))],
    inverse=lambda f, x: f.inverse(regular(f, x, 2)),
    logdet=lambda f, x: f.logdet(definite(f, x)),
    lu=lambda f, x: f.lu(regular(f, x, 2)),
    lu_solve=lambda f, x: f.lu_solve(x(3, 2), *f.lu(regular(f, x))),
    lu_unpack=[lambda f, x: f.lu_unpack(*f.lu(regular(f, x)))[1:], lambda f, x: product(f.lu_unpack(*f.lu(x(2, 4))))],
    matrix_exp=lambda f, x: f.matrix_exp(x(2, 3, 3)),
    matrix_power=[lambda f, x: f.matrix_power(regular(f, x), 3), lambda f, x: f.matrix_power(regular(f, x), -2)],
    orgqr=lambda f, x: f.orgqr(x(4, 3), x(3)),
    ormqr=[lambda f, x: f.ormqr(x(4, 3), x(3), x(4, 2)), lambda f, x: f.ormqr(x(4, 3), x(3), x(2, 4), left=False, transpose=True)],
    pinverse=lambda f, x: f.pinverse(x(4, 3)),
    qr=[lambda f, x: f.qr(x(4, 3)), lambda f, x: product(f.qr(x(3, 4)))],
    slogdet=lambda f, x: f.slogdet(regular(f, x)),
    svd=[
        lambda f, x: (lambda u, s, v: (s, (u * s.unsqueeze(-2)) @ v.mH))(*f.svd(x(4, 3))),
        lambda f, x: (lambda u, s, v: (s, (u * s.unsqueeze(-2)) @ v.mH))(*f.svd(x(2, 3, 4))),
    ],
    triangular_solve=lambda f, x: f.triangular_solve(x(3, 2), regular(f, x)),
    vander=lambda f, x: f.vander(x(4), 3),
)
rows("Fc", True, geqrf=lambda f, x: f.geqrf(x(4, 3)))
rows(
    "Fc",
    cov=lambda f, x: f.cov(x(3, 5)),
    stft=[
        lambda f, x: f.stft(x(2, 40), 8, 3, window=f.hann_window(8), return_complex=True),
        lambda f, x: f.stft(x(40), 8, 5, 6, f.ones(6), center=False, onesided=False, return_complex=True),
    ],
)
rows("F", corrcoef=lambda f, x: f.corrcoef(x(3, 5)))
rows(
    "F",
    istft=lambda f, x: f.istft(f.complex(x(5, 9), x(5, 9)), 8, 2, window=f.hamming_window(8), length=12),
    polar=lambda f, x: f.polar(x(3, 4), x(3, 4)),
    igamma=lambda f, x: f.igamma(x.constant(3, 4), x.positive(3, 4)),
    igammac=lambda f, x: f.igammac(x.constant(3, 4), x.positive(3, 4)),
)
rows(
    "f",
    cdist=[lambda f, x: f.cdist(x(2, 3, 4), x(5, 4)), lambda f, x: f.cdist(x(3, 4), x(5, 4), p=1.5)],
    frexp=lambda f, x: f.frexp(x(3, 5))[0],
    renorm=lambda f, x: f.renorm(x(3, 4), 2, 0, 1.0),
)
rows("fc", gradient=lambda f, x: f.gradient(x(4, 5), spacing=0.5), fill=lambda f, x: f.fill(x(3, 4), x()))
rows(
    "f",
    True,
    histogramdd=lambda f, x: (lambda found: (found[0], *found[1]))(f.histogramdd(x(20, 2), [3, 4])),
)
rows("fi", True, nonzero_static=lambda f, x: f.nonzero_static(x(3, 4), size=7))

MADE_FROM_NOTHING = frozenset(
    [
        "bartlett_window",
        "blackman_window",
        "empty_permuted",
        "hamming_window",
        "hann_window",
        "kaiser_window",
        "logspace",
        "pca_lowrank",
        "svd_lowrank",
    ]
)
"""Made from nothing, or random: tests/_ops/test_windows.py, tests/_ops/test_calculus.py, tests/_ops/linalg/test_low_rank.py."""
