"""Fake tensors: tensors without elements that say that they are on a device, as a program sees them that is only looked at.

A fake tensor shows a tensor on the meta device. What is computed with it is computed there, and is fake again (``docs/dispatch.md``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau import Tensor
from flambeau._dispatch.dispatcher import Dispatcher, current
from flambeau._dispatch.table import OWN
from flambeau._dispatch.wrappers import NoOwnElements, made
from flambeau._ops.meta import nowhere, passed
from flambeau._tape.tape import LOCAL
from flambeau._tensor.overriding import disabled_torch_function
from flambeau._types.device import CPU, META, is_meta
from flambeau.library import CustomOpDef
from flambeau.nn import Parameter
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils._pytree import tree_leaves, tree_map
from flambeau.utils.weak import WeakIdKeyDictionary

__all__ = ["DataDependentOutputException", "FakeTensor", "FakeTensorMode", "is_fake", "unset_fake_temporarily"]


class DataDependentOutputException(NoOwnElements):
    """A program asks for the elements of a fake tensor, which has none."""

    def __init__(self) -> None:
        super().__init__(
            "a fake tensor has no elements, so that a program cannot go on that looks at them: .item(), .numpy(), .tolist(), or an `if` on it"
        )


class FakeTensor(Tensor):
    """A tensor without elements; a :class:`FakeTensorMode` makes them.

    Args:
        fake_mode: the mode
        elem: a tensor on the meta device that it shows
        device: the device that it says it is on
    """

    fake_mode: FakeTensorMode
    keeps_class_as_parameter = True

    def __new__(cls, fake_mode: FakeTensorMode, elem: Tensor, device: Any) -> FakeTensor:
        if not elem.is_meta:
            raise AssertionError("FakeTensor(mode, elem, device): elem has to be on the meta device")
        current()
        tensor = made(cls, elem.layout, META if is_meta(device) else CPU, elem.requires_grad, elem)
        tensor.memory.error = DataDependentOutputException
        tensor.fake_mode = fake_mode
        return tensor

    @property
    def fake_device(self) -> Any:
        """The device that the tensor says it is on."""
        return self.device

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        mode = next(leaf.fake_mode for leaf in tree_leaves((list(args), kwargs)) if isinstance(leaf, FakeTensor))
        return mode.__torch_dispatch__(func, types, args, kwargs)

    __torch_function__ = disabled_torch_function


class FakeTensorMode(TorchDispatchMode):
    """A context in which tensors are fake, and nothing is computed.

    Args:
        allow_non_fake_inputs: let operators take other tensors as well

    Example::

        >>> with FakeTensorMode():
        ...     layer = flambeau.nn.Linear(100_000, 100_000)
        ...     layer(flambeau.randn(8, 100_000))
        FakeTensor(..., size=(8, 100000), grad_fn=<AddmmBackward0>)
    """

    def __init__(self, *, allow_non_fake_inputs: bool = False) -> None:
        super().__init__()
        self.allow_non_fake_inputs = allow_non_fake_inputs
        self._known = WeakIdKeyDictionary()

    def from_tensor(self, tensor: Tensor, *, static_shapes: bool | None = None) -> FakeTensor:
        """A fake tensor like another one: the same each time, and a parameter if that is one. Its shapes are static.

        Raises:
            AssertionError: it is a fake tensor of another mode
        """
        if isinstance(tensor, FakeTensor):
            if tensor.fake_mode is not self:
                raise AssertionError("Mixing fake modes NYI: from_tensor() was given a fake tensor of another mode")
            return tensor
        found = self._known.get(tensor)
        if found is None:
            found = self._known[tensor] = FakeTensor(self, nowhere(tensor.layout), tensor.device)
            if tensor.requires_grad:
                found.requires_grad_()
            if isinstance(tensor, Parameter):
                found._is_param = True
        return found

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name == "lift_fresh":
            return self.from_tensor(args[0])
        fakes: dict[int, FakeTensor] = {}
        places: list[tuple[bool, bool, Any]] = []

        def unwrapped(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            fake = leaf if isinstance(leaf, FakeTensor) else self._converted(func, leaf)
            fakes[id(fake.memory.held)] = fake
            places.append((fake.dim() > 0, fake.is_cpu, fake.device))
            return fake.memory.held

        values, named = tree_map(unwrapped, (list(args), dict(kwargs or {})))
        place = named.get("device")
        if place is None:
            place = max(places, key=lambda each: each[:2])[2] if places else CPU
        if "device" in named or not (places or func.namespace == OWN._name):
            named["device"] = "meta"
        if isinstance(func._function, CustomOpDef):
            results = self._by_shapes(func._function, args, kwargs)
        else:
            results = current().outside(func._function, *values, **named)
        return tree_map(lambda each: self._wrapped(each, fakes, place) if isinstance(each, Tensor) else each, results)

    def _by_shapes(self, op: CustomOpDef, args: Sequence[Any], kwargs: Any) -> Any:
        """What the user has registered an operator to give for tensors without elements."""
        if op._fake is None:
            raise RuntimeError(f"There was no fake impl registered for {op}: say what its results look like with {op._name}.register_fake")
        with self:
            return op._fake(*args, **(kwargs or {}))

    def _converted(self, func: Any, tensor: Tensor) -> FakeTensor:
        """Another tensor among the arguments, as a fake one; what functions make on their way (a table, positions) is not what the user passed."""
        if not self.allow_non_fake_inputs and tensor.dim() and not tensor.is_meta and any(each is tensor.memory for each in passed()):
            raise AssertionError(
                "Please convert all Tensors to FakeTensors first or instantiate FakeTensorMode with 'allow_non_fake_inputs'. "
                f"Found in {func}, which was given a tensor of shape {tuple(tensor.shape)}"
            )
        return self.from_tensor(tensor)

    def _wrapped(self, result: Tensor, fakes: dict[int, FakeTensor], place: Any) -> FakeTensor:
        if isinstance(result, FakeTensor):
            return result
        known = fakes.get(id(result))
        if known is None:
            known = FakeTensor(self, result, place) if result.is_meta else self.from_tensor(result)
        return known


def is_fake(x: object) -> bool:
    """Whether a tensor is a fake one.

    Raises:
        TypeError: it is no tensor
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor, not a {type(x).__name__}")
    return isinstance(x, FakeTensor)


@contextmanager
def unset_fake_temporarily() -> Iterator[FakeTensorMode | None]:
    """A context in which tensors are not fake, within one in which they are."""
    tape = LOCAL.tape
    if not isinstance(tape, Dispatcher):
        yield None
        return
    modes = tape.modes
    tape.modes = [mode for mode in modes if not isinstance(mode, FakeTensorMode)]
    try:
        yield next((mode for mode in modes if isinstance(mode, FakeTensorMode)), None)
    finally:
        tape.modes = modes
