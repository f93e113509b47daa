"""``torch.nested``: batches of tensors that differ in size.

``torch.jagged`` is the layout of pieces that differ in one dimension: their rows lie one after the other in one tensor, and operators are
operators on these. ``torch.strided`` is the older one, for pieces of any sizes. What is computed with them is recorded as work on the tensors
they are made of (see ``tensor.py``), and is differentiable.
"""

from __future__ import annotations

from flambeau.nested.creation import as_nested_tensor, masked_select, narrow, nested_tensor, nested_tensor_from_jagged, to_padded_tensor

__all__ = ["as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged", "to_padded_tensor"]
