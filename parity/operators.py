"""Operators: every sample of PyTorch's `op_db`, in every form in which an operator can be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

from parity.calls import Call, cotangents_for, describe
from parity.check import Check, Once, first_line, same_error
from parity.compare import SELF, Comparison, MismatchError, tensors_in, widen
from parity.derivative import WRONG, differences
from parity.gauge import GAUGES
from parity.translate import MissingError, Translator

# What PyTorch refuses and the package, by its documentation, does.
BEYOND = ("padding='same' is not supported for strided convolutions",)

# In the database, but not public: reached through `torch.ops` or `torch._C` alone, or only meant for a GPU.
NOT_PUBLIC = {
    "bmm_triton_optimized",
    "max_pool2d_with_indices_backward",
    "native_dropout_backward",
    "slice",
    "torch_ops_aten__safe_softmax_default",
}

# Memory that nobody has written yet has no values to compare.
UNWRITTEN = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_"}


def operators() -> dict[str, Any]:
    """The public operators of the database that run on a CPU, by name."""
    return {op.formatted_name: op for op in op_db if is_public(op)}


def is_public(op: Any) -> bool:
    last = op.name.rpartition(".")[2]
    hidden = last.startswith("_") and not last.endswith("__") and op.op is not torch.segment_reduce
    return not hidden and op.formatted_name not in NOT_PUBLIC and "jiterator" not in op.name and bool(op.supported_dtypes("cpu"))


class OperatorCheck(Check):
    """Checks one operator of the package against PyTorch.

    Attributes:
        seed: of the vectors that are pulled back
        widen: gives the same arguments in the precision that rounding is judged by
    """

    seed = 1
    widen = staticmethod(widen)

    def __init__(self, op: Any, translator: Translator, limit: int | None = None) -> None:
        super().__init__(op, op.op, translator, limit)
        self.op = op
        self.exact = op.op

    def samples(self, ours: Callable[..., Any], dtype: torch.dtype) -> None:
        differentiable = self.op.supports_autograd and dtype in self.op.supported_backward_dtypes("cpu")
        unwritten = self.op.formatted_name in UNWRITTEN
        forms = [] if unwritten else list(self._forms())
        for number, sample in enumerate(islice(self.op.sample_inputs("cpu", dtype, requires_grad=differentiable), self.limit)):
            args = (sample.input, *sample.args)
            self.report.samples += 1
            try:
                theirs = self._function(ours, sample, args)
                for form, torch_form, our_form in forms:
                    self._form(form, torch_form, our_form, theirs, sample, args)
                if self.op.supports_out and theirs.error is None and not unwritten:
                    self._out(ours, theirs, sample, args)
            except (MismatchError, MissingError) as error:
                raise type(error)(f"sample {number}: {error}: {describe(self.op.name, args, sample.kwargs)}") from None
        if differentiable and self.op.formatted_name in WRONG and self.report.note is None:
            raise MismatchError("PyTorch's gradient is right: it need not be compared with differences")

    def _function(self, ours: Callable[..., Any], sample: Any, args: tuple[Any, ...]) -> Call:
        """The function itself, with gradients; returns PyTorch's side."""
        their_args, their_kwargs = SELF((args, sample.kwargs))
        versions = [tensor._version for tensor in tensors_in([their_args, their_kwargs], torch.Tensor)]
        theirs = Call(torch, self.op.op, their_args, their_kwargs).run()
        mine = Call(self.translator.package, ours, *self.translator((args, sample.kwargs))).run()
        same_error(mine, theirs, self.comparison)
        if theirs.error is not None:
            return theirs
        exact = Once(lambda: Call(torch, self.exact, *self.widen(SELF((args, sample.kwargs)))).run())
        process = sample.output_process_fn_grad
        if self.op.formatted_name in UNWRITTEN:
            self.comparison.results(mine.result, theirs.result, values=False)
            return theirs
        self._results(mine, theirs, exact)
        self.comparison.aliasing(mine.result, [mine.args, mine.kwargs], theirs.result, [theirs.args, theirs.kwargs])
        changed = [i for i, tensor in enumerate(theirs.tensors()) if tensor._version != versions[i]]
        for i in changed:
            self.comparison.results(mine.tensors()[i], theirs.tensors()[i], where=f"after the call, input {i}: ")
        self._gradients(mine, theirs, exact, process)
        return theirs

    def _results(self, mine: Call, theirs: Call, exact: Once) -> None:
        turn = GAUGES.get(self.op.formatted_name)
        if turn is None:
            self.comparison.results(mine.result, theirs.result, exact=lambda: exact().result)
            return
        self.comparison.results(mine.result, theirs.result, values=False)
        expected = tuple(map(SELF.back, theirs.result))
        turned = turn(tuple(map(self.translator.back, mine.result)), expected)
        Comparison(SELF).results(
            turned, expected, strides=False, exact=lambda: turn(tuple(map(SELF.back, exact().result)), tuple(map(widen, expected)))
        )

    def _gradients(self, mine: Call, theirs: Call, exact: Once, process: Callable[[Any], Any]) -> None:
        their_outputs = [out for out in tensors_in(process(theirs.result), torch.Tensor) if out.requires_grad]
        if not their_outputs or not any(tensor.requires_grad for tensor in theirs.tensors()):
            return
        our_process = self.translator.function(process)
        our_outputs = [out for out in tensors_in(our_process(mine.result), self.comparison.tensor_type) if out.requires_grad]
        if len(our_outputs) != len(their_outputs):
            raise MismatchError(f"{len(our_outputs)} outputs with gradients instead of {len(their_outputs)}")
        cotangents = cotangents_for(their_outputs, self.seed)
        their_gradients = theirs.gradients(their_outputs, cotangents)
        wrong = self.op.formatted_name in WRONG
        if wrong:
            their_gradients = self._by_differences(their_gradients, exact(), process, cotangents)
        try:
            our_gradients = mine.gradients(our_outputs, self.translator(cotangents))
        except Exception as error:
            raise MismatchError(f"backward: {type(error).__name__}: {first_line(error)}") from None

        def exact_gradients() -> list[Any]:
            outputs = [out for out in tensors_in(process(exact().result), torch.Tensor) if out.requires_grad]
            return exact().gradients(outputs, self.widen(cotangents))

        once = Once(exact_gradients)
        for number, (our_gradient, their_gradient) in enumerate(zip(our_gradients, their_gradients, strict=True)):
            if their_gradient is None and our_gradient is not None and our_gradient.numel() == 0:
                continue  # nothing can be said in two ways
            exact_gradient = None if wrong else (lambda number=number: once()[number])  # PyTorch's is as wrong in double precision
            self.comparison.results(our_gradient, their_gradient, exact=exact_gradient, strides=False, where=f"gradient {number}: ")

    def _by_differences(
        self, theirs: list[torch.Tensor], exact: Call, process: Callable[[Any], Any], cotangents: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """What PyTorch's gradients should be; says so in the report once they are not."""
        right = differences(exact, lambda result: list(tensors_in(process(result), torch.Tensor)), widen(cotangents))
        right = [expected.to(gradient.dtype) for expected, gradient in zip(right, theirs, strict=True)]
        if not all(torch.allclose(gradient, expected, rtol=1e-2, atol=1e-2) for gradient, expected in zip(theirs, right, strict=True)):
            self.report.note = "gradients are compared with differences: PyTorch's are not the derivative of what it computes"
        return right

    def _forms(self) -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any]]]:
        """The other ways to call the operator: as a method, through Python's operator, in place."""
        for form, variant in (
            ("method", self.op.get_method()),
            ("operator", self.op.get_operator()),
            ("in place", self.op.get_inplace()),
            ("in-place operator", self.op.get_inplace_operator()),
        ):
            if variant is not None and variant is not self.op.op:
                yield form, variant, self.translator.function(variant)

    def _form(
        self, form: str, torch_form: Callable[..., Any], our_form: Callable[..., Any], function: Call, sample: Any, args: tuple[Any, ...]
    ) -> None:
        operator = "operator" in form
        if operator and (len(args) > 2 or sample.kwargs):
            return
        theirs = Call(torch, torch_form, *SELF((args, sample.kwargs), requires_grad=False)).run()
        mine = Call(self.translator.package, our_form, *self.translator((args, sample.kwargs), requires_grad=False)).run()
        try:
            same_error(mine, theirs, self.comparison)
            if theirs.error is None:
                exact = Once(lambda: Call(torch, torch_form, *widen(SELF((args, sample.kwargs), requires_grad=False))).run())
                self._results(mine, theirs, exact)
                self.comparison.aliasing(mine.result, [mine.args, mine.kwargs], theirs.result, [theirs.args, theirs.kwargs])
        except MismatchError as error:
            raise MismatchError(f"{form}: {error}") from None

    def _out(self, ours: Callable[..., Any], function: Call, sample: Any, args: tuple[Any, ...]) -> None:
        """Into tensors that the caller made."""
        if not list(tensors_in(function.result, torch.Tensor)):
            return

        def out_like(result: Any) -> Any:
            if isinstance(result, torch.Tensor):
                return torch.zeros_like(result, requires_grad=False)
            return tuple(map(out_like, result))

        out = out_like(function.result)
        theirs = Call(torch, self.op.op, *self._with_out(SELF, args, sample.kwargs, out)).run()
        if theirs.error is not None:
            return  # this overload takes no out
        mine = Call(self.translator.package, ours, *self._with_out(self.translator, args, sample.kwargs, out)).run()
        try:
            same_error(mine, theirs, self.comparison)
            exact = Once(lambda: Call(torch, self.op.op, *widen(SELF((args, sample.kwargs), requires_grad=False))).run())
            self._results(mine, theirs, exact)
            self.comparison.aliasing(mine.result, [mine.kwargs["out"]], theirs.result, [theirs.kwargs["out"]])
        except MismatchError as error:
            raise MismatchError(f"out=: {error}") from None

    @staticmethod
    def _with_out(translate: Translator, args: Any, kwargs: Any, out: Any) -> tuple[Any, Any]:
        args, kwargs, out = translate((args, kwargs, out), requires_grad=False)
        return args, {**kwargs, "out": out}

    def error_inputs(self, ours: Callable[..., Any]) -> None:
        if self.op.error_inputs_func is None:
            return
        for number, case in enumerate(self.op.error_inputs("cpu")):
            sample = case.sample_input
            args = (sample.input, *sample.args)
            if any(tensor.device.type != "cpu" for tensor in tensors_in([args, sample.kwargs], torch.Tensor)):
                continue
            self.report.samples += 1
            try:
                theirs = Call(torch, self.op.op, *SELF((args, sample.kwargs))).run()
                if theirs.error is not None and not any(text in str(theirs.error) for text in BEYOND):
                    mine = Call(self.translator.package, ours, *self.translator((args, sample.kwargs))).run()
                    same_error(mine, theirs, self.comparison)
            except (MismatchError, MissingError) as error:
                raise type(error)(f"error {number}: {error}: {describe(self.op.name, args, sample.kwargs)}") from None
