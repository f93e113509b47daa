"""Reading pickles: one reader that builds nothing but tensors, containers and plain values, and one that builds anything."""

from __future__ import annotations

import pickle
import pickletools
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # Python 2's names, which protocol 2 uses
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, BinaryIO

from flambeau._serialization import names
from flambeau._serialization.nested import Ignored
from flambeau._serialization.tensors import PLAIN, shown
from flambeau._tensor.tensor import Tensor

PersistentLoad = Callable[[Any], Any]

_BLOCKED = ("sys", "os", "posix", "nt")  # nobody can allow these
_PIECE = 1 << 20
_DEEPEST, _MOST = 200, 1 << 16  # tuples in each other, and in all, that a key may have


def load_anything(stream: BinaryIO, persistent_load: PersistentLoad, pickle_module: ModuleType, **arguments: Any) -> Any:
    """Unpickle what may run any code, with ``pickle_module.Unpickler`` and our meaning of PyTorch's names."""

    class Unpickler(pickle_module.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module.split(".")[0] in ("torch", "torchvision"):
                return names.find(module, name)
            return super().find_class(module, name)

    unpickler = Unpickler(stream, **arguments)
    unpickler.persistent_load = persistent_load
    return unpickler.load()


def load_weights(stream: BinaryIO, persistent_load: PersistentLoad, encoding: str = "utf-8") -> Any:
    """Unpickle without running code.

    Raises:
        UnpicklingError: the pickle names a global that is not known to be safe, or is damaged.
    """
    try:
        return WeightsReader(stream, persistent_load, encoding).load()
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error) as error:
        raise pickle.UnpicklingError(f"the pickle is damaged, or made for other versions of what it names: {error}") from error


def unsafe_globals(stream: BinaryIO) -> list[str]:
    """What a pickle names that ``load_weights`` would refuse, in the order in which it is named; nothing is built."""
    words: list[str] = []
    found: dict[str, None] = {}
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            words += argument.split(" ", 1)
        elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
            words.append(memo.get(int(argument), ""))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = words[-1] if words else ""
        elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = words[-1] if words else ""
        elif isinstance(argument, str):
            words.append(argument)
        if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
            module, name = words[-2:]
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            try:
                names.safe(module, name)
            except KeyError:
                found[f"{module}.{name}"] = None
    return list(found)


