"""What lies behind a storage of one sample: the same for all samples, in a tensor with one dimension more.

A function that is mapped sees tensors of one sample, with shapes, strides and storages of their own. Behind such a storage stands a tensor of
all samples; ``layout`` says which elements of the small storage it shows:

```
one sample:   layout (3, 4), strides (4, 1), in a storage of 12 elements
all samples:  tensor (B, 3, 4), whose strides are its own affair
```

Where the strides after the first agree, every view of the small storage is a view of the large one with the same strides and one more. Where
they do not (the result of a product that came out transposed, say), the first view that is not ``layout`` itself copies the tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.copying import TO, view_as_complex, view_as_real
from flambeau._ops.registry import FUNCTIONS, OPERATORS, new_tensor
from flambeau._ops.views import AS_STRIDED, ViewOperator, expand, make_view, permute, reshape
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class Samples:
    """The elements of one storage in every sample.

    Attributes:
        tensor: ``(B, *layout.shape)``
        layout: what of the storage of one sample the tensor shows
        shared: the tensor is one that was given to the mapped function, so that writes must go to its memory
    """

    __slots__ = ("layout", "shared", "tensor")

    def __init__(self, tensor: Tensor, layout: Layout, shared: bool = False) -> None:
        self.tensor = tensor
        self.layout = layout
        self.shared = shared

    def read(self, layout: Layout) -> Tensor:
        """What a layout shows of the storage: ``(B, *layout.shape)``."""
        if layout is self.layout:
            return self.tensor
        shown = self._shown(layout)
        if shown is None:
            self._straighten()
            shown = self._shown(layout)
            assert shown is not None
        if self.tensor.node is None and not self.shared:
            return new_tensor(self.tensor.memory, shown)
        return make_view(self.tensor, shown, SHOWN, self.layout, layout)

    def _shown(self, layout: Layout) -> Layout | None:
        """The layout of a view of all samples; ``None`` if the tensor lies in another order than one sample says."""
        all_samples, own = self.tensor.layout, self.layout
        for size, stride, wanted in zip(own.shape, all_samples.strides[1:], own.strides, strict=True):
            if size != 1 and stride != wanted and own.numel:
                return None
        step, start = all_samples.strides[0], all_samples.offset - own.offset
        if layout.dtype is not own.dtype:
            (step, rest), (start, other) = (divmod(each * own.dtype.itemsize, layout.dtype.itemsize) for each in (step, start))
            if rest or other:
                return None
        return lay.layout((all_samples.shape[0], *layout.shape), (step, *layout.strides), start + layout.offset, layout.dtype)

    def _straighten(self) -> None:
        """Copy the tensor so that each sample lies as one sample says."""
        layout = self.layout
        self.tensor = TO(self.tensor, statics=(of_all(layout, self.tensor.layout.shape[0], layout.extent),))

    def replace(self, layout: Layout, value: Tensor, elements: int) -> None:
        """Let the elements that a layout shows be those of ``value``, ``(B, *layout.shape)``; the storage has so many elements of the dtype.

        The tensor that was there stays as it is, for those who have saved it.
        """
        value = FUNCTIONS.cast(value, layout.dtype)
        if layout.dense and layout.numel == elements:
            self.tensor, self.layout = value, layout
            return
        whole = lay.contiguous((elements,), layout.dtype)
        base = self.read(whole)
        place = of_all(layout, base.layout.shape[0], elements)
        self.tensor, self.layout = OPERATORS["_replace"](base, value, statics=(place,)), whole


class Detached:
    """The elements of another storage without their history."""

    __slots__ = ("source",)

    def __init__(self, source: Samples | Detached) -> None:
        self.source: Samples = source.source if isinstance(source, Detached) else source

    @property
    def shared(self) -> bool:
        return self.source.shared

    @property
    def tensor(self) -> Tensor:
        return self.source.tensor.detach()

    @property
    def layout(self) -> Layout:
        return self.source.layout

    def read(self, layout: Layout) -> Tensor:
        """As ``Samples.read``."""
        return self.source.read(layout).detach()

    def replace(self, layout: Layout, value: Tensor, elements: int) -> None:
        """As ``Samples.replace``."""
        self.source.replace(layout, value, elements)


def of_all(layout: Layout, size: int, elements: int) -> Layout:
    """The layout of all samples in new memory, where each has so many elements."""
    return lay.layout((size, *layout.shape), (elements, *layout.strides), layout.offset, layout.dtype)


# -- the gradient of a view ------------------------------------------------------------------------------------------


def _shown_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    """The gradient of all samples, ``(B, *own.shape)``, given that of a view of them."""
    own, layout = statics
    if own.dtype.is_complex and not layout.dtype.is_complex:
        pairs = lay.layout((*own.shape, 2), (*[2 * stride for stride in own.strides], 1), 2 * own.offset, layout.dtype)
        return view_as_complex(_shown_gradient(grad, _doubled(source, layout.dtype), (pairs, layout)).contiguous())
    if layout.dtype.is_complex and not own.dtype.is_complex:
        pairs = lay.layout((*layout.shape, 2), (*[2 * stride for stride in layout.strides], 1), 2 * layout.offset, own.dtype)
        return _shown_gradient(view_as_real(grad), source, (own, pairs))
    repeated = [axis + 1 for axis, (size, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)) if size > 1 and not stride]
    if repeated:
        grad = grad.sum(repeated, keepdim=True)
        shape = tuple(1 if axis + 1 in repeated else size for axis, size in enumerate(layout.shape))
        layout = lay.layout(shape, layout.strides, layout.offset, layout.dtype)
    if own.dense and layout.dense and own.numel == layout.numel and own.offset == layout.offset:
        return _unflattened(_flattened(grad, layout), own)
    step = source.strides[0]
    return AS_STRIDED.formula(
        grad, source, ((source.shape[0], *layout.shape), (step, *layout.strides), source.offset - own.offset + layout.offset)
    )


def _doubled(source: Layout, dtype: Any) -> Layout:
    strides = (*[2 * stride for stride in source.strides], 1)
    return lay.layout((*source.shape, 2), strides, 2 * source.offset, dtype)


def _flattened(grad: Tensor, layout: Layout) -> Tensor:
    """``(B, n)``: each sample in the order of memory."""
    order = lay.memory_order(layout)
    return reshape(permute(grad, 0, *[axis + 1 for axis in order]), grad.layout.shape[0], layout.numel)


def _unflattened(flat: Tensor, layout: Layout) -> Tensor:
    """What ``_flattened`` makes flat."""
    order = lay.memory_order(layout)
    sorted_shape = [layout.shape[axis] for axis in order]
    return permute(reshape(flat, flat.layout.shape[0], *sorted_shape), 0, *[order.index(axis) + 1 for axis in range(layout.ndim)])


SHOWN = ViewOperator("view", _shown_gradient)


def repeated(tensor: Tensor, size: int) -> Tensor:
    """``(B, *shape)``, where all samples are the same."""
    return expand(tensor, size, *tensor.layout.shape)
