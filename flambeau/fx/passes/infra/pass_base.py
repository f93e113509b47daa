"""A pass: something that looks at a program, and may change it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from flambeau.fx.graph_module import GraphModule

__all__ = ["PassBase", "PassResult"]


class PassResult(NamedTuple):
    """What a pass gives: the program, and whether it is another one than before."""

    graph_module: GraphModule
    modified: bool


class PassBase(ABC):
    """A pass with checks before and behind it: subclasses write `call`, and `requires` and `ensures` if they want."""

    def __call__(self, graph_module: GraphModule) -> PassResult | None:
        self.requires(graph_module)
        result = self.call(graph_module)
        self.ensures(graph_module)
        return result

    @abstractmethod
    def call(self, graph_module: GraphModule) -> PassResult | None:
        """Do it."""

    def requires(self, graph_module: GraphModule) -> None:  # noqa: B027 - nothing is required by itself
        """Raise if the pass cannot work on a program."""

    def ensures(self, graph_module: GraphModule) -> None:  # noqa: B027
        """Raise if the pass has gone wrong."""
