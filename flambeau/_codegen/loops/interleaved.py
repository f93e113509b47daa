"""Every second, third or fourth element of memory."""

from __future__ import annotations

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, constant, vector
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import dtype as DType


def load(f: Builder, pointer: Value, step: int, of: DType, width: int, mask: Value | None) -> Operand:
    """Every ``step``-th element: loads of consecutive ones, the last of which ends with the last that is wanted, and shuffles. With a mask one masked
    load (only the wanted ones are touched)."""
    if mask is not None:
        nothing = constant(mask.type, 0)
        spread = [lane // step if lane % step == 0 else width for lane in range(step * width)]
        whole = scalar.load(f, pointer, of, step * width, f.shuffle(mask, nothing, spread))
        assert isinstance(whole, Value)
        return f.shuffle(whole, whole, range(0, step * width, step))
    type = vector(scalar.memory_type(of), width)
    last = step * (width - 1)
    starts = [min(first, last + 1 - width) for first in range(0, step * width, width)]
    parts = [f.load(f.offset(pointer, start, scalar.memory_type(of)), type) for start in starts]
    wanted = [(lane * step // width, lane * step) for lane in range(width)]
    pairs = []
    for first in range(0, step - 1, 2):
        lanes = [at - starts[part] + width * (part - first) if part in (first, first + 1) else -1 for part, at in wanted]
        pairs.append(f.shuffle(parts[first], parts[first + 1], lanes))
    found = pairs[0]
    if step == 4:
        found = f.shuffle(*pairs, [lane + width * (part > 1) for lane, (part, _) in enumerate(wanted)])
    elif step == 3:
        found = f.shuffle(found, parts[2], [at - starts[2] + width if part == 2 else lane for lane, (part, at) in enumerate(wanted)])
    return scalar.from_memory(f, found, of)
