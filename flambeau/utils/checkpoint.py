"""Checkpoints: compute again in the backward pass instead of keeping what it needs (Chen et al. 2016, arXiv:1604.06174)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops import autocast as casts
from flambeau._ops.node import AccumulateGrad
from flambeau._ops.origin import warn
from flambeau._tensor.composed import ComposedTensor
from flambeau._tensor.overriding import Enabled
from flambeau.autograd import Function

__all__ = [
    "CheckpointPolicy", "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts", "detach_variable", "get_device_states", "noop_context_fn",
    "set_checkpoint_debug_enabled", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip


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
    """Call a function without keeping what its backward pass needs; that is computed once more, in the backward pass.

    Args:
        context_fn: gives the contexts for the first and the second computation
        preserve_rng_state: draw the same random numbers (of dropout, say) the second time
        use_reentrant, determinism_check, debug, early_stop: accepted, and change nothing

    Example::

        >>> x = flambeau.ones(3, requires_grad=True)
        >>> flambeau.utils.checkpoint.checkpoint(lambda x: (x * 2).exp(), x, use_reentrant=False).sum().backward()
        >>> x.grad
        tensor([14.7781, 14.7781, 14.7781])
    """
    if use_reentrant is None:
        _warn_of_default("checkpoint")
    elif use_reentrant and not any(isinstance(each, Tensor) and each.requires_grad for each in (*args, *kwargs.values())):
        warn("None of the inputs have requires_grad=True. Gradients will be None, in PyTorch: use_reentrant=False has them.")
    first, second = context_fn() if context_fn is not None else (nullcontext(), nullcontext())
    if not flambeau.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    state = flambeau.get_rng_state() if preserve_rng_state else None
    with first:
        outputs = function(*args, **kwargs)
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    given = [_plain(each) for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.requires_grad]
    inputs = given + _leaves(results, given)
    if not inputs:
        return outputs
    call = _Call(function, args, kwargs, second, state)
    recomputed = _Recompute.apply(call, tuple(map(_plain, results)), *inputs)
    recomputed = tuple([old._with(new) if isinstance(old, ComposedTensor) else new for old, new in zip(results, recomputed)])
    return recomputed if isinstance(outputs, tuple) else recomputed[0]


def _warn_of_default(name: str) -> None:
    warn(
        f"torch.utils.checkpoint.{name}: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended, and what you get "
        "here in either case."
    )


def _plain(value: Any) -> Any:
    """The value, or of a sparse or nested tensor its values."""
    return value._elements if isinstance(value, ComposedTensor) else value


def _leaves(outputs: Sequence[Any], given: Sequence[Tensor]) -> list[Tensor]:
    """The leaves, other than those given, that the outputs were computed from."""
    known = {id(each.node) for each in given}
    pending = [output.node for output in outputs if isinstance(output, Tensor) and output.node is not None]
    found = []
    while pending:
        node = pending.pop()
        if id(node) in known:
            continue
        known.add(id(node))
        if isinstance(node, AccumulateGrad):
            if node.variable is not None:
                found.append(node.variable)
        else:
            pending += [edge[0] for edge in node.inputs if edge is not None]
    return found


class _Call:
    """A call that can be repeated."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, context: AbstractContextManager, state: Tensor | None) -> None:
        self.function, self.args, self.kwargs, self.context, self.state = function, args, kwargs, context, state
        self.region = casts.STATE.dtype  # the backward pass runs outside of it

    def repeat(self) -> tuple[tuple, list[Tensor]]:
        """The results once more, and the variables that stand for the tensors among the arguments that require grad."""
        variables: list[Tensor] = []

        def own(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.requires_grad:
                return value
            variable = value.detach().requires_grad_()
            variables.append(_plain(variable))
            return variable

        args = [own(each) for each in self.args]
        kwargs = {name: own(each) for name, each in self.kwargs.items()}
        now = flambeau.get_rng_state() if self.state is not None else None
        if self.state is not None:
            flambeau.set_rng_state(self.state)
        try:
            with (
                flambeau.enable_grad(),
                Enabled(),
                flambeau.autocast("cpu", self.region, enabled=self.region is not None),
                self.context,
            ):
                outputs = self.function(*args, **kwargs)
        finally:
            if now is not None:
                flambeau.set_rng_state(now)
        return tuple(map(_plain, outputs if isinstance(outputs, tuple) else (outputs,))), variables


class _Recompute(Function):
    """The results as they are, and the gradients of a repetition of the call that made them."""

    @staticmethod
    def forward(ctx: Any, call: _Call, results: tuple, *inputs: Tensor) -> tuple:
        ctx.call = call
        ctx.save_for_backward(*inputs)
        found = tuple(each.detach() if isinstance(each, Tensor) else each for each in results)
        ctx.mark_non_differentiable(
            *[new for new, old in zip(found, results, strict=True) if isinstance(old, Tensor) and not old.requires_grad]
        )
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        outputs, variables = ctx.call.repeat()
        targets = variables + list(ctx.saved_tensors)[len(variables) :]
        pairs = [
            (output, grad)
            for output, grad in zip(outputs, grads, strict=True)
            if isinstance(output, Tensor) and output.requires_grad and grad is not None
        ]
        found = flambeau.autograd.grad([pair[0] for pair in pairs], targets, [pair[1] for pair in pairs], allow_unused=True)
        return None, None, *found


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


def set_checkpoint_early_stop(enable: bool) -> AbstractContextManager:
    """A context that says whether the second computation of a checkpoint may end early; it changes nothing."""
    return nullcontext()


def set_checkpoint_debug_enabled(enabled: bool | None) -> AbstractContextManager:
    """A context that says whether checkpoints tell what they do; it changes nothing."""
    return nullcontext()
