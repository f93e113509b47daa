"""``DTensor``: a tensor that lies in several processes.

The object *is* the piece that this process has: its storage, its layout and its gradient node are those of the piece, so that
optimizers, ``backward`` and whatever else goes to a tensor's memory work on the piece. What is asked of it by name, its shape or a
sum, is that of the whole tensor: functions come here by ``__torch_function__``, and ``table.py`` says what they do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops.node import HookHandle
from flambeau._ops.registry import new_tensor
from flambeau._tensor import overriding
from flambeau._tensor.size import Size
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard, _StridedShard
from flambeau.distributed.tensor.redistribute import Redistribute, RedistributeGradient, averaged, dual, move
from flambeau.distributed.tensor.spec import DTensorSpec, contiguous_strides, local_shape_and_offset, normalized

__all__ = ["DTensor"]


class DTensor(Tensor):
    """A tensor that lies in the processes of a mesh, whole or in pieces.

    Make one with ``distribute_tensor``, ``DTensor.from_local`` or the creation functions of ``torch.distributed.tensor``. Functions
    of such tensors compute on the pieces, and exchange what they need; all processes have to call them, in the same order. Gradients
    of a tensor lie as the tensor does.

    Attributes:
        device_mesh: the processes
        placements: how it lies along each dimension of the mesh
    """

    keeps_class_as_parameter = True
    _spec: DTensorSpec

    def __new__(cls, local_tensor: Tensor, spec: DTensorSpec, *, requires_grad: bool = False) -> DTensor:
        if not isinstance(spec, DTensorSpec):
            raise TypeError(
                "a DTensor is made by DTensor.from_local(local, mesh, placements) or distribute_tensor(tensor, mesh, placements)"
            )
        return wrap(local_tensor.detach(), spec).requires_grad_(requires_grad)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from flambeau.distributed.tensor.table import call

        return call(func, args, kwargs or {})

    # -- from and to pieces ------------------------------------------------------------------------------------------

    @staticmethod
    def from_local(
        local_tensor: Tensor, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *,
        run_check: bool = False, shape: Sequence[int] | None = None, stride: Sequence[int] | None = None,
        grad_placements: Sequence[Placement] | None = None,
    ) -> DTensor:  # fmt: skip
        """The tensor of which ``local_tensor`` is this process's piece.

        Args:
            device_mesh: the processes; all, by default
            placements: how it lies there; whole in each, by default
            run_check: have what should be equal in several processes be that of the first of them
            shape, stride: of the whole tensor; if they are not given all pieces are taken to be as large as this one
            grad_placements: how the gradient is to lie that goes to ``local_tensor``; as the tensor does, by default

        Raises:
            ValueError: ``shape`` and the placements mean a piece of another shape
        """
        from flambeau.distributed.tensor.api import whole_mesh

        mesh = whole_mesh(device_mesh)
        wanted = normalized(placements, mesh, local_tensor.dim())
        sizes = list(local_tensor.shape)
        if shape is None:
            for axis, each in enumerate(wanted):
                if isinstance(each, (Shard, _StridedShard)):
                    sizes[each.dim] *= mesh.size(axis)
        else:
            sizes = list(shape)
            own = local_shape_and_offset(sizes, mesh, wanted)[0]
            if mesh.get_coordinate() is not None and own != tuple(local_tensor.shape):
                raise ValueError(
                    f"shape={tuple(sizes)} lies as a piece of {list(own)} here, but local_tensor is {list(local_tensor.shape)}"
                )
        if run_check:
            from flambeau.distributed.tensor.api import same_everywhere

            local_tensor = same_everywhere(local_tensor, mesh, wanted)
        spec = DTensorSpec(mesh, wanted, sizes, stride)
        if local_tensor.requires_grad:
            local_tensor = _ToLocal.apply(local_tensor, spec, tuple(grad_placements) if grad_placements is not None else None, False)
        return wrap(local_tensor, spec)

    def to_local(self, *, grad_placements: Sequence[Placement] | None = None) -> Tensor:
        """This process's piece, an ordinary tensor that shares the memory.

        Args:
            grad_placements: how the gradient lies that comes back; as the tensor does, by default (whole, where that is ``Partial``)
        """
        local = local_of(self)
        if local.requires_grad:
            return _ToLocal.apply(local, self._spec, tuple(grad_placements) if grad_placements is not None else None, True)
        return local

    def redistribute(
        self, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *, async_op: bool = False,
        forward_dtype: Any = None, backward_dtype: Any = None,
    ) -> DTensor:  # fmt: skip
        """The tensor lying in another way in the same processes.

        Args:
            forward_dtype: the dtype of what is exchanged and of the result

        Raises:
            NotImplementedError: another mesh is given, or a dtype for the gradient
            RuntimeError: it would become ``Partial``
        """
        if device_mesh is not None and device_mesh != self.device_mesh:
            raise NotImplementedError("redistribute() between two meshes is not implemented: full_tensor() and distribute_tensor() do it")
        if placements is None:
            raise RuntimeError("placements is needed for redistribute!")
        if backward_dtype is not None:
            raise NotImplementedError("redistribute(backward_dtype=…) is not implemented: the gradient has the dtype of the tensor")
        wanted = normalized(placements, self.device_mesh, self.dim())
        for each, before in zip(wanted, self.placements):
            if isinstance(each, Partial) and each != before:
                raise RuntimeError(f"Can not redistribute from {before!r} to {each!r}: parts of a sum come from operators only")
        source = self if forward_dtype is None else self.to(forward_dtype)
        return moved(source, wanted)

    def full_tensor(self, *, grad_placements: Sequence[Placement] | None = None) -> Tensor:
        """The whole tensor, an ordinary one in each process."""
        whole = self.redistribute(placements=[Replicate()] * self.device_mesh.ndim)
        return whole.to_local(grad_placements=grad_placements)

    @property
    def device_mesh(self) -> DeviceMesh:
        """The processes."""
        return self._spec.mesh

    @property
    def placements(self) -> tuple[Placement, ...]:
        """How the tensor lies along each dimension of the mesh."""
        return self._spec.placements

    @property
    def _local_tensor(self) -> Tensor:
        return local_of(self)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return self._spec.shape

    def size(self, dim: int | None = None) -> Any:
        return self._spec.shape if dim is None else self._spec.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        return self._spec.stride if dim is None else self._spec.stride[dim]

    def numel(self) -> int:
        return self._spec.numel

    nelement = numel

    # What does not ask for elements is answered here, and not asked of ``__torch_function__``: rules ask often.

    def dim(self) -> int:
        return len(self._spec.shape)

    ndimension = dim
    ndim = property(dim)
    dtype = property(lambda self: self.layout.dtype)
    requires_grad = property(lambda self: self.node is not None, lambda self, value: self.requires_grad_(value))

    def is_floating_point(self) -> bool:
        return self.layout.dtype.is_floating_point

    @property
    def nbytes(self) -> int:
        return self.numel() * self.element_size()

    def is_contiguous(self, memory_format: Any = flambeau.contiguous_format) -> bool:
        return list(self._spec.stride) == contiguous_strides(self._spec.shape)

    def __len__(self) -> int:
        if not self._spec.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._spec.shape[0]

    def __iter__(self) -> Any:
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        return bool(self.full_tensor())

    def __hash__(self) -> int:
        return id(self)

    def item(self) -> Any:
        return self.full_tensor().item()

    def tolist(self) -> Any:
        return self.full_tensor().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("a DTensor lies in several processes: use full_tensor().numpy(), or to_local().numpy() for this process's piece")

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        return self.numpy()

    T = property(lambda self: self.t() if self.dim() <= 2 else self.permute(*reversed(range(self.dim()))))
    mT = property(lambda self: self.transpose(-2, -1))

    # -- autograd -----------------------------------------------------------------------------------------------------

    @property
    def grad(self) -> Any:
        """The gradient, which lies as the tensor does."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, DTensor):  # by ``backward``, for the piece
            value = self.gradient_of_piece(value)
        if value is not None and value.shape != self.shape:
            raise RuntimeError(
                f"assigned grad has data of a different size: it has shape {list(value.shape)}, the tensor {list(self.shape)}"
            )
        self.__dict__["_grad"] = value

    @grad.deleter
    def grad(self) -> None:
        self.__dict__["_grad"] = None

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None) -> None:
        if gradient is None and self.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        given = (
            None if gradient is None else local_of(moved(gradient, dual(self.placements))) if isinstance(gradient, DTensor) else gradient
        )
        flambeau.autograd.backward(self, given, retain_graph, create_graph, inputs=inputs)

    def first_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of this process's piece, of one that a backward pass begins with."""
        if isinstance(gradient, DTensor):
            gradient = local_of(moved(gradient, dual(self.placements)))
        parts = averaged(self.device_mesh, self.placements)
        return gradient if parts == 1 else gradient / parts

    def gradient_of_piece(self, gradient: Tensor) -> DTensor:
        """The gradient of the tensor, of that of this process's piece."""
        return wrap(gradient, self._spec.with_placements(dual(self.placements)))

    def register_hook(self, hook: Callable) -> HookHandle:
        return local_of(self).register_hook(_of_distributed(hook, self._spec))

    def register_post_accumulate_grad_hook(self, hook: Callable) -> HookHandle:
        def asked(tensor: Tensor) -> None:
            with _Enabled():
                hook(tensor)

        return Tensor.register_post_accumulate_grad_hook(self, asked)

    def detach(self) -> DTensor:
        return wrap(local_of(self).detach(), self._spec)

    @property
    def data(self) -> DTensor:
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, DTensor):
            raise TypeError(f"the data of a DTensor is a DTensor, not a {type(value).__name__}")
        self.memory, self.layout = value.memory, value.layout
        self.__dict__["_spec"] = value._spec

    # -- copies -------------------------------------------------------------------------------------------------------

    def untyped_storage(self) -> Any:
        return local_of(self).untyped_storage()

    def __deepcopy__(self, memo: dict) -> Any:
        if not self.is_leaf:
            raise RuntimeError("Only tensors that are leaves of the graph can be copied by deepcopy: detach() them first")
        if id(self) in memo:
            return memo[id(self)]
        made = wrap(local_of(self).detach().clone(), self._spec).requires_grad_(self.requires_grad)
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            if name not in ("_spec", "_views"):
                made.__dict__[name] = copy.deepcopy(value, memo)
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple:
        raise RuntimeError(
            "a DTensor cannot be pickled, since its processes cannot: save to_local() or full_tensor(), or use torch.distributed.checkpoint"
        )

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        text = f"DTensor(local_tensor={local_of(self).detach()!r}, device_mesh={self.device_mesh!r}, placements={self.placements!r})"
        return f"Parameter containing:\n{text}" if self.__dict__.get("_is_param") else text

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec) if self.dim() else format(self.item(), spec)

    def __create_chunk_list__(self) -> list:
        from flambeau.distributed.checkpoint.metadata import ChunkStorageMetadata

        sizes, offsets = local_shape_and_offset(self.shape, self.device_mesh, self.placements)
        return [ChunkStorageMetadata(Size(offsets), Size(sizes))]


