"""Moving and converting a module's tensors, and switching its modes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import of_python
from flambeau.nn.parameter import Parameter, clear_gradients, is_lazy

OVERWRITES = SWAPS = False
"""What `__future__` sets."""


class Conversion:
    """The part of :class:`Module` that changes all tensors or all submodules at once. Everything works in place."""

    training: bool

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Replaces the data of every parameter, its gradient and every buffer by ``fn`` of it.

        Parameters keep their identity, unless they go to another device: then there are new ones in their places (see `__future__`).
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with flambeau.no_grad():
                    made = fn(parameter)
                    # Assigned anew: its dtype or device may have changed together with the parameter's.
                    gradient, parameter.grad = parameter.grad, None
                    if SWAPS:
                        flambeau.utils.swap_tensors(parameter, _moved(parameter, made))
                    elif made.device == parameter.device and not OVERWRITES:
                        parameter.data = made
                    else:
                        parameter = self._parameters[name] = _moved(parameter, made)
                    if gradient is not None:
                        parameter.grad = fn(gradient).requires_grad_(gradient.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Any], None]) -> Any:
        """Calls ``fn`` with every module, children first and the module itself last; used to initialise.

        Example:
            >>> net = flambeau.nn.Sequential(flambeau.nn.Linear(2, 2))
            >>> net.apply(lambda m: flambeau.nn.init.zeros_(m.bias) if hasattr(m, "bias") else None).get_parameter("0.bias")
            Parameter containing:
            tensor([0., 0.], requires_grad=True)
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def cpu(self) -> Any:
        """Moves parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Any:
        """Moves parameters and buffers to a CUDA device."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> Any:
        """Casts all parameters and buffers, integers too, to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Any:
        """Casts the floating-point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Any:
        """Casts the floating-point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Any:
        """Casts the floating-point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Any:
        """Casts the floating-point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Gives parameters and buffers new, uninitialised memory on ``device``: what a module that was made on the meta device needs first.

        Example:
            >>> net = flambeau.nn.Linear(2, 3, device="meta")
            >>> net.weight
            Parameter containing:
            tensor(..., device='meta', size=(3, 2), requires_grad=True)
            >>> net.to_empty(device="cpu").reset_parameters()
            >>> net.weight.device
            device(type='cpu')
        """
        return self._apply(lambda t: flambeau.empty_like(t, device=device), recurse=recurse)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves or casts parameters and buffers: ``to(device, dtype)``, ``to(dtype)``, ``to(tensor)``.

        Only floating-point and complex tensors change their dtype.

        Args:
            device: where to.
            dtype: a floating-point or complex dtype.
            tensor: one whose dtype and device are wanted.
            non_blocking: accepted; there is nothing to wait for on a CPU.
            memory_format: for tensors of four or five dimensions, such as ``flambeau.channels_last``.

        Raises:
            TypeError: the dtype is an integer one.

        Example:
            >>> flambeau.nn.Linear(2, 2).to(flambeau.float64).weight.dtype
            torch.float64
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")

        def convert(tensor: Tensor) -> Tensor:
            target = dtype if tensor.is_floating_point() or tensor.is_complex() else None
            options = {"memory_format": memory_format} if memory_format is not None and tensor.dim() in (4, 5) else {}
            return tensor.to(device=device, dtype=target, non_blocking=non_blocking, **options)

        return self._apply(convert)

    def share_memory(self) -> Any:
        """Moves parameters and buffers to memory that other processes can share."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode: bool = True) -> Any:
        """Sets training mode (``mode=True``) or evaluation mode for the module and everything below it."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """Sets evaluation mode: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Says for every parameter whether it needs a gradient."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes every parameter's gradient, or fills it with zeros if ``set_to_none`` is off."""
        if getattr(self, "_is_replica", False):
            warnings.warn("zero_grad() has no effect on a replica of a module: call it on the original", stacklevel=2)
        clear_gradients(self.parameters(), set_to_none)


def _moved(parameter: Any, made: Tensor) -> Any:
    """A parameter that takes another one's place, on another device."""
    if is_lazy(parameter):
        return type(parameter)(parameter.requires_grad, made.device, made.dtype)
    return Parameter(made, parameter.requires_grad)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """The arguments of ``Module.to`` as ``(device, dtype, non_blocking, memory_format)``."""
    memory_format = kwargs.pop("memory_format", None)
    kwargs.pop("copy", None)
    positional = list(args)
    values: dict[str, Any] = {"device": None, "dtype": None, "non_blocking": False}
    if (positional and isinstance(positional[0], Tensor)) or "tensor" in kwargs:
        tensor = positional.pop(0) if positional else kwargs.pop("tensor")
        values["device"], values["dtype"] = tensor.device, tensor.dtype
        names = ["non_blocking"]
    elif positional and isinstance(positional[0], (flambeau.dtype, type)):
        names = ["dtype", "non_blocking"]
    else:
        names = ["device", "dtype", "non_blocking"]
    if len(positional) > len(names):
        raise TypeError(f"to() received an invalid combination of arguments: {len(args)} given, {len(names)} at most here")
    for name, value in (*zip(names, positional), *kwargs.items()):
        if name not in values:
            raise TypeError(f"to() got an unexpected keyword argument {name!r}; it takes device, dtype, non_blocking, memory_format")
        values[name] = value
    device, dtype = values["device"], values["dtype"]
    if device is not None:
        device = flambeau.device(device)
    dtype = of_python(dtype)
    if dtype is not None and not isinstance(dtype, flambeau.dtype):
        raise TypeError(f"to(): dtype must be a flambeau.dtype, not {type(dtype).__name__}")
    return device, dtype, values["non_blocking"], memory_format
