"""What is the same for all lanes of a loop, in vector registers before it: no pass of ours moves work out of loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, bits, element_type
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import BOOL

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body

REGISTERS = {"avx512f": 512, "avx2": 256}
"""Bits of a vector register, by the first of these that a processor has; otherwise 128."""


@contextmanager
def spread(body: Body, numbers: Iterable[int]) -> Iterator[None]:
    """Inside, elementwise instructions among ``numbers`` find what they take, is known and has one lane, in a register of lanes. (A normalisation, whose
    five numbers of a row were spread again for each vector, waited for the one port that does that.)"""
    instructions = body.instructions
    users = [instructions[number] for number in numbers if instructions[number].op in ("map", "cast") and body.is_vector(number)]
    used = {argument for user in users for argument in user.args if instructions[argument].op != "constant" and argument in body.values}
    outside = body.spreads
    body.spreads = dict(outside)
    for number in sorted(used - outside.keys()):
        parts = scalar.unpack(body.values[number])
        if parts[0].width == 1 and instructions[number].dtype.category != BOOL and number not in body.guards:
            body.spreads[number] = scalar.pack([body.f.splat(part, _register(body, part)) for part in parts])
    yield
    body.spreads = outside


def _register(body: Body, part: Value) -> int:
    size = next((size for name, size in REGISTERS.items() if name in body.f.module.features), 128)
    return size // bits(element_type(part.type))


def repeated(body: Body, operand: Operand, width: int) -> Operand:
    """A register of equal lanes as so many lanes."""
    parts = scalar.unpack(operand)
    return scalar.pack([body.f.shuffle(part, part, [lane % part.width for lane in range(width)]) for part in parts])
