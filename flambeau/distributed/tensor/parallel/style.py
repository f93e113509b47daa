"""Ways in which a part of a module is shared out among processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.api import distribute_module, distribute_tensor
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.placement_types import Placement, Replicate, Shard
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = [
    "ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleInputOutput", "PrepareModuleOutput", "RowwiseParallel", "SequenceParallel",
]  # fmt: skip


class ParallelStyle:
    """A way of sharing out a part of a module; a class of one's own defines ``_apply(module, mesh)``, which returns the module."""

    src_data_rank: int | None = 0

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        raise NotImplementedError(f"{type(self).__name__} does not define _apply(module, device_mesh)")


def _placed(value: Any, mesh: DeviceMesh, layout: Placement, wanted: Placement | None = None) -> Any:
    """A tensor that lies as ``layout`` says, distributed, and brought to where it is wanted."""
    if not isinstance(value, DTensor):
        value = DTensor.from_local(value, mesh, [layout], run_check=False)
    return value if wanted is None else value.redistribute(placements=[wanted])


def _local(value: Any, wants: bool) -> Any:
    return value.to_local() if wants and isinstance(value, DTensor) else value


class _Weights(ParallelStyle):
    """A layer whose weights are cut."""

    input_layouts: tuple[Placement, ...]
    output_layouts: tuple[Placement, ...]
    desired_input_layouts: tuple[Placement, ...]
    use_local_output: bool

    def _cut(self, module: Module) -> dict[str, Placement]:
        """How each parameter is to lie."""
        raise NotImplementedError

    def _partition(self, name: str, module: Module, mesh: DeviceMesh) -> None:
        for key, placement in self._cut(module).items():
            parameter = module._parameters.get(key)
            if parameter is not None and not isinstance(parameter, DTensor):
                made = distribute_tensor(parameter.data, mesh, [placement], src_data_rank=self.src_data_rank)
                module.register_parameter(key, Parameter(made, parameter.requires_grad))

    def _input(self, module: Module, inputs: tuple, mesh: DeviceMesh) -> tuple:
        return (_placed(inputs[0], mesh, self.input_layouts[0], self.desired_input_layouts[0]), *inputs[1:])

    def _output(self, module: Module, output: Any, mesh: DeviceMesh) -> Any:
        return _local(output.redistribute(placements=self.output_layouts), self.use_local_output)

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        self._cut(module)
        return distribute_module(module, device_mesh, self._partition, self._input, self._output)

    def _refuse(self, module: Module) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} shares out nn.Linear and nn.Embedding, not {type(module).__name__}")


class ColwiseParallel(_Weights):
    """Each process computes some of the outputs of a ``Linear`` (or ``Embedding``): of the weight it has these rows (columns).

    Args:
        input_layouts: how the input lies; whole, by default
        output_layouts: how the output is to lie; cut along the last dimension, by default
        use_local_output: whether it is an ordinary tensor
    """

    def __init__(
        self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None, use_local_output: bool = True
    ) -> None:
        self.input_layouts = (input_layouts or Replicate(),)
        self.output_layouts = (output_layouts or Shard(-1),)
        self.desired_input_layouts = (Replicate(),)
        self.use_local_output = use_local_output

    def _cut(self, module: Module) -> dict[str, Placement]:
        if isinstance(module, flambeau.nn.Linear):
            return {"weight": Shard(0), "bias": Shard(0)}
        if isinstance(module, flambeau.nn.Embedding):
            return {"weight": Shard(1)}
        raise self._refuse(module)


class RowwiseParallel(_Weights):
    """Each process computes with some of the inputs of a ``Linear`` (or rows of an ``Embedding``), and the results are added up.

    Args:
        input_layouts: how the input lies; cut along the last dimension, by default (whole, for an ``Embedding``)
        output_layouts: how the output is to lie; whole, by default
        use_local_output: whether it is an ordinary tensor
    """

    def __init__(
        self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None, use_local_output: bool = True
    ) -> None:
        self.input_layouts = (input_layouts or Shard(-1),)
        self.output_layouts = (output_layouts or Replicate(),)
        self.desired_input_layouts = (Shard(-1),)
        self.use_local_output = use_local_output

    def _cut(self, module: Module) -> dict[str, Placement]:
        if isinstance(module, flambeau.nn.Linear):
            self.desired_input_layouts = (Shard(-1),)
            return {"weight": Shard(1), "bias": Replicate()}
        if isinstance(module, flambeau.nn.Embedding):
            self.desired_input_layouts = (Replicate(),)
            return {"weight": Shard(0)}
        raise self._refuse(module)


class SequenceParallel(ParallelStyle):
    """A norm or dropout whose input is cut along the sequence (Korthikanti et al. 2022, arXiv:2205.05198); its parameters are whole.

    Args:
        sequence_dim: the dimension of the sequence
        use_local_output: whether the output is an ordinary tensor
    """

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = False) -> None:
        self.sequence_sharding = (Shard(sequence_dim),)
        self.use_local_output = use_local_output

    def _partition(self, name: str, module: Module, mesh: DeviceMesh) -> None:
        for key, parameter in list(module._parameters.items()):
            if parameter is not None and not isinstance(parameter, DTensor):
                made = distribute_tensor(parameter.data, mesh, [Replicate()], src_data_rank=self.src_data_rank)
                module.register_parameter(key, Parameter(made, parameter.requires_grad))

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        layout = self.sequence_sharding[0]
        return distribute_module(
            module, device_mesh, self._partition, lambda part, inputs, mesh: (_placed(inputs[0], mesh, layout, layout), *inputs[1:]),
            lambda part, output, mesh: _local(output, self.use_local_output),
        )  # fmt: skip


