"""A module that is cut into stages, by tracing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from flambeau.distributed.pipelining.stage import PipelineStage
from flambeau.fx import Graph, GraphModule, Node, Tracer
from flambeau.fx.node import map_arg
from flambeau.nn import Module, Parameter

__all__ = ["Pipe", "SplitPoint", "annotate_split_points", "build_stage", "pipe_split", "pipeline"]


class SplitPoint(Enum):
    """Where a stage begins: before a submodule is called, or after it."""

    BEGINNING = 1
    END = 2


class PipeInfo(NamedTuple):
    """What a stage has to know of the pipe."""

    graph: Graph
    num_stages: int
    has_loss_and_backward: bool = False


_tracers: list[_StageTracer] = []


def pipe_split() -> None:
    """Says in a module's ``forward`` that a new stage begins here. When the module runs as a whole it does nothing."""
    if _tracers:
        _tracers[-1].split()


def annotate_split_points(mod: Module, spec: dict[str, SplitPoint]) -> None:
    """Remember where a module is to be cut, for ``pipeline`` without ``split_spec``."""
    _check(mod, spec)
    mod.__dict__.setdefault("_split_points", {}).update(spec)


def _check(module: Module, spec: dict[str, SplitPoint]) -> None:
    known = dict(module.named_modules())
    for name, where in spec.items():
        if name not in known:
            raise AttributeError(f"Specified target {name} referenced nonexistent submodule: there are {[each for each in known if each]}")
        if not isinstance(where, SplitPoint):
            raise TypeError(f"split_spec[{name!r}] must be SplitPoint.BEGINNING or SplitPoint.END, but is {where!r}")


