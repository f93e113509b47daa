"""Comparing what the package returned with what PyTorch returned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from parity.translate import Translator

# (rtol, atol), those of torch.testing.assert_close. Everything else must be equal.
TOLERANCES = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex32: (1e-3, 1e-5),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}
WIDER = {torch.complex32: torch.complex128, torch.complex64: torch.complex128} | dict.fromkeys(
    (torch.float16, torch.bfloat16, torch.float32), torch.float64
)


class MismatchError(Exception):
    """The two sides differ."""


def tensors_in(value: Any, kind: type) -> Iterator[Any]:
    """The tensors of a nested result or argument list, in order."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item, kind)


def widen(value: Any) -> Any:
    """The same arguments in float64 or complex128, from which a more exact result can be computed."""
    if isinstance(value, torch.Tensor):
        wide = value.detach().to(WIDER.get(value.dtype, value.dtype))
        return wide.requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return WIDER.get(value, value)
    if isinstance(value, tuple):
        return type(value)(*map(widen, value)) if hasattr(value, "_fields") else type(value)(map(widen, value))
    if isinstance(value, list):
        return [widen(item) for item in value]
    if isinstance(value, dict):
        return {key: widen(item) for key, item in value.items()}
    return value


SPARSE = {"torch.sparse_coo", "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc"}

SELF = Translator(torch)


class Comparison:
    """Compares results of one package with PyTorch's."""

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self.tensor_type = translator.lookup("torch.Tensor")

    def results(
        self, ours: Any, theirs: Any, *, exact: Callable[[], Any] | None = None, values: bool = True, strides: bool = True, where: str = ""
    ) -> None:
        """Compare nested results; `exact` computes PyTorch's result in double precision when rounding has to be judged."""
        if isinstance(theirs, torch.Tensor):
            if not isinstance(ours, self.tensor_type):
                raise MismatchError(f"{where}{type(ours).__name__} instead of a tensor")
            self.metadata(ours, theirs, strides, where)
            if values:
                self.values(ours, theirs, exact, where)
        elif isinstance(theirs, (list, tuple)) and not isinstance(theirs, torch.Size):
            if not isinstance(ours, (list, tuple)) or len(ours) != len(theirs):
                raise MismatchError(f"{where}{_describe(ours)} instead of {_describe(theirs)}")
            if isinstance(theirs, list) != isinstance(ours, list):
                raise MismatchError(f"{where}a {type(ours).__name__} instead of a {type(theirs).__name__}")
            for number, pair in enumerate(zip(ours, theirs, strict=True)):
                part = None if exact is None else (lambda number=number: exact()[number])
                self.results(*pair, exact=part, values=values, strides=strides, where=f"{where}[{number}] ")
        elif isinstance(theirs, dict):
            if list(ours) != list(theirs):
                raise MismatchError(f"{where}keys {list(ours)} != {list(theirs)}")
            for key in theirs:
                part = None if exact is None else (lambda key=key: exact()[key])
                self.results(ours[key], theirs[key], exact=part, values=values, strides=strides, where=f"{where}[{key!r}] ")
        elif isinstance(theirs, torch.nn.utils.rnn.PackedSequence):
            self.results(tuple(ours), tuple(theirs), where=where)
        elif isinstance(theirs, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            if str(ours) != str(theirs):
                raise MismatchError(f"{where}{ours} != {theirs}")
        elif isinstance(theirs, float) and isinstance(ours, float):
            if not math.isclose(ours, theirs, rel_tol=1.3e-6, abs_tol=1e-12) and not (math.isnan(ours) and math.isnan(theirs)):
                raise MismatchError(f"{where}{ours!r} != {theirs!r}")
        elif ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
            raise MismatchError(f"{where}{_describe(ours)} != {_describe(theirs)}")

    def metadata(self, ours: Any, theirs: torch.Tensor, strides: bool, where: str) -> None:
        if str(ours.dtype) != str(theirs.dtype):
            raise MismatchError(f"{where}dtype {ours.dtype} != {theirs.dtype}")
        if theirs.layout is not torch.strided and str(ours.layout) != str(theirs.layout):
            raise MismatchError(f"{where}layout {ours.layout} != {theirs.layout}")
        if tuple(ours.shape) != tuple(theirs.shape):
            raise MismatchError(f"{where}shape {tuple(ours.shape)} != {tuple(theirs.shape)}")
        if strides and theirs.layout is torch.strided and significant(ours) != significant(theirs):
            raise MismatchError(f"{where}strides {tuple(ours.stride())} != {theirs.stride()}")
        if ours.requires_grad != theirs.requires_grad:
            raise MismatchError(f"{where}requires_grad {ours.requires_grad} != {theirs.requires_grad}")

    def values(self, ours: Any, theirs: torch.Tensor, exact: Callable[[], Any] | None, where: str) -> None:
        actual = self.translator.back(ours)
        expected = SELF.back(theirs)
        if actual.dtype not in TOLERANCES:
            if not torch.equal(actual, expected):
                raise MismatchError(f"{where}{_worst(actual, expected)}")
            return
        if actual.dtype is torch.complex32:
            actual, expected = actual.to(torch.complex64), expected.to(torch.complex64)
        rtol, atol = TOLERANCES[theirs.dtype]
        if torch.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True).all():
            return
        if exact is not None and theirs.dtype in WIDER and self._as_exact(actual, expected, exact(), rtol, atol):
            return
        raise MismatchError(f"{where}{_worst(actual, expected)}")

    def _as_exact(self, actual: torch.Tensor, expected: torch.Tensor, exact: Any, rtol: float, atol: float) -> bool:
        """Two roundings may differ by more than the tolerance; then ours may be at most twice as far off as PyTorch's."""
        if not isinstance(exact, torch.Tensor) or exact.shape != actual.shape:
            return False
        exact = exact.detach()
        finite = torch.isfinite(actual) & torch.isfinite(expected) & torch.isfinite(exact)
        if not torch.isclose(actual[~finite], expected[~finite], rtol=rtol, atol=atol, equal_nan=True).all():
            return False

        def distance(values: torch.Tensor) -> float:
            error = (values.to(exact.dtype) - exact).abs() / (atol + rtol * exact.abs())
            return error[finite].max().item() if finite.any() else 0.0

        return distance(actual) <= 1 + 2 * distance(expected)

    def aliasing(self, ours: Any, our_inputs: Any, theirs: Any, their_inputs: Any) -> None:
        """Each output must be an input, a view of one, or neither, just as in PyTorch."""
        pairs = zip(tensors_in(ours, self.tensor_type), tensors_in(theirs, torch.Tensor), strict=True)
        inputs = list(zip(tensors_in(our_inputs, self.tensor_type), tensors_in(their_inputs, torch.Tensor), strict=True))
        for number, (our_output, their_output) in enumerate(pairs):
            for position, (our_input, their_input) in enumerate(inputs):
                expected = relation(their_output, their_input)
                actual = relation(our_output, our_input)
                if actual != expected:
                    raise MismatchError(f"output {number} is {actual} input {position}, in PyTorch {expected} it")


