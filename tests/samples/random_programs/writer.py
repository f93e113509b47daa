"""Writing programs, and running them while they are written."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.samples.random_programs.gradients import GRADIENTS, gradient, has_history, is_asked_for
from tests.samples.random_programs.inputs import COMPLEX, DTYPES, FLOATS, broadcasts, given, order, places
from tests.samples.random_programs.layers import LAYERS
from tests.samples.random_programs.lines import LINES
from tests.samples.random_programs.views import VIEWS

LARGEST = 1 << 16
"""Elements of a tensor, for a program should take a moment."""


class Run:
    """What a program's lines have made so far, on one package."""

    def __init__(self, package: Any) -> None:
        self.package = package
        helpers = {function.__name__: partial(function, package) for function in (given, places, order)}
        self.space: dict[str, Any] = {"torch": package, "F": package.nn.functional, **helpers}

    def line(self, text: str) -> Exception | None:
        """Run a line; returns the error that it raises, if one is known at once."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(text, self.space)
        except Exception as error:
            return error.with_traceback(None)
        return None

    def tensors(self) -> dict[str, Any]:
        """The program's tensors by name."""
        return {name: each for name, each in self.space.items() if name[0] == "v" and isinstance(each, self.package.Tensor)}


class Writer:
    """Writes a program line by line; ``run`` has what its lines have made. With ``gradients`` it asks for them, with ``layers`` most of its lines call layers."""

    def __init__(self, package: Any, seed: int, gradients: bool = False, layers: bool = False) -> None:
        self.random = random.Random(seed)
        self.run = Run(package)
        self.lines: list[str] = []
        self.failing: set[int] = set()
        self.gradients, self.layers = gradients, layers
        self.special = self.random.random() < (0.1 if gradients else 0.3)
        self.large = self.random.random() < 0.25
        weights = [10, 5, 3, 3, 4, 2, 1, 0, 0, 0, 1, 1] if gradients else [8, 4, 3, 3, 2, 1, 3, 1, 1, 1, 1, 2]
        if layers:
            weights = [20, 4, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0]
        self.dtypes = self.random.choices(DTYPES, weights, k=3)
        rules = {**LINES, **(GRADIENTS if gradients else {}), **(LAYERS if layers else {})}
        self.rules = [rule for rule, weight in rules.items() for _ in range(weight)]
        self.count = 0
        self.used = 0

    def write(self, count: int) -> list[str]:
        """Write so many lines after some inputs; then the gradients of what came last, if any are asked for."""
        for _ in range(self.random.randint(1, 3)):
            self.add(f"{self.new()} = {self.input() if self.gradients else self.fresh()}")
        while len(self.lines) < count:
            self.add(self.random.choice(self.rules)(self))
        outputs = [name for name, each in self.run.tensors().items() if has_history(each)][-3:]
        inputs = [name for name, each in self.run.tensors().items() if is_asked_for(each)][:3]
        for output in outputs:
            for input in inputs:
                if {output, input} <= self.run.tensors().keys():
                    self.add(gradient(self, output, input))
        return self.lines

    def add(self, text: str) -> None:
        before = dict(self.run.space)
        failed = self.run.line(text) is not None
        tensors = self.run.tensors()
        if any(each.numel() > LARGEST for each in tensors.values()):
            self.run.space = before  # as if it had not been written; nothing is written in place into what grows
            return
        if failed:
            if self.random.random() < 0.7:
                return
            self.failing.add(len(self.lines))
        self.lines.append(text)

    def new(self) -> str:
        """The name of a result: sometimes one that had another value, which nobody can reach from then on."""
        if self.count > 2 and self.random.random() < 0.2:
            return f"v{self.random.randrange(self.count)}"
        self.count += 1
        return f"v{self.count - 1}"

    def fresh(self, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> str:
        """An expression for an input."""
        shape = self.shape() if shape is None else shape
        dtype = dtype or self.random.choice(self.dtypes)
        self.used += 1
        special = ", True" if self.special and self.random.random() < 0.5 else ""
        return f"given({self.random.randrange(1000)}, {shape}, {dtype!r}{special})"

    def input(self) -> str:
        """An expression for a tensor of which gradients are wanted."""
        dtypes = [dtype for dtype in self.dtypes if dtype in (*FLOATS, *COMPLEX)]
        return f"{self.fresh(dtype=self.random.choice(dtypes or FLOATS))}.requires_grad_()"

    def wanted(self, shape: tuple[int, ...], dtype: str) -> str:
        """An expression for a parameter of ordinary numbers, which wants a gradient where gradients are asked for."""
        self.used += 1
        return f"given({self.random.randrange(1000)}, {shape}, {dtype!r}){'.requires_grad_()' * self.gradients}"

    def image(self, ndim: int) -> tuple[int, ...]:
        """A shape of images with so many dimensions, those of the batch and of the channels among them."""
        channels, sizes = ([8, 16, 33, 64], [1, 7, 14, 20]) if self.large else ([1, 2, 3, 4, 6, 8], [1, 2, 3, 5, 8, 9])
        return (self.random.choice([1, 2, 3]), self.random.choice(channels), *self.random.choices(sizes, k=ndim - 2))

    def shape(self) -> tuple[int, ...]:
        if self.layers and self.random.random() < 0.7:
            return self.image(self.random.choice([2, 3, 4, 4, 4, 5]))
        sizes = [1, 7, 33, 100, 257] if self.large else [0, 1, 1, 2, 3, 4, 5, 9, 17]
        return tuple(self.random.choices(sizes, k=self.random.choice([0, 1, 2, 2, 3] if self.large else [0, 1, 2, 2, 3, 3, 4])))

    def pick(self, fits: Callable[[Any], bool] = lambda _: True) -> str:
        """A tensor's name, the younger the likelier; an expression for another one where none fits."""
        names = [name for name, each in self.run.tensors().items() if fits(each)]
        if not names:
            return self.fresh()
        return names[-1] if self.random.random() < 0.4 else self.random.choice(names)

    def look(self, name: str) -> Any:
        """The tensor that an expression stands for."""
        return self.run.space[name] if name in self.run.space else eval(name, self.run.space)

    def partner(self, name: str) -> str:
        """What a tensor may be broadcast with: another one, a number, or an input of a shape that suits."""
        shape = tuple(self.look(name).shape)
        chance = self.random.random()
        if chance < 0.2:
            return self.random.choice(["2", "-3", "0.5", "1.5", "0", "True"])
        if chance < 0.6:
            return self.pick(lambda other: broadcasts(tuple(other.shape), shape))
        if chance < 0.65:
            return self.pick()
        kept = shape[self.random.randint(0, len(shape)) :]
        return self.fresh(tuple(1 if self.random.random() < 0.3 else size for size in kept))

    def dim(self, name: str) -> int:
        """A dimension of a tensor, seldom one that it lacks."""
        ndim = self.look(name).dim()
        return (
            self.random.randint(-ndim - 1, ndim + 1) if self.random.random() < 0.03 else self.random.randrange(-max(ndim, 1), max(ndim, 1))
        )

    def view(self, name: str) -> str:
        """An expression for a view of a tensor."""
        return self.random.choice(VIEWS)(self, name)
