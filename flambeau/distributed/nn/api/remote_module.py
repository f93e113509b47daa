"""``RemoteModule``: a module that lives in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.distributed import rpc
from flambeau.futures import Future
from flambeau.nn import Module

__all__ = ["RemoteModule"]

_OF_MODULES_HERE = (
    "add_module", "apply", "bfloat16", "buffers", "children", "cpu", "cuda", "double", "eval", "float", "half", "load_state_dict", "modules",
    "named_buffers", "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_parameter", "requires_grad_", "share_memory", "state_dict", "to", "train",
    "type", "zero_grad",
)  # fmt: skip
"""Methods that would have to be about the module's parameters, which are elsewhere."""


class RemoteModule(Module):
    """A module that is made in another process, and runs there; gradients flow back to it in a context of ``distributed.autograd``.

    It can be sent to other processes, which use the same module then.

    Args:
        remote_device: where: ``"worker1/cpu"``, ``"rank:1/cpu"``, or either without a device
        module_cls: the class of the module
        args, kwargs: what the class is called with

    Raises:
        TypeError: ``module_cls`` is no class of modules
        ValueError: the device is none of ours
        RuntimeError: there is no such process, or ``init_rpc`` was not called

    Example::

        linear = RemoteModule("worker1/cpu", nn.Linear, args=(20, 30))
        output = linear(torch.ones(8, 20))
        future = linear.forward_async(torch.ones(8, 20))
        optimizer = DistributedOptimizer(torch.optim.SGD, linear.remote_parameters(), lr=0.1)
    """

    def __init__(
        self, remote_device: str, module_cls: type[Module], args: tuple | None = None, kwargs: dict[str, Any] | None = None
    ) -> None:
        if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
            raise TypeError(f"Expect `module_cls` to be a class of modules, but it is {module_cls!r}")
        self._prepare(remote_device)
        self.module_rref = rpc.remote(self.on, _made, args=(module_cls, tuple(args or ()), dict(kwargs or {})))
        self.module_rref._get_type()  # which waits until it is made, or raises what was raised there

    def _prepare(self, remote_device: str) -> None:
        super().__init__()
        self.on, self.device = _place(remote_device)

    @staticmethod
    def init_from_module_rref(remote_device: str, module_rref: rpc.RRef) -> RemoteModule:
        """A module that is there already, by a reference to it."""
        made = object.__new__(RemoteModule)
        made._prepare(remote_device)
        made.module_rref = module_rref
        return made

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns, in the other process."""
        return self.forward_async(*args, **kwargs).wait()

    def forward_async(self, *args: Any, **kwargs: Any) -> Future:
        """The future of what the module returns."""
        return rpc.rpc_async(self.module_rref.owner(), _called, args=(self.module_rref, args, kwargs))

    def remote_parameters(self, recurse: bool = True) -> list[rpc.RRef]:
        """References to the module's parameters, for a ``DistributedOptimizer``."""
        return rpc.rpc_sync(self.module_rref.owner(), _parameters, args=(self.module_rref, recurse))

    def get_module_rref(self) -> rpc.RRef:
        """The reference to the module."""
        return self.module_rref

    def extra_repr(self) -> str:
        """Where it is."""
        return f"on={self.on}, device={self.device}"


def _place(text: str) -> tuple[str, flambeau.device]:
    """The process and the device that a text means."""
    where, _, device = text.partition("/")
    found = flambeau.device(device or "cpu")
    if found.type != "cpu":
        raise ValueError(f"remote_device={text!r}: modules live on the CPU of a process")
    if where.startswith("rank:"):
        return rpc._get_current_rpc_agent().worker(int(where.removeprefix("rank:"))).name, found
    return rpc.get_worker_info(where).name, found


def _made(module_cls: type[Module], args: tuple, kwargs: dict[str, Any]) -> Module:
    return module_cls(*args, **kwargs)


def _called(module: rpc.RRef, args: tuple, kwargs: dict[str, Any]) -> Any:
    return module.local_value()(*args, **kwargs)


def _parameters(module: rpc.RRef, recurse: bool) -> list[rpc.RRef]:
    return [rpc.RRef(each) for each in module.local_value().parameters(recurse)]


def _not_here(name: str) -> Callable[..., Any]:
    def method(self: RemoteModule, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"Method ``{name}`` not supported for RemoteModule: what it is about is on {self.on}; get_module_rref() reaches it"
        )

    method.__name__, method.__doc__ = name, "Raises ``ValueError``: the module is in another process."
    return method


for _name in _OF_MODULES_HERE:
    setattr(RemoteModule, _name, _not_here(_name))
