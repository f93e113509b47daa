"""Asking a class before a function runs on its instances: the protocol ``__torch_function__``.

A process without such classes pays nothing: functions and methods are what they are. When the first one appears (an instance of a subclass
of ``Tensor``, a class with a ``__torch_function__`` of its own, or a mode), ``activate`` exchanges the code of the public functions
for code that asks first. The function objects stay, so that a table with ``torch.mean`` as a key holds whenever it was made. ``Active`` does so for
the time of a context, for what asks in it only, such as a trace.

```
before:  torch.mean(x)  ──▶ mean's code
after:   torch.mean(x)  ──▶ dispatch(torch.mean, mean's code as a function of its own, args)  ──▶ type(x).__torch_function__(torch.mean, …)
```
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any

from flambeau._ops.native import native_methods, plain_methods
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL


class _State(threading.local):
    """What this thread asks: modes (innermost last), and instances of classes unless that is disabled."""

    def __init__(self) -> None:
        self.modes: list[Any] = []
        self.classes = True
        self.all = True


STATE = _State()


def disabled_torch_function(func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """What a class sets as its ``__torch_function__`` to have functions run as they are."""
    with Disabled():
        return func(*args, **(kwargs or {}))


def disabled_torch_dispatch(func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """What a class sets as its ``__torch_dispatch__`` not to be asked, and what ``Tensor`` has: the operator runs, and nobody is asked meanwhile."""
    tape = LOCAL.tape
    if not tape.dispatches:
        return func(*args, **(kwargs or {}))
    with tape.unasked():
        return func(*args, **(kwargs or {}))


class Disabled:
    """A context in which no class is asked; modes are."""

    def __enter__(self) -> Disabled:
        self._before = STATE.classes
        STATE.classes = False
        return self

    def __exit__(self, *exception: object) -> None:
        STATE.classes = self._before


def property_of(getter: Any, properties: Mapping[str, Callable], tensor: Any) -> Any:
    """What a property of ``Tensor`` is that a class is asked for: what ``properties`` says, or what it is of any tensor."""
    for name, function in properties.items():
        if getter.__self__ is vars(_plain).get(name):
            return function(tensor)
    with Disabled():
        return getter(tensor)


def first_of(cls: type, arguments: Iterable) -> Any:
    """The first argument, or part of a tuple or list, that is an instance of a class."""
    parts = (part for each in arguments for part in (each if isinstance(each, (tuple, list)) else (each,)))
    return next(part for part in parts if isinstance(part, cls))


class Enabled:
    """A context in which classes are asked again: for functions of the user's that a backward pass calls."""

    def __enter__(self) -> Enabled:
        self._before = STATE.classes
        STATE.classes = True
        return self

    def __exit__(self, *exception: object) -> None:
        STATE.classes = self._before


class AllDisabled:
    """A context in which neither classes nor modes are asked."""

    def __enter__(self) -> AllDisabled:
        self._before = STATE.all
        STATE.all = False
        return self

    def __exit__(self, *exception: object) -> None:
        STATE.all = self._before


# -- whom to ask -----------------------------------------------------------------------------------------------------

_ASKED: dict[type, bool] = {}

_UNASKED: set[type] = {bool, float, int, str, type(None)}
"""Classes whose instances need no look: nobody asks them, and they hold no others."""


def is_asked(cls: type) -> bool:
    """Whether functions ask a class: it has a ``__torch_function__`` that is not disabled (``Tensor`` itself needs none).

    That of ``Tensor`` is, for a class that has a ``__torch_dispatch__``: its operators give what that says.
    """
    known = _ASKED.get(cls)
    if known is None:
        method = getattr(cls, "__torch_function__", None)
        known = _ASKED[cls] = method is not None and method is not disabled_torch_function and _plain is not cls and not _is_left_out(cls)
        if not known and cls is not tuple and cls is not list:
            _UNASKED.add(cls)
    return known


