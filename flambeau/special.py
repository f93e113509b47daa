"""Special functions by SciPy's names."""

from __future__ import annotations

from flambeau import digamma as digamma
from flambeau import digamma as psi
from flambeau import erf as erf
from flambeau import erfc as erfc
from flambeau import erfinv as erfinv
from flambeau import exp2 as exp2
from flambeau import expm1 as expm1
from flambeau import igamma as gammainc
from flambeau import igammac as gammaincc
from flambeau import lgamma as gammaln
from flambeau import log1p as log1p
from flambeau import log_softmax as log_softmax
from flambeau import logsumexp as logsumexp
from flambeau import mvlgamma as multigammaln
from flambeau import round as round
from flambeau import sigmoid as expit
from flambeau import softmax as softmax
from flambeau._ops.polynomials import chebyshev_polynomial_t as chebyshev_polynomial_t
from flambeau._ops.polynomials import chebyshev_polynomial_u as chebyshev_polynomial_u
from flambeau._ops.polynomials import chebyshev_polynomial_v as chebyshev_polynomial_v
from flambeau._ops.polynomials import chebyshev_polynomial_w as chebyshev_polynomial_w
from flambeau._ops.polynomials import hermite_polynomial_h as hermite_polynomial_h
from flambeau._ops.polynomials import hermite_polynomial_he as hermite_polynomial_he
from flambeau._ops.polynomials import laguerre_polynomial_l as laguerre_polynomial_l
from flambeau._ops.polynomials import legendre_polynomial_p as legendre_polynomial_p
from flambeau._ops.polynomials import shifted_chebyshev_polynomial_t as shifted_chebyshev_polynomial_t
from flambeau._ops.polynomials import shifted_chebyshev_polynomial_u as shifted_chebyshev_polynomial_u
from flambeau._ops.polynomials import shifted_chebyshev_polynomial_v as shifted_chebyshev_polynomial_v
from flambeau._ops.polynomials import shifted_chebyshev_polynomial_w as shifted_chebyshev_polynomial_w
from flambeau._ops.refusals import guard
from flambeau._ops.scipy_special import airy_ai as airy_ai
from flambeau._ops.scipy_special import bessel_j0 as bessel_j0
from flambeau._ops.scipy_special import bessel_j1 as bessel_j1
from flambeau._ops.scipy_special import bessel_y0 as bessel_y0
from flambeau._ops.scipy_special import bessel_y1 as bessel_y1
from flambeau._ops.scipy_special import erfcx as erfcx
from flambeau._ops.scipy_special import log_ndtr as log_ndtr
from flambeau._ops.scipy_special import modified_bessel_i0 as modified_bessel_i0
from flambeau._ops.scipy_special import modified_bessel_i1 as modified_bessel_i1
from flambeau._ops.scipy_special import modified_bessel_k0 as modified_bessel_k0
from flambeau._ops.scipy_special import modified_bessel_k1 as modified_bessel_k1
from flambeau._ops.scipy_special import ndtri as ndtri
from flambeau._ops.scipy_special import scaled_modified_bessel_k0 as scaled_modified_bessel_k0
from flambeau._ops.scipy_special import scaled_modified_bessel_k1 as scaled_modified_bessel_k1
from flambeau._ops.scipy_special import spherical_bessel_j0 as spherical_bessel_j0
from flambeau._ops.special import entr as entr
from flambeau._ops.special import i0 as i0
from flambeau._ops.special import i0e as i0e
from flambeau._ops.special import i1 as i1
from flambeau._ops.special import i1e as i1e
from flambeau._ops.special import logit as logit
from flambeau._ops.special import ndtr as ndtr
from flambeau._ops.special import polygamma as polygamma
from flambeau._ops.special import sinc as sinc
from flambeau._ops.special import xlog1py as xlog1py
from flambeau._ops.special import xlogy as xlogy
from flambeau._ops.special import zeta as zeta

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma",
    "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e",
    "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

guard(*[globals()[_name] for _name in __all__])
