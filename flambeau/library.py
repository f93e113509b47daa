"""Operators of the user's own: functions under a name, ``torch.ops.mylib.my_op``, with a gradient.

Everything here runs as it is called: a kernel for the CPU is a Python function. What PyTorch needs to trace an operator without numbers
(``register_fake``) is kept, and used by ``opcheck`` alone.
"""

from __future__ import annotations

import inspect
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops import autocast
from flambeau._tape.tape import LOCAL
from flambeau._types.dtype import dtype
from flambeau.autograd import Function
from flambeau.ops import NAMESPACES, Namespace, OpOverload, OpOverloadPacket
from flambeau.utils._pytree import tree_leaves, tree_map

__all__ = [
    "CustomOpDef", "Library", "custom_op", "define", "fallthrough_kernel", "impl", "impl_abstract", "infer_schema", "opcheck", "register_autocast", "register_autograd", "register_fake", "register_kernel",
    "register_vmap",
]  # fmt: skip

_CPU = ("cpu", "CPU", "default", "", "CompositeImplicitAutograd", "CompositeExplicitAutograd")
"""Dispatch keys and devices whose kernels run here; others are kept and never called."""


# -- schemas ---------------------------------------------------------------------------------------------------------


def _parameters(schema: str) -> list[inspect.Parameter]:
    """The parameters of a schema such as ``(Tensor x, *, int n=2) -> Tensor``.

    Raises:
        RuntimeError: it is none
    """
    found = re.fullmatch(r"\s*[\w:.]*\((.*)\)\s*->\s*(.+?)\s*", schema, re.DOTALL)
    if found is None:
        raise RuntimeError(f"expected a schema such as '(Tensor x, int n=2) -> Tensor', but got {schema!r}")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    for part in re.split(r",(?![^\[(]*[\])])", found[1]):
        text = part.strip()
        if text == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif text:
            declaration, has_default, default = text.partition("=")
            name = declaration.split()[-1]
            parameters.append(inspect.Parameter(name, kind, default=_default(default.strip()) if has_default else inspect.Parameter.empty))
    return parameters


def _default(text: str) -> Any:
    """The value of a default in a schema."""
    try:
        return literal_eval({"true": "True", "false": "False"}.get(text, text))
    except ValueError:
        return text


_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    flambeau.dtype: "ScalarType",
    flambeau.device: "Device",
}


def _type_name(annotation: Any, where: str) -> str:
    text = annotation if isinstance(annotation, str) else _TYPES.get(annotation, str(annotation))
    text = re.sub(r"\b(?:flambeau|torch|typing|collections\.abc|_tensor\.tensor)\.", "", text).replace("tensor.tensor.", "")
    optional = re.fullmatch(r"Optional\[(.*)\]|(.*?)\s*\|\s*None", text)
    if optional:
        return _type_name(optional[1] or optional[2], where) + "?"
    listed = re.fullmatch(r"(?:[Ll]ist|Sequence)\[(.*)\]", text)
    if listed:
        return _type_name(listed[1], where) + "[]"
    name = {"int": "SymInt", "Number": "Scalar", "dtype": "ScalarType", "device": "Device"}.get(text, text)
    if name not in ("Tensor", "SymInt", "float", "bool", "str", "Scalar", "ScalarType", "Device"):
        raise ValueError(
            f"infer_schema(func): {where} has unsupported type {annotation}: use Tensor, int, float, bool, str, lists of these, or None"
        )
    return name


def infer_schema(prototype_function: Callable, /, *, mutates_args: Any, op_name: str | None = None) -> str:
    """The schema of a function with type annotations.

    Raises:
        ValueError: an annotation is missing or of no type that operators take

    Example::

        >>> def f(x: flambeau.Tensor, n: int = 2) -> flambeau.Tensor: ...
        >>> flambeau.library.infer_schema(f, mutates_args=())
        '(Tensor x, SymInt n=2) -> Tensor'
    """
    signature = inspect.signature(prototype_function, eval_str=False)
    parts, starred, written = [], False, 0
    for name, parameter in signature.parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            raise ValueError(f"infer_schema(func): Parameter {name} must have a type annotation.")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        text = _type_name(parameter.annotation, f"Parameter {name}")
        if text.startswith("Tensor") and (mutates_args == "unknown" or name in mutates_args):
            text = f"Tensor(a{written}!){text.removeprefix('Tensor')}"
            written += 1
        default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}".replace("'", '"')
        parts.append(f"{text} {name}{default}")
    return f"{op_name or ''}({', '.join(parts)}) -> {_returned(signature.return_annotation)}"