def _several(layouts: Any) -> tuple:
    return tuple(layouts) if isinstance(layouts, (tuple, list)) else (layouts,)


class PrepareModuleInput(ParallelStyle):
    """Make the inputs of a module distributed tensors, and bring them to where they are wanted.

    Args:
        input_layouts, desired_input_layouts: how each positional argument lies and is to lie; ``None`` for what stays as it is
        input_kwarg_layouts, desired_input_kwarg_layouts: the same by name
        use_local_output: whether the module gets ordinary tensors
    """

    def __init__(
        self, *, input_layouts: Placement | Sequence[Placement | None] | None = None,
        desired_input_layouts: Placement | Sequence[Placement | None] | None = None, input_kwarg_layouts: dict[str, Placement] | None = None,
        desired_input_kwarg_layouts: dict[str, Placement] | None = None, use_local_output: bool = False,
    ) -> None:  # fmt: skip
        self.input_layouts = None if input_layouts is None else _several(input_layouts)
        self.desired_input_layouts = None if desired_input_layouts is None else _several(desired_input_layouts)
        self.input_kwarg_layouts, self.desired_input_kwarg_layouts = input_kwarg_layouts or {}, desired_input_kwarg_layouts or {}
        self.use_local_output = use_local_output
        if self.input_layouts is not None and len(self.input_layouts) != len(self.desired_input_layouts or ()):
            raise AssertionError("input_layouts and desired_input_layouts should have same length!")
        if self.input_kwarg_layouts.keys() != self.desired_input_kwarg_layouts.keys():
            raise AssertionError("input_kwarg_layouts and desired_input_kwarg_layouts must name the same arguments")

    def _prepared(self, value: Any, layout: Placement | None, wanted: Placement | None, mesh: DeviceMesh) -> Any:
        if layout is None or not isinstance(value, Tensor):
            return value
        return _local(_placed(value, mesh, layout, wanted), self.use_local_output)

    def _before(self, inputs: tuple, kwargs: dict, mesh: DeviceMesh) -> tuple[tuple, dict]:
        if self.input_layouts is not None:
            if len(inputs) != len(self.input_layouts):
                raise ValueError(
                    f"module inputs and input_layouts should have same length: there are {len(inputs)} and {len(self.input_layouts)}"
                )
            pairs = zip(inputs, self.input_layouts, self.desired_input_layouts or ())
            inputs = tuple([self._prepared(value, layout, wanted, mesh) for value, layout, wanted in pairs])
        for name, layout in self.input_kwarg_layouts.items():
            if name in kwargs:
                kwargs = {**kwargs, name: self._prepared(kwargs[name], layout, self.desired_input_kwarg_layouts[name], mesh)}
        return inputs, kwargs

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        module.register_forward_pre_hook(lambda part, inputs, kwargs: self._before(inputs, kwargs, device_mesh), with_kwargs=True)
        return module


class PrepareModuleOutput(ParallelStyle):
    """Make the outputs of a module distributed tensors, and bring them to where they are wanted.

    Args:
        output_layouts, desired_output_layouts: how each output lies and is to lie; ``None`` for what stays as it is
        use_local_output: whether the caller gets ordinary tensors
    """

    def __init__(
        self, *, output_layouts: Placement | Sequence[Placement | None], desired_output_layouts: Placement | Sequence[Placement | None],
        use_local_output: bool = True,
    ) -> None:  # fmt: skip
        self.output_layouts, self.desired_output_layouts = _several(output_layouts), _several(desired_output_layouts)
        self.use_local_output = use_local_output
        if len(self.output_layouts) != len(self.desired_output_layouts):
            raise AssertionError("output_layouts and desired_output_layouts should have same length!")

    def _after(self, output: Any, mesh: DeviceMesh) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        if len(outputs) != len(self.output_layouts):
            raise ValueError(
                f"module outputs and output_layouts should have same length: there are {len(outputs)} and {len(self.output_layouts)}"
            )
        found = tuple([
            each if layout is None else _local(_placed(each, mesh, layout, wanted), self.use_local_output)
            for each, layout, wanted in zip(outputs, self.output_layouts, self.desired_output_layouts)
        ])  # fmt: skip
        return found if isinstance(output, tuple) else found[0]

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        module.register_forward_hook(lambda part, inputs, output: self._after(output, device_mesh))
        return module


class PrepareModuleInputOutput(ParallelStyle):
    """``PrepareModuleInput`` and ``PrepareModuleOutput`` together."""

    def __init__(
        self, *, input_layouts: Any = None, desired_input_layouts: Any = None, input_kwarg_layouts: dict[str, Placement] | None = None,
        desired_input_kwarg_layouts: dict[str, Placement] | None = None, use_local_input: bool = False, output_layouts: Any,
        desired_output_layouts: Any, use_local_output: bool = True,
    ) -> None:  # fmt: skip
        self.prepare_module_input = PrepareModuleInput(
            input_layouts=input_layouts, desired_input_layouts=desired_input_layouts, input_kwarg_layouts=input_kwarg_layouts,
            desired_input_kwarg_layouts=desired_input_kwarg_layouts, use_local_output=use_local_input,
        )  # fmt: skip
        self.prepare_module_output = PrepareModuleOutput(
            output_layouts=output_layouts, desired_output_layouts=desired_output_layouts, use_local_output=use_local_output
        )

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        self.prepare_module_input._apply(module, device_mesh)
        return self.prepare_module_output._apply(module, device_mesh)
