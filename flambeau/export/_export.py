"""`export`: from a module and examples of its arguments to a program."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._dynamo.exc import UserError
from flambeau._tape.tape import LOCAL
from flambeau.export._inputs import InputCheck
from flambeau.export._layers import public_layers
from flambeau.export._sizes import _Free
from flambeau.export._tracing import Tracing, aten_target
from flambeau.export.dynamic_shapes import (
    Dim,
    FlatShapes,
    Free,
    Symbols,
    bound_arguments,
    free_dimensions,
    leaf_specifications,
    signature_of_forward,
)
from flambeau.export.exported_program import ExportedProgram
from flambeau.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymIntArgument,
    TensorArgument,
)
from flambeau.nn import Module
from flambeau.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = ["export"]

_UNLIMITED = 1 << 40
"""Records before a tape is computed by itself: while tracing it is not, so that nothing of the examples is ever computed."""


def export(
    mod: Module, args: tuple, kwargs: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None, strict: bool = False,
    preserve_module_call_signature: tuple[str, ...] = (), prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """A module as a program: the graph of what it computes, without its Python code.

    The module is run once with the examples (twice, if sizes are free), and each call of a public function or a tensor's method becomes a node
    with an operator of PyTorch's as its target. Python's control flow is that of the examples: what is no tensor, and sizes that are not
    free, are part of the program. The module, its buffers and the random generators are left as they were.

    Args:
        mod: the module
        args, kwargs: examples of its arguments
        dynamic_shapes: which sizes are free: for each argument, by name or in order, a dictionary from dimensions to `Dim`s (or `Dim.AUTO`,
            `Dim.DYNAMIC`), or the same for each tensor in a container. A size of an example that is to be free is 2 or more.
        strict, prefer_deferred_runtime_asserts_over_guards: for PyTorch's sake
        preserve_module_call_signature: has to be empty

    Raises:
        ValueError: `mod` is no module, or it assigns tensors to attributes that are no buffers
        UserError: the examples or `dynamic_shapes` do not fit, or a size that is to be free decides what the program is
        GuardOnDataDependentSymNode: the program asks for a tensor's numbers

    Example:
        >>> import flambeau
        >>> from flambeau.export import Dim, export
        >>> program = export(flambeau.nn.Linear(4, 3), (flambeau.ones(2, 4),), dynamic_shapes=({0: Dim("batch")},))
        >>> print(program.graph)
        graph():
            %p_weight : [num_users=1] = placeholder[target=p_weight]
            %p_bias : [num_users=1] = placeholder[target=p_bias]
            %input : [num_users=1] = placeholder[target=input]
            %linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = (%input, %p_weight, %p_bias), kwargs = {})
            return (linear,)
        >>> program.module()(flambeau.ones(7, 4)).shape
        torch.Size([7, 3])
    """
    if not isinstance(mod, Module):
        raise ValueError(f"a torch.nn.Module is exported, not a {type(mod).__name__}: put a function into a module's forward")
    if not isinstance(args, tuple):
        raise UserError(f"args is a tuple of examples, not a {type(args).__name__}: write (x,) for one")
    if preserve_module_call_signature:
        raise NotImplementedError("the calls of submodules are not kept: graphs are flat")
    return exported(mod, args, dict(kwargs or {}), dynamic_shapes)


def exported(mod: Module, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any, assigns: bool = False) -> ExportedProgram:
    """A module as a program; with `assigns` it may assign tensors to attributes, which the program forgets, as hooks like `weight_norm`'s do.

    Raises:
        as `export` does
    """
    try:
        return _Export(mod, args, kwargs, dynamic_shapes, auto=True, assigns=assigns).run()
    except UserError:
        attempt = _Export(mod, args, kwargs, dynamic_shapes, auto=False, assigns=assigns)
        if not attempt.has_auto:
            raise
        return attempt.run()


def traced_program(mod: Module, args: tuple, kwargs: dict[str, Any]) -> ExportedProgram:
    """A program in which as many sizes are free as can be: all, all but the channels, the first of each argument, or none. Sizes that are equal
    in the examples are one size. What asks for numbers is answered.

    Raises:
        UserError: it cannot be traced
    """
    leaves = tree_leaves(bound_arguments(mod, args, kwargs))
    last: UserError | None = None
    for wanted in (lambda dim: True, lambda dim: dim != 1, lambda dim: dim == 0, lambda dim: False):
        shapes = [
            {dim: Dim(f"size_{size}") for dim, size in enumerate(leaf.shape) if size > 1 and wanted(dim)}
            if isinstance(leaf, Tensor)
            else None
            for leaf in leaves
        ]
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                program = _Export(mod, args, kwargs, FlatShapes(shapes), auto=True, answers=True).run()
        except UserError as error:
            last = error
            continue
        for each in caught:  # those of the attempt that counts
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return program
    raise last or UserError("nothing was traced")


class _Export:
    """One attempt; `auto` says whether sizes of `Dim.AUTO` are free, `answers` whether numbers are told, `assigns` whether attributes may be assigned."""

    def __init__(
        self,
        mod: Module,
        args: tuple,
        kwargs: dict[str, Any],
        dynamic_shapes: Any,
        auto: bool,
        answers: bool = False,
        assigns: bool = False,
    ) -> None:
        self.answers = answers
        self.assigns = assigns
        self.mod = mod
        self.examples = (args, kwargs)
        self.arguments = bound_arguments(mod, args, kwargs)
        self.symbols = Symbols()
        self.has_auto = False
        self.leaves: list[tuple[str, Any, dict[int, Free]]] = []
        for name, value, shapes in leaf_specifications(mod, args, kwargs, dynamic_shapes):
            free = free_dimensions(self.symbols, name, value, shapes) if isinstance(value, Tensor) else {}
            automatic = {dim for dim, each in free.items() if each.symbol.auto}
            self.has_auto |= bool(automatic)
            self.leaves.append((name, value, {dim: each for dim, each in free.items() if auto or dim not in automatic}))
        used = {each.symbol.name for _, _, free in self.leaves for each in free.values()}
        self.free = {name: symbol for name, symbol in self.symbols.by_name.items() if name in used}
        self.variants = 2 if self.free else 1

    def run(self) -> ExportedProgram:
        values = {symbol.values: name for name, symbol in self.free.items()}
        self.tracing = Tracing(self.variants, values, self.answers)
        self.inputs: list[InputSpec] = []
        self._give_state()
        self.tracing.lifted = sum(path.startswith("c_lifted_tensor_") for path in self.constants)
        given = self._give_arguments()
        values_in, in_spec = tree_flatten(self.arguments)
        assert len(values_in) == len(given)
        call = signature_of_forward(self.mod)
        bound = call.bind_partial()
        bound.arguments.update(tree_unflatten(given, in_spec))
        with _left_as_it_was(self.mod, self.tracing, self.state) as note_assignments:
            with public_layers(), self._noting_modules(), self.tracing:
                result = self.mod(*bound.args, **bound.kwargs)
            if not self.assigns:
                note_assignments()
            outputs, out_spec = self._outputs(result)
        self._clean()
        lifted = [
            InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(name), name) for name in reversed(self.tracing.constants)
        ]  # each was put in front of those before it
        signature = ExportGraphSignature(lifted + self.inputs, outputs)
        kinds = [(name, int(call.parameters[name].kind)) for name in self.arguments]
        ranges = {name: (symbol.min, symbol.max) for name, symbol in self.free.items()}
        return ExportedProgram(
            self.tracing.graph, signature, self.state_dict, {**self.constants, **self.tracing.constants}, ranges, kinds,
            [self._check(*leaf) for leaf in self.leaves], in_spec, out_spec, self.examples,
        )  # fmt: skip

    @contextmanager
    def _noting_modules(self) -> Iterator[None]:
        """Let each node know in which calls of the module's modules it is made."""
        paths = {id(module): path for path, module in self.mod.named_modules()}
        calls: Counter[str] = Counter()
        entered: list[str | None] = []
        within = self.tracing.graph.within

        def enter(module: Module, args: Any) -> None:
            path = paths.get(id(module))
            name = None if path is None else f"{path}@{calls[path]}"
            if name is not None:
                calls[path] += 1
                within[name] = path, f"{type(module).__module__}.{type(module).__qualname__}"
            entered.append(name)

        def leave(module: Module, args: Any, output: Any) -> None:
            name = entered.pop()
            if name is not None:
                del within[name]

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
        try:
            yield
        finally:
            within.clear()
            for handle in handles:
                handle.remove()

    # -- inputs ----------------------------------------------------------------------------------------------------------

    def _give_state(self) -> None:
        """Placeholders for parameters, buffers and tensors among attributes."""
        self.state_dict = dict(self.mod.state_dict(keep_vars=True))
        self.constants: dict[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}
        for path, parameter in self.mod.named_parameters():
            self._give("p", path, parameter, InputKind.PARAMETER, None)
        for path, buffer in self.mod.named_buffers():
            persistent = path in self.state_dict
            if not persistent:
                self.constants[path] = buffer
            self._give("b", path, buffer, InputKind.BUFFER, persistent)
        for path, module in self.mod.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and name not in module._parameters and name not in module._buffers:
                    full = f"{path}.{name}" if path else name
                    self.constants[full] = value
                    self._give("c", full, value, InputKind.CONSTANT_TENSOR, None)

    def _give(self, prefix: str, path: str, tensor: Tensor, kind: InputKind, persistent: bool | None) -> None:
        node = self.tracing.give(f"{prefix}_{path.replace('.', '_')}", (tensor,) * self.variants, fixed=True)
        self.inputs.append(InputSpec(kind, TensorArgument(node.name), path, persistent))
        self.state[path] = tensor

    def _give_arguments(self) -> list[Any]:
        """Placeholders for the user's arguments, and what the module is called with: copies, so that the examples stay."""
        given: list[Any] = []
        for name, value, free in self.leaves:
            if isinstance(value, Tensor):
                tensors = tuple([_variant(value, free, number) for number in range(self.variants)])
                node = self.tracing.give(name, tensors)
                self.inputs.append(InputSpec(InputKind.USER_INPUT, TensorArgument(node.name)))
                given.append(tensors[0])
            else:
                node = self.tracing.placeholder(name)
                self.inputs.append(InputSpec(InputKind.USER_INPUT, ConstantArgument(node.name, value)))
                given.append(value)
        return given

    @staticmethod
    def _check(name: str, value: Any, free: dict[int, Free]) -> InputCheck:
        if not isinstance(value, Tensor):
            return InputCheck(name, value=value)
        shape = [
            (free[dim].symbol.name, free[dim].factor, free[dim].offset) if dim in free else int(size)
            for dim, size in enumerate(value.shape)
        ]
        return InputCheck(name, tuple(shape), value.dtype)

    # -- outputs ---------------------------------------------------------------------------------------------------------

    def _outputs(self, result: Any) -> tuple[list[OutputSpec], Any]:
        leaves, out_spec = tree_flatten(result)
        specs, values = [], []
        for leaf in leaves:
            value = self.tracing.node_of(leaf)
            values.append(value)
            arg: Any = ConstantArgument("", leaf)
            if isinstance(leaf, Tensor):
                arg = TensorArgument(value.name)
            elif isinstance(leaf, _Free):
                arg = SymIntArgument(value.name)
            specs.append(OutputSpec(OutputKind.USER_OUTPUT, arg))
        self.tracing.graph.output(tuple(values))
        return specs, out_spec

    def _clean(self) -> None:
        """Take out sizes that nobody uses."""
        for node in reversed(self.tracing.graph.nodes):
            name = getattr(node.target, "__name__", "")
            numeric = name.startswith("sym_") or (
                getattr(node.target, "__module__", "") == "_operator" and name not in ("setitem", "getitem")
            )
            if node.op == "call_function" and numeric and not node.users:
                self.tracing.graph.erase_node(node)


