"""Samples of the operators, exported: the same numbers by ONNX's reference implementation, or an error that names the operator."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from flambeau.onnx import OnnxExporterError, export  # noqa: E402
from tests.export.test_operators import ASK, prepared  # noqa: E402
from tests.onnx.checks import check  # noqa: E402
from tests.samples import linear_algebra  # noqa: E402, F401  (more samples)
from tests.samples.operators import SAMPLES  # noqa: E402

LACKING = {
    "argwhere", "bincount", "cholesky", "cholesky_inverse", "cholesky_solve", "complex", "digamma", "erfinv", "frexp", "gcd", "geqrf", "gradient",
    "histc", "histogram", "histogramdd", "i0", "igamma", "igammac", "imag", "inverse", "istft", "lcm", "lgamma", "logdet", "lu", "lu_solve",
    "lu_unpack", "masked_select", "matrix_exp", "mode", "mvlgamma", "nanmedian", "nanquantile", "native_batch_norm", "native_group_norm",
    "nextafter", "nonzero", "nonzero_static", "orgqr", "ormqr", "pinverse", "polar", "polygamma", "qr", "real", "repeat_interleave", "resize_as_",
    "slogdet", "stft", "svd", "triangular_solve", "unique", "unique_consecutive", "view_as_complex", "view_as_real",
}  # fmt: skip
"""Operators that are not exported, and say so: most have no counterpart, and some results whose size depends on numbers, or are complex."""
GROUPED = {f"nn.functional.conv_transpose{dims}d" for dims in (1, 2, 3)}
"""Whose samples have groups, for which ONNX's reference implementation has no transposed convolution."""
NAMES = [name for name in SAMPLES if name not in ASK]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LACKING])
def test_same_numbers(name):
    module, inputs = prepared(name, SAMPLES[name][0])
    if name in GROUPED:
        export(module, inputs)
    else:
        check(module, *inputs, tolerance=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(LACKING))
def test_what_is_lacking_is_said(name):
    module, inputs = prepared(name, SAMPLES[name][0])
    with pytest.raises(OnnxExporterError):
        export(module, inputs)
