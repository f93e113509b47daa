"""Layers whose sizes are known once they have seen an input."""

from __future__ import annotations

from itertools import chain
from typing import Any

import flambeau
from flambeau.nn.parameter import is_lazy

__all__ = ["LazyModuleMixin"]


class LazyModuleMixin:
    """Lets a module leave sizes open until the first call or the first ``load_state_dict``.

    A subclass makes its parameters :class:`~flambeau.nn.UninitializedParameter` and gives them their shape in
    :meth:`initialize_parameters`; after that the module is an ordinary one of class ``cls_to_become``. Make the optimizer
    after a first call.

    Example:
        >>> layer = flambeau.nn.LazyLinear(2)
        >>> layer(flambeau.zeros(4, 3)).shape, layer
        (torch.Size([4, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, tensor in chain(self._parameters.items(), self._buffers.items()):
            if tensor is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Gives every tensor that has no shape yet the shape that it has in ``state_dict``."""
        for name, tensor in chain(self._parameters.items(), self._buffers.items()):
            source = state_dict.get(prefix + name)
            if tensor is not None and source is not None and is_lazy(tensor) and not is_lazy(source):
                with flambeau.no_grad():
                    tensor.materialize(source.shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Gives the parameters their shapes, and draws them; called with the arguments of the first ``forward``."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(tensor) for tensor in chain(self._parameters.values(), self._buffers.values()))

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become
