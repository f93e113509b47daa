"""What collectives make of the numbers of several processes, always in the order of the ranks."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import numpy

from flambeau._codegen.scalar.reference import encode
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import numbers_in

__all__ = ["ReduceOp", "reducer"]


class RedOpType(enum.Enum):
    """How a collective puts numbers together."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8
    UNUSED = 9


ReduceOp = RedOpType
ReduceOp.RedOpType = RedOpType  # PyTorch's name of the same

_FUNCTIONS = {
    ReduceOp.SUM: numpy.add, ReduceOp.AVG: numpy.add, ReduceOp.PRODUCT: numpy.multiply, ReduceOp.MIN: numpy.minimum,
    ReduceOp.MAX: numpy.maximum, ReduceOp.BAND: numpy.bitwise_and, ReduceOp.BOR: numpy.bitwise_or, ReduceOp.BXOR: numpy.bitwise_xor,
}  # fmt: skip
_BITWISE = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)

Reduce = Callable[[Sequence[numpy.ndarray], numpy.ndarray], None]


def reducer(op: ReduceOp, dtype: DType, name: str, divisor: int | None = None) -> Reduce:
    """A function that reduces flat arrays, one for each process in the order of the ranks, into the second argument, which may be one of them.

    An average divides by the number of processes, or by ``divisor``. Halves are added up in float32 and rounded once.

    Raises:
        ValueError: complex numbers are to be compared or multiplied
        RuntimeError: the operation is none of these numbers'
    """
    if op not in _FUNCTIONS:
        raise RuntimeError(f"{name} does not know {op}; it knows {', '.join(str(each) for each in _FUNCTIONS)}")
    if dtype.is_complex and op not in (ReduceOp.SUM, ReduceOp.AVG):
        raise ValueError(f"{name} does not support {op} on complex tensors")
    if op in _BITWISE and (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype")
    if op is ReduceOp.AVG and not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"ReduceOp.AVG of {dtype!r} is no {dtype!r}: average numbers of a floating-point type")
    function = _FUNCTIONS[op]

    def reduce(arrays: Sequence[numpy.ndarray], out: numpy.ndarray) -> None:
        with numpy.errstate(all="ignore"):
            if len(arrays) == 2 and op is not ReduceOp.AVG:
                function(arrays[0], arrays[1], out=out)
                return
            total = function(arrays[0], arrays[1]) if len(arrays) > 1 else arrays[0].copy()
            for array in arrays[2:]:
                function(total, array, out=total)
            if op is ReduceOp.AVG:
                numpy.divide(total, divisor or len(arrays), out=out)
            else:
                out[...] = total

    if dtype is dt.float16 or dtype is dt.bfloat16:

        def reduce_halves(arrays: Sequence[numpy.ndarray], out: numpy.ndarray) -> None:
            wide = [numbers_in(array, dtype).astype(numpy.float32) for array in arrays]
            reduce(wide, wide[0])
            out[...] = encode(wide[0], dtype)

        return reduce_halves
    return reduce