def _is_left_out(cls: type) -> bool:
    inherited = getattr(getattr(cls, "__torch_function__", None), "__func__", None)
    asks = getattr(cls, "__torch_dispatch__", disabled_torch_dispatch) is not disabled_torch_dispatch
    return asks and _plain is not None and inherited is _plain.__torch_function__.__func__


_plain: type | None = None


def set_plain(cls: type) -> None:
    """Set the class of tensors that are nothing more."""
    global _plain
    _plain = cls


def overloaded(arguments: Iterable[Any]) -> list[Any]:
    """The arguments whose classes are asked, one of each class, subclasses first."""
    found: list[Any] = []
    for argument in flat(arguments):
        cls = argument.__class__
        if not is_asked(cls) or any(each.__class__ is cls for each in found):
            continue
        place = next((number for number, each in enumerate(found) if issubclass(cls, each.__class__)), len(found))
        found.insert(place, argument)
    return found


def flat(arguments: Iterable[Any]) -> Iterator[Any]:
    for argument in arguments:
        if argument.__class__ is tuple or argument.__class__ is list:
            yield from argument
        else:
            yield argument


def dispatch(function: Callable, raw: Callable, args: tuple, kwargs: dict) -> Any:
    """Call ``raw``, the code of ``function``, unless a mode or an argument's class answers in its place.

    Raises:
        TypeError: all that were asked returned ``NotImplemented``
    """
    if not kwargs:  # the plain case, in a third of the time of what follows
        for argument in args:
            if argument.__class__ not in _UNASKED:
                break
        else:
            if not STATE.modes:
                return raw(*args)
    if not STATE.all or not (STATE.modes or STATE.classes):
        return raw(*args, **kwargs)
    asked = overloaded((*args, *kwargs.values())) if STATE.classes else []
    if not asked and not STATE.modes:
        return raw(*args, **kwargs)
    return ask(function, asked, args, kwargs)


def spread(function: Callable, args: tuple) -> tuple:
    """The arguments as classes and modes see them: ``einsum(equation, [x, y])`` is ``einsum(equation, x, y)``."""
    if getattr(function, "spreads", False) and len(args) == 2 and isinstance(args[1], (list, tuple)):
        return (args[0], *args[1])
    return args


def ask(function: Callable, asked: list[Any], args: tuple, kwargs: dict) -> Any:
    """What the innermost mode, or the first of the arguments that has one, answers."""
    args = spread(function, args)
    types = tuple([each.__class__ for each in asked])
    if STATE.modes:
        mode = STATE.modes.pop()
        try:
            answer = mode.__torch_function__(function, types, args, kwargs)
        finally:
            STATE.modes.append(mode)
        if answer is not NotImplemented:
            return answer
    for each in asked:
        answer = each.__torch_function__(function, types, args, kwargs)
        if answer is not NotImplemented:
            return answer
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(
        f"no implementation found for '{getattr(function, '__module__', '')}.{name}' on types that implement __torch_function__: {list(types)}"
    )


def default(cls: Any, func: Callable, types: Any, args: Any, kwargs: Any) -> Any:
    """What ``Tensor.__torch_function__`` does: run the function, and make its results instances of the subclass."""
    if not all(issubclass(cls, each) for each in types):
        return NotImplemented
    with Disabled():
        result = func(*args, **(kwargs or {}))
    if _plain is not None and getattr(func, "__self__", None) is _plain.__dict__["grad"]:
        return result  # a gradient is a tensor, as in PyTorch
    return _converted(result, cls)


def _converted(result: Any, cls: type) -> Any:
    if isinstance(result, TensorBase):
        return result if isinstance(result, cls) or cls is _plain else result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        parts = [_converted(each, cls) for each in result]
        return type(result)._make(parts) if hasattr(result, "_make") else type(result)(parts)
    return result


# -- activation ------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_for_good = False
_contexts = 0
_asking_now = False
_exchanged: list[_Exchanged] = []
"""The functions that ask, or asked once."""


def activate() -> None:
    """Let public functions and tensors' methods ask from here on."""
    global _for_good
    if not _for_good:
        with _lock:
            _ask()
            _for_good = True


