"""``Function``: operators whose forward and backward are Python of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops.node import GradNode, NodeHooks
from flambeau._ops.operator import fit
from flambeau._ops.registry import FUNCTIONS, shown
from flambeau._ops.views import ALIAS, make_view
from flambeau._ops.writing import check_writable
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._tensor.overriding import Enabled
from flambeau._types import dtype as dt
from flambeau.autograd.grad_mode import enable_grad
from flambeau.autograd.saving import HOOKS, Packed

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class FunctionCtx:
    """What a ``Function``'s forward leaves for its backward: ``save_for_backward``, and any attributes.

    Attributes:
        saved_tensors: what was saved; reading it checks that nothing was changed in place since
        needs_input_grad: for each argument of forward whether its gradient is wanted
    """

    materialize_grads = True
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward."""
        self._to_save = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward has changed these arguments in place (and returns them)."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these results have no gradient."""
        self._without_gradient = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or ``None`` for results that nothing was computed from."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        node = self._node
        if node.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
                "Specify retain_graph=True if you need to backward through the graph a second time."
            )
        found = []
        for item in node.saved:
            if item.__class__ is Packed:
                found.append(item.tensor())
                continue
            tensor, storage, version, number = item
            if tensor is not None and storage.version != version:
                raise RuntimeError(
                    f"one of the variables needed for gradient computation has been modified by an inplace operation: [{tensor.layout.dtype!r} "
                    f"{list(tensor.layout.shape)}], saved by {node.name()}, is at version {storage.version}; expected version {version} instead."
                )
            if number is not None:
                tensor = shown(storage, tensor.layout)
                tensor.node, tensor.output_nr = node, number
            found.append(tensor)
        return tuple(found)

    _to_save: tuple = ()
    _dirty: tuple = ()
    _without_gradient: tuple = ()
    _node: FunctionNode


class FunctionNode(FunctionCtx):
    """The gradient node of a call of a ``Function``; it is the ``ctx`` of forward and backward as well."""

    hooks: NodeHooks | None = None
    origin: Any = None
    function: type[Function]
    inputs: tuple
    saved: tuple | None = ()
    layouts: tuple

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    @property
    def next_functions(self) -> tuple:
        edges = zip(self.inputs, self.operands, strict=True)
        return tuple((None, 0) if edge is None else edge for edge, operand in edges if operand is not None)

    register_hook = GradNode.register_hook
    register_prehook = GradNode.register_prehook

    def release(self) -> None:
        self.saved = None

    def apply(self, grads: tuple) -> tuple:
        """Call the user's backward, and give each gradient the shape and dtype of its argument."""
        given = []
        for grad, layout in zip(grads, self.layouts, strict=True):
            if grad is None and self.materialize_grads and layout is not None and layout.dtype.category >= dt.FLOAT:
                grad = FUNCTIONS.zeros(layout)
            given.append(grad)
        with Enabled():  # as outside of a backward pass
            result = self._gradients(given)
        found = result if isinstance(result, tuple) else (result,)
        if len(found) > len(self.inputs) and all(each is None for each in found[len(self.inputs) :]):
            found = found[: len(self.inputs)]
        if len(found) != len(self.inputs):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {len(self.inputs)}, got {len(found)})"
            )
        return tuple(self._fitted(*each) for each in zip(range(len(found)), found, self.operands, strict=True))

    def _fitted(self, number: int, grad: Any, operand: Any) -> Any:
        """A gradient with the shape and dtype of the argument of that number, if that is a tensor."""
        if grad is None or operand is None:
            return None
        try:
            return fit(grad, operand)
        except RuntimeError:
            if grad.layout.shape == operand.shape:
                raise
            shapes = f"got {list(grad.layout.shape)} but expected shape compatible with {list(operand.shape)}"
            raise RuntimeError(f"Function {self.name()} returned an invalid gradient at index {number} - {shapes}") from None

    def _gradients(self, grads: list) -> Any:
        """What the user's backward says; where there is only a jvp, the derivative of that (linear) function of the tangents."""
        function = self.function
        if function.backward is not Function.backward:
            return function.backward(self, *grads)
        if function.vjp is not Function.vjp:
            return function.vjp(self, *grads)
        if function.jvp is Function.jvp:
            return function.backward(self, *grads)  # which says what is missing
        with enable_grad():
            tangents = [
                None if operand is None or edge is None else FUNCTIONS.zeros(operand).requires_grad_()
                for operand, edge in zip(self.operands, self.inputs, strict=True)
            ]
            moved = function.jvp(self, *tangents)
        outputs = moved if isinstance(moved, tuple) else (moved,)
        pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if output is not None and output.requires_grad]
        wanted = [tangent for tangent in tangents if tangent is not None]
        if not pairs:
            return (None,) * len(tangents)
        moved, cotangents = zip(*pairs, strict=True)
        found = iter(FUNCTIONS.gradients(moved, wanted, cotangents, create_graph=LOCAL.tape.grad, allow_unused=True))
        return tuple(None if tangent is None else next(found) for tangent in tangents)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class _SamplesNode(FunctionNode):
    """The node of a call in a function that ``vmap`` maps, as seen from outside: its backward is the call's own, mapped."""

    def __init__(self, level: Any, inner: FunctionNode, tensors: list[Any], results: list[Any]) -> None:
        self.level = level
        self.inner = inner
        self.function = inner.function
        samples = [each if each is None else level.samples(each) if level.holds(each) else level.shown(each) for each in tensors]
        self.inputs = tuple(None if each is None or each.node is None else (each.node, each.output_nr) for each in samples)
        self.layouts = tuple(None if each is None else each.layout for each in results)

    def release(self) -> None:
        self.inner.release()

    def apply(self, grads: tuple) -> tuple:
        level, inner = self.level, self.inner
        level.grad = LOCAL.tape.grad
        with level.running():
            given = [None if grad is None else level.one_of(grad, 0) for grad in grads]
            found = inner.apply(tuple(given))
        return tuple(None if grad is None or edge is None else level.spread(grad) for grad, edge in zip(found, self.inputs, strict=True))


