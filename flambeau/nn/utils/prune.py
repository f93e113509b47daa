"""Pruning: parts of a parameter are set to zero by a mask that lies beside it.

A pruned parameter ``name`` becomes the parameter ``name_orig`` and the buffer ``name_mask``; ``name`` itself is their product, made again
before each call of the module. https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.BasePruningMethod.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn.modules.module import Module

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer", "RandomStructured", "RandomUnstructured",
    "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod(ABC):
    """A way to choose what stays of a parameter; subclasses say how in ``compute_mask``.

    Attributes:
        PRUNING_TYPE: ``"unstructured"`` (single elements), ``"structured"`` (slices along a dimension) or ``"global"``
    """

    PRUNING_TYPE: str
    _tensor_name: str

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Ones where an element stays.

        Args:
            t: the importance of each element
            default_mask: what earlier pruning has left, of the same shape
        """

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Module) -> Tensor:
        """The product of parameter and mask."""
        mask = getattr(module, f"{self._tensor_name}_mask")
        original = getattr(module, f"{self._tensor_name}_orig")
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any) -> BasePruningMethod:
        """Prune a parameter of a module, on top of what was pruned before.

        Args:
            importance_scores: of each element; the parameter itself by default

        Raises:
            ValueError: the scores have another shape
        """
        earlier = _methods(module, name)
        method = cls(*args, **kwargs)
        method._tensor_name = name
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise ValueError(
                f"importance_scores should have the shape {list(original.shape)} of parameter {name} of {module}, not {list(scores.shape)}"
            )
        if earlier:
            container = PruningContainer(earlier[0])
            container.add_pruning_method(method)
            default_mask = getattr(module, f"{name}_mask")
            method = container
        else:
            module.register_parameter(f"{name}_orig", module._parameters.pop(name))
            default_mask = flambeau.ones_like(original)
        try:
            with flambeau.no_grad():
                mask = method.compute_mask(scores.detach(), default_mask)
        except Exception:
            if not earlier:
                module.register_parameter(name, module._parameters.pop(f"{name}_orig"))
            raise
        for hook in [key for key, each in module._forward_pre_hooks.items() if each in earlier]:
            del module._forward_pre_hooks[hook]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A tensor with zeros where the mask has them."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise ValueError(f"importance_scores should have the tensor's shape {list(t.shape)}, not {list(scores.shape)}")
        return t * self.compute_mask(scores, flambeau.ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Let the product be the parameter again; what was pruned stays zero."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        delattr(module, name)
        original = module._parameters.pop(f"{name}_orig")
        original.data = weight.data
        del module._buffers[f"{name}_mask"]
        module.register_parameter(name, original)


class PruningContainer(BasePruningMethod):
    """Several methods, each of which prunes what those before it have left."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Put a method behind the others.

        Raises:
            TypeError: it is none
            ValueError: it prunes another parameter
        """
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}', not on '{method._tensor_name}'"
            )
        inner = method._pruning_methods if isinstance(method, PruningContainer) else (method,)
        self._pruning_methods += inner

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last method, computed among the elements (or slices) that are left."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            chosen: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()
            kept = mask.sum([each for each in range(t.dim()) if each != dim]) != 0
            chosen = (slice(None),) * dim + (kept,)
        elif method.PRUNING_TYPE == "global":
            chosen = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        partial = method.compute_mask(t[chosen], default_mask[chosen])
        mask = mask.clone()
        mask[chosen] = partial.to(mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, but gives a parameter its mask."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"the mask has the shape {list(self.mask.shape)}, the parameter {list(default_mask.shape)}")
        return default_mask * self.mask.to(dtype=default_mask.dtype)


class _Amount(BasePruningMethod):
    """Prunes a number of elements or slices: an integer, or a fraction of them."""

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, (int, float)) or isinstance(amount, bool):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if amount < 0 or (isinstance(amount, float) and amount > 1):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount

    def _count(self, size: int) -> int:
        """How many of ``size`` to prune."""
        count = self.amount if isinstance(self.amount, int) else round(self.amount * size)
        if count > size:
            raise ValueError(f"amount={self.amount} should be smaller than the number of parameters to prune={size}")
        return count