def relation(output: Any, source: Any) -> str:
    """How an output relates to an input, in words that fit before "input 0"."""
    if output is source:
        return "the same object as"
    if any(str(tensor.layout) in SPARSE or tensor.numel() == 0 for tensor in (output, source)):
        return "apart from"
    if storage_address(output) != storage_address(source):
        return "apart from"
    return f"a view (offset {output.storage_offset()}) of"


def storage_address(tensor: Any) -> int:
    return tensor.data_ptr() - tensor.storage_offset() * tensor.element_size()


def significant(tensor: Any) -> list[int] | None:
    """The strides that lead somewhere: those of dimensions longer than one, if there are elements at all."""
    if tensor.numel() == 0:
        return None
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def read(comparison: Comparison, ours: Any) -> None:
    """Read every tensor of a result, so that what was deferred happens now."""
    for tensor in tensors_in(ours, comparison.tensor_type):
        comparison.translator.back(tensor)


def _worst(actual: torch.Tensor, expected: torch.Tensor) -> str:
    wrong = ~torch.isclose(actual, expected, rtol=0, atol=0, equal_nan=True)
    if actual.dtype in TOLERANCES:
        wide = torch.complex128 if actual.is_complex() else torch.float64
        error = (actual.to(wide) - expected.to(wide)).abs().nan_to_num(math.inf)
        error[~wrong] = -1
    else:
        error = wrong.to(torch.int8)
    place = tuple(index.item() for index in torch.unravel_index(error.argmax(), error.shape))
    return f"{int(wrong.sum())} of {actual.numel()} values differ, at {list(place)} {actual[place].item()!r} != {expected[place].item()!r}"


def _describe(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
