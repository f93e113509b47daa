"""Lines that write into what is there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.samples.random_programs.inputs import broadcasts

if TYPE_CHECKING:
    from tests.samples.random_programs.writer import Writer

IN_PLACE = ["add_", "mul_", "sub_", "div_", "copy_", "copy_", "fmod_", "remainder_", "eq_", "ge_", "atan2_", "bitwise_and_"]
UNARY_IN_PLACE = [
    "exp_", "neg_", "abs_", "zero_", "relu_", "sigmoid_", "floor_", "square_", "tanh_", "clamp_(-1,1)", "fill_(2)", "nan_to_num_", "sign_", "logical_not_",
]  # fmt: skip


def _is_safe_target(each: Any) -> bool:
    return each.is_floating_point() or each.is_complex()


def _written(w: Writer) -> str:
    """A write in place, mostly through a view."""
    x = w.pick(_is_safe_target)
    target = w.view(x) if w.random.random() < 0.7 else x
    if w.random.random() < 0.4:
        method = w.random.choice(UNARY_IN_PLACE)
        return f"{target}.{method}{'' if method.endswith(')') else '()'}"
    try:
        shape = tuple(w.look(target).shape)
    except Exception:
        return f"{target}.zero_()"
    value = w.random.choice(
        [w.fresh(shape, str(w.look(x).dtype)[6:]), w.fresh(shape[1:]), w.pick(lambda each: broadcasts(tuple(each.shape), shape)), "2"]
    )
    if w.random.random() < 0.3:
        return f"{target if target.endswith(']') else target + '[...]'} = {value}"
    return f"{target}.{w.random.choice(IN_PLACE)}({value})" if value != "2" else f"{target}.mul_({value})"


def _placed(w: Writer) -> str:
    """A write at indices or under a mask."""
    x = w.pick(lambda each: each.dim() > 0 and _is_safe_target(each))
    tensor = w.look(x)
    shape, dtype = tuple(tensor.shape) or (1,), str(tensor.dtype)[6:]
    seed, dim, count = w.random.randrange(1000), w.random.randrange(len(shape)), w.random.randint(0, 4)
    along = tuple(count if axis == dim else size for axis, size in enumerate(shape))
    return w.random.choice(
        [
            f"{x}[{w.fresh(shape, 'bool')}] = {w.random.choice(['3', w.fresh((), dtype)])}",
            f"{x}[order({seed}, {min(count, shape[0])}, {shape[0]})] = {w.fresh(shape[1:], dtype)}",
            f"{x}.masked_fill_({w.fresh(shape, 'bool')}, 0.5)",
            f"{x}.index_add_({dim}, places({seed}, ({count},), {shape[dim]}), {w.fresh(along, dtype)})",
            f"{x}.scatter_add_({dim}, places({seed}, {along}, {shape[dim]}), {w.fresh(along, dtype)})",
            f"{x}.index_fill_({dim}, places({seed}, ({count},), {shape[dim]}), -1)",
            f"{x}.index_put_((places({seed}, ({count},), {shape[0]}),), {w.fresh(shape[1:], dtype)}, accumulate=True)",
            f"{x}.masked_scatter_({w.fresh(shape, 'bool')}, {w.fresh((math.prod(shape),), dtype)})",
            f"{x}.diagonal(0, 0, -1).add_(1)",
        ]
    )


def _into_out(w: Writer) -> str:
    """A result that is written into a tensor, which may lie in the operands' memory, have another shape, or a dtype that cannot hold it."""
    x = w.pick()
    empty = f"torch.empty(0, dtype={x}.dtype)"
    out = w.random.choice(
        [w.pick(), w.view(w.pick(_is_safe_target)), w.pick(lambda each: tuple(each.shape) == tuple(w.look(x).shape)), empty]
    )
    calls = [f"add({x}, {w.partner(x)}", f"mul({x}, {w.partner(x)}", f"exp({x}", f"neg({x}"]
    if out is empty:  # others do not look whether they write over what they read
        calls += [f"sum({x}, {w.dim(x)}", f"cumsum({x}, {w.dim(x)}"]
    call = w.random.choice(calls)
    return f"{w.new()} = torch.{call}, out={out})"


WRITES: dict[Callable[[Writer], str], int] = {_written: 12, _placed: 5, _into_out: 3}
"""What of a program's lines writes, and how often."""
