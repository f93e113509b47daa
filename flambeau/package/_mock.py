"""What stands for modules that a package leaves out. This file is put into packages and imports nothing of ours."""

from __future__ import annotations

_REFUSED = (
    "abs", "add", "and", "bool", "bytes", "call", "complex", "contains", "delitem", "divmod", "enter", "eq", "exit", "float", "floordiv", "format", "ge", "getitem", "gt",
    "index", "int", "invert", "iter", "le", "len", "lshift", "lt", "matmul", "mod", "mul", "ne", "neg", "next", "or", "pos", "pow", "radd", "rand", "rdivmod",
    "reversed", "rfloordiv", "rlshift", "rmatmul", "rmod", "rmul", "ror", "round", "rpow", "rrshift", "rshift", "rsub", "rtruediv", "rxor", "setitem", "sub", "truediv", "xor",
)  # fmt: skip


class MockedObject:
    """Something of a module that was left out: it can be imported, and nothing can be done with it."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, attribute: str) -> MockedObject:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return MockedObject(f"{self._name}.{attribute}")

    def __setattr__(self, attribute: str, value: object) -> None:
        raise self._error("__setattr__")

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()  # a class may be derived from it

    def __repr__(self) -> str:
        return f"MockedObject({self._name})"

    def _error(self, operation: str) -> NotImplementedError:
        return NotImplementedError(f"{self._name} was left out when the package was made (mock), but {operation} of it is needed")


def _refusing(operation: str):
    def refuse(self, *args, **kwargs):
        raise self._error(operation)

    return refuse


for _name in _REFUSED:
    setattr(MockedObject, f"__{_name}__", _refusing(f"__{_name}__"))
