"""From PyTorch's objects to their counterparts in the package under test."""

from __future__ import annotations

import dataclasses
import importlib
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.testing import _utils as torch_testing_utils

# Where public functions and classes live. The first name that leads to an object is the one looked up in the package.
PUBLIC_MODULES = (
    "torch",
    "torch.Tensor",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn",
    "torch.linalg",
    "torch.special",
    "torch.fft",
    "torch.signal.windows",
    "torch.masked",
    "torch.sparse",
    "torch.nn.utils",
    "torch.nn.utils.rnn",
    "torch.nn.modules.linear",
    "torch.nn.modules.linear_cross_entropy_options",
)

# dtypes that NumPy lacks travel as integers of the same width.
CARRIERS = {torch.bfloat16: torch.int16, torch.complex32: torch.int32}


class MissingError(Exception):
    """The package has no counterpart for something of PyTorch's."""


class Translator:
    """Translates values, containers, functions and modules of PyTorch for one package (Flambeau, or PyTorch itself)."""

    def __init__(self, package: types.ModuleType) -> None:
        self.package = package
        self._names = _public_names()
        self._functions: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any, *, requires_grad: bool = True) -> Any:
        """A deep translation. Tensors keep dtype, strides, shared storage and (unless told otherwise) `requires_grad`."""
        return self._translate(value, {}, requires_grad)

    def _translate(self, value: Any, memo: dict[Any, Any], requires_grad: bool) -> Any:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, slice, types.EllipsisType, np.ndarray, np.generic)):
            return value
        again = partial(self._translate, memo=memo, requires_grad=requires_grad)
        if isinstance(value, torch.Tensor):
            if id(value) not in memo:
                memo[id(value)] = self._tensor(value, memo, requires_grad)
            return memo[id(value)]
        if isinstance(value, torch.Size):
            return self.lookup("torch.Size")(value)
        if isinstance(value, tuple):
            return type(value)(*map(again, value)) if hasattr(value, "_fields") else tuple(map(again, value))
        if isinstance(value, list):
            return [again(item) for item in value]
        if isinstance(value, dict):
            return type(value)((key, again(item)) for key, item in value.items())
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return self.lookup(str(value))
        if isinstance(value, torch.device):
            return self.lookup("torch.device")(str(value))
        if isinstance(value, torch.Generator):
            return self.lookup("torch.Generator")().manual_seed(value.initial_seed())
        if isinstance(value, torch.nn.Module):
            return self._module(value, again)
        if dataclasses.is_dataclass(value) and id(type(value)) in self._names:
            return self.function(type(value))(**{name.name: again(getattr(value, name.name)) for name in dataclasses.fields(value)})
        return self.function(value)

    def lookup(self, path: str) -> Any:
        """The object that the package has under PyTorch's public name."""
        found: Any = self.package
        for name in path.split(".")[1:]:
            try:
                found = getattr(found, name)
            except AttributeError:
                raise MissingError(f"no {path}") from None
        return found

    def function(self, value: Any) -> Any:
        """A function, class or module: by its public name, or, if it belongs to the test data, rebuilt around the package."""
        if id(value) not in self._functions:
            self._functions[id(value)] = value, self._function(value)  # with the original, so that its id stays taken
        return self._functions[id(value)][1]

    def _function(self, value: Any) -> Any:
        if value is torch_testing_utils.wrapper_set_seed:
            return self._call_seeded
        if isinstance(value, types.ModuleType):
            return self.lookup(value.__name__) if value.__name__.partition(".")[0] == "torch" else value
        if id(value) in self._names:
            return self.lookup(self._names[id(value)])
        if isinstance(value, partial):
            return partial(self.function(value.func), *map(self, value.args), **self(dict(value.keywords)))
        origin = str(getattr(value, "__module__", None) or "")
        if isinstance(value, types.FunctionType) and not origin.startswith("torch."):
            return value
        if isinstance(value, types.FunctionType) and origin.startswith("torch.testing."):
            return self._rebuilt(value)
        if not origin.startswith("torch") or origin.startswith("torch.testing."):
            return value
        raise MissingError(f"no {origin}.{getattr(value, '__qualname__', None) or type(value).__qualname__}")

    def _rebuilt(self, function: types.FunctionType) -> types.FunctionType:
        """The same code, with the globals and the closure that it uses translated."""
        wanted = {name for name in _names_in(function.__code__) if name in function.__globals__}
        scope = {"__builtins__": __builtins__, "__name__": function.__module__}
        cells = tuple(types.CellType(self(cell.cell_contents)) for cell in function.__closure__ or ())
        copy = types.FunctionType(function.__code__, scope, function.__name__, self(function.__defaults__), cells or None)
        copy.__kwdefaults__ = self(function.__kwdefaults__)
        self._functions[id(function)] = function, copy  # before its globals, which may lead back to it
        scope.update((name, self(function.__globals__[name])) for name in wanted)
        return copy

    def _call_seeded(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the test data's `wrapper_set_seed` does."""
        self.package.manual_seed(42)
        return function(*args, **kwargs)

    def _tensor(self, tensor: torch.Tensor, memo: dict[Any, Any], requires_grad: bool) -> Any:
        if tensor.layout is not torch.strided:
            return self._sparse(tensor, memo).requires_grad_(tensor.requires_grad and requires_grad)
        plain = tensor.detach().resolve_conj().resolve_neg()
        storage = plain.untyped_storage()
        key = (storage.data_ptr(), plain.dtype)
        base = memo.get(key)
        if base is None and plain.is_contiguous() and storage.nbytes() == plain.numel() * plain.element_size():
            ours = base = self._copy(plain)
        else:
            # A view: lay the same window over the same storage, once for all tensors that share it.
            if base is None:
                base = self._copy(torch.empty(0, dtype=plain.dtype).set_(storage))
            ours = base.detach().as_strided(tuple(plain.shape), plain.stride(), plain.storage_offset())
        if storage.nbytes():
            memo[key] = base
        if tensor.is_conj():
            ours = ours.conj()
        if isinstance(tensor, torch.nn.Parameter):
            return self.lookup("torch.nn.Parameter")(ours, requires_grad=tensor.requires_grad and requires_grad)
        return ours.requires_grad_() if tensor.requires_grad and requires_grad else ours

    def _copy(self, values: torch.Tensor) -> Any:
        """A contiguous tensor of the package with memory of its own."""
        carrier = CARRIERS.get(values.dtype, values.dtype)
        flat = self.package.tensor(values.reshape(-1).view(carrier).numpy())
        if carrier is not values.dtype:
            flat = flat.view(self.lookup(str(values.dtype)))
        return flat.reshape(tuple(values.shape)).clone()

    def _sparse(self, tensor: torch.Tensor, memo: dict[Any, Any]) -> Any:
        plain = tensor.detach()
        if tensor.layout is torch.sparse_coo:
            parts = (plain._indices(), plain._values())
        elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
            parts = (plain.crow_indices(), plain.col_indices(), plain.values())
        else:
            parts = (plain.ccol_indices(), plain.row_indices(), plain.values())
        return self.lookup(f"{tensor.layout}_tensor")(*(self._tensor(part, memo, False) for part in parts), tuple(plain.shape))

    def back(self, tensor: Any) -> torch.Tensor:
        """The values of a tensor of the package, as a contiguous PyTorch tensor."""
        dtype = torch_dtype(tensor)
        plain = tensor.detach()
        if str(plain.layout).startswith("torch.sparse"):
            plain = plain.to_dense()
        flat = plain.resolve_conj().resolve_neg().reshape(-1)
        if dtype in CARRIERS:
            flat = flat.view(self.lookup(str(CARRIERS[dtype])))
        values = torch.from_numpy(np.array(flat.numpy(force=True), copy=True))
        return values.view(dtype).reshape(tuple(tensor.shape))

    def _module(self, module: torch.nn.Module, again: Callable[[Any], Any]) -> Any:
        """A module that a call takes as an argument, with what it holds."""
        kind = self.function(type(module))
        ours = kind.__new__(kind)
        self.lookup("torch.nn.Module").__init__(ours)
        every_module_has = vars(torch.nn.Module())
        for name, attribute in vars(module).items():
            derived = isinstance(getattr(kind, name, None), property)  # ours knows it from what else it holds
            if (name == "training" or name not in every_module_has) and not derived:
                setattr(ours, name, again(attribute))
        for name, parameter in module._parameters.items():
            ours.register_parameter(name, again(parameter))
        for name, buffer in module._buffers.items():
            ours.register_buffer(name, again(buffer))
        for name, child in module._modules.items():
            ours.add_module(name, again(child))
        return ours


def torch_dtype(tensor: Any) -> torch.dtype:
    """PyTorch's dtype of the same name."""
    return getattr(torch, str(tensor.dtype).rpartition(".")[2])


def _public_names() -> dict[int, str]:
    names: dict[int, str] = {}
    for path in PUBLIC_MODULES:
        parent, _, last = path.rpartition(".")
        space = importlib.import_module(path) if path != "torch.Tensor" else getattr(importlib.import_module(parent), last)
        for name in dir(space):
            value = getattr(space, name, None)
            if callable(value) and (not name.startswith("_") or (path == "torch.Tensor" and name.startswith("__"))):
                names.setdefault(id(value), f"{path}.{name}")
    return names


def _names_in(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names
