"""Lines that ask for gradients: of an input or of something on the way, once or several times, and of gradients themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.samples.random_programs.writer import Writer


def has_history(each: Any) -> bool:
    return each.requires_grad and not _is_leaf(each)


def is_asked_for(each: Any) -> bool:
    return each.requires_grad and _is_leaf(each)


def _is_leaf(each: Any) -> bool:
    try:
        return each.is_leaf
    except RuntimeError:  # of a view whose base was written since, PyTorch may not say
        return False


def _cotangent(w: Writer, output: str) -> str:
    """What is pulled back through an output: of its shape and dtype, seldom of another shape."""
    tensor = w.look(output)
    shape = tuple(tensor.shape) if w.random.random() < 0.97 else w.shape()
    return w.fresh(shape, str(tensor.dtype)[6:])


def gradient(w: Writer, output: str, input: str, options: str = "") -> str:
    """A line for the gradient of one tensor with respect to another."""
    return f"{w.new()} = torch.autograd.grad({output}, {input}, {_cotangent(w, output)}, allow_unused=True, retain_graph=True{options})[0]"


def _gradient(w: Writer) -> str:
    output, input = w.pick(has_history), w.pick(lambda each: each.requires_grad)
    return gradient(w, output, input, ", create_graph=True" * (w.random.random() < 0.4))


def _of_two(w: Writer) -> str:
    first, second, input = w.pick(has_history), w.pick(has_history), w.pick(is_asked_for)
    cotangents = f"({_cotangent(w, first)}, {_cotangent(w, second)})"
    return f"{w.new()} = torch.autograd.grad(({first}, {second}), {input}, {cotangents}, allow_unused=True, retain_graph=True)[0]"


def _backward(w: Writer) -> str:
    output = w.pick(has_history)
    return f"{output}.backward({_cotangent(w, output)}, retain_graph={w.random.random() < 0.8})"


def _collected(w: Writer) -> str:
    return f"{w.new()} = {w.pick(lambda each: is_asked_for(each) and each.grad is not None)}.grad"


def _hooked(w: Writer) -> str:
    return f"{w.pick(lambda each: each.requires_grad)}.register_hook(lambda grad: grad * 2)"


def _without(w: Writer) -> str:
    """A line of which autograd is to know nothing."""
    x = w.pick()
    return "with torch.no_grad(): " + w.random.choice([f"{x}.mul_(2)", f"{w.view(x)}.add_(1)", f"{w.new()} = {x} + 1"])


def _input(w: Writer) -> str:
    return f"{w.new()} = {w.input()}"


def _cut(w: Writer) -> str:
    return f"{w.new()} = {w.pick()}.{w.random.choice(['detach()', 'detach().requires_grad_()', 'requires_grad_()', 'data'])}"


GRADIENTS: dict[Callable[[Writer], str], int] = {
    _gradient: 14, _of_two: 2, _backward: 4, _collected: 4, _hooked: 2, _without: 4, _input: 6, _cut: 2,
}  # fmt: skip
"""What lines of programs with gradients are beside those of all programs, and how often."""
