"""Checkpoints that keep the results of some operators: a mode keeps them in the first computation, another hands them out in the second."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import Tensor, ops
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils._pytree import tree_map_only
from flambeau.utils.checkpoint import CheckpointPolicy

__all__ = ["SelectiveCheckpointContext", "contexts"]

_RECOMPUTED = (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE)
_NEVER_KEPT = frozenset({ops.aten.detach.default})
"""Operators that cost nothing, which policies are not asked about."""

Policy = Callable[..., Any]


class SelectiveCheckpointContext:
    """What a policy is told besides the operator and its arguments: which of the two computations it is."""

    def __init__(self, *, is_recompute: bool) -> None:
        self.is_recompute = is_recompute


class _Chosen(TorchDispatchMode):
    """What both computations share: whether a result is kept."""

    is_recompute = False

    def __init__(self, policy: Policy, kept: dict[Any, deque], may_change: bool) -> None:
        super().__init__()
        self._policy, self._kept, self._may_change = policy, kept, may_change
        self._context = SelectiveCheckpointContext(is_recompute=self.is_recompute)

    def _keeps(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        if func in _NEVER_KEPT:
            return False
        answer = self._policy(self._context, func, *args, **kwargs)
        return answer if isinstance(answer, bool) else answer not in _RECOMPUTED


class _First(_Chosen):
    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._keeps(func, args, kwargs):
            self._kept[func].append(tree_map_only(Tensor, lambda each: (each.detach(), each.memory.version), result))
        return result


class _Second(_Chosen):
    is_recompute = True

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._keeps(func, args, kwargs):
            return func(*args, **kwargs)
        if not self._kept[func]:
            raise RuntimeError(
                f"{func} was called more often in the second computation of a checkpoint than in the first: the backward pass went through it "
                "before, or the function or the policy does not do the same twice"
            )
        return _taken(self._kept[func].popleft(), self._may_change)


def _taken(kept: Any, may_change: bool) -> Any:
    """A result that was kept.

    Raises:
        RuntimeError: it was changed since
    """
    if isinstance(kept, tuple) and len(kept) == 2 and isinstance(kept[0], Tensor) and isinstance(kept[1], int):
        tensor, version = kept
        if tensor.memory.version != version and not may_change:
            raise RuntimeError(
                "Tensor cached during selective activation checkpoint has been mutated: compute it again (CheckpointPolicy.MUST_RECOMPUTE), or "
                "say allow_cache_entry_mutation=True"
            )
        return tensor
    return type(kept)([_taken(each, may_change) for each in kept]) if isinstance(kept, (tuple, list)) else kept


def contexts(policy_fn_or_list: Any, may_change: bool) -> tuple[TorchDispatchMode, TorchDispatchMode]:
    """The modes of the two computations.

    Raises:
        ValueError: the list has something that is no overload of an operator
    """
    policy = policy_fn_or_list
    if not callable(policy):
        for op in policy_fn_or_list:
            if not isinstance(op, ops.OpOverload):
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}: torch.ops.aten.mm.default, say"
                )
        chosen = frozenset(policy_fn_or_list)

        def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> bool:
            return op in chosen

    kept: dict[Any, deque] = defaultdict(deque)
    return _First(policy, kept, may_change), _Second(policy, kept, may_change)
