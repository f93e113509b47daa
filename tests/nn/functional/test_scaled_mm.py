"""Products of float8 matrices with scales."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.nn.functional import ScalingType, scaled_mm

WHOLE, ROWS = ScalingType.TensorWise, ScalingType.RowWise


def matrices():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 32, generator=generator), torch.randn(7, 32, generator=generator)
    return a.to(torch.float8_e4m3fn), b.to(torch.float8_e5m2).t()


def test_scales_of_matrices_and_of_rows():
    a, b = matrices()
    exact = a.double() @ b.double()
    half, rows, columns, bias = torch.tensor(0.5), torch.rand(5, 1), torch.rand(1, 7), torch.randn(7)
    found = scaled_mm(a, b, half, WHOLE, half.reshape(1), WHOLE, output_dtype=torch.float32)
    torch.testing.assert_close(found.double(), exact / 4, rtol=1e-6, atol=1e-6)
    found = scaled_mm(a, b, [rows], [ROWS], columns, ROWS, bias=bias, output_dtype=torch.float32)
    torch.testing.assert_close(found.double(), exact * rows * columns + bias, rtol=1e-5, atol=1e-6)
    assert scaled_mm(a, b, half, WHOLE, half, WHOLE).dtype == torch.bfloat16
    assert scaled_mm(a, b, half, WHOLE, half, WHOLE, output_dtype=None).dtype == torch.float8_e4m3fn


def test_what_does_not_fit_is_named():
    a, b = matrices()
    one = torch.tensor(1.0)
    for arguments, message in (
        ((a, a, one, WHOLE, one, WHOLE), "cannot be multiplied"),
        ((a.float(), b, one, WHOLE, one, WHOLE), "mat_a must be of a float8 type, not torch.float32"),
        ((a, b, one.double(), WHOLE, one, WHOLE), "scale_a must be a tensor of float32, not torch.float64"),
        ((a, b, one, WHOLE, torch.ones(7, 1), ROWS), r"scale_b of shape .* \[1, 7\] with ScalingType.RowWise"),
        ((a, b, one, WHOLE, torch.ones(1, 7), ROWS), "both scales must be of one kind"),
        ((a, b, one, ScalingType.BlockWise1x128, one, WHOLE), "blocks are not there on the CPU"),
    ):
        with pytest.raises(ValueError, match=message):
            scaled_mm(*arguments)
