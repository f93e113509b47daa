"""The meta device: every sample of PyTorch's `op_db` gives, without elements, the layouts that the package gives on the CPU."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch

from parity.calls import Call, describe
from parity.check import Check, first_line
from parity.compare import SELF, MismatchError, tensors_in
from parity.translate import Translator


class MetaCheck(Check):
    """Checks one operator of the package on its meta device against the same operator on the CPU.

    A sample that fails there is a gap, unless PyTorch's fails there as well: the result depends on the data.
    """

    def __init__(self, op: Any, translator: Translator, limit: int | None = None) -> None:
        super().__init__(op, op.op, translator, limit)
        self.op = op

    def samples(self, ours: Any, dtype: torch.dtype) -> None:
        package = self.translator.package
        differentiable = self.op.supports_autograd and dtype in self.op.supported_backward_dtypes("cpu")
        for number, sample in enumerate(islice(self.op.sample_inputs("cpu", dtype, requires_grad=differentiable), self.limit)):
            args = (sample.input, *sample.args)
            self.report.samples += 1
            here = Call(package, ours, *self.translator((args, sample.kwargs))).run()
            there = Call(package, ours, *on_meta(package, self.translator((args, sample.kwargs)))).run()
            if here.error is not None:
                continue
            try:
                if there.error is not None:
                    self._excuse(there.error, args, sample.kwargs)
                else:
                    compare(package, here, there)
            except MismatchError as error:
                raise MismatchError(f"sample {number}: {error}: {describe(self.op.name, args, sample.kwargs)}") from None

    def _excuse(self, error: Exception, args: Any, kwargs: Any) -> None:
        theirs = Call(torch, self.op.op, *on_meta(torch, SELF((args, kwargs)))).run()
        if theirs.error is None:
            raise MismatchError(f"{type(error).__name__}: {first_line(error)}")
        self.report.note = "depends on data"

    def error_inputs(self, ours: Any) -> None:
        """What is wrong with shapes is wrong on any device: nothing that the check on the CPU does not see."""


def compare(package: Any, here: Call, there: Call) -> None:
    """Compare the results of a call on the CPU and on the meta device, and the gradients of its inputs.

    Raises:
        MismatchError: they differ in number, shape, dtype, strides, or in whether they require a gradient
    """
    results = [list(tensors_in(each.result, package.Tensor)) for each in (here, there)]
    _same(*results)
    if there.tensors() and not all(each.is_meta for each in results[1]):
        raise MismatchError("a result is on the CPU")
    tracked = [[each for each in result if each.requires_grad and each.layout == package.strided] for result in results]
    if not tracked[0] or not any(tensor.requires_grad for tensor in here.tensors()):
        return
    _same(
        *[
            [each for each in _gradients(package, call, outputs) if each is not None]
            for call, outputs in zip((here, there), tracked, strict=True)
        ]
    )


def _gradients(package: Any, call: Call, outputs: list[Any]) -> list[Any]:
    try:
        return call.gradients(outputs, [package.ones_like(each) for each in outputs])
    except Exception as error:
        raise MismatchError(f"backward: {type(error).__name__}: {first_line(error)}") from None


def _same(here: list[Any], there: list[Any]) -> None:
    known = [[(tuple(each.shape), each.dtype, each.stride(), each.requires_grad) for each in tensors] for tensors in (here, there)]
    if known[0] != known[1]:
        raise MismatchError(f"{known[1]} on the meta device, {known[0]} on the CPU")


def on_meta(package: Any, value: Any) -> Any:
    """A value with all its tensors on the meta device, of the same strides."""
    if isinstance(value, package.Tensor):
        if value.layout != package.strided:
            return value.to("meta")
        memory = package.empty(value.untyped_storage().nbytes() // value.element_size(), dtype=value.dtype, device="meta")
        return memory.as_strided(value.shape, value.stride(), value.storage_offset()).detach().requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        parts = [on_meta(package, each) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: on_meta(package, each) for key, each in value.items()}
    return "meta" if isinstance(value, package.device) or value == "cpu" else value
