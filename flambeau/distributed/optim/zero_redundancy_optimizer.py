"""An optimizer whose state is shared out among processes (Rajbhandari et al. 2020, arXiv:1910.02054, stage 1)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import flambeau
from flambeau import distributed
from flambeau.distributed import collectives
from flambeau.distributed.algorithms.join import Join, Joinable, JoinHook, _JoinConfig
from flambeau.distributed.arrays import Targets
from flambeau.distributed.world import member
from flambeau.optim.optimizer import Optimizer

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer, Joinable):
    """Wraps an optimizer: each process updates a part of the parameters, keeps the state of that part only, and sends it to the others.

    Args:
        params: the parameters, the same in all processes
        optimizer_class: the optimizer
        process_group: the processes; all, by default
        parameters_as_bucket_view: for PyTorch's sake
        overlap_with_ddp: must be off
        defaults: for the optimizer

    Raises:
        NotImplementedError: ``overlap_with_ddp``
    """

    def __init__(
        self, params: Any, optimizer_class: type[Optimizer], process_group: Any = None, parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False, **defaults: Any,
    ) -> None:  # fmt: skip
        if overlap_with_ddp:
            raise NotImplementedError(
                "overlap_with_ddp: gradients are exchanged when a pass is over, so that there is nothing to overlap with"
            )
        self.process_group = member(process_group)
        self._join_config = _JoinConfig()
        self._optimizer_class, self._settings = optimizer_class, defaults
        self._saved: list[dict] = []
        self.optim: Optimizer | None = None
        Optimizer.__init__(self, params, defaults)
        self._make_local()

    def _owners(self) -> dict[int, int]:
        """Which process updates each parameter, by its id: the largest first, each to who has least."""
        loads = [0] * self.process_group.size()
        owners = {}
        for group in self.param_groups:
            for parameter in sorted(group["params"], key=lambda each: -each.numel()):
                owners[id(parameter)] = least = loads.index(min(loads))
                loads[least] += parameter.numel()
        return owners

    def _make_local(self) -> None:
        """Make the optimizer of this process's part; its groups have the settings of ours."""
        owners, rank = self._owners(), self.process_group.rank()
        before = self.optim
        groups = [{**group, "params": [each for each in group["params"] if owners[id(each)] == rank]} for group in self.param_groups]
        self.optim = self._optimizer_class(groups, **self._settings)
        if before is not None:
            self.optim.state.update(before.state)
        self._owner = owners
        self._copy_settings(self.optim.param_groups, self.param_groups)

    @staticmethod
    def _copy_settings(source: list[dict], target: list[dict]) -> None:
        for theirs, ours in zip(source, target):
            ours.update({name: value for name, value in theirs.items() if name != "params"})

    def add_param_group(self, param_group: dict) -> None:
        """Add parameters with settings of their own."""
        Optimizer.add_param_group(self, param_group)
        if self.optim is not None:
            self._make_local()

    def step(self, closure: Callable | None = None, **kwargs: Any) -> Any:
        """Update this process's part of the parameters, and get the others'.

        Args:
            closure: computes the loss anew, with its gradients, and returns it
        """
        Join.notify_join_context(self)
        self._copy_settings(self.param_groups, self.optim.param_groups)  # a scheduler changes ours
        loss = self.optim.step(closure, **kwargs) if closure is not None else self.optim.step(**kwargs)
        self._copy_settings(self.optim.param_groups, self.param_groups)
        self._exchange()
        return loss

    def _exchange(self) -> None:
        """Replace each process's part of the parameters by what it has made of them."""
        group = self.process_group
        parameters = [each for settings in self.param_groups for each in settings["params"]]
        for rank in range(group.size()):
            theirs = [each for each in parameters if self._owner[id(each)] == rank]
            if theirs:
                targets = Targets(theirs)
                label = f"ZeroRedundancyOptimizer: {len(theirs)} parameters of rank {rank}".encode()
                job = partial(collectives.broadcast_many, group.mesh, targets.arrays, rank, label)
                group.run(targets.job(job), theirs, "ZeroRedundancyOptimizer", False)

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Collect the states of all processes in one, where ``state_dict`` can be called then."""
        group = self.process_group
        receives = group.rank() == to
        states: list[Any] = [None] * group.size()
        distributed.gather_object(self.optim.state_dict(), states if receives else None, group_dst=to, group=group)
        self._saved = states if receives else []

    def state_dict(self) -> dict[str, Any]:
        """The whole state, which ``consolidate_state_dict`` has collected.

        Raises:
            RuntimeError: it has not, in this process
        """
        if not self._saved:
            raise RuntimeError(
                f"Optimizer state has not been consolidated on this rank. Please call `consolidate_state_dict(to={self.process_group.rank()})` "
                "on all ranks beforehand if you meant to save the global state."
            )
        numbers = {id(each): number for number, each in enumerate(each for group in self.param_groups for each in group["params"])}
        state: dict[int, Any] = {}
        for rank, theirs in enumerate(self._saved):
            part = [[numbers[id(each)] for each in group["params"] if self._owner[id(each)] == rank] for group in self.param_groups]
            for group, own in zip(theirs["param_groups"], part):
                state.update({number: theirs["state"][key] for key, number in zip(group["params"], own) if key in theirs["state"]})
        groups = [
            {
                **{name: value for name, value in group.items() if name != "params"},
                "params": [numbers[id(each)] for each in group["params"]],
            }
            for group in self.param_groups
        ]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a whole state, of which this process keeps its part."""
        given = deepcopy(state_dict)
        self._copy_settings(given["param_groups"], self.param_groups)
        local: dict[str, Any] = {"state": {}, "param_groups": []}
        count = 0
        rank = self.process_group.rank()
        for group, theirs in zip(self.param_groups, given["param_groups"], strict=True):
            own = [key for key, each in zip(theirs["params"], group["params"], strict=True) if self._owner[id(each)] == rank]
            keys = list(range(count, count + len(own)))
            count += len(own)
            local["state"].update({key: given["state"][number] for key, number in zip(keys, own) if number in given["state"]})
            local["param_groups"].append({**theirs, "params": keys})
        self.optim.load_state_dict(local)

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a process does that has no inputs left: it goes on to update its part."""
        return _ZeroJoinHook(self)

    @property
    def join_device(self) -> Any:
        """The device of the parameters."""
        return flambeau.device("cpu")

    @property
    def join_process_group(self) -> Any:
        """The processes that share the state."""
        return self.process_group


class _ZeroJoinHook(JoinHook):
    """Goes on with the steps."""

    def __init__(self, zero: ZeroRedundancyOptimizer) -> None:
        self.zero = zero

    def main_hook(self) -> None:
        config, self.zero._join_config = self.zero._join_config, _JoinConfig()
        self.zero.step()
        self.zero._join_config = config
