"""Operators by the names of PyTorch's dispatcher: ``torch.ops.aten.add.Tensor(x, y)`` is ``torch.add(x, y)``, and those of the user's own.

An overload is a way to call the same function: which one is named makes no difference to the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flambeau as package
from flambeau._tape.tape import LOCAL

_FAMILIES = ("linalg", "special", "fft")


_SPARSE = ("_sparse_addmm", "_sparse_mm_reduce_impl")
"""Operators that packages refer to, although they run on no dense tensor."""


class Schema(NamedTuple):
    """What is known of an overload's arguments and results: whether it writes over one of them."""

    name: str
    overload_name: str
    is_mutable: bool


class OpOverload:
    """A function under the name of one of its overloads."""

    def __init__(self, packet: OpOverloadPacket, overload: str) -> None:
        self.overloadpacket = packet
        self._function = packet._function
        self._overloadname = overload
        self.namespace = packet._namespace
        self.__name__ = f"{packet.__name__}.{overload}"
        self.__module__ = f"torch._ops.{packet._namespace}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tape = LOCAL.tape
        return tape.overload(self, args, kwargs) if tape.dispatches else self._function(*args, **kwargs)

    def name(self) -> str:
        """The name with its namespace, ``aten::add.Tensor``, and without an overload that is the only one, ``aten::mm``."""
        packet, overload = self.overloadpacket, self._overloadname
        return f"{packet._namespace}::{packet.__name__}{'' if overload == 'default' else f'.{overload}'}"

    @property
    def _schema(self) -> Schema:
        packet, overload = self.overloadpacket, self._overloadname
        name = packet.__name__
        return Schema(
            f"{packet._namespace}::{name}", "" if overload == "default" else overload, name.endswith("_") or overload.endswith("out")
        )

    def __str__(self) -> str:
        return f"{self.overloadpacket}.{self._overloadname}"

    def __repr__(self) -> str:
        packet = self.overloadpacket
        return f"<OpOverload(op='{packet._namespace}.{packet.__name__}', overload='{self._overloadname}')>"


class OpOverloadPacket:
    """A function with all its overloads."""

    def __init__(self, name: str, function: Any, namespace: str = "aten") -> None:
        self.__name__ = name
        self._function = function
        self._namespace = namespace

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __getattr__(self, overload: str) -> OpOverload:
        if overload.startswith("_"):
            raise AttributeError(overload)
        made = self.__dict__[overload] = OpOverload(self, overload)
        return made

    def __str__(self) -> str:
        return f"{self._namespace}.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self._namespace}.{self.__name__}')>"

    def overloads(self) -> list[str]:
        """The names of the overloads."""
        return ["default"]


class Namespace:
    """The operators that a user has defined under one name (``library.py``), as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> OpOverloadPacket:
        raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'")

    def __repr__(self) -> str:
        return f"<module 'torch.ops.{self._name}'>"


NAMESPACES: dict[str, Namespace] = {}
"""The namespaces that somebody has asked for."""


class _Aten:
    """The operators that are PyTorch's own."""

    def __getattr__(self, name: str) -> OpOverloadPacket:
        function = _function(name)
        if function is None or name.startswith("__"):
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute {name!r}")
        packet = self.__dict__[name] = OpOverloadPacket(name, function)
        return packet

    def __repr__(self) -> str:
        return "<module 'torch.ops.aten'>"


def _absent(name: str) -> Any:
    """A function that says that there is no such operator here."""

    def absent(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"torch.ops.aten.{name} is not available: use torch.sparse.mm or torch.sparse.addmm, which take sparse tensors"
        )

    return absent


def _function(name: str) -> Any:
    """What computes an operator: a public function, one of a family (`linalg_inv`, `special_erf`) or a tensor's method."""
    if name in _SPARSE:
        return _absent(name)
    from flambeau._aten import OPERATORS

    if name in OPERATORS:
        return OPERATORS[name]
    family, _, rest = name.partition("_")
    homes = [(package, name), (package.nn.functional, name), (package.Tensor, name)]
    if family in _FAMILIES:
        homes.insert(0, (getattr(package, family), rest))
    for home, attribute in homes:
        function = getattr(home, attribute, None)
        if callable(function):
            return function
    return None


aten = _Aten()


def load_library(path: Any) -> None:
    """Define the operators of one of torchvision's libraries.

    Raises:
        OSError: it is another one: operators written in C++ are made for PyTorch's own library
    """
    file = Path(path)
    if file.parent.name == "torchvision":
        from flambeau.vision._library import LIBRARIES

        if define := LIBRARIES.get(file.name.partition(".")[0]):
            return define()
    raise OSError(f"{path}: operators in compiled libraries cannot be loaded; define them in Python with torch.library.custom_op")


def __getattr__(name: str) -> Namespace:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "flambeau" and name not in NAMESPACES:
        from flambeau._dispatch import table  # noqa: F401  (which enters it)
    if name == "quantized" and name not in NAMESPACES:
        from flambeau.ao.nn.quantized.operators import OPERATORS

        NAMESPACES[name] = Namespace(name)
        NAMESPACES[name].__dict__.update({each: OpOverloadPacket(each, function, name) for each, function in OPERATORS.items()})
    return NAMESPACES.setdefault(name, Namespace(name))
