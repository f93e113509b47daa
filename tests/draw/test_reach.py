"""What reaches what, against loops that follow the definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.draw.reach import reach, window_reach


def test_reach_of_a_sum_over_rows():
    found = reach(lambda x: x.sum(1), flambeau.ones(2, 3))
    assert found.tolist() == [[True, True, True, False, False, False], [False, False, False, True, True, True]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [(7, 3, 2, 1, 2), (5, 2, 1, 0, 1), (6, 3, 3, 2, 1), (4, 1, 1, 1, 1), (9, 4, 2, 3, 2)],
)
def test_conv1d_reads_where_the_formula_says(size, kernel, stride, padding, dilation):
    reads, (outputs,) = window_reach(nn.Conv1d(2, 4, kernel, stride, padding, dilation, groups=2), (size,))
    expected = np.zeros((outputs, kernel, size), bool)
    for output, place in itertools.product(range(outputs), range(kernel)):
        position = output * stride + place * dilation - padding
        if 0 <= position < size:
            expected[output, place, position] = True
    np.testing.assert_array_equal(reads, expected)


@pytest.mark.parametrize(("stride", "padding", "output_padding", "dilation"), [(2, 1, 1, 1), (1, 0, 0, 2), (3, 2, 0, 1), (2, 0, 1, 2)])
def test_conv_transpose2d_writes_where_conv2d_reads(stride, padding, output_padding, dilation):
    layer = nn.ConvTranspose2d(1, 1, (3, 2), stride, padding, output_padding, dilation=dilation)
    reads, sizes = window_reach(layer, (4, 3))
    mirrored, _ = window_reach(nn.Conv2d(1, 1, (3, 2), stride, padding, dilation), sizes)
    np.testing.assert_array_equal(reads, mirrored[: 4 * 3].transpose(2, 1, 0))


def test_circular_padding_reads_the_other_end():
    reads, _ = window_reach(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), (5,))
    assert np.flatnonzero(reads[0, 0]).tolist() == [4]
    assert np.flatnonzero(reads[4, 2]).tolist() == [0]


def test_the_layer_is_left_alone():
    layer = nn.Conv2d(2, 4, 3)
    before = layer.weight.detach().numpy().copy()
    window_reach(layer, (4, 4))
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
    assert (layer.in_channels, layer.out_channels) == (2, 4)
    assert layer.bias is not None


def test_without_grad_mode():
    with flambeau.no_grad():
        assert reach(lambda x: x * 2, flambeau.ones(2)).tolist() == [[True, False], [False, True]]
        reads, _ = window_reach(nn.Conv1d(1, 1, 1), (2,))
    assert reads.tolist() == [[[True, False]], [[False, True]]]
