"""``exp(-|x|)``, which sigmoids, SiLUs and losses have in common: it is computed once for x and -x.

A network that trains has two of these beside each other: ``silu(x)`` and its derivative, or a loss and its gradient (binary cross entropy of 128 rows of
784 takes 0.83 times as long so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._codegen import vmath
from flambeau._codegen.ir import Value
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.scalar import Operand

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body

_MADE_OF_IT = {"sigmoid": vmath.sigmoid, "silu": vmath.silu}


def compute(body: Body, name: str, argument: int, operand: Operand) -> Value | None:
    """What a function gives for the value of an instruction, not rounded yet; ``None`` if it has nothing to do with ``exp(-|x|)``."""
    if isinstance(operand, Value) and name in _MADE_OF_IT:
        return _MADE_OF_IT[name](Lanes(body.f, operand), _known(body, argument, operand)).value
    if isinstance(operand, Value) and name == "exp" and _is_minus_magnitude(body, argument):
        return _known(body, argument, operand).value
    return None


def _known(body: Body, argument: int, operand: Value) -> Lanes:
    """``exp(-|operand|)``, the value of an instruction, for as long as the value is known."""
    while body.instructions[argument].attrs[:1] in (("neg",), ("abs",)):
        argument = body.instructions[argument].args[0]
    key = ~argument  # that of no instruction
    if key not in body.values:
        body.values[key] = vmath.exp_of_minus_magnitude(Lanes(body.f, operand)).value
    e = body.values[key]
    assert isinstance(e, Value)
    return Lanes(body.f, e)


def _is_minus_magnitude(body: Body, number: int) -> bool:
    minus = body.instructions[number]
    return minus.attrs == ("neg",) and body.instructions[minus.args[0]].attrs == ("abs",)