class WeightsReader:
    """An interpreter of pickle's opcodes, protocols 2 to 5, that calls only what ``names.safe`` gives.

    Python's own unpickler is no basis for this: with a ``find_class`` that is ever so strict, a pickle can still set attributes of
    the objects it gets, for example ``torch.float32.itemsize``.
    """

    operations: dict[bytes, Callable[[Any], Any]]
    """What the opcodes do."""

    def __init__(self, stream: BinaryIO, persistent_load: PersistentLoad, encoding: str = "utf-8") -> None:
        self._stream = stream
        self._persistent_load = persistent_load
        self._encoding = encoding
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._callable: set[int] = set()
        """The ``id`` of what the pickle got from ``names`` and may call."""

    def load(self) -> Any:
        read = self._stream.read
        operations = self.operations
        while True:
            code = read(1)
            if code == pickle.STOP:
                return self._pop()
            operation = operations.get(code)
            if operation is None:
                raise pickle.UnpicklingError(f"Unsupported operand {code!r}" if code else "Ran out of input: the pickle is cut off")
            operation(self)

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count) if count <= _PIECE else self._read_pieces(count)
        if len(data) < count:
            raise pickle.UnpicklingError("Ran out of input: the pickle is cut off")
        return data

    def _read_pieces(self, count: int) -> bytes:
        """A long string; its length may be a lie, for which no memory must be taken."""
        pieces = []
        while count > 0 and (piece := self._stream.read(min(count, _PIECE))):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces) if count == 0 else b""

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _line(self) -> str:
        line = self._stream.readline(4096)
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("Ran out of input, or a name is too long")
        return line[:-1].decode()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise pickle.UnpicklingError("the pickle takes a value from an empty stack; it is damaged")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise pickle.UnpicklingError("the pickle looks at an empty stack; it is damaged")
        return self._stack[-1]

    # -- the stack -----------------------------------------------------------------------------------------------

    def _protocol(self) -> None:
        version = self._read(1)[0]
        if version > pickle.HIGHEST_PROTOCOL:
            raise pickle.UnpicklingError(f"unsupported pickle protocol: {version}")

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise pickle.UnpicklingError("the pickle takes values up to a mark that it has not set; it is damaged")
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _duplicate(self) -> None:
        self._push(self._top())

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise pickle.UnpicklingError(f"the pickle refers to value {index}, which it has not made; it is damaged")
        self._push(self._memo[index])

    # -- containers ----------------------------------------------------------------------------------------------

    def _append(self, items: list[Any]) -> None:
        self._extend(list, list.extend, items, "append to")

    def _add(self, items: list[Any]) -> None:
        for item in items:
            _check_key(item)
        self._extend(set, set.update, items, "add to")

    def _frozen(self) -> None:
        items = self._pop_mark()
        for item in items:
            _check_key(item)
        self._push(frozenset(items))

    def _extend(self, kind: type, extend: Callable, items: list[Any], verb: str) -> None:
        target = self._top()
        if type(target) is not kind:
            raise pickle.UnpicklingError(f"Can only {verb} a {kind.__name__}, but got {type(target)}")
        extend(target, items)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(f"Can only set items of dict, OrderedDict and Counter, but got {type(target)}")
        if len(items) % 2:
            raise pickle.UnpicklingError("the pickle has a key without a value; it is damaged")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _check_key(key)
            target[key] = value

    # -- objects -------------------------------------------------------------------------------------------------

    def _global(self, module: str, name: str) -> None:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if module in _BLOCKED:
            raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL {module}.{name} whose module {module} is blocked.")
        try:
            found = names.safe(module, name)
        except KeyError:
            raise pickle.UnpicklingError(_not_allowed(module, name)) from None
        if not isinstance(found, PLAIN) and found is not Tensor:
            self._callable.add(id(found))
        self._push(found)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise pickle.UnpicklingError("the name of a global must be a string")
        self._global(module, name)

    def _check_callable(self, function: Any) -> None:
        if id(function) not in self._callable:
            raise pickle.UnpicklingError(f"Trying to call {shown(function)}, which is not a function or class that was allowed")

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._check_callable(function)
        for key in _keys(function, arguments):
            _check_key(key)
        self._push(function(*arguments))

    def _new(self, keywords: dict[str, Any] | None = None) -> None:
        arguments, cls = self._pop(), self._pop()
        self._check_callable(cls)
        if not isinstance(cls, type):
            raise pickle.UnpicklingError(f"Can only create objects of classes, but got {shown(cls)}")
        self._push(cls.__new__(cls, *arguments, **(keywords or {})))

    def _new_with_keywords(self) -> None:
        self._new(self._pop())

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if type(target) is OrderedDict:
            target.__dict__.update(state)
        elif type(target) is not Ignored and not names.is_allowed(type(target)):
            raise pickle.UnpicklingError(f"Can only set the state of OrderedDict or of classes that were allowed, but got {type(target)}")
        elif hasattr(target, "__setstate__"):
            target.__setstate__(state)
        else:
            attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
            if attributes:
                target.__dict__.update(attributes)
            for name, value in (slots or {}).items():
                setattr(target, name, value)

    def _persistent(self) -> None:
        identity = self._pop()
        if type(identity) is not tuple or not identity or identity[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError(f"Only persistent_load of storage is allowed, but got {shown(identity)}")
        self._push(self._persistent_load(identity))

    def _string(self, count: int) -> None:
        """A string of Python 2."""
        data = self._read(count)
        self._push(data if self._encoding == "bytes" else data.decode(self._encoding))


def _keys(function: Any, arguments: Sequence[Any]) -> Iterator[Any]:
    """What a call of one of the containers puts into a table."""
    if arguments and function in (set, frozenset, Counter):
        yield from arguments[0]
    elif arguments and function is OrderedDict:
        yield from arguments[0] if isinstance(arguments[0], dict) else [key for key, _ in arguments[0]]


def _check_key(key: Any) -> None:
    """Refuse tuples in tuples that nobody can hash: a few bytes make 2^60 of them, or more of them in each other than the stack has room for.

    Raises:
        UnpicklingError: the key is such a one
    """
    if not isinstance(key, (tuple, frozenset)):
        return
    layer, seen = [key], 0
    for _ in range(_DEEPEST):
        layer = [part for whole in layer for part in whole if isinstance(part, (tuple, frozenset))]
        if not layer:
            return
        seen += len(layer)
        if seen > _MOST:
            break
    raise pickle.UnpicklingError("the pickle has a key of tuples in tuples that are too many, or too deep, to be looked up")


def _not_allowed(module: str, name: str) -> str:
    path = name if module == "builtins" else f"{module}.{name}"
    return (
        f"Unsupported global: GLOBAL {path} was not an allowed global by default. `weights_only=True` builds tensors, "
        f"containers and plain values only, since a file that names other classes or functions can run any code. If you trust {path}, "
        f"allow it with `torch.serialization.add_safe_globals([{path}])` before loading, or around it with the context "
        f"`torch.serialization.safe_globals([{path}])`. If you trust the whole file, load it with `weights_only=False`."
    )


_Reader = WeightsReader
WeightsReader.operations = {
    pickle.PROTO: _Reader._protocol,
    pickle.FRAME: lambda self: self._read(8),
    pickle.MARK: _Reader._mark,
    pickle.POP: _Reader._pop,
    pickle.POP_MARK: _Reader._pop_mark,
    pickle.DUP: _Reader._duplicate,
    # memo
    pickle.BINPUT: lambda self: self._put(self._read(1)[0]),
    pickle.LONG_BINPUT: lambda self: self._put(self._number("<I")),
    pickle.MEMOIZE: lambda self: self._put(len(self._memo)),
    pickle.BINGET: lambda self: self._get(self._read(1)[0]),
    pickle.LONG_BINGET: lambda self: self._get(self._number("<I")),
    # plain values
    pickle.NONE: lambda self: self._push(None),
    pickle.NEWTRUE: lambda self: self._push(True),
    pickle.NEWFALSE: lambda self: self._push(False),
    pickle.BININT: lambda self: self._push(self._number("<i")),
    pickle.BININT1: lambda self: self._push(self._read(1)[0]),
    pickle.BININT2: lambda self: self._push(self._number("<H")),
    pickle.LONG1: lambda self: self._push(pickle.decode_long(self._read(self._read(1)[0]))),
    pickle.BINFLOAT: lambda self: self._push(self._number(">d")),
    pickle.BINUNICODE: lambda self: self._push(str(self._read(self._number("<I")), "utf-8", "surrogatepass")),
    pickle.SHORT_BINUNICODE: lambda self: self._push(str(self._read(self._read(1)[0]), "utf-8", "surrogatepass")),
    pickle.BINUNICODE8: lambda self: self._push(str(self._read(self._number("<Q")), "utf-8", "surrogatepass")),
    pickle.SHORT_BINSTRING: lambda self: self._string(self._read(1)[0]),
    pickle.BINBYTES: lambda self: self._push(self._read(self._number("<I"))),
    pickle.SHORT_BINBYTES: lambda self: self._push(self._read(self._read(1)[0])),
    pickle.BINBYTES8: lambda self: self._push(self._read(self._number("<Q"))),
    pickle.BYTEARRAY8: lambda self: self._push(bytearray(self._read(self._number("<Q")))),
    # containers
    pickle.EMPTY_TUPLE: lambda self: self._push(()),
    pickle.TUPLE1: lambda self: self._tuple(1),
    pickle.TUPLE2: lambda self: self._tuple(2),
    pickle.TUPLE3: lambda self: self._tuple(3),
    pickle.TUPLE: lambda self: self._push(tuple(self._pop_mark())),
    pickle.FROZENSET: _Reader._frozen,
    pickle.EMPTY_LIST: lambda self: self._push([]),
    pickle.APPEND: lambda self: self._append([self._pop()]),
    pickle.APPENDS: lambda self: self._append(self._pop_mark()),
    pickle.EMPTY_SET: lambda self: self._push(set()),
    pickle.ADDITEMS: lambda self: self._add(self._pop_mark()),
    pickle.EMPTY_DICT: lambda self: self._push({}),
    pickle.SETITEM: _Reader._set_item,
    pickle.SETITEMS: lambda self: self._set_items(self._pop_mark()),
    # objects
    pickle.GLOBAL: lambda self: self._global(self._line(), self._line()),
    pickle.STACK_GLOBAL: _Reader._stack_global,
    pickle.REDUCE: _Reader._reduce,
    pickle.NEWOBJ: _Reader._new,
    pickle.NEWOBJ_EX: _Reader._new_with_keywords,
    pickle.BUILD: _Reader._build,
    pickle.BINPERSID: _Reader._persistent,
}
