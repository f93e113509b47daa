"""Bessel functions of the first and second kind and modified ones of the second kind, of orders 0 and 1.

They are computed in double precision, for float32 as well. Near the origin they are polynomials of ``x**2`` (those of the first kind by
their zeros, so that these are exact), beyond it Hankel's asymptotic forms with polynomials of ``1/x**2`` (G. N. Watson, "A treatise on the
theory of Bessel functions", 7.3). The polynomials interpolate at Chebyshev's points what mpmath computes with 50 digits.

The error is at most 1.3e-15 of the value, or where it oscillates of ``sqrt(2 / (pi x))``. At infinity J and Y are NaN, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp, exp_of_reduced, reduce, scale
from flambeau._codegen.vmath.formats import in_double
from flambeau._codegen.vmath.logarithm import log
from flambeau._codegen.vmath.trigonometric import sin_cos

_J0_SMALL = (
    0.0011434937743762545, -0.002119794289479692, 0.0015636431645931661, -0.0006415390646406123, 0.00016977200713997844,
    -3.157342540223544e-05, 4.3669323246406834e-06, -4.677128021300745e-07, 3.998839345472477e-08, -2.7948629678329127e-09,
    1.62764894918064e-10, -8.023472601933258e-12, 3.3923298937104677e-13, -1.2482967042743655e-14, 4.0068948013720515e-16,
)  # fmt: skip
"""``J0(x) = (t - r1) (t - r2) P(t / 32 - 1)`` for ``t = x**2 <= 64``, of which r1 and r2 are the zeros."""

_J1_SMALL = (
    0.00019498936985895625, -0.0002697522746716368, 0.00015860016799369858, -5.408003239085506e-05, 1.224217365301787e-05,
    -1.989093515914257e-06, 2.442522260616395e-07, -2.352192254577852e-08, 1.8268548082885016e-09, -1.1696932521783476e-10,
    6.284676985256089e-12, -2.875530868558852e-13, 1.1384465543068819e-14, -3.9104228826133377e-16,
)  # fmt: skip
"""``J1(x) = x (t - r1) (t - r2) P(t / 32 - 1)``, likewise."""

_Y0_SMALL = (
    -0.03314611320328494, -0.2744743055297453, 0.17903431407718265, 0.26156734625504663, -0.17730201278114358, 0.04719668959576339,
    -0.007287962479552079, 0.0007531135932577742, -5.632079141056987e-05, 3.206532537654801e-06, -1.44072332740187e-07,
    5.248794787330516e-09, -1.5837552541812015e-10, 4.02633081830612e-12, -8.747341203310769e-14, 1.6434898714919468e-15,
    -2.6977881152566837e-17,
)  # fmt: skip
"""Chebyshev coefficients of ``Y0(x) - 2/pi log(x) J0(x)`` by ``t / 32 - 1``."""

_Y1_SMALL = (
    0.0025380132357417816, -0.01608717304766875, -0.09591204536083074, 0.08445197259652346, -0.028328123944594365, 0.005289897544167113,
    -0.0006414551451326356, 5.505982873338744e-05, -3.53808001868935e-06, 1.7707804556154404e-07, -7.11055004989928e-09,
    2.344337905911516e-10, -6.4651518414115946e-12, 1.51429151205002e-13, -3.0511859694473254e-15, 5.34668038572867e-17,
)  # fmt: skip
"""Chebyshev coefficients of ``(Y1(x) - 2/pi (log(x) J1(x) - 1/x)) / x`` by ``t / 32 - 1``."""

_P0 = (
    1.0, -0.0010986328124987458, 2.7380883620060993e-05, -2.1839178876551594e-06, 3.6201997728057504e-07, -1.0230311671096991e-07,
    4.34227969135307e-08, -2.4254959952447294e-08, 1.495392574597224e-08, -8.4245531125012e-09, 3.6629024015069136e-09,
    -1.0306604474712212e-09, 1.3678396453154035e-10,
)  # fmt: skip
"""``J0(x) = sqrt(2 / (pi x)) (P(z) cos(x - pi/4) - 8/x Q(z) sin(x - pi/4))`` for ``z = (8/x)**2 <= 1``: P, and below it Q."""

_Q0 = (
    -0.015625, 0.00014305114746085816, -6.930786178744734e-06, 8.238444779592173e-07, -1.8164587289764875e-07, 6.415106053241036e-08,
    -3.298607223546163e-08, 2.2576583661985832e-08, -1.8224879675667873e-08, 1.4974164728470984e-08, -1.092531291301446e-08,
    6.3360902149702405e-09, -2.6356122431515095e-09, 6.859656099055291e-10, -8.309574947641413e-11,
)  # fmt: skip

_P1 = (
    1.0, 0.0018310546874986734, -3.5203993242596556e-05, 2.5809940810959866e-06, -4.102909207541017e-07, 1.130795637698509e-07,
    -4.722297272919564e-08, 2.6103445624454773e-08, -1.5993920591911708e-08, 8.979116578314727e-09, -3.8963577460319895e-09,
    1.0950749104743827e-09, -1.4522620914321922e-10,
)  # fmt: skip
"""The same of J1, whose angle is ``x - 3 pi/4``."""

_Q1 = (
    0.046875, -0.00020027160644522912, 8.470960886199667e-06, -9.505898023571088e-07, 2.0301619293738344e-07, -7.026217111695005e-08,
    3.563176555113769e-08, -2.415525798405104e-08, 1.9378292461289958e-08, -1.5862213567437494e-08, 1.15478923131816e-08,
    -6.688403788369088e-09, 2.7798919752136825e-09, -7.231275108629101e-10, 8.756473491854987e-11,
)  # fmt: skip

_I0_NEAR = (
    1.0, 0.25, 0.015624999999999938, 0.00043402777777797714, 6.781684027454118e-06, 6.781684057951957e-08, 4.709501085333947e-10,
    2.4028675998327848e-12, 9.373256627857504e-15, 3.045258253029478e-17,
)  # fmt: skip
"""``I0(x) = P(x**2)`` for ``x <= 2``."""

_I1_NEAR = (
    0.5, 0.062499999999999875, 0.0026041666666674823, 5.425347222013042e-05, 6.781684054641843e-07, 5.65140141938011e-09,
    3.3640125537492935e-11, 1.4997356688648755e-13, 5.481499174386538e-16,
)  # fmt: skip
"""``I1(x) = x P(x**2)``."""

_K0_NEAR = (
    -0.5772156649015329, 0.1056960837746168, 0.014418505235913402, 0.0005451899602573274, 1.0214014135195478e-05, 1.157035101258446e-07,
    8.819879032945209e-10, 4.843339979085721e-12, 2.006206182166274e-14, 6.872327179403754e-17,
)  # fmt: skip
"""``K0(x) = P(x**2) - log(x/2) I0(x)``."""

_K1_NEAR = (
    1.0, 0.03860783245076608, -0.04204902094365131, -0.002837111983772602, -7.493042904489658e-05, -1.0892182678447006e-06,
    -1.0112901473830804e-08, -6.540475114122699e-11, -3.1149803605529217e-13, -1.213724925259683e-15,
)  # fmt: skip
"""``K1(x) = P(x**2) / x + log(x/2) I1(x)``."""

_K0_FAR = (
    1.2201515410329777, -0.0314481013119645, 0.0015698838857300533, -0.00012849549581627802, 1.39498137188765e-05,
    -1.8317555227191195e-06, 2.766813639445015e-07, -4.660489897687948e-08, 8.574034017414225e-09, -1.6975345093890614e-09,
    3.5773972814003283e-10, -7.957489244477396e-11, 1.8559491149549264e-11, -4.514597883374519e-12, 1.1403405882073441e-12,
    -2.9800969231481784e-13, 8.032890775068375e-14, -2.2275133267462965e-14, 6.340076476276646e-15, -1.848593377920907e-15,
    5.5120559994043335e-16, -1.6782311257549006e-16, 5.2103917776435543e-17, -1.6475805939842632e-17,
)  # fmt: skip
"""Chebyshev coefficients of ``sqrt(x) exp(x) K0(x)`` by ``4/x - 1`` for ``x >= 2``."""

_K1_FAR = (
    1.3603130952422213, 0.10392373657681724, -0.002857816859622779, 0.00019521551847135162, -1.936197974166083e-05,
    2.406484947837217e-06, -3.5019606030878126e-07, 5.7410841254500495e-08, -1.0345762465678097e-08, 2.0150497551970347e-09,
    -4.1903547593419254e-10, 9.218315187605315e-11, -2.129967838427791e-11, 5.139639673482343e-12, -1.2891739609498229e-12,
    3.348419666052243e-13, -8.976705182010146e-14, 2.4771544242195988e-14, -7.0198370892147685e-15, 2.038703166239861e-15,
    -6.057047270643018e-16, 1.8380935752430455e-16, -5.689462849193648e-17, 1.7940510478863572e-17,
)  # fmt: skip
"""The same of K1."""

_ZEROS = (
    ((2.404825557695773, -1.176691651530894e-16), (5.520078110286311, 8.088597146146722e-17)),
    ((3.8317059702075125, -1.5269184090088067e-16), (7.015586669815619, -9.414165653410389e-17)),
)
"""The first zeros of J0 and of J1, each as a number and what it lacks."""


def _chebyshev(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """``c[0] + c[1] T1(x) + c[2] T2(x) + …`` by Clenshaw's recurrence."""
    twice = x + x
    after, value = x.constant(0.0), x.constant(coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        after, value = value, twice.fma(value, coefficient - after)
    return x.fma(value, coefficients[0] - after)


def _first_kind_near(x: Lanes, order: int) -> Lanes:
    """J for ``0 <= x <= 8``."""
    value = polynomial((x * x).fma(1 / 32, -1.0), (_J0_SMALL, _J1_SMALL)[order])
    for zero, rest in _ZEROS[order]:
        value = value * ((x - zero) - rest) * (x + zero)
    return value * x if order else value


def _far(x: Lanes, order: int) -> tuple[Lanes, Lanes]:
    """J and Y for ``x >= 8``."""
    inverse = 8.0 / x
    z = inverse * inverse
    p, q = polynomial(z, (_P0, _P1)[order]), inverse * polynomial(z, (_Q0, _Q1)[order])
    sin, cos = sin_cos(x)
    # sin and cos of x - pi/4 and of x - 3 pi/4, times sqrt(2)
    if order:
        sin, cos = -(sin + cos), sin - cos
    else:
        sin, cos = sin - cos, sin + cos
    root = (1.0 / (x * math.pi)).sqrt()
    return root * (p * cos - q * sin), root * (p * sin + q * cos)


def _first_kind(x: Lanes, order: int) -> Lanes:
    magnitude = x.abs()
    near, far = _first_kind_near(magnitude.at_most(8.0), order), _far(magnitude.at_least(8.0), order)[0]
    result = (magnitude <= 8.0).select(near, x.is_nan().select(x, far))
    return (x < 0.0).select(-result, result) if order else result


def _second_kind(x: Lanes, order: int) -> Lanes:
    bounded = x.at_most(8.0)
    first = log(bounded) * _first_kind_near(bounded, order)
    rest = _chebyshev((bounded * bounded).fma(1 / 32, -1.0), (_Y0_SMALL, _Y1_SMALL)[order])
    near = (first - 1.0 / bounded).fma(2 / math.pi, rest * bounded) if order else first.fma(2 / math.pi, rest)
    far = _far(x.at_least(8.0), order)[1]
    result = (x <= 8.0).select(near, far)
    return _on_positive(x, result, -math.inf)


def _on_positive(x: Lanes, result: Lanes, at_zero: float) -> Lanes:
    """A result that is not defined below 0."""
    result = (x == 0.0).select(x.constant(at_zero), result)
    return ((x < 0.0) | x.is_nan()).select(x.constant(math.nan), result)


def _modified_second_kind(x: Lanes, order: int, *, scaled: bool) -> Lanes:
    bounded = x.at_most(2.0)
    square = bounded * bounded
    logarithm = log(bounded * 0.5)
    near = polynomial(square, (_K0_NEAR, _K1_NEAR)[order])
    if order:
        near = (logarithm * bounded).fma(polynomial(square, _I1_NEAR), near / bounded)
    else:
        near = (-logarithm).fma(polynomial(square, _I0_NEAR), near)
    beyond = x.at_least(2.0)
    far = _chebyshev(4.0 / beyond - 1.0, (_K0_FAR, _K1_FAR)[order]) / beyond.sqrt()
    if scaled:
        near = near * exp(bounded)
    else:
        r, shifted = reduce(-beyond.at_most(760.0))
        far = scale(exp_of_reduced(r) * far, shifted)  # the product becomes subnormal, and exp(-x) not before it
    result = (x <= 2.0).select(near, (x == math.inf).select(x.constant(0.0), far))
    return _on_positive(x, result, math.inf)


@in_double
def j0(x: Lanes) -> Lanes:
    """The Bessel function of the first kind and order 0."""
    return _first_kind(x, 0)


@in_double
def j1(x: Lanes) -> Lanes:
    """The Bessel function of the first kind and order 1."""
    return _first_kind(x, 1)


@in_double
def y0(x: Lanes) -> Lanes:
    """The Bessel function of the second kind and order 0."""
    return _second_kind(x, 0)


@in_double
def y1(x: Lanes) -> Lanes:
    """The Bessel function of the second kind and order 1."""
    return _second_kind(x, 1)


@in_double
def k0(x: Lanes) -> Lanes:
    """The modified Bessel function of the second kind and order 0."""
    return _modified_second_kind(x, 0, scaled=False)


@in_double
def k1(x: Lanes) -> Lanes:
    """The modified Bessel function of the second kind and order 1."""
    return _modified_second_kind(x, 1, scaled=False)


@in_double
def k0e(x: Lanes) -> Lanes:
    """``exp(x) k0(x)``."""
    return _modified_second_kind(x, 0, scaled=True)


@in_double
def k1e(x: Lanes) -> Lanes:
    """``exp(x) k1(x)``."""
    return _modified_second_kind(x, 1, scaled=True)
