"""What happens around the forward of a sharded module: its parameters become whole, and pieces again."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributed.fsdp.unit import Gathered, Unit
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.utils._pytree import tree_flatten, tree_map
from flambeau.utils.checkpoint import SURROUNDINGS

__all__ = ["Entry", "State", "own_parameters"]


NO_COPY = "a module whose parameters are shared out among processes is not copied: copy it before it is sharded, or load the state of one into another"


def own_parameters(
    modules: Iterable[Module], is_other: Callable[[Module], bool], ignored: set[int]
) -> list[tuple[list[tuple[Module, str]], Parameter]]:
    """The parameters of some modules that no module within has for itself, and where each is: ``[(module, name), …]``."""
    places: dict[int, list[tuple[Module, str]]] = {}
    parameters: dict[int, Parameter] = {}
    waiting, seen = list(modules)[::-1], set(ignored)
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for name, parameter in part._parameters.items():
            if parameter is not None and id(parameter) not in ignored:
                parameters[id(parameter)] = parameter
                places.setdefault(id(parameter), []).append((part, name))
        waiting += [child for child in reversed(part._modules.values()) if child is not None and not is_other(child)]
    return [(places[key], parameter) for key, parameter in parameters.items()]


class Entry:
    """One parameter: where modules have it, and its shape.

    Outside of forward the modules have a piece there, or nothing, if pieces are kept elsewhere.
    """

    def __init__(self, places: list[tuple[Module, str]], parameter: Tensor) -> None:
        self.places, self.shape, self.numel = places, tuple(parameter.shape), parameter.numel()
        self._kept: dict[int, Tensor] = {}

    @property
    def parameter(self) -> Any:
        """The piece that the modules have outside of forward."""
        module, name = self.places[0]
        return self._kept[0] if 0 in self._kept else module._parameters[name]

    def register(self, tensor: Tensor) -> None:
        """Let the modules have a tensor in the place of the piece."""
        for number, (module, name) in enumerate(self.places):
            if name in module._parameters:
                self._kept.setdefault(number, module._parameters[name])
            module._parameters[name] = tensor

    def restore(self) -> None:
        """Let the modules have the piece again."""
        for number, (module, name) in enumerate(self.places):
            if number in self._kept:
                module._parameters[name] = self._kept.pop(number)
            else:
                module._parameters.pop(name, None)


_STATES: weakref.WeakSet[State] = weakref.WeakSet()


def _under_way() -> list[Callable[[], AbstractContextManager]]:
    """For a checkpoint within the forward of sharded modules, whose parameters have to be whole when it computes anew."""
    return [partial(state.whole_again, state.gathered) for state in _STATES if state.gathered is not None]


SURROUNDINGS.append(_under_way)


class State:
    """What a sharded module knows.

    Attributes:
        entries: its parameters
        unit: how they are gathered
        reshard: whether memory is given up after forward; ``None`` for all but the outermost module
        views: makes of what the unit gathers a tensor for each entry
        input_dtype, output_dtype: what floating-point inputs and outputs become; ``None`` if they stay
        nested: gives the states of this module and of those within
        is_root: whether no sharded module is around this one; known since its first forward
        explicit: whether the user has asked for whole parameters, and gives them up
    """

    def __init__(
        self,
        entries: list[Entry],
        unit: Unit,
        reshard: bool | int | None,
        views: Callable[[list[Tensor]], Sequence[Tensor]] = lambda whole: whole,
    ) -> None:
        self.entries, self.unit, self.reshard, self.views = entries, unit, reshard, views
        self.input_dtype: Any = None
        self.output_dtype: Any = None
        self.nested: Callable[[], list[State]] = lambda: [self]
        self.is_root: bool | None = None
        self.explicit = False
        self.gathered: Gathered | None = None
        _STATES.add(self)

    def unshard(self) -> None:
        """Let the modules have whole parameters."""
        if self.gathered is None and self.entries:
            whole, self.gathered = self.unit.unshard()
            self._register(whole)

    def _register(self, whole: list[Tensor]) -> None:
        for entry, tensor in zip(self.entries, self.views(whole), strict=True):
            entry.register(tensor)

    @contextmanager
    def whole_again(self, gathered: Gathered) -> Iterator[None]:
        """Let the modules have the whole parameters of a forward that is over."""
        if self.gathered is not None:
            yield
            return
        gathered.restore()
        self.gathered = gathered
        self._register(gathered.again())
        try:
            yield
        finally:
            self.register_pieces()

    def register_pieces(self) -> None:
        """Let the modules have the pieces again."""
        if self.gathered is not None:
            for entry in self.entries:
                entry.restore()
        self.gathered = None

    def before(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """What comes before forward."""
        if self.is_root is None:
            for state in self.nested():
                state.is_root = state is self
        if not self.explicit:
            self.register_pieces()  # of a forward that was broken off
        if self.input_dtype is not None:
            args, kwargs = cast((args, kwargs), self.input_dtype)
        self.unshard()
        return args, kwargs

    def after(self, output: Any) -> Any:
        """What comes after forward: memory is given up, and got back before the backward pass comes to what forward returned."""
        if self.output_dtype is not None:
            output = cast(output, self.output_dtype)
        gathered = self.gathered
        if gathered is None or self.explicit:
            return output
        self.register_pieces()
        releases = not self.is_root if self.reshard is None else bool(self.reshard)
        if not flambeau.is_grad_enabled():
            flambeau.flush()
        elif releases and gathered not in self.unit.to_release:
            leaves = [each for each in tree_flatten(output)[0] if isinstance(each, Tensor) and each.requires_grad]
            for leaf in leaves:
                leaf.register_hook(_before_backward(gathered))
            if leaves:
                gathered.release()
        return output


def _before_backward(gathered: Gathered) -> Callable[[Tensor], None]:
    def hook(grad: Tensor) -> None:
        gathered.restore()

    return hook


def cast(tree: Any, dtype: Any) -> Any:
    """Nested containers with their floating-point tensors in a dtype."""
    return tree_map(lambda each: each.to(dtype) if isinstance(each, Tensor) and each.is_floating_point() else each, tree)
