"""Training in several processes, of which each has a copy of the module and a part of the batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy

import flambeau
from flambeau import Tensor, autograd, distributed
from flambeau.distributed import collectives
from flambeau.distributed.algorithms.join import Join, Joinable, JoinHook, _JoinConfig
from flambeau.distributed.arrays import Targets, describe
from flambeau.distributed.grad_bucket import GradBucket
from flambeau.distributed.reduction import ReduceOp, reducer
from flambeau.distributed.world import member
from flambeau.nn.modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module, Joinable):
    """A module whose gradients are averaged over the processes of a group after each backward pass.

    All copies begin with the parameters and buffers of process 0, and stay equal as all get the same gradients. Flambeau computes
    a pass when its gradients are looked at, so that they are exchanged when it is over, and not on its way as PyTorch does: bucket sizes
    matter to communication hooks only.

    Args:
        module: what each process trains
        device_ids, output_device, dim: for PyTorch's sake; there is one device
        broadcast_buffers: whether all begin with the buffers of process 0, and each forward pass does (yes)
        init_sync: whether all begin with the parameters and buffers of process 0
        process_group: the processes; all, by default
        bucket_cap_mb: the size of what a communication hook is given
        find_unused_parameters: whether a pass may leave parameters without gradient; if it did in all processes their ``grad`` stays as it is
        gradient_as_bucket_view, skip_all_reduce_unused_params, batched_grad_copy: for PyTorch's sake
        static_graph: the same parameters are left out in every pass
        forward_sync_buffers: the same as ``broadcast_buffers`` for forward passes only, if it is given
        others: PyTorch's other settings, which must be off

    Raises:
        RuntimeError: no parameter requires grad, or the processes' modules differ
        ValueError: ``device_ids`` are given
        NotImplementedError: one of the others is on
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool | None = None,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        skip_all_reduce_unused_params: bool = False,
        batched_grad_copy: bool = False,
        forward_sync_buffers: bool | None = None,
        **others: Any,
    ) -> None:
        wanted = [name for name, value in others.items() if value]
        if wanted:
            raise NotImplementedError(f"DistributedDataParallel does not support {', '.join(wanted)}")
        Module.__init__(self)
        self._join_config = _JoinConfig()
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        self._named = [(name, each) for name, each in module.named_parameters() if each.requires_grad and name not in ignored]
        if not self._named:
            raise RuntimeError("DistributedDataParallel is not needed when a module doesn't have any parameters that require a gradient.")
        if device_ids or output_device is not None:
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with single-device/multiple-device GPU modules "
                f"or CPU modules, but got device_ids {device_ids}, output_device {output_device}, and module parameters on cpu."
            )
        self.module = module
        self.process_group = member(process_group)
        self.device, self.device_ids, self.output_device, self.dim = flambeau.device("cpu"), None, None, dim
        self.broadcast_buffers = (broadcast_buffers if forward_sync_buffers is None else forward_sync_buffers) is not False
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view, self.static_graph = gradient_as_bucket_view, static_graph
        self.bucket_bytes_cap = int((25 if bucket_cap_mb is None else bucket_cap_mb) * (1 << 20))
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self._buffers_to_send = [each for name, each in module.named_buffers() if name not in ignored]
        self._hook: tuple[Any, Callable] | None = None
        self._expects_pass = False
        self._without_gradient: list[str] = []
        self._divide_by_initial_world_size = True
        self._check_same_module()
        if init_sync:
            kept = [each for name, each in module.named_parameters() if name not in ignored]
            begins_with_buffers = forward_sync_buffers is not None or broadcast_buffers is not False
            self._send([*kept, *(self._buffers_to_send if begins_with_buffers else ())], 0, "parameters and buffers")
        self._observe_passes()

    def _observe_passes(self) -> None:
        reference = weakref.ref(self)

        def observer(leaves: Container[Tensor] | None) -> Callable[[], None]:
            ddp = reference()
            return (lambda: None) if ddp is None or not ddp._takes_part(leaves) else ddp._before_pass()

        autograd.OBSERVERS.append(observer)
        weakref.finalize(self, autograd.OBSERVERS.remove, observer)

    def _check_same_module(self) -> None:
        own = [(name, describe(each), each.stride()) for name, each in self._named]
        every: list[Any] = [None] * self.process_group.size()
        distributed.all_gather_object(every, own, self.process_group)
        for rank, theirs in enumerate(every):
            if len(theirs) != len(own):
                raise RuntimeError(
                    f"DDP expects same model across all ranks, but Rank {self.process_group.rank()} has {len(own)} params, while rank {rank} "
                    f"has inconsistent {len(theirs)} params."
                )
            for (name, here, *strides), (_, there, *others) in zip(own, theirs):
                if (here, strides) != (there, others):
                    raise RuntimeError(
                        f"[{name}]: params appear not to match sizes of the same params in rank {rank}: {here} here, {there} there"
                    )

    def _send(self, tensors: list[Tensor], root: int, what: str) -> None:
        """Replace tensors by those of one process."""
        targets = Targets(tensors)
        label = f"DistributedDataParallel: {what} of rank {root}".encode()
        group = self.process_group
        group.run(targets.job(lambda: collectives.broadcast_many(group.mesh, targets.arrays, root, label)), tensors, what, False)

    # -- forward ---------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        trains = flambeau.is_grad_enabled()
        if self._without_gradient and trains and self.require_backward_grad_sync:
            raise RuntimeError(self._unused_message())
        if self._join_config.enable:
            Join.notify_join_context(self)
            self._tell_whether_pass_comes(trains and self.require_backward_grad_sync)
        if self.require_forward_param_sync and self.broadcast_buffers and self._buffers_to_send:
            self._send(self._buffers_to_send, self._authority(), "buffers")
        self.require_forward_param_sync = trains and self.require_backward_grad_sync
        if trains:
            self._expects_pass = self.require_backward_grad_sync
        return self.module(*inputs, **kwargs)

    def _unused_message(self) -> str:
        names, self._without_gradient = ", ".join(self._without_gradient), []
        return (
            "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates that your module has "
            f"parameters that were not used in producing loss: {names}. Pass find_unused_parameters=True to DistributedDataParallel if that "
            "is meant, and make sure that all outputs of forward take part in the loss if it is not."
        )

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Lets gradients add up without being exchanged; those of the first pass outside of the context are exchanged with them.

        Example::

            with model.no_sync():
                model(first).sum().backward()
            model(second).sum().backward()
        """
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    # -- gradients -------------------------------------------------------------------------------------------------

    def _takes_part(self, leaves: Container[Tensor] | None) -> bool:
        """Whether a pass over some leaves (``None``: any) concerns this module. Several passes may run side by side, each for another process."""
        return leaves is None or any(each in leaves for _, each in self._named)

    def _before_pass(self) -> Callable[[], None]:
        """Remember the gradients that there are; what is returned exchanges those that a pass has made or changed."""
        before = [(each._grad, -1 if each._grad is None else each._grad.memory.version) for _, each in self._named]

        def after() -> None:
            if not self._expects_pass:
                return
            used = [
                each._grad is not None and (each._grad is not grad or grad.memory.version != version)
                for (_, each), (grad, version) in zip(self._named, before)
            ]
            if any(used):
                self._exchange(used)

        return after

    def _exchange(self, used: list[bool], joined: bool = False) -> None:
        """Average the gradients of all parameters that some process has used; one that has no inputs left adds zeros."""
        group, size = self.process_group, self.process_group.size()
        flambeau.flush()
        marks: list[numpy.ndarray] = []
        own = numpy.array([joined, *used], numpy.uint8)
        label = f"DistributedDataParallel: gradients of {len(used)} parameters".encode()
        group.run(lambda: marks.extend(each.copy() for each in group.mesh.gather_all(own, label)), [], "gradients", False)
        anywhere = numpy.bitwise_or.reduce(marks)[1:]
        active = size - int(sum(mark[0] for mark in marks))
        chosen = [each for (_, each), mark in zip(self._named, anywhere) if mark]
        if not joined and not self.find_unused_parameters and not self.static_graph:
            self._without_gradient = [name for (name, _), mark in zip(self._named, used) if not mark]
        gradients = [_gradient(each, joined) for each in chosen]
        if self._hook is not None:
            self._run_hook(chosen, gradients)
        else:
            self._average(gradients, None if self._divide_by_initial_world_size else active)

    def _average(self, gradients: list[Tensor], divisor: int | None) -> None:
        group = self.process_group
        for dtype in dict.fromkeys(each.dtype for each in gradients):
            chosen = [each for each in gradients if each.dtype is dtype]
            targets = Targets([_in_memory_order(each) for each in chosen])
            reduce = reducer(ReduceOp.AVG, dtype, "DistributedDataParallel", divisor)
            label = f"DistributedDataParallel: {len(chosen)} gradients of {dtype.name}".encode()
            job = partial(collectives.all_reduce_many, group.mesh, targets.arrays, reduce, label)
            group.run(targets.job(job), chosen, "gradients", False)

    def register_comm_hook(self, state: Any, hook: Callable) -> None:
        """Have ``hook(state, bucket)`` exchange the gradients, which returns a future of the tensor that takes the place of ``bucket.buffer()``.

        Raises:
            TypeError: it cannot be called
            RuntimeError: there is a hook
        """
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self._hook is not None:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        self._hook = state, hook

    def _run_hook(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        state, hook = self._hook
        with flambeau.no_grad():
            buckets = list(self._buckets(parameters, gradients))
            for bucket, future in [(bucket, hook(state, bucket)) for bucket in buckets]:
                bucket.fill(future.wait())
            flambeau.flush()

    def _buckets(self, parameters: list[Tensor], gradients: list[Tensor]) -> Iterator[GradBucket]:
        """The gradients in the order in which a pass computes them, by dtype, and not more than ``bucket_cap_mb`` together."""
        groups: list[list[tuple[Tensor, Tensor]]] = []
        filled = 0
        for parameter, gradient in reversed(list(zip(parameters, gradients))):
            filled += gradient.nbytes
            if not groups or groups[-1][0][1].dtype is not gradient.dtype or filled > self.bucket_bytes_cap:
                groups.append([])
                filled = gradient.nbytes
            groups[-1].append((parameter, gradient))
        for number, pairs in enumerate(groups):
            yield GradBucket(number, pairs, number == len(groups) - 1)

    # -- uneven inputs ---------------------------------------------------------------------------------------------

    def _tell_whether_pass_comes(self, comes: bool) -> bool:
        """Whether gradients will be exchanged, which those that have joined have to know."""
        flag = flambeau.tensor([float(comes)])
        distributed.all_reduce(flag, ReduceOp.MAX, self.process_group)
        return bool(flag.item())

    def _authority(self, joined: bool = False) -> int:
        """Whose buffers count: process 0's, or among uneven inputs those of the last that still trains."""
        if not self._join_config.enable and not joined:
            return 0
        rank = flambeau.tensor([-1 if joined else self.process_group.rank()])
        distributed.all_reduce(rank, ReduceOp.MAX, self.process_group)
        return int(rank.item())

    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True, throw_on_early_termination: bool = False) -> Join:
        """The context in which processes may have different numbers of inputs.

        Args:
            divide_by_initial_world_size: whether gradients are divided by the number of processes, or of those that still have inputs
            enable: whether to expect uneven inputs at all
            throw_on_early_termination: raise an error when the first has none left
        """
        return Join([self], enable, throw_on_early_termination, divide_by_initial_world_size=divide_by_initial_world_size)

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a process does that has no inputs left."""
        return _DDPJoinHook(self, kwargs.get("divide_by_initial_world_size", True))

    @property
    def join_device(self) -> Any:
        """The device of the parameters."""
        return self.device

    @property
    def join_process_group(self) -> Any:
        """The processes that train together."""
        return self.process_group

    # -- what PyTorch's has, too -----------------------------------------------------------------------------------

    @staticmethod
    def _set_params_and_buffers_to_ignore_for_model(module: Module, params_and_buffers_to_ignore: Any) -> None:
        module._ddp_params_and_buffers_to_ignore = params_and_buffers_to_ignore

    def _set_static_graph(self) -> None:
        self.static_graph = True

    def _get_ddp_logging_data(self) -> dict[str, Any]:
        return {"world_size": self.process_group.size(), "rank": self.process_group.rank(), "backend_name": self.process_group.backend}

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["process_group"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        Module.__setstate__(self, state)
        self.process_group = member(None)
        self._observe_passes()


def _gradient(parameter: Tensor, joined: bool) -> Tensor:
    """The gradient of a parameter, or zeros that become one, lying in memory as the parameter does."""
    grad = None if joined else parameter._grad
    if grad is not None and grad.layout.strides == parameter.layout.strides:
        return grad
    made = flambeau.empty_strided(parameter.size(), parameter.stride(), dtype=parameter.dtype).zero_()
    if grad is not None:
        made.copy_(grad.detach())
    parameter.grad = made
    return made


def _in_memory_order(tensor: Tensor) -> Tensor:
    """The elements of a tensor without gaps, as they lie in memory."""
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset()) if tensor.layout.dense else tensor.detach()


class _DDPJoinHook(JoinHook):
    """Does the collectives of a ``DistributedDataParallel`` along."""

    def __init__(self, ddp: DistributedDataParallel, divide_by_initial_world_size: bool) -> None:
        self.ddp = ddp
        ddp._divide_by_initial_world_size = divide_by_initial_world_size

    def main_hook(self) -> None:
        ddp = self.ddp
        exchanges = ddp._tell_whether_pass_comes(False)
        if ddp.require_forward_param_sync and ddp.broadcast_buffers and ddp._buffers_to_send:
            ddp._send(ddp._buffers_to_send, ddp._authority(joined=True), "buffers")
        ddp.require_forward_param_sync = exchanges
        if exchanges:
            ddp._exchange([False] * len(ddp._named), joined=True)

    def post_hook(self, is_last_joiner: bool) -> None:
        ddp = self.ddp
        root = ddp._authority(joined=not is_last_joiner)
        ddp._send([*ddp.module.parameters(), *ddp._buffers_to_send], root, "parameters and buffers")
        ddp._divide_by_initial_world_size = True
