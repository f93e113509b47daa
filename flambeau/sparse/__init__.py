"""``torch.sparse``: tensors of which most elements are zero.

``torch.sparse_coo`` lists positions and values, ``torch.sparse_csr`` and ``torch.sparse_csc`` go by rows and by columns. What is computed with
them is recorded as work on the tensors they are made of (see ``tensor.py``), and is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._ops.refusals import guard
from flambeau._tensor.tensor import Tensor
from flambeau.sparse.creation import check_sparse_tensor_invariants, sparse_coo_tensor
from flambeau.sparse.products import addmm, mm, sampled_addmm
from flambeau.sparse.shaping import log_softmax, softmax, spdiags
from flambeau.sparse.shaping import sum as sum
from flambeau.sparse.tensor import SparseTensor

__all__ = [
    "BFloat16Tensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "SparseTensor", "addmm",
    "as_sparse_gradcheck", "check_sparse_tensor_invariants", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags", "sum",
]  # fmt: skip


def as_sparse_gradcheck(gradcheck: Callable) -> Callable:
    """``gradcheck`` for functions of sparse tensors: it varies their values, at positions that stay as they are."""

    def checked(function: Callable, inputs: Any, **options: Any) -> bool:
        options.pop("masked", None)
        inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        inputs = [each.coalesce() if getattr(each, "is_sparse", False) else each for each in inputs]

        def of_values(*values: Tensor) -> Any:
            results = function(*[each._with(value) if isinstance(each, SparseTensor) else value for each, value in zip(inputs, values)])
            several = isinstance(results, (tuple, list))
            dense = [each.to_dense() if isinstance(each, SparseTensor) else each for each in (results if several else [results])]
            return tuple(dense) if several else dense[0]

        return gradcheck(of_values, [each._elements if isinstance(each, SparseTensor) else each for each in inputs], **options)

    return checked


class _Legacy:
    """PyTorch's old constructors, ``torch.sparse.FloatTensor(indices, values, size)``."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __call__(self, *args: Any, device: Any = None) -> Any:
        if not args:
            return sparse_coo_tensor((0,), dtype=self.dtype)
        if len(args) == 1 or not isinstance(args[0], Tensor):
            return sparse_coo_tensor(args[0] if isinstance(args[0], (tuple, list)) else args, dtype=self.dtype)
        return sparse_coo_tensor(*args, dtype=self.dtype)


FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, IntTensor, LongTensor, ShortTensor, CharTensor, ByteTensor = (
    _Legacy(getattr(flambeau, name)) for name in ("float32", "float64", "float16", "bfloat16", "int32", "int64", "int16", "int8", "uint8")
)

guard(addmm, log_softmax, mm, sampled_addmm, softmax, spdiags, sum)
