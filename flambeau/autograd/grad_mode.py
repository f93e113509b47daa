"""Whether operators build the autograd graph: ``no_grad``, ``enable_grad``, ``set_grad_enabled``, ``inference_mode``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flambeau._tape.tape import LOCAL, set_inference


class _Mode:
    """A context manager that is also a decorator (of functions and of generators)."""

    def _enter(self) -> None:
        raise NotImplementedError

    def _fresh(self) -> _Mode:
        return type(self)()

    def __call__(self, function: Callable) -> Callable:
        if inspect.isclass(function):
            function.__init__ = self(function.__init__)
            return function
        if inspect.isgeneratorfunction(function):
            return self._generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped

    def _generator(self, function: Callable) -> Callable:
        """Each step of the generator runs in the mode, the code between them does not."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            advance: Callable = functools.partial(next, generator)
            while True:
                try:
                    with self._fresh():
                        item = advance()
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield item
                    advance = functools.partial(generator.send, sent)
                except GeneratorExit:
                    with self._fresh():
                        generator.close()
                    raise
                except BaseException as error:
                    advance = functools.partial(generator.throw, error)

        return wrapped

    def __enter__(self) -> None:
        tape = LOCAL.tape
        self._before = (tape.grad, tape.fresh)
        self._enter()

    def __exit__(self, *exception: object) -> None:
        LOCAL.tape.grad, LOCAL.tape.fresh = self._before


class no_grad(_Mode):
    """Operators in the block (or the decorated function) build no autograd graph.

    Example::

        >>> x = flambeau.ones(2, requires_grad=True)
        >>> with flambeau.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)

    def _enter(self) -> None:
        LOCAL.tape.grad = False


class enable_grad(no_grad):
    """Operators in the block build the autograd graph, also inside ``no_grad``."""

    def _enter(self) -> None:
        LOCAL.tape.grad = True


class set_grad_enabled(_Mode):
    """Switch building the autograd graph on or off, at once or for a block."""

    def __init__(self, mode: bool) -> None:
        tape = LOCAL.tape
        self.mode = bool(mode)
        self._before = (tape.grad, tape.fresh)
        tape.grad = self.mode

    def _fresh(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, function: Callable) -> Callable:
        LOCAL.tape.grad = self._before[0]
        return super().__call__(function)

    def __enter__(self) -> None:
        LOCAL.tape.grad = self.mode


class inference_mode(_Mode):
    """As ``no_grad``; what is made in the block cannot be written in place outside, nor be saved for backward there. ``inference_mode(False)`` is
    ``enable_grad``, also inside another such block, and makes ordinary tensors.
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode) and not isinstance(mode, bool):
            self.mode = True
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)

    def _fresh(self) -> inference_mode:
        return inference_mode(self.mode)

    def _enter(self) -> None:
        set_inference(LOCAL.tape, self.mode)
        LOCAL.tape.grad = not self.mode


def is_grad_enabled() -> bool:
    """Whether operators build the autograd graph in this thread."""
    return LOCAL.tape.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode."""
    return LOCAL.tape.fresh != 0


class set_multithreading_enabled(_Mode):
    """Whether backward passes of several devices run in threads of their own: accepted, as there is one device, and they run where they are called."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)

    def _fresh(self) -> set_multithreading_enabled:
        return set_multithreading_enabled(self.mode)

    def _enter(self) -> None:
        pass
