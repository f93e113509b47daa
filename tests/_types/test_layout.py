"""Layouts of views: what is remembered is what would be computed again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._types import dtype as dt
from flambeau._types import layout as lay


def test_reshaping_twice_gives_one_layout() -> None:
    source = lay.contiguous((4, 6), dt.float32)
    for wanted, shape in (((24,), (24,)), ((2, -1), (2, 12)), ((-1, 3), (8, 3)), ((4, 6), (4, 6)), ((2, 2, 6), (2, 2, 6))):
        first = lay.reshaped(source, wanted)
        assert first is lay.reshaped(source, wanted) is lay.view(source, shape) and first.shape == shape
    assert lay.reshaped(source, (4, -1)) is source


def test_what_no_view_can_show_stays_so() -> None:
    source = lay.layout((4, 6), (1, 4), 0, dt.float32)
    assert lay.reshaped(source, (24,)) is lay.reshaped(source, (-1,)) is None
    assert lay.reshaped(source, (2, 2, 6)) is not None


def test_sizes_that_do_not_fit_are_an_error_each_time() -> None:
    source = lay.contiguous((4, 6), dt.float32)
    for wanted in ((5, 5), (-1, 5), (-1, -1), (2, -3)):
        for _ in range(2):
            with pytest.raises(RuntimeError):
                lay.reshaped(source, wanted)


@pytest.mark.parametrize(
    "axes, wrapped", [(1, (1,)), (-1, (2,)), (0, (0,)), (np.int64(-1), (2,)), ((0, -1), (0, 2)), ((), (0, 1, 2)), (None, (0, 1, 2))]
)
def test_axes(axes: Any, wrapped: tuple[int, ...]) -> None:
    assert lay.wrap_axes(axes, 3) == wrapped


@pytest.mark.parametrize("axes, ndim", [(3, 3), (-4, 3), (1, 0), ((0, 0), 2), (True, 3)])
def test_axes_that_are_not_there(axes: Any, ndim: int) -> None:
    with pytest.raises((IndexError, RuntimeError, TypeError)):
        lay.wrap_axes(axes, ndim)
    assert lay.wrap_axes(0, 0) == ()


@pytest.mark.parametrize("shape", [(1 << 61,), (1 << 40, 1 << 40)])
def test_more_than_can_be_counted(shape: tuple[int, ...]) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"a tensor of shape .* would have \d+ (bytes|elements)"):
            lay.contiguous(shape, dt.float32)
    assert lay.contiguous((1 << 60,), dt.float32).numel == 1 << 60


def test_a_tensors_layout_is_one_of_torchs() -> None:
    dense = flambeau.ones(2, 3)
    nested = flambeau.nested.nested_tensor([dense, dense], layout=flambeau.jagged)
    kinds = {dense: "strided", dense.to_sparse(): "sparse_coo", dense.to_sparse_csr(): "sparse_csr", nested: "jagged"}
    for tensor, name in kinds.items():
        kind = getattr(flambeau, name)
        assert isinstance(tensor.layout, flambeau.layout) and isinstance(kind, flambeau.layout)
        assert str(tensor.layout) == f"{tensor.layout}" == repr(kind) == f"torch.{name}"
        assert [other for other in kinds.values() if tensor.layout == getattr(flambeau, other)] == [name]
        assert [other for other in kinds.values() if getattr(flambeau, other) == tensor.layout] == [name]
    assert not isinstance("strided", flambeau.layout) and flambeau.strided != "strided"