def _variant(tensor: Tensor, free: dict[int, Free], number: int) -> Tensor:
    """A copy of an example; in another variant with other sizes, and the same numbers again and again."""
    made = tensor.detach().clone()
    for dim, each in free.items():
        size = each.size(number)
        if size != made.shape[dim]:
            made = made.index_select(dim, flambeau.arange(size) % made.shape[dim])
    return made.requires_grad_(tensor.requires_grad)


@contextmanager
def _left_as_it_was(mod: Module, tracing: Tracing, state: dict[str, Tensor]) -> Iterator[Callable[[], None]]:
    """Undo what the module does to its buffers, its attributes and the random generator, and note what it assigns to buffers."""
    with flambeau.no_grad():
        copies = {path: buffer.detach().clone() for path, buffer in mod.named_buffers()}
    versions = {path: tensor.memory.version for path, tensor in state.items()}
    attributes = [(module, name, value) for module in mod.modules() for name, value in vars(module).items() if isinstance(value, Tensor)]
    buffers = [(module, name, value) for module in mod.modules() for name, value in module._buffers.items()]
    paths = {id(tensor): path for path, tensor in state.items()}

    def before_write(tensor: Any) -> None:
        path = paths.get(id(tensor))
        if path is not None and path not in copies:
            copies[path] = tensor.detach().clone()

    tracing._before_write = before_write
    generator = flambeau.get_rng_state()
    grad = flambeau.is_grad_enabled()
    tape = LOCAL.tape
    flambeau.flush()  # what came about before has its bytes, and what has none comes about now
    limit, tape.limit = tape.limit, _UNLIMITED if tape.limit > 0 else tape.limit
    try:
        yield lambda: _assigned(mod, tracing, attributes, buffers)
    finally:
        tape.limit = limit
        for module, name, value in attributes:
            vars(module)[name] = value
        for module, name, value in buffers:
            module._buffers[name] = value
        with flambeau.no_grad():
            for path, copied in copies.items():
                if state[path].memory.version != versions[path]:
                    state[path].detach().copy_(copied)
        flambeau.set_rng_state(generator)
        flambeau.set_grad_enabled(grad)


def _assigned(mod: Module, tracing: Tracing, attributes: list[tuple], buffers: list[tuple]) -> None:
    """Note what was assigned to buffers.

    Raises:
        ValueError: a tensor was assigned to another attribute
    """
    before = {(id(module), name): value for module, name, value in attributes}
    for path, module in mod.named_modules():
        for name, value in list(vars(module).items()):
            registered = name in module._parameters or name in module._buffers
            if isinstance(value, Tensor) and not registered and before.get((id(module), name)) is not value:
                if (id(module), name) not in before:
                    delattr(module, name)
                raise ValueError(
                    f"the attribute {path + '.' if path else ''}{name} was assigned a tensor while the module was exported: register it as a buffer "
                    "(register_buffer), so that it is part of the program's state"
                )
    for module, name, value in buffers:
        now = module._buffers.get(name)
        if now is not value and now is not None and value is not None:
            tracing.graph.call_function(aten_target("copy_"), (tracing.node_of(value), tracing.node_of(now)))
