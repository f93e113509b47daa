"""Making distributed tensors, and modules of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.device_mesh import DeviceMesh, current_mesh
from flambeau.distributed.tensor.dtensor import DTensor, wrap
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate
from flambeau.distributed.tensor.redistribute import move
from flambeau.distributed.tensor.spec import DTensorSpec, local_shape_and_offset, normalized

__all__ = ["distribute_module", "distribute_tensor", "empty", "full", "ones", "rand", "randn", "zeros"]


def whole_mesh(mesh: DeviceMesh | None) -> DeviceMesh:
    """A mesh; that of the innermost ``with mesh:``, or all processes in a row, if none is given."""
    if mesh is not None:
        if not isinstance(mesh, DeviceMesh):
            raise TypeError(f"device_mesh is a DeviceMesh, not a {type(mesh).__name__}")
        return mesh
    return current_mesh() or distributed.init_device_mesh("cpu", (distributed.get_world_size(),))


def same_everywhere(tensor: Tensor, mesh: DeviceMesh, placements: Sequence[Placement], source: int = 0) -> Tensor:
    """A copy that is the same along each dimension of the mesh where it is whole: what the process at ``source`` there has."""
    copied = tensor.detach().clone(memory_format=flambeau.contiguous_format)
    for axis, each in enumerate(placements):
        group = mesh.get_group(axis)
        if isinstance(each, Replicate) and mesh.get_coordinate() is not None and mesh.size(axis) > 1:
            distributed.broadcast(copied, group=group, group_src=source)
    return copied.requires_grad_(tensor.requires_grad)


def distribute_tensor(
    tensor: Tensor, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *, src_data_rank: int | None = 0
) -> DTensor:
    """A tensor that all processes have (of the same shape), shared out.

    Args:
        tensor: a leaf of the graph; or a distributed one, which has to lie as ``placements`` say
        device_mesh: the processes; all, by default
        placements: how it is to lie; whole in each, by default
        src_data_rank: whose numbers count, along each dimension of the mesh; ``None`` if each process takes its piece of its own

    Raises:
        RuntimeError: the tensor is no leaf
        ValueError: it lies in another way already, or a placement is ``Partial``

    Example::

        mesh = init_device_mesh("cpu", (2,))
        weight = distribute_tensor(torch.randn(8, 4), mesh, [Shard(0)])
        weight.to_local().shape   # (4, 4)
    """
    mesh = whole_mesh(device_mesh)
    wanted = normalized(placements, mesh, tensor.dim())
    if isinstance(tensor, DTensor):
        if tensor.device_mesh != mesh or tensor.placements != wanted:
            raise ValueError(f"the tensor is distributed already, as {tensor.placements} on {tensor.device_mesh}: use redistribute()")
        return tensor
    if not tensor.is_leaf:
        raise RuntimeError("`distribute_tensor` should be used to distribute leaf tensors! but found non-leaf tensor!")
    if any(isinstance(each, Partial) for each in wanted):
        raise ValueError(
            f"a tensor is shared out by Shard(dim) and Replicate(), not by {wanted}: use DTensor.from_local() for parts of a sum"
        )
    whole = (Replicate(),) * mesh.ndim
    data = tensor.detach() if src_data_rank is None else same_everywhere(tensor, mesh, whole, src_data_rank).detach()
    piece = move(data, mesh, tensor.shape, whole, wanted)
    if mesh.get_coordinate() is None:
        piece = data.new_empty(0)
    if piece.memory is tensor.memory or piece.memory.nbytes > piece.numel() * piece.element_size():
        piece = piece.clone()
    return wrap(piece, DTensorSpec(mesh, wanted, tensor.shape, tensor.stride())).requires_grad_(tensor.requires_grad)


def distribute_module(
    module: Any, device_mesh: DeviceMesh | None = None, partition_fn: Callable | None = None, input_fn: Callable | None = None,
    output_fn: Callable | None = None,
) -> Any:  # fmt: skip
    """Make the parameters and buffers of a module distributed tensors, in place.

    Args:
        partition_fn: ``partition_fn(name, submodule, mesh)`` shares out what it likes; the rest becomes whole in each process
        input_fn: ``input_fn(module, inputs, mesh)`` returns what ``forward`` gets
        output_fn: ``output_fn(module, outputs, mesh)`` returns what the caller gets
    """
    mesh = whole_mesh(device_mesh)
    for name, part in module.named_modules():
        if partition_fn is not None:
            partition_fn(name, part, mesh)
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not isinstance(parameter, DTensor):
                part.register_parameter(name, flambeau.nn.Parameter(distribute_tensor(parameter.data, mesh), parameter.requires_grad))
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, DTensor):
                part._buffers[name] = distribute_tensor(buffer, mesh)
    if input_fn is not None:
        module.register_forward_pre_hook(lambda part, inputs: input_fn(part, inputs, mesh))
    if output_fn is not None:
        module.register_forward_hook(lambda part, inputs, outputs: output_fn(part, outputs, mesh))
    return module


# -- creation --------------------------------------------------------------------------------------------------------


def _made(
    make: Callable,
    size: Sequence[Any],
    dtype: Any,
    requires_grad: bool,
    device_mesh: DeviceMesh | None,
    placements: Any,
    whole: bool = False,
) -> DTensor:
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    mesh = whole_mesh(device_mesh)
    wanted = normalized(placements, mesh, len(shape))
    if any(isinstance(each, Partial) for each in wanted):
        raise ValueError(f"a new tensor lies as Shard(dim) and Replicate() say, not as {wanted}")
    if whole:  # the numbers that one process would draw
        piece = move(make(shape, dtype=dtype), mesh, shape, (Replicate(),) * mesh.ndim, wanted).clone()
    else:
        piece = make(local_shape_and_offset(shape, mesh, wanted)[0], dtype=dtype)
    return wrap(piece, DTensorSpec(mesh, wanted, shape)).requires_grad_(requires_grad)


def _creation(name: str, about: str, random: bool = False) -> Callable:
    make = getattr(flambeau, name)

    def create(
        *size: Any, dtype: Any = None, layout: Any = flambeau.strided, requires_grad: bool = False, device_mesh: DeviceMesh | None = None,
        placements: Sequence[Placement] | None = None,
    ) -> DTensor:  # fmt: skip
        return _made(make, size, dtype, requires_grad, device_mesh, placements, random)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{about}, lying in the processes of ``device_mesh`` as ``placements`` say (whole in each, by default)."
    return create


zeros = _creation("zeros", "A tensor of zeros")
ones = _creation("ones", "A tensor of ones")
empty = _creation("empty", "A tensor whose numbers are not set")
rand = _creation("rand", "Uniform random numbers, the same that one process would draw,", random=True)
randn = _creation("randn", "Normal random numbers, the same that one process would draw,", random=True)


def full(
    size: Any, fill_value: Any, *, dtype: Any = None, layout: Any = flambeau.strided, requires_grad: bool = False,
    device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None,
) -> DTensor:  # fmt: skip
    """A tensor of equal numbers, lying in the processes of ``device_mesh`` as ``placements`` say (whole in each, by default)."""
    return _made(lambda shape, dtype: flambeau.full(shape, fill_value, dtype=dtype), (size,), dtype, requires_grad, device_mesh, placements)
