"""`python -m parity.schemas`: write down what PyTorch calls the arguments of its operators, for `flambeau/export/_schemas.py`.

A line is an operator's overload, its arguments, and its results: `1`, `2`, or `*` for a list. An argument that is given by name only has a `*` in front,
and each its kind behind a colon: a (T)ensor, tensors (L), a (n)umber, an (i)nteger or integers (I, and how many), (f), (F), (b)ool, (s)tring, or (o)ther; with a `!` if it has to be given.
"""

from __future__ import annotations

from pathlib import Path

import torch

from flambeau.export._allowed import operator_named

TARGET = Path(__file__).parents[1] / "flambeau/export/aten_arguments.txt"
_ALWAYS = ("_assert_scalar",)


KINDS = {
    "Tensor": "T", "List[Tensor]": "L", "List[Optional[Tensor]]": "L", "number": "n", "int": "i", "List[int]": "I", "float": "f", "List[float]": "F",
    "bool": "b", "List[bool]": "B", "str": "s",
}  # fmt: skip


def kind_of(argument: torch.Argument) -> str:
    """The letter of an argument's type, of integers how many there are, if that is fixed, and a sign if there is no default."""
    name = str(argument.real_type)
    letter = KINDS.get(name.removeprefix("Optional[").removesuffix("]") if name.startswith("Optional[") else name, "o")
    return letter + (str(argument.N) if letter in "IF" and argument.N else "") + ("" if argument.has_default_value() else "!")


def lines() -> list[str]:
    found = []
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        types = " ".join(str(argument.type) for argument in (*schema.arguments, *schema.returns))
        internal = (
            name.startswith(("_foreach", "__"))
            or name.endswith(("_backward", "_out"))
            or schema.overload_name.endswith("out")
            or schema.overload_name.startswith("prim_")
        )
        if namespace != "aten" or internal or not ("Tensor" in types or name in _ALWAYS):
            continue
        if "Dimname" in types or any(argument.is_out for argument in schema.arguments) or operator_named(name) is None:
            continue
        results = [str(each.type) for each in schema.returns]
        count = "*" if len(results) == 1 and results[0].startswith(("List", "Optional[List")) else str(len(results))
        arguments = [f"{'*' * each.kwarg_only}{each.name}:{kind_of(each)}" for each in schema.arguments]
        found.append(" ".join([f"{name}.{schema.overload_name or 'default'}", *arguments, count]))
    return sorted(set(found))


if __name__ == "__main__":
    TARGET.write_text("\n".join(lines()) + "\n")
    print(f"{len(lines())} overloads in {TARGET}")
