"""Checkpoints: compute again in the backward pass instead of keeping what it needs (Chen et al. 2016, arXiv:1604.06174)."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops import autocast as casts
from flambeau._ops.origin import warn
from flambeau._tensor.composed import ComposedTensor
from flambeau._tensor.overriding import Enabled
from flambeau._types.layout import Layout
from flambeau.autograd import saving
from flambeau.autograd.graph import saved_tensors_hooks

__all__ = [
    "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "check_backward_validity", "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts", "detach_variable", "get_device_states", "noop_context_fn",
    "set_checkpoint_debug_enabled", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip


class _Repeating(threading.local):
    """Whether this thread makes a call once more."""

    now = False


REPEATING = _Repeating()
SURROUNDINGS: list[Callable[[], list[Callable[[], AbstractContextManager]]]] = []
"""Each says in which contexts a call that is made now has to be repeated: what is around it then may be over."""
_early_stop: bool | None = None
"""What a `set_checkpoint_early_stop` says that we are inside of."""


class CheckpointError(RuntimeError):
    """The second computation of a checkpoint does not save what the first one did."""


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[AbstractContextManager, AbstractContextManager]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function without keeping what its backward pass needs; that is computed once more, when a backward pass first asks for it.

    Args:
        context_fn: gives the contexts for the first and the second computation
        determinism_check: ``"default"`` to compare shapes and dtypes of what both computations save, ``"none"`` to leave that out
        preserve_rng_state: draw the same random numbers (of dropout, say) the second time
        early_stop: what the second computation saves beyond the first is left out (and never computed); ``False`` makes it an error
        use_reentrant, debug: accepted, and change nothing (but nothing is compared if ``use_reentrant``)

    Raises:
        ValueError: ``determinism_check`` is something else
        CheckpointError: in the backward pass, if the second computation saves fewer tensors than the first, or others.

    Example::

        >>> x = flambeau.ones(3, requires_grad=True)
        >>> flambeau.utils.checkpoint.checkpoint(lambda x: (x * 2).exp(), x, use_reentrant=False).sum().backward()
        >>> x.grad
        tensor([14.7781, 14.7781, 14.7781])
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if use_reentrant is None:
        _warn_of_default("checkpoint")
    elif use_reentrant:
        check_backward_validity((*args, *kwargs.values()))
    first, second = context_fn() if context_fn is not None else (nullcontext(), nullcontext())
    if not flambeau.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    again = _Again(function, args, kwargs, second, preserve_rng_state)
    again.compares = determinism_check != "none" and not use_reentrant
    again.stops_early = early_stop if _early_stop is None else _early_stop
    with saved_tensors_hooks(again.pack, again.unpack), first:
        return function(*args, **kwargs)


def _warn_of_default(name: str) -> None:
    warn(
        f"torch.utils.checkpoint.{name}: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended, and what you get "
        "here in either case."
    )


class _Again:
    """A call that is repeated for what its gradient nodes saved, of which they keep numbers alone.

    Attributes:
        layouts: those of the tensors that the first computation saved, in order
        found: what the second computation saved and no node has asked for yet, by number
        around: makes the contexts of what the call was within
        compares: whether the layouts must be the same
        stops_early: whether the second computation may save more
    """

    compares = stops_early = True

    def __init__(self, function: Callable, args: tuple, kwargs: dict, context: AbstractContextManager, preserves: bool) -> None:
        self.function, self.context = function, context
        self.args, self.kwargs = [_Kept(each) for each in args], {name: _Kept(each) for name, each in kwargs.items()}
        self.state = flambeau.get_rng_state() if preserves else None
        self.region = casts.STATE.dtype  # the backward pass runs outside of it
        self.layouts: list[Layout] = []
        self.found: dict[int, Tensor] = {}
        self.around = [context for surroundings in SURROUNDINGS for context in surroundings()]

    def pack(self, tensor: Tensor) -> int:
        self.layouts.append(tensor.layout)
        return len(self.layouts) - 1

    def unpack(self, number: int) -> Tensor:
        """A tensor that was saved, which the next backward pass has computed anew.

        Raises:
            CheckpointError: the second computation does not save what the first one did
        """
        if number not in self.found:
            saved = self.repeat()
            self.check(saved)
            self.found = dict(enumerate(saved[: len(self.layouts)]))
        return self.found.pop(number)

    def repeat(self) -> list[Tensor]:
        """What the call saves when it is made once more."""
        saved: list[Tensor] = []

        def save(tensor: Tensor) -> Tensor:
            saved.append(tensor)
            return tensor

        args, kwargs = [each.value() for each in self.args], {name: each.value() for name, each in self.kwargs.items()}
        now = flambeau.get_rng_state() if self.state is not None else None
        if self.state is not None:
            flambeau.set_rng_state(self.state)
        outer, REPEATING.now = REPEATING.now, True
        try:
            with flambeau.enable_grad(), ExitStack() as around:
                for context in self.around:
                    around.enter_context(context())
                with (
                    Enabled(),
                    flambeau.autocast("cpu", self.region, enabled=self.region is not None),
                    saved_tensors_hooks(save, _itself),
                    self.context,
                ):
                    self.function(*args, **kwargs)
        finally:
            REPEATING.now = outer
            if now is not None:
                flambeau.set_rng_state(now)
        return saved

    def check(self, saved: list[Tensor]) -> None:
        """Raises CheckpointError: other tensors were saved than the first time."""
        if len(saved) < len(self.layouts) or (len(saved) > len(self.layouts) and not self.stops_early):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.layouts)}\nNumber of tensors saved during recomputation: {len(saved)}"
            )
        others = [
            f"tensor at position {number}:\nsaved metadata: {_metadata(old)}\nrecomputed metadata: {_metadata(new.layout)}"
            for number, (old, new) in enumerate(zip(self.layouts, saved))
            if (old.shape, old.dtype) != (new.layout.shape, new.layout.dtype)
        ]
        if others and self.compares:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the forward pass.\n"
                + "\n".join(others)
            )


def _itself(tensor: Tensor) -> Tensor:
    """The graph of a second computation keeps what it saves, for a function that asks for gradients itself."""
    return tensor


def _metadata(layout: Layout) -> dict[str, Any]:
    return {"shape": list(layout.shape), "dtype": layout.dtype}


class _Kept:
    """An argument of a call that may be repeated. Tensors that a checkpoint within another one is given are computed again themselves."""

    def __init__(self, value: Any) -> None:
        self._requires_grad = isinstance(value, Tensor) and value.requires_grad
        self._version = value.memory.version if isinstance(value, Tensor) and not isinstance(value, ComposedTensor) else None
        self._value = saving.Packed(value, None) if self._version is not None and saving.HOOKS.stack else value

    def value(self) -> Any:
        """The argument; a tensor that requires grad as a leaf.

        Raises:
            RuntimeError: it was changed in place since
        """
        value = self._value
        if isinstance(value, saving.Packed):
            value = value.tensor()
        elif self._version is not None and value.memory.version != self._version:
            raise RuntimeError(
                f"one of the variables needed for gradient computation has been modified by an inplace operation: a {value.dtype} tensor of shape "
                f"{list(value.shape)}, given to a checkpoint, is at version {value.memory.version}; expected version {self._version} instead."
            )
        return value.detach().requires_grad_() if self._requires_grad else value


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **options: Any) -> Any:
    """Apply the functions (or the modules of a ``Sequential``) in turn, in segments of which all but the last are checkpoints."""
    if use_reentrant is None:
        _warn_of_default("checkpoint_sequential")
        use_reentrant = False
    steps = list(functions.children()) if isinstance(functions, flambeau.nn.Sequential) else list(functions)
    size = len(steps) // segments
    if size == 0:
        raise ValueError(f"there are {len(steps)} functions, which is too few for {segments} segments")

    def run(first: int, last: int) -> Callable:
        def segment(value: Any) -> Any:
            for step in steps[first:last]:
                value = step(value)
            return value

        return segment

    for start in range(0, size * (segments - 1), size):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, **options)
    rest = size * (segments - 1)
    return run(rest, len(steps))(input)


def detach_variable(inputs: tuple) -> tuple:
    """The inputs, tensors among them as leaves that share memory with them and require grad where they did.

    What a hand-written checkpoint computes on in its backward pass.
    """
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"detach_variable takes a tuple of tensors and other values, not a {type(inputs).__name__}: {inputs!r}")
    return tuple([each.detach().requires_grad_(each.requires_grad) if isinstance(each, Tensor) else each for each in inputs])


class CheckpointFunction:
    """``CheckpointFunction.apply(function, preserve_rng_state, *args)`` is a checkpoint; programs that make their own build on it."""

    @staticmethod
    def apply(run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        """Call a function as ``checkpoint`` does."""
        return checkpoint(run_function, *args, use_reentrant=True, preserve_rng_state=preserve_rng_state)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn if no input requires grad."""
    if not any(isinstance(each, Tensor) and each.requires_grad for each in inputs):
        warn("None of the inputs have requires_grad=True. Gradients will be None, in PyTorch: use_reentrant=False has them.")


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The indices of the accelerators that the tensors lie on, and the states of their random number generators.

    Both are empty here, where all tensors are the CPU's; the state of its generator is ``get_rng_state()``.
    """
    return [], []


def set_device_states(devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None) -> None:
    """Put back what :func:`get_device_states` returned: nothing, for the CPU's tensors.

    Raises RuntimeError for a state of another device's generator.
    """
    if len(devices) or len(states):
        raise RuntimeError(
            f"set_device_states: there are no devices {list(devices)} here, only the CPU; set_rng_state() sets its generator's state"
        )


# -- what PyTorch lets one choose ---------------------------------------------------------------------------------------


class CheckpointPolicy(enum.Enum):
    """Whether the result of an operator is kept or computed again: an answer of the function that ``create_selective_checkpoint_contexts`` is given."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Contexts for both computations of a checkpoint that change nothing."""
    return nullcontext(), nullcontext()


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Contexts for a checkpoint that keeps the results of some operators, and computes the others again.

    Args:
        policy_fn_or_list: the operators whose results are kept, or a function ``policy(context, op, *args, **kwargs)`` that says so for each
            call, as a ``CheckpointPolicy``; ``context.is_recompute`` tells it which of the two computations it is
        allow_cache_entry_mutation: let results that are kept be written over meanwhile

    Raises:
        TypeError: it is neither a list nor a function
        ValueError: the list has something that is no overload of an operator

    Example::

        >>> from functools import partial
        >>> x, w = flambeau.ones(2, 3, requires_grad=True), flambeau.ones(3, 3)
        >>> kept = partial(create_selective_checkpoint_contexts, [flambeau.ops.aten.mm.default])
        >>> checkpoint(lambda x: (x @ w).sigmoid(), x, use_reentrant=False, context_fn=kept).sum().backward()
        >>> x.grad[0]
        tensor([0.1355, 0.1355, 0.1355])
    """
    if not callable(policy_fn_or_list) and not isinstance(policy_fn_or_list, (list, tuple)):
        raise TypeError(f"policy_fn_or_list must be either a function or a list of ops, but got {type(policy_fn_or_list).__name__}")
    from flambeau.utils._selective_checkpoint import contexts  # which is built on the dispatcher, and few need

    return contexts(policy_fn_or_list, allow_cache_entry_mutation)


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """A context that decides ``early_stop`` of the checkpoints that are called within it."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


def set_checkpoint_debug_enabled(enabled: bool | None) -> AbstractContextManager:
    """A context that says whether checkpoints tell what they do; it changes nothing."""
    return nullcontext()
