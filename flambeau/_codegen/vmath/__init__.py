"""Vector mathematics: elementary functions of float32 and float64 lanes as branch-free polynomials.

Every function takes and gives ``Lanes`` and is within 2 units in the last place of the exact value, on the whole
range, with the special values of IEEE 754 and C99.  ``docs/design/0004-vector-math.md`` tells how the coefficients
were made and what was measured.
"""

from __future__ import annotations

from flambeau._codegen.vmath.bessel import j0 as j0
from flambeau._codegen.vmath.bessel import j1 as j1
from flambeau._codegen.vmath.bessel import k0 as k0
from flambeau._codegen.vmath.bessel import k0e as k0e
from flambeau._codegen.vmath.bessel import k1 as k1
from flambeau._codegen.vmath.bessel import k1e as k1e
from flambeau._codegen.vmath.bessel import y0 as y0
from flambeau._codegen.vmath.bessel import y1 as y1
from flambeau._codegen.vmath.erf import erf as erf
from flambeau._codegen.vmath.erf import erfc as erfc
from flambeau._codegen.vmath.erf import erfinv as erfinv
from flambeau._codegen.vmath.erf import gelu as gelu
from flambeau._codegen.vmath.erf import ndtr as ndtr
from flambeau._codegen.vmath.exponential import exp as exp
from flambeau._codegen.vmath.exponential import exp2 as exp2
from flambeau._codegen.vmath.exponential import exp_of_minus_magnitude as exp_of_minus_magnitude
from flambeau._codegen.vmath.exponential import expm1 as expm1
from flambeau._codegen.vmath.exponential import sigmoid as sigmoid
from flambeau._codegen.vmath.exponential import silu as silu
from flambeau._codegen.vmath.hyperbolic import acosh as acosh
from flambeau._codegen.vmath.hyperbolic import asinh as asinh
from flambeau._codegen.vmath.hyperbolic import atanh as atanh
from flambeau._codegen.vmath.hyperbolic import cosh as cosh
from flambeau._codegen.vmath.hyperbolic import sinh as sinh
from flambeau._codegen.vmath.hyperbolic import tanh as tanh
from flambeau._codegen.vmath.inverse import acos as acos
from flambeau._codegen.vmath.inverse import asin as asin
from flambeau._codegen.vmath.inverse import atan as atan
from flambeau._codegen.vmath.inverse import atan2 as atan2
from flambeau._codegen.vmath.logarithm import log as log
from flambeau._codegen.vmath.logarithm import log1p as log1p
from flambeau._codegen.vmath.logarithm import log2 as log2
from flambeau._codegen.vmath.logarithm import log10 as log10
from flambeau._codegen.vmath.power import hypot as hypot
from flambeau._codegen.vmath.power import pow as pow
from flambeau._codegen.vmath.special import digamma as digamma
from flambeau._codegen.vmath.special import i0 as i0
from flambeau._codegen.vmath.special import i0e as i0e
from flambeau._codegen.vmath.special import i1 as i1
from flambeau._codegen.vmath.special import i1e as i1e
from flambeau._codegen.vmath.special import lgamma as lgamma
from flambeau._codegen.vmath.special import trigamma as trigamma
from flambeau._codegen.vmath.trigonometric import cos as cos
from flambeau._codegen.vmath.trigonometric import sin as sin
from flambeau._codegen.vmath.trigonometric import sinpi as sinpi
from flambeau._codegen.vmath.trigonometric import tan as tan
