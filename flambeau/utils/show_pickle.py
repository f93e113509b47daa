"""What is in a pickle, as text, without running anything of it.

usage: python -m flambeau.utils.show_pickle FILE

FILE is a pickle, or a pickle within a zip archive such as `torch.save` writes: `model.pt@*/data.pkl`; of several that fit the pattern behind
the `@` the first is shown.
"""

from __future__ import annotations

import fnmatch
import io
import pickle
import pprint
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from reprlib import recursive_repr
from typing import IO, Any, ClassVar

__all__ = ["DumpUnpickler", "FakeClass", "FakeObject", "main"]


class FakeObject:
    """What an object would have been made of: the class or function that a pickle names, arguments, and a state."""

    def __init__(self, module: str, name: str, args: tuple) -> None:
        self.module = module
        self.name = name
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    # What a pickle does with lists and dictionaries of other classes.
    def append(self, item: Any) -> None:
        self.args = (*self.args, item)

    def extend(self, items: Any) -> None:
        self.args = (*self.args, *items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state = {**(self.state if isinstance(self.state, dict) else {}), key: value}

    def __hash__(self) -> int:
        return id(self)

    @recursive_repr("...")
    def __repr__(self) -> str:
        state = f"(state={self.state!r})" if self.state is not None else ""
        return f"{self.module}.{self.name}{self.args!r}{state}"


class FakeClass:
    """A class or function that a pickle names; calling it makes a ``FakeObject``."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"

    def __call__(self, *args: Any) -> FakeObject:
        return FakeObject(self.module, self.name, args)


class DumpUnpickler(pickle._Unpickler):  # Python's own, whose every step goes through what is overridden here
    """An unpickler that imports and calls nothing.

    Args:
        file: the pickle
        catch_invalid_utf8: show text that is no UTF-8 as ``unrecoverable``, instead of failing
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]
    stack: list[Any]

    def __init__(self, file: Any, *, catch_invalid_utf8: bool = False, **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        self.catch_invalid_utf8 = catch_invalid_utf8

    def find_class(self, module: str, name: str) -> Any:
        return FakeClass(module, name)

    def persistent_load(self, pid: Any) -> FakeObject:
        return FakeObject("pers", "obj", (pid,))

    def get_extension(self, code: int) -> None:
        self.append(FakeObject("copyreg", "extension", (code,)))

    def load(self) -> Any:
        """What the pickle holds.

        Raises:
            UnpicklingError: it is damaged, or no pickle at all
        """
        try:
            return super().load()
        except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, TypeError, ValueError, struct.error) as error:
            raise pickle.UnpicklingError(f"this is no pickle, or it is damaged or cut off ({type(error).__name__}: {error})") from error

    def _bytes(self, width: int) -> bytes:
        """Bytes behind their number, which is read from a field of some bytes."""
        length = int.from_bytes(self.read(width), "little")
        data = self.read(length) if length <= sys.maxsize else b""
        if len(data) < length:
            raise EOFError(f"{length} bytes are announced, and {len(data)} are there")
        return data

    def _text(self, width: int) -> None:
        try:
            self.append(str(self._bytes(width), "utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            if not self.catch_invalid_utf8:
                raise
            self.append(f"unrecoverable: {error}")

    def load_binunicode(self) -> None:
        self._text(4)

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, FakeObject):
            target.state = state
        else:
            self.stack[-1] = FakeObject("builtins", "object", (target, state))

    def _obj(self) -> None:
        cls, *args = self.pop_mark()
        self.append(cls(*args) if isinstance(cls, FakeClass) else FakeObject("builtins", "object", (cls, *args)))

    def _inst(self) -> None:
        module = self.readline()[:-1].decode("ascii")
        name = self.readline()[:-1].decode("ascii")
        args = tuple(self.pop_mark())
        self.append(FakeObject(module, name, args))

    def _newobj(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        self.append(cls(*args) if isinstance(cls, FakeClass) else FakeObject("builtins", "object", (cls, *args)))

    def _newobj_ex(self) -> None:
        kwargs = self.stack.pop()
        self._newobj()
        if kwargs:
            self.stack[-1] = FakeObject("builtins", "object", (self.stack[-1], kwargs))

    def _reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        arguments = args if isinstance(args, tuple) else (args,)
        made = function(*arguments) if isinstance(function, FakeClass) else FakeObject("builtins", "call", (function, *arguments))
        self.append(made)

    for _code, _step in (
        (pickle.BINUNICODE, load_binunicode), (pickle.SHORT_BINUNICODE, lambda self: self._text(1)), (pickle.BINUNICODE8, lambda self: self._text(8)),
        (pickle.BYTEARRAY8, lambda self: self.append(bytearray(self._bytes(8)))), (pickle.BUILD, _build), (pickle.INST, _inst), (pickle.NEWOBJ, _newobj), (pickle.NEWOBJ_EX, _newobj_ex),
        (pickle.OBJ, _obj), (pickle.REDUCE, _reduce),
    ):  # fmt: skip
        dispatch[_code[0]] = _step

    @classmethod
    def dump(cls, in_stream: IO[bytes], out_stream: IO[str]) -> Any:
        """Write what a pickle holds to a stream, and return it."""
        value = cls(in_stream, catch_invalid_utf8=True).load()
        pprint.pprint(value, stream=out_stream, width=140, compact=True)
        return value


def main(argv: Sequence[str], output_stream: IO[str] | None = None) -> int | None:
    """Show the pickle that a command line names; returns 2, and says why, if it names none that can be read."""
    if len(argv) != 2:
        print(__doc__, file=output_stream or sys.stderr)
        return 2
    path, at, pattern = argv[1].partition("@")
    try:
        data = _member(path, pattern) if at else Path(path).read_bytes()
        DumpUnpickler.dump(io.BytesIO(data), output_stream or sys.stdout)
    except (LookupError, OSError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        print(f"{argv[1]}: {error}", file=sys.stderr)
        return 2
    return None


def _member(path: str, pattern: str) -> bytes:
    """The first file in an archive that fits a pattern.

    Raises:
        LookupError: there is none
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if fnmatch.fnmatch(name, pattern):
                return archive.read(name)
        raise LookupError(f"there is no such file in the archive, but {', '.join(archive.namelist()[:9]) or 'none'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