class RandomUnstructured(_Amount):
    """Prunes elements by chance."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return _without(default_mask, -flambeau.rand_like(t), self._count(t.nelement()))


class L1Unstructured(_Amount):
    """Prunes the elements of the least magnitude."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return _without(default_mask, t.abs(), self._count(t.nelement()))


def _without(mask: Tensor, scores: Tensor, count: int) -> Tensor:
    """A mask with zeros at the ``count`` elements of the least score."""
    mask = mask.clone()
    if count:
        mask.view(-1)[flambeau.topk(scores.reshape(-1), count, largest=False).indices] = 0
    return mask


class _Slices(_Amount):
    """Prunes whole slices along a dimension."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.dim() <= 1:
            raise ValueError(
                f"Structured pruning can only be applied to multidimensional tensors. Found tensor of shape {list(t.shape)} with {t.dim()} dims"
            )
        if not -t.dim() <= self.dim < t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {list(t.shape)}")
        dim = self.dim % t.dim()
        kept = _without(flambeau.ones(t.shape[dim], dtype=default_mask.dtype), self._scores(t, dim), self._count(t.shape[dim]))
        return default_mask * kept.reshape([-1 if each == dim else 1 for each in range(t.dim())])

    def _scores(self, t: Tensor, dim: int) -> Tensor:
        """The importance of each slice."""
        raise NotImplementedError


class RandomStructured(_Slices):
    """Prunes slices by chance."""

    def _scores(self, t: Tensor, dim: int) -> Tensor:
        return flambeau.rand(t.shape[dim])


class LnStructured(_Slices):
    """Prunes the slices of the least ``n``-norm."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Tensor, dim: int) -> Tensor:
        return flambeau.norm(t, p=self.n, dim=[each for each in range(t.dim()) if each != dim])


# -- functions ---------------------------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Give a parameter its mask, of ones. Returns the module, as all of these do."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements by chance, ``amount`` of them (an integer) or that fraction."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prune the elements of the least magnitude."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune slices along ``dim`` by chance."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> Module:
    """Prune the slices along ``dim`` of the least ``n``-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune by a mask of the parameter's shape."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: type[BasePruningMethod], importance_scores: dict | None = None, **kwargs: Any
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: pairs of a module and a parameter's name
        pruning_method: of the unstructured kind; ``kwargs`` are its arguments
        importance_scores: for some of the pairs, other scores than the parameter
    """
    pairs: Sequence[tuple[Module, str]] = list(parameters)
    scores = importance_scores or {}
    whole = flambeau.cat([scores.get(pair, getattr(*pair)).detach().reshape(-1) for pair in pairs])
    before = [getattr(module, f"{name}_mask", flambeau.ones_like(getattr(module, name).detach())) for module, name in pairs]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of type {method.PRUNING_TYPE}'
        )
    container.add_pruning_method(method)
    mask = container.compute_mask(whole, flambeau.cat([each.reshape(-1) for each in before]))
    for (module, name), part in zip(pairs, mask.split([each.numel() for each in before])):
        custom_from_mask(module, name, part.reshape(getattr(module, name).shape))


def remove(module: Module, name: str) -> Module:
    """Let the pruned parameter be an ordinary one again; what was pruned stays zero.

    Raises:
        ValueError: it is not pruned
    """
    for key, method in list(module._forward_pre_hooks.items()):
        if isinstance(method, BasePruningMethod) and method._tensor_name == name:
            method.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether a parameter of a module, or of one inside it, is pruned."""
    return any(isinstance(hook, BasePruningMethod) for each in module.modules() for hook in each._forward_pre_hooks.values())


def _methods(module: Module, name: str) -> list[BasePruningMethod]:
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, BasePruningMethod) and hook._tensor_name == name]