class Function:
    """An operator with a forward and a backward of your own; call it as ``MyFunction.apply(...)``.

    Example::

        >>> class Double(flambeau.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return grad * 2
    """

    generate_vmap_rule = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises ``RuntimeError``: call ``apply`` on the class."""
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function with static forward method."
        )

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the results (without autograd). Define it with ``ctx`` first, or without and a ``setup_context`` beside it."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Save for backward, where ``forward`` has no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, given those of the results."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        """Another name for ``backward``."""
        raise NotImplementedError("vjp is another name for backward, which this Function does not have.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The derivatives of the results in a direction; used where there is no ``backward``."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        """``(results, out_dims)`` of all samples, for a forward that ``func.vmap`` cannot map because it does not consist of operators.

        Args:
            info: has the ``batch_size`` and the ``randomness``
            in_dims: for each argument the dimension of samples, or ``None``
        """
        raise NotImplementedError("this Function has no rule of its own for vmap: its forward is called with tensors of one sample")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call forward, recording the gradient node."""
        tape = LOCAL.tape
        node = FunctionNode()
        node.function = cls
        node._node = node
        tensors = [argument if isinstance(argument, TensorBase) else None for argument in args]
        node.inputs = tuple(None if tensor is None or tensor.node is None else (tensor.node, tensor.output_nr) for tensor in tensors)
        node.operands = tuple(None if tensor is None else tensor.layout for tensor in tensors)
        mode = tape.grad
        outside = tape.batched and any(tape.holds(tensor) for tensor in tensors)  # one of ``vmap``'s levels
        tracked = [outside and tape.is_tracked(tensor) for tensor in tensors]
        node.needs_input_grad = tuple(edge is not None or own for edge, own in zip(node.inputs, tracked, strict=True))
        own_rule = outside and cls.vmap is not Function.vmap
        tape.grad = False
        try:
            if own_rule:
                output = tape.by_rule(cls.vmap, args, mode)
                cls.setup_context(node, args, output)
            elif cls.setup_context is Function.setup_context:
                output = cls.forward(node, *args, **kwargs)
            else:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(node, args, output)
        finally:
            tape.grad = mode
        results = output if isinstance(output, tuple) else (output,)
        node.layouts = tuple(result.layout if isinstance(result, TensorBase) else None for result in results)
        if mode and any(edge is not None for edge in node.inputs):
            results = cls._attach(node, results, args)
        if mode and any(tracked) and not own_rule:
            cls._attach_outside(tape, node, tensors, results)
        node.saved = tuple(_saved(tensor, results, node) for tensor in node._to_save)
        return results if isinstance(output, tuple) else results[0]

    @staticmethod
    def _attach_outside(level: Any, node: FunctionNode, tensors: list[Any], results: tuple) -> None:
        """Give all samples of the results their history."""
        samples = [level.samples(each) if level.holds(each) and each.layout.dtype.category >= dt.FLOAT else None for each in results]
        outer = _SamplesNode(level, node, tensors, samples)
        for number, each in enumerate(samples):
            if each is not None and not any(results[number] is other for other in node._without_gradient):
                each.node, each.output_nr = outer, number

    @staticmethod
    def _attach(node: FunctionNode, results: tuple, args: tuple) -> tuple:
        """Give the results their history; an argument that is returned as it is becomes a view of itself.

        Raises:
            RuntimeError: forward has changed a leaf that requires grad in place.
        """
        for each in node._dirty:
            check_writable(each, node.function.__name__)
        found = []
        for number, result in enumerate(results):
            if (
                not isinstance(result, TensorBase)
                or result.layout.dtype.category < dt.FLOAT
                or any(result is each for each in node._without_gradient)
            ):
                found.append(result)
                continue
            if any(result is argument for argument in args) and not any(result is each for each in node._dirty):
                result = make_view(result, result.layout, ALIAS)
            result.node, result.output_nr = node, number
            found.append(result)
        return tuple(found)


def _saved(tensor: Tensor | None, results: tuple, node: FunctionNode) -> Any:
    """What a node keeps of a tensor: itself, its storage and version, and its number if it is a result, or what hooks made of it.

    A result is kept without its node, which would hold itself, and gets it back when backward asks for it.
    """
    if tensor is None:
        return None, None, 0, None
    edge = None if tensor.node is None else (tensor.node, tensor.output_nr)
    own = tensor.node is node and any(tensor is result for result in results)
    if HOOKS.stack:
        return Packed(tensor, None if own else edge)
    if own:
        return shown(tensor.memory, tensor.layout), tensor.memory, tensor.memory.version, tensor.output_nr
    return tensor, tensor.memory, tensor.memory.version, None


def once_differentiable(function: Callable) -> Callable:
    """Say that a backward cannot be differentiated again: its results have no history."""

    def wrapped(ctx: Any, *grads: Any) -> Any:
        tape = LOCAL.tape
        mode = tape.grad
        tape.grad = False
        try:
            return function(ctx, *grads)
        finally:
            tape.grad = mode

    return wrapped


class InplaceFunction(Function):
    """A ``Function`` that notes whether it works in place; PyTorch keeps it for programs written long ago."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