# -- inside ---------------------------------------------------------------------------------------------------------


def wrap(local: Tensor, spec: DTensorSpec) -> DTensor:
    """The distributed tensor of which ``local`` is this process's piece, with its history."""
    overriding.activate()
    made = object.__new__(DTensor)
    made.memory, made.layout, made.node, made.output_nr, made.base = local.memory, local.layout, local.node, local.output_nr, None
    made.__dict__["_spec"] = spec
    return made


def local_of(tensor: DTensor) -> Tensor:
    """This process's piece with its history, in which no exchange is recorded."""
    local: Any = new_tensor(tensor.memory, tensor.layout)
    local.node, local.output_nr = tensor.node, tensor.output_nr
    return local


def moved(tensor: DTensor, placements: Sequence[Placement]) -> DTensor:
    """The tensor lying in another way."""
    spec = tensor._spec
    if tuple(placements) == spec.placements:
        return tensor
    local = local_of(tensor)
    records = local.requires_grad and flambeau.is_grad_enabled()
    function = Redistribute.apply if records else move
    if not records:
        local = local.detach()
    return wrap(function(local, spec.mesh, spec.shape, spec.placements, tuple(placements)), spec.with_placements(placements))


class _ToLocal(flambeau.autograd.Function):
    """A piece as an ordinary tensor, or an ordinary tensor as a piece; the gradient is brought to where it has to lie."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, spec: DTensorSpec, grad_placements: Any, leaves: bool) -> Tensor:
        ctx.spec, ctx.grad_placements, ctx.leaves = spec, grad_placements, leaves
        return local.view_as(local)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        spec, own = ctx.spec, dual(ctx.spec.placements)
        if ctx.grad_placements is not None:
            given = normalized(ctx.grad_placements, spec.mesh, len(spec.shape))
            source, target = (given, own) if ctx.leaves else (own, given)
            if source != target:
                grad = RedistributeGradient.apply(grad, spec.mesh, spec.shape, source, target)
        parts = averaged(spec.mesh, spec.placements)
        if parts != 1:
            grad = grad / parts if ctx.leaves else grad * parts
        return grad, None, None, None


class _Enabled:
    """A context within a backward pass in which functions ask classes again: hooks of the user's run there."""

    def __enter__(self) -> None:
        self._before = overriding.STATE.classes
        overriding.STATE.classes = True

    def __exit__(self, *exception: object) -> None:
        overriding.STATE.classes = self._before


def _of_distributed(hook: Callable, spec: DTensorSpec) -> Callable:
    """A hook that is given the gradient as a distributed tensor."""
    spec = spec.with_placements(dual(spec.placements))

    def asked(grad: Tensor) -> Any:
        with _Enabled():
            result = hook(wrap(grad, spec))
            return local_of(moved(result, spec.placements)) if isinstance(result, DTensor) else result

    return asked
