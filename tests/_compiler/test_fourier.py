"""Which kernel calls a transform becomes, and that its nodes mean what the kernels do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.frequencies import division, is_short
from flambeau._compiler.interpret import Interpreter
from flambeau._compiler.plan import Plan
from flambeau._compiler.verify import verify
from tests._compiler import graphs


def _numbers(*shape: int) -> flambeau.Tensor:
    values = np.random.default_rng(0).standard_normal((2, *shape))
    x = flambeau.tensor(values[0] + 1j * values[1])
    x.numpy()  # an input from here on
    return x


def _planned(result: flambeau.Tensor) -> Plan:
    """The plan of what was recorded for a result."""
    graph, roots, _, _ = graphs.pending()
    verify(graph)
    inputs = {node.attrs[0]: node for node in graph.nodes if node.kind == "input"}
    assert result.layout.numel
    return Plan(graph, roots, inputs, [(slot, -1) for slot in roots])


@pytest.mark.parametrize(
    ("shape", "dims", "calls"),
    [
        ((40, 1024), (1,), 1),
        ((64, 40), (0,), 1),
        ((512, 300), (0, 1), 2),
        ((1 << 17,), (0,), 2),  # as a matrix (256, 512)
        ((3, 1009), (1,), 1),  # a convolution, within one kernel
    ],
)
def test_a_transform_is_a_kernel_call_an_axis(shape: tuple[int, ...], dims: tuple[int, ...], calls: int) -> None:
    result = flambeau.fft.fftn(_numbers(*shape), dim=dims)
    planned = _planned(result)
    assert [type(step) for step in planned.steps] == [KernelCall] * calls


def test_all_sizes_of_the_same_passes_share_a_kernel() -> None:
    names = set()
    for rows in (3, 5, 9):  # all of which a second-level cache holds
        result = flambeau.fft.fft(_numbers(rows, 1024))
        (call,) = _planned(result).steps
        assert isinstance(call, KernelCall)
        names.add(call.name)
    assert len(names) == 1


def test_several_axes_are_transformed_where_the_result_lies() -> None:
    result = flambeau.fft.fft2(_numbers(64, 512))
    planned = _planned(result)
    assert planned.arena == 0


def test_an_operand_that_is_read_later_is_not_overwritten() -> None:
    x = _numbers(32, 256)
    rows = flambeau.fft.fft(x)
    both = flambeau.fft.fft(rows, dim=0)
    np.testing.assert_allclose(both.numpy(), np.fft.fft2(x.numpy()), atol=1e-10)
    np.testing.assert_allclose(rows.numpy(), np.fft.fft(x.numpy()), atol=1e-10)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: flambeau.fft.fft2(x),
        lambda x: flambeau.fft.ifft(x, dim=0),
        lambda x: flambeau.fft.rfft(x.real),
        lambda x: flambeau.fft.ihfft(x.real, dim=0),
        lambda x: flambeau.fft.irfft(x),
        lambda x: flambeau.fft.hfft(x, dim=0),
        lambda x: flambeau.fft.fft(x, 1009),
        lambda x: flambeau.fft.irfft(x, 7),
    ],
)
def test_kernels_do_what_nodes_mean(function: Callable[[flambeau.Tensor], flambeau.Tensor]) -> None:
    result = function(_numbers(6, 40)).contiguous()
    graph, roots, inputs, numbers = graphs.pending()
    (slot,) = roots
    expected = Interpreter(graph, inputs, numbers).memory(roots[slot])
    np.testing.assert_allclose(result.numpy().reshape(-1), expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("n", [n for n in range(32, 257) if is_short(division(n).radices)])
def test_short_rows(n: int, dtype: type) -> None:
    """Rows that do not fill groups, next to memory that must not be written."""
    tolerance = 1e-6 if dtype is np.complex64 else 1e-14
    for rows in (1, 7, 33):
        values = np.random.default_rng(n).standard_normal((3, rows, 2 * n))
        x = (values[0, :, :n] + 1j * values[1, :, :n]).astype(dtype)
        x[1:2] = np.nan
        real = values[2].astype(dtype(0).real.dtype)
        expected = np.fft.fft(x.astype(np.complex128)), np.fft.ifft(x.astype(np.complex128)), np.fft.rfft(real.astype(np.float64)), real
        y = flambeau.tensor(x)
        half = flambeau.fft.rfft(flambeau.tensor(real))
        found = flambeau.fft.fft(y), flambeau.fft.ifft(y), half, flambeau.fft.irfft(half, 2 * n)
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left.numpy(), right, atol=tolerance * np.nanmax(np.abs(right)))


def test_short_rows_are_transformed_as_columns_are() -> None:
    x = _numbers(35, 96, 224)
    for n in (112, 128, 224):
        rows = flambeau.fft.fft(x, n)
        columns = flambeau.fft.fft(x.transpose(1, 2).contiguous(), n, dim=1)
        np.testing.assert_array_equal(rows.numpy(), columns.numpy().swapaxes(1, 2))


def test_real_transforms_of_the_innermost_axes_stay_in_order() -> None:
    x = flambeau.randn(3, 32, 64)
    x.numpy()
    half = flambeau.fft.rfft2(x)
    assert len(_planned(half).steps) == 2
    half.numpy()
    assert len(_planned(flambeau.fft.irfft2(half)).steps) == 2