class Active:
    """A context in which public functions and tensors' methods ask, in all threads; behind the last one they are what they were before,
    unless ``activate`` was called meanwhile.
    """

    def __enter__(self) -> Active:
        global _contexts
        with _lock:
            _ask()
            _contexts += 1
        return self

    def __exit__(self, *exception: object) -> None:
        global _contexts
        with _lock:
            _contexts -= 1
            if not _contexts and not _for_good:
                _ask_no_more()


def _ask() -> None:
    global _asking_now
    if _asking_now:
        return
    _asking_now = True
    plain_methods()
    if not _exchanged:
        _exchanged.extend([_Exchanged(*each) for each in import_module(f"{__name__.partition('.')[0]}.overrides")._overridable()])
    for each in _exchanged:
        each.ask()
    engine = _engine()
    engine.run = _undisturbed(engine.run)


def _ask_no_more() -> None:
    """Undo what ``_ask`` did. A call that goes on in another thread ends as it began: its frame has the code that asks."""
    global _asking_now
    _asking_now = False
    for each in _exchanged:
        each.ask_no_more()
    engine = _engine()
    engine.run = engine.run.__wrapped__
    native_methods()


def _engine() -> Any:
    return import_module(f"{__name__.partition('.')[0]}.autograd.engine")


def _undisturbed(run: Callable) -> Callable:
    """A backward pass whose formulas ask nobody about the tensors that were saved."""

    @wraps(run)
    def undisturbed(*args: Any, **kwargs: Any) -> Any:
        with Disabled():
            return run(*args, **kwargs)

    return undisturbed


class _Exchanged:
    """A function whose code is exchanged for code that calls ``dispatch``; ``public`` is what a class is told that was called."""

    def __init__(self, function: Any, public: Any) -> None:
        self.function = function
        self.code, self.wrapped = function.__code__, function.__dict__.get("__wrapped__")
        self.raw = FunctionType(self.code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        self.raw.__kwdefaults__ = function.__kwdefaults__
        if self.wrapped is not None:
            self.raw.__wrapped__ = self.wrapped
        template = _asking(len(self.code.co_freevars))
        places: dict[Any, Any] = {"DISPATCH": dispatch, "FUNCTION": public, "RAW": self.raw}
        constants = tuple([places.get(each, each) for each in template.co_consts])
        self.asking = template.replace(co_consts=constants, co_name=self.code.co_name, co_filename="<dispatch>")

    def ask(self) -> None:
        self.function.__code__ = self.asking
        self.function.__wrapped__ = self.raw  # where ``inspect`` finds the signature

    def ask_no_more(self) -> None:
        self.function.__code__ = self.code
        if self.wrapped is None:
            del self.function.__wrapped__
        else:
            self.function.__wrapped__ = self.wrapped


@lru_cache
def _asking(count: int) -> CodeType:
    """The code that asks, with as many variables of an outer function as the code that it replaces (it uses none)."""
    names = [f"outer{number}" for number in range(count)]
    source = f"""
def outer({", ".join(names)}):
    def function(*args, **kwargs):
        if 0:
            {", ".join(names) or "pass"}
        dispatch = "DISPATCH"
        return dispatch("FUNCTION", "RAW", args, kwargs)
    return function
"""
    scope: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), scope)
    return scope["outer"](*names).__code__


# -- classes that are no tensors -------------------------------------------------------------------------------------

_build_class = builtins.__build_class__


def _watching(function: Any, name: str, /, *bases: Any, **options: Any) -> Any:
    """``__build_class__``, which notices a class that says what functions of PyTorch do with its instances."""
    cls = _build_class(function, name, *bases, **options)
    declared = isinstance(cls, type) and "__torch_function__" in cls.__dict__ and not issubclass(cls, TensorBase)
    if declared and not cls.__module__.startswith(__name__.partition(".")[0] + "."):
        activate()
    return cls


def watch_classes() -> None:
    """Notice such classes from here on. Nothing else tells: their instances reach functions that know tensors only."""
    if builtins.__build_class__ is _build_class:
        builtins.__build_class__ = _watching