def _returned(annotation: Any) -> str:
    if annotation in (None, "None"):
        return "()"
    text = annotation if isinstance(annotation, str) else str(annotation)
    several = re.fullmatch(r"(?:typing\.)?[Tt]uple\[(.*)\]", text)
    if several:
        return f"({', '.join(_type_name(part.strip(), 'Return') for part in several[1].split(','))})"
    return _type_name(annotation, "Return")


# -- operators -------------------------------------------------------------------------------------------------------


class CustomOpDef:
    """An operator of the user's own; call it, or the same by its name in ``torch.ops``.

    Attributes:
        kernels: what computes it, by device or dispatch key
    """

    def __init__(self, namespace: str, name: str, parameters: Iterable[inspect.Parameter]) -> None:
        self._namespace, self._name = namespace, name
        self._signature = inspect.Signature(list(parameters))
        self.kernels: dict[str, Callable] = {}
        self._backward: Callable | None = None
        self._vmap: Callable | None = None
        self._setup_context: Callable | None = None
        self._fake: Callable | None = None
        self._cast_inputs: dtype | None = None
        self._function = type(f"GeneratedBackwardFor_{namespace}_{name.replace('.', '_')}_default", (_Call,), {"op": self})
        packet = OpOverloadPacket(name.partition(".")[0], self, namespace)
        NAMESPACES.setdefault(namespace, Namespace(namespace)).__dict__[name.partition(".")[0]] = packet
        self._opoverload = packet.default

    @property
    def _qualname(self) -> str:
        return f"{self._namespace}::{self._name}"

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    # -- what belongs to it ------------------------------------------------------------------------------------------

    def register_kernel(self, device_types: str | Sequence[str] | None, func: Callable | None = None, /) -> Callable:
        """Set what computes the operator on some devices (all, if ``None``)."""

        def register(function: Callable) -> Callable:
            for device in (device_types,) if isinstance(device_types, str) else device_types or ("default",):
                self.kernels[device] = function
            return function

        return register if func is None else register(func)

    def register_fake(self, fn: Callable, /) -> Callable:
        """Set what says how the results look, given tensors without numbers: only ``opcheck`` asks."""
        self._fake = fn
        return fn

    def register_vmap(self, func: Callable | None = None, /) -> Callable:
        """Set a rule for ``vmap``, ``func(info, in_dims, *args) -> (results, out_dims)``.

        Without one the operator is called with tensors of one sample, which suits all that consists of PyTorch's operators.
        """
        if func is None:
            return self.register_vmap
        self._vmap = func
        return func

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None) -> None:
        """Set the gradient.

        Args:
            backward: ``backward(ctx, *grads)`` returns a gradient for each argument
            setup_context: ``setup_context(ctx, inputs, output)`` saves what it needs
        """
        self._backward, self._setup_context = backward, setup_context

    def register_autocast(self, device_type: str, cast_inputs: dtype) -> None:
        """Let the operator have its floating-point tensors in a dtype inside regions of ``autocast``, and run as if outside of them.

        Raises:
            ValueError: the device is not known
        """
        if device_type not in ("cpu", "cuda", "xpu", "mps"):
            raise ValueError(f"Unknown device type: {device_type!r}")
        if device_type == "cpu":
            self._cast_inputs = cast_inputs

    # -- the call ----------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._cast_inputs is not None and autocast.STATE.dtype is not None:
            args, kwargs = tree_map(lambda each: autocast.cast(each, self._cast_inputs), (args, kwargs))
            return autocast.outside(self, *args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        args, kwargs = bound.args, bound.kwargs
        leaves = [leaf for each in args for leaf in (each if isinstance(each, (tuple, list)) else (each,))]
        tape = LOCAL.tape
        tracked = flambeau.is_grad_enabled() and any(
            isinstance(leaf, Tensor) and (leaf.requires_grad or (tape.batched and tape.is_tracked(leaf))) for leaf in leaves
        )
        if not tracked or "CompositeImplicitAutograd" in self.kernels:
            return self._called(args, kwargs)
        return self._function.apply(args, kwargs, *leaves)

    def _called(self, args: tuple, kwargs: dict) -> Any:
        """What the kernel returns; in a function that ``vmap`` maps, what the rule for that does, if there is one."""
        tape, rule = LOCAL.tape, self._vmap
        if tape.dispatches:
            return tape.seen(self._opoverload, args, kwargs)
        if rule is None or not tape.batched or not any(tape.holds(each) for each in args):
            return self._kernel(*args, **kwargs)
        return tape.by_rule(lambda info, in_dims, *each: rule(info, in_dims, *each, **kwargs), args, tape.grad)

    @property
    def _kernel(self) -> Callable:
        for key in _CPU:
            if key in self.kernels:
                return self.kernels[key]
        raise NotImplementedError(f"{self._qualname}: no kernel for the CPU was registered, only for {sorted(self.kernels) or 'nothing'}")


class _Call(Function):
    """A call of an operator that autograd records; the tensors of lists are arguments of their own."""

    op: CustomOpDef

    @classmethod
    def forward(cls, ctx: Any, args: tuple, kwargs: dict, *leaves: Any) -> Any:
        output = cls.op._called(args, kwargs)
        ctx.lengths = [len(each) if isinstance(each, (tuple, list)) else None for each in args]
        if cls.op._setup_context is not None:
            named = {"keyword_only_inputs": kwargs} if kwargs else {}
            cls.op._setup_context(ctx=ctx, inputs=args, output=output, **named)
        return tuple(output) if isinstance(output, list) else output

    @classmethod
    def backward(cls, ctx: Any, *grads: Any) -> tuple:
        if cls.op._backward is None:
            raise NotImplementedError(
                f"Trying to backward through {cls.op._namespace}.{cls.op._name}.default but no autograd formula was registered. "
                "Please use register_autograd to add one."
            )
        found = cls.op._backward(ctx, *grads)
        gradients: list[Any] = []
        for length, each in zip(ctx.lengths, found if isinstance(found, tuple) else (found,), strict=True):
            gradients += [each] if length is None else [None] * length if each is None else list(each)
        return None, None, *gradients


def _names(qualname: str) -> tuple[str, str]:
    namespace, separator, name = qualname.partition("::")
    if not separator or not namespace or not name:
        raise ValueError(f"Expected qualname to be of the form 'namespace::name', but got {qualname!r}")
    return namespace, name.partition("(")[0]


def custom_op(
    name: str,
    fn: Callable | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: str | Sequence[str] | None = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Make a function an operator.

    Args:
        name: ``"namespace::name"``
        mutates_args: the names of the arguments that it changes in place
        device_types: the devices that the function computes on (all, if ``None``)
        schema: the operator's parameters, if the function has no type annotations

    Example::

        >>> @flambeau.library.custom_op("example::twice", mutates_args=())
        ... def twice(x: flambeau.Tensor) -> flambeau.Tensor:
        ...     return x * 2
        >>> twice(flambeau.ones(2)), flambeau.ops.example.twice(flambeau.ones(1))
        (tensor([2., 2.]), tensor([2.]))
    """

    def define(function: Callable) -> CustomOpDef:
        if schema is None:
            infer_schema(function, mutates_args=mutates_args)
            parameters = [each.replace(annotation=inspect.Parameter.empty) for each in inspect.signature(function).parameters.values()]
        else:
            parameters = _parameters(schema)
        op = CustomOpDef(*_names(name), parameters)
        op.register_kernel(device_types, function)
        op.__doc__ = function.__doc__
        return op

    return define if fn is None else define(fn)


# -- operators by their names ----------------------------------------------------------------------------------------


def _find(op: Any) -> CustomOpDef:
    """The operator of a name, or of what ``torch.ops`` has under it.

    Raises:
        RuntimeError: there is none
    """
    if isinstance(op, CustomOpDef):
        return op
    if isinstance(op, OpOverload):
        op = op.overloadpacket
    if isinstance(op, OpOverloadPacket):
        found = op._function
    else:
        namespace, name = _names(op)
        packet = NAMESPACES[namespace].__dict__.get(name.partition(".")[0]) if namespace in NAMESPACES else None
        found = packet and packet._function
    if not isinstance(found, CustomOpDef):
        raise RuntimeError(f"Could not find the operator {op}. Please make sure you have already registered the operator: define it first")
    return found


def define(qualname: str, schema: str | None = None, *, lib: Library | None = None, tags: Any = ()) -> Any:
    """Name an operator and its parameters; ``impl`` says what computes it.

    Args:
        qualname: ``"namespace::name"``
        schema: such as ``"(Tensor x, int n=2) -> Tensor"``
    """
    if schema is None:
        raise ValueError(f"define({qualname!r}): a schema is needed, such as '(Tensor x) -> Tensor'")
    CustomOpDef(*_names(qualname), _parameters(schema))


def impl(qualname: Any, types: str | Sequence[str], func: Any = None, *, lib: Library | None = None) -> Any:
    """Set what computes an operator for devices or dispatch keys; without a function, a decorator.

    In its old form it is given a library, an operator's name and a dispatch key: ``impl(lib, "name", "CPU")``.
    """
    if isinstance(qualname, Library):
        return qualname._implementer(types, func or "")
    return _find(qualname).register_kernel(types, func)


def register_kernel(
    op: Any, device_types: str | Sequence[str] | None, func: Callable | None = None, /, *, lib: Library | None = None
) -> Any:
    """Set what computes an operator on some devices."""
    return _find(op).register_kernel(device_types, func)


def register_fake(op: Any, func: Callable | None = None, /, *, lib: Library | None = None, _stacklevel: int = 1, **options: Any) -> Any:
    """Set what says how an operator's results look, given tensors without numbers."""
    register = _find(op).register_fake
    return register if func is None else register(func)


impl_abstract = register_fake


def register_autograd(op: Any, backward: Callable, /, *, setup_context: Callable | None = None, lib: Library | None = None) -> None:
    """Set the gradient of an operator; see ``CustomOpDef.register_autograd``."""
    _find(op).register_autograd(backward, setup_context=setup_context)


def register_autocast(op: Any, device_type: str, cast_inputs: dtype, /, *, lib: Library | None = None) -> None:
    """Set the dtype that an operator runs in inside regions of ``autocast``; see ``CustomOpDef.register_autocast``."""
    _find(op).register_autocast(device_type, cast_inputs)


def register_vmap(op: Any, func: Callable | None = None, /, *, lib: Library | None = None) -> Any:
    """Set a rule for ``vmap``; see ``CustomOpDef.register_vmap``."""
    return _find(op).register_vmap(func)


def fallthrough_kernel() -> None:
    """A kernel that stands for the next one; not to be called."""
    raise NotImplementedError("fallthrough_kernel() should never be called.")


class Library:
    """Operators of one namespace.

    Args:
        kind: "DEF" for a new namespace, "FRAGMENT" to add to one, "IMPL" to set kernels of operators that exist
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("DEF", "FRAGMENT", "IMPL"):
            raise ValueError(f"Unsupported kind: {kind}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Name an operator: ``"my_op(Tensor x) -> Tensor"``."""
        name = schema.partition("(")[0].strip()
        define(f"{self.ns}::{name}", schema)
        return name

    def _implementer(self, op_name: Any, dispatch_key: str) -> Callable:
        """A decorator that sets what computes an operator."""

        def register(function: Callable) -> Callable:
            self.impl(op_name, function, dispatch_key)
            return function

        return register

    def impl(self, op_name: Any, fn: Callable, dispatch_key: str = "", *, with_keyset: bool = False, allow_override: bool = False) -> None:
        """Set what computes an operator.

        Raises:
            NotImplementedError: the kernel wants to know the dispatch keys; there are none here
        """
        if with_keyset:
            raise NotImplementedError(f"{op_name}: there is no dispatcher here that could tell a kernel its keys: leave with_keyset out")
        if fn is fallthrough_kernel:
            return
        name = op_name if not isinstance(op_name, str) or "::" in op_name else f"{self.ns}::{op_name}"
        _find(name).register_kernel(dispatch_key or self.dispatch_key or "default", fn)


def opcheck(op: Any, args: tuple, kwargs: dict | None = None, **options: Any) -> dict[str, str]:
    """Check that an operator returns nothing that it was given, that its fake tells the results' shapes, and that its gradient runs.

    Raises:
        AssertionError: something does not hold
    """
    found, named = _find(op), kwargs or {}
    results = found(*args, **named)
    outputs = [each for each in (results if isinstance(results, (tuple, list)) else (results,)) if isinstance(each, Tensor)]
    given = [each for each in tree_leaves((args, named)) if isinstance(each, Tensor)]
    assert not any(each.memory is one.memory for each in outputs for one in given), (
        f"{found._qualname} returns an argument, or a view of one"
    )
    if found._fake is not None:
        fakes = found._fake(*args, **named)
        for fake, output in zip(fakes if isinstance(fakes, (tuple, list)) else (fakes,), outputs, strict=True):
            assert fake.shape == output.shape and fake.dtype is output.dtype, (
                f"{found._qualname}: the fake is {fake.shape}, not {output.shape}"
            )
    tracked = [each for each in outputs if each.requires_grad]
    if tracked:
        wanted = [each for each in given if each.requires_grad]
        flambeau.autograd.grad(tracked, wanted, [flambeau.ones_like(each) for each in tracked], allow_unused=True)
    return dict.fromkeys(("test_schema", "test_autograd_registration", "test_faketensor"), "SUCCESS")
