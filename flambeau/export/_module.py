"""The module that an exported program is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NoReturn

from flambeau import Tensor
from flambeau.export._inputs import flat_arguments
from flambeau.export.graph_signature import OutputKind
from flambeau.fx.graph import Graph, PythonCode
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_aggregate
from flambeau.ops import aten
from flambeau.utils._pytree import tree_unflatten

if TYPE_CHECKING:
    from flambeau.export.exported_program import ExportedProgram

__all__ = ["ExportedModule", "unlifted"]


class ExportedModule(GraphModule):
    """Calls an exported program's graph: takes its arguments apart, checks them, and puts its results together.

    Parameters, buffers and constants lie where they lay in the module that was exported.
    """

    def __init__(self, program: ExportedProgram, state: dict[str, Any] | None = None, check_guards: bool = True) -> None:
        self.__dict__["_program"], self.__dict__["_check_guards"] = program, check_guards
        state = {**program.constants, **program.state_dict} if state is None else state
        super().__init__(state, unlifted(program), "GraphModule")
        modules = dict(self.named_modules())
        for path, value in state.items():
            above, _, name = path.rpartition(".")
            owner = modules.get(above)
            if owner is None or (name not in owner._parameters and name not in owner._buffers):
                self._adopt(path, value)  # what no node uses
        for path in program.graph_signature.non_persistent_buffers | set(program.graph_signature.lifted_tensor_constants):
            above, _, name = path.rpartition(".")
            self.get_submodule(above)._non_persistent_buffers_set.add(name)

    def recompile(self) -> PythonCode:
        code = super().recompile()
        self.__dict__["_run"] = type(self).__dict__["forward"]
        del type(self).forward  # so that it is the class's, which takes the arguments apart
        return code

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the program gives.

        Raises:
            ValueError: the arguments are in other containers than those that it was exported with
            AssertionError: they have other sizes or dtypes, or a value that is no tensor is another
        """
        program = self._program
        if not kwargs and len(args) == program.plain_arguments and all(isinstance(arg, Tensor) for arg in args):
            leaves: Any = args
        else:
            leaves = flat_arguments(program.signature, program.in_spec, args, kwargs)
        if self._check_guards:
            symbols: dict[str, int] = {}
            for check, leaf in zip(program.input_checks, leaves):
                check.check(leaf, symbols, program.ranges)
        return tree_unflatten(self._run(self, *leaves), program.out_spec)

    def train(self, mode: bool = True) -> NoReturn:
        """Raises ``NotImplementedError``: what the module does when it is trained was decided when it was exported."""
        raise NotImplementedError("an exported program does what the module did when it was exported: call train() or eval() before that")

    def eval(self) -> NoReturn:
        """Raises ``NotImplementedError``, as `train` does."""
        self.train(False)

    def _like(self, state: dict[str, Any]) -> ExportedModule:
        """Such a module with other tensors."""
        return ExportedModule(self._program, state, self._check_guards)

    def __copy__(self) -> ExportedModule:
        return self._like(self._state())

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedModule:
        made = self._like(copy.deepcopy(self._state(), memo))
        memo[id(self)] = made
        return made

    def _state(self) -> dict[str, Tensor]:
        return {**dict(self.named_buffers(remove_duplicate=False)), **dict(self.named_parameters(remove_duplicate=False))}

    def __reduce__(self) -> NoReturn:
        raise TypeError("an exported module is not pickled: save the program by torch.export.save(program, file)")


def unlifted(program: ExportedProgram) -> Graph:
    """A program's graph with parameters, buffers and constants as attributes in the place of inputs, and writes in the place of outputs that are
    new values of buffers and arguments.
    """
    lifted = program.graph_signature
    paths = {**lifted.inputs_to_parameters, **lifted.inputs_to_buffers, **lifted.inputs_to_lifted_tensor_constants}
    graph = Graph()
    known: dict[Node, Node] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in paths:
            known[node] = graph.node_copy(node)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in paths:
            if node.users:
                known[node] = graph.create_node("get_attr", paths[node.name])
                known[node].meta.update(node.meta)
        elif node.op == "output":
            _write(program, graph, known, node)
        elif node.op != "placeholder":
            known[node] = graph.node_copy(node, lambda used: known[used])
    return graph


def _write(program: ExportedProgram, graph: Graph, known: dict[Node, Node], output: Node) -> None:
    """The output, with what is written to buffers and arguments in front of it."""
    values = map_aggregate(output.args[0], lambda value: known[value] if isinstance(value, Node) else value)
    results = []
    for spec, value in zip(program.graph_signature.output_specs, values, strict=True):
        if spec.kind is OutputKind.USER_OUTPUT:
            results.append(value)
            continue
        if spec.kind is OutputKind.BUFFER_MUTATION:
            written = graph.create_node("get_attr", str(spec.target))
        else:
            written = next(copied for node, copied in known.items() if node.name == spec.target)
        graph.call_function(aten.copy_.default, (written, value))
    graph.output(tuple(results))
