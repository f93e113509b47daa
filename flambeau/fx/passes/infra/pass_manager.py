"""Running passes one after the other."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.fx.graph_module import GraphModule
from flambeau.fx.passes.infra.pass_base import PassResult

__all__ = ["PassManager"]


class PassManager:
    """Runs passes until none changes the program any more, or a number of times.

    Args:
        passes: functions from a program to a `PassResult`
        constraints: functions of two passes that say whether the first may come before the second
        steps: how often at most
        run_checks_after_each_pass: check the program after each pass, not only at the end
        suppress_check_failures: do not check it

    Example:
        >>> import flambeau
        >>> from flambeau.fx.passes.infra.pass_base import PassResult
        >>> from flambeau.fx.passes.infra.pass_manager import PassManager
        >>> traced = flambeau.fx.symbolic_trace(lambda x: (flambeau.sin(x), x + 1)[1])
        >>> manager = PassManager([lambda program: PassResult(program, program.graph.eliminate_dead_code())])
        >>> manager(traced).modified, len(traced.graph.nodes)
        (True, 3)
    """

    def __init__(
        self, passes: list[Callable[[GraphModule], PassResult | None]] | None = None, constraints: list[Callable] | None = None, steps: int | None = None,
        run_checks_after_each_pass: bool = False, suppress_check_failures: bool = False,
    ) -> None:  # fmt: skip
        self.passes = list(passes or [])
        self.constraints = list(constraints or [])
        self.steps = 1 if steps is None else steps
        self.run_checks_after_each_pass = run_checks_after_each_pass
        self.suppress_check_failures = suppress_check_failures

    def add_pass(self, _pass: Callable) -> None:
        """Add a pass behind the others."""
        self.passes.append(_pass)

    def add_constraint(self, constraint: Callable) -> None:
        """Add a condition on the order.

        Raises:
            RuntimeError: the passes are in another order
        """
        self.constraints.append(constraint)
        self.validate_constraints()

    def validate_constraints(self) -> None:
        """Check the order.

        Raises:
            RuntimeError: two passes are in the wrong order
        """
        for number, first in enumerate(self.passes):
            for second in self.passes[number + 1 :]:
                if any(not allowed(first, second) for allowed in self.constraints):
                    raise RuntimeError(f"pass {_name(first)} may not come before {_name(second)}")

    def check(self, module: GraphModule) -> None:
        """Check a program; subclasses may check more."""
        module.graph.lint()

    def __call__(self, module: GraphModule) -> PassResult:
        self.validate_constraints()
        changed = False
        for _ in range(self.steps):
            modified = False
            for each in self.passes:
                result = each(module)
                if not isinstance(result, PassResult):
                    raise TypeError(f"the result of the pass {_name(each)} is a PassResult, not a {type(result).__name__}")
                module, modified = result.graph_module, modified or result.modified
                module.recompile()
                if self.run_checks_after_each_pass and not self.suppress_check_failures:
                    self.check(module)
            changed = changed or modified
            if not modified:
                break
        if not self.suppress_check_failures:
            self.check(module)
        return PassResult(module, changed)


def _name(each: Callable) -> str:
    return getattr(each, "__name__", type(each).__name__)
