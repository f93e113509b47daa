"""The named tuples that functions of several results return, with PyTorch's names."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from flambeau._ops.arguments import into


def _repr(self: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
    return f"torch.return_types.{type(self).__name__}(\n{fields})"


def _make(name: str, *fields: str) -> type:
    made = namedtuple(name, fields)
    return type(name, (made,), {"__slots__": (), "__repr__": _repr, "__module__": "flambeau.return_types"})


aminmax = _make("aminmax", "min", "max")
cummax = _make("cummax", "values", "indices")
cummin = _make("cummin", "values", "indices")
frexp = _make("frexp", "mantissa", "exponent")
histogram = _make("histogram", "hist", "bin_edges")
histogramdd = _make("histogramdd", "hist", "bin_edges")
kthvalue = _make("kthvalue", "values", "indices")
max = _make("max", "values", "indices")
median = _make("median", "values", "indices")
min = _make("min", "values", "indices")
mode = _make("mode", "values", "indices")
nanmedian = _make("nanmedian", "values", "indices")
sort = _make("sort", "values", "indices")
topk = _make("topk", "values", "indices")


def several(kind: type, out: Any, *results: Any) -> Any:
    """The results as a named tuple, written into the tensors of ``out=`` if there are any."""
    return kind(*(results if out is None else into(out, results)))