class _StageTracer(Tracer):
    """Traces a module, with nodes where a new stage begins."""

    def __init__(self, spec: dict[str, SplitPoint]) -> None:
        super().__init__()
        self.spec = spec

    def split(self) -> None:
        self.graph.call_function(pipe_split)

    def call_module(self, m: Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        where = self.spec.get(self.path_of_module(m))
        if where is SplitPoint.BEGINNING:
            self.split()
        found = super().call_module(m, forward, args, kwargs)
        if where is SplitPoint.END:
            self.split()
        return found


def pipeline(
    module: Module,
    mb_args: tuple = (),
    mb_kwargs: dict[str, Any] | None = None,
    split_spec: dict[str, SplitPoint] | None = None,
    split_policy: Callable[[GraphModule], GraphModule] | None = None,
) -> Pipe:
    """Cut a module into stages.

    The module is traced by ``flambeau.fx``: what its ``forward`` does must not depend on values. Parameters keep their names, and
    are the module's own.

    Args:
        module: the module
        mb_args, mb_kwargs: arguments of a microbatch, of which the number and the names count
        split_spec: where stages begin: before or after which submodules, by their names; ``pipe_split()`` in ``forward`` says so, too
        split_policy: a function that puts calls of ``pipe_split`` into the traced module instead

    Raises:
        ValueError: both ways are used, or a parameter is used in several stages
        TraceError: what the module does depends on values

    Example:
        >>> from flambeau import nn
        >>> module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> pipe = pipeline(module, (flambeau.ones(1, 4),), split_spec={"2": SplitPoint.BEGINNING})
        >>> [list(pipe.get_stage_module(number).state_dict()) for number in range(pipe.num_stages)]
        [['0.weight', '0.bias'], ['2.weight', '2.bias']]
    """
    if split_spec is not None and split_policy is not None:
        raise ValueError("Cannot specify both `split_spec` and `split_policy`. Please use only one of them.")
    spec = split_spec or module.__dict__.get("_split_points", {})
    _check(module, spec)
    tracer = _StageTracer(spec)
    _tracers.append(tracer)
    try:
        graph = tracer.trace(module, _unused(module, mb_args, mb_kwargs or {}))
    finally:
        _tracers.pop()
    traced = GraphModule(module, graph, type(module).__name__)
    if split_policy is not None:
        traced = split_policy(traced)
    return Pipe(traced)


def _unused(module: Module, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a microbatch does not have: they keep their defaults, and are no arguments of the stages."""
    import inspect

    parameters = inspect.signature(module.forward).parameters
    return {
        name: parameter.default
        for number, (name, parameter) in enumerate(parameters.items())
        if number >= len(args) and name not in kwargs and parameter.default is not inspect.Parameter.empty
    }


class Pipe(Module):
    """A module as stages, which can be run one after the other here, or each in a process of its own.

    Args:
        split_gm: a traced module with calls of ``pipe_split``
    """

    def __init__(self, split_gm: GraphModule) -> None:
        super().__init__()
        stage_of = _stages(split_gm.graph)
        self.num_stages = 1 + max(stage_of.values())
        self.has_loss_and_backward = False
        _check_parameters(split_gm, stage_of)
        self.graph = split_gm.graph
        for number in range(self.num_stages):
            self.add_module(f"submod_{number}", _stage_module(split_gm, stage_of, number, self.num_stages))

    def get_stage_module(self, stage_idx: int) -> Module:
        """The module of a stage.

        Raises:
            ValueError: there is none
        """
        if not 0 <= stage_idx < self.num_stages:
            raise ValueError(f"Invalid stage index {stage_idx}!: there are {self.num_stages} stages")
        return self._modules[f"submod_{stage_idx}"]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns, by running its stages."""
        result: Any = self.get_stage_module(0)(*args, **kwargs)
        for number in range(1, self.num_stages):
            result = self.get_stage_module(number)(*(result if isinstance(result, tuple) else (result,)))
        return result

    def build_stage(self, stage_index: int, device: Any = "cpu", group: Any = None) -> PipelineStage:
        """A stage for this process to run."""
        return build_stage(self.get_stage_module(stage_index), stage_index, self.info(), device, group)

    def info(self) -> PipeInfo:
        """What a stage has to know."""
        return PipeInfo(self.graph, self.num_stages, self.has_loss_and_backward)

    def print_readable(self) -> None:
        """Print the code of all stages."""
        for number in range(self.num_stages):
            print(f"stage {number}")
            self.get_stage_module(number).print_readable()


def build_stage(stage_module: Module, stage_index: int, pipe_info: PipeInfo, device: Any = "cpu", group: Any = None) -> PipelineStage:
    """A stage for this process to run, of a module that a pipe has made."""
    return PipelineStage(stage_module, stage_index, pipe_info.num_stages, device, group=group)


# -- cutting ---------------------------------------------------------------------------------------------------------------


def _stages(graph: Graph) -> dict[Node, int]:
    """The stage of each node but the marks between stages; arguments come in with the first, and attributes are in each that uses them."""
    found: dict[Node, int] = {}
    stage = 0
    for node in graph.nodes:
        if node.op == "call_function" and node.target is pipe_split:
            stage += 1
        else:
            found[node] = stage
    found.update({node: 0 for node in found if node.op == "placeholder"})
    return found


def _check_parameters(traced: GraphModule, stage_of: dict[Node, int]) -> None:
    """A parameter belongs to one stage, since its gradients would be found in several processes otherwise."""
    owners: dict[int, tuple[str, int]] = {}
    for node, own in stage_of.items():
        if node.op == "get_attr":
            value: Any = traced
            for part in node.target.split("."):
                value = getattr(value, part)
            users = {stage_of[user] for user in node.users}
            values = [(node.target, value)] if isinstance(value, Parameter) else []
        elif node.op == "call_module":
            users = {own}
            values = [(f"{node.target}.{name}", each) for name, each in traced.get_submodule(node.target).named_parameters()]
        else:
            continue
        for name, value in values:
            for stage in users:
                other, known = owners.setdefault(id(value), (name, stage))
                if known != stage:
                    raise ValueError(
                        f"{name} is used in stage {stage} and (as {other}) in stage {known}: split where it is used in one, or make a copy"
                    )


def _stage_module(traced: GraphModule, stage_of: dict[Node, int], number: int, count: int) -> GraphModule:
    """One stage: what it needs of those before are its arguments, and what later ones need of it and of those before its results."""
    crossing = _crossing(stage_of, number)
    graph = Graph()
    copies: dict[Node, Node] = {}
    if number:
        for node in crossing:
            copies[node] = graph.placeholder(node.name)
    for node, stage in stage_of.items():
        if node.op == "get_attr":
            if any(stage_of[user] == number for user in node.users):
                copies[node] = graph.get_attr(node.target)
        elif stage == number and node.op != "output":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    if number == count - 1:
        (output,) = [node for node in stage_of if node.op == "output"]
        graph.output(map_arg(output.args[0], copies.__getitem__))
    else:
        results = [copies[node] for node in _crossing(stage_of, number + 1)]
        graph.output(results[0] if len(results) == 1 else tuple(results))
    return GraphModule(traced, graph, "GraphModule")


def _crossing(stage_of: dict[Node, int], number: int) -> list[Node]:
    """The nodes of stages before ``number`` that it, or a later one, uses."""
    return [
        node
        for node, stage in stage_of.items()
        if stage < number and node.op not in ("get_attr", "output") and any(stage_of[user] >= number for user in node.users)
    ]
