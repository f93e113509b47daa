"""Nothing is computed with what others left in memory: no result would depend on it, but subnormal numbers are slow."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flambeau
from flambeau._runtime import jit, pool
from flambeau.nn import functional as F
from tests._codegen.contractions import SUBNORMAL, exceptions

_NUMBERS = 1 << 21
_LEAVE = f"""
define void @leave_integers(ptr %table, ptr %params, i64 %begin, i64 %end, ptr %scratch) {{
  br label %loop
loop:
  %index = phi i64 [0, %0], [%next, %loop]
  %place = getelementptr i32, ptr %scratch, i64 %index
  store i32 42405, ptr %place
  %next = add i64 %index, 1
  %more = icmp ult i64 %next, {_NUMBERS}
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def _leave_integers() -> None:
    """Fill the scratch memory that the next kernels of this thread get."""
    function = jit.compile_kernels({"leave_integers": _LEAVE})["leave_integers"]
    error = (ctypes.c_int64 * 64)()
    table = np.array([ctypes.addressof(error)], np.int64)
    assert pool.Program([pool.Call(function, [0], 1, 1, 4 * _NUMBERS)]).run(table.ctypes.data) == 0


def _lstm() -> Iterator[flambeau.Tensor]:
    layer = flambeau.nn.LSTM(13, 21)
    layer(flambeau.randn(7, 5, 13))[0].sum().backward()
    return (each.grad for each in layer.parameters())


def _with_gradients(function: Callable, *shapes: tuple[int, ...]) -> Callable[[], Iterator[flambeau.Tensor]]:
    operands = [flambeau.randn(*shape, requires_grad=True) for shape in shapes]

    def run() -> Iterator[flambeau.Tensor]:
        result = function(*operands)
        return (result, *flambeau.autograd.grad(result.sum(), operands))

    return run


CASES = {
    "matrices": _with_gradients(flambeau.matmul, (33, 65), (65, 17)),
    "convolution": _with_gradients(lambda x, w: F.conv2d(x, w, padding=1), (2, 12, 13, 11), (12, 12, 3, 3)),
    "strided": _with_gradients(lambda x, w: F.conv2d(x, w, stride=2), (2, 12, 13, 11), (12, 12, 3, 3)),
    "depthwise": _with_gradients(lambda x, w: F.conv2d(x, w, padding=2, groups=12), (2, 12, 13, 11), (12, 1, 5, 5)),
    "transposed": _with_gradients(lambda x, w: F.conv_transpose2d(x, w, stride=2), (2, 12, 13, 11), (12, 7, 3, 3)),
    "attention": _with_gradients(F.scaled_dot_product_attention, *[(2, 3, 100, 24)] * 3),
    "causal": _with_gradients(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *[(2, 3, 37, 33)] * 3),
    "softmax": _with_gradients(lambda x: x.softmax(1), (5, 37, 3)),
    "lstm": _lstm,
}


@pytest.mark.parametrize("case", CASES)
def test_what_others_left_is_not_computed_with(case: str) -> None:
    threads = flambeau.get_num_threads()
    flambeau.set_num_threads(1)
    try:
        for _ in range(2):
            _leave_integers()
            exceptions(clear=True)
            for each in CASES[case]():
                each.detach().numpy()
            found = exceptions()  # of the second time, when nothing is compiled
    finally:
        flambeau.set_num_threads(threads)
    assert not found & SUBNORMAL
