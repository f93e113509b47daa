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
import sys
import zipfile
from collections.abc import Sequence
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

    def __repr__(self) -> str:
        state = f"(state={self.state!r})" if self.state is not None else ""
        return f"{self.module}.{self.name}{self.args!r}{state}"


class FakeClass:
    """A class or function that a pickle names; calling it makes a ``FakeObject``."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name
        self.__new__ = self.fake_new  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"

    def __call__(self, *args: Any) -> FakeObject:
        return FakeObject(self.module, self.name, args)

    def fake_new(self, *args: Any, **kwargs: Any) -> FakeObject:
        """What a pickle makes of the class; ``args`` begin with the class itself."""
        return FakeObject(self.module, self.name, args[1:])


class DumpUnpickler(pickle._Unpickler):  # Python's own, whose every step goes through what is overridden here
    """An unpickler that imports and calls nothing.

    Args:
        file: the pickle
        catch_invalid_utf8: show text that is no UTF-8 as ``unrecoverable``, instead of failing
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: Any, *, catch_invalid_utf8: bool = False, **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        self.catch_invalid_utf8 = catch_invalid_utf8

    def find_class(self, module: str, name: str) -> Any:
        return FakeClass(module, name)

    def persistent_load(self, pid: Any) -> FakeObject:
        return FakeObject("pers", "obj", (pid,))

    def get_extension(self, code: int) -> None:
        self.append(FakeObject("copyreg", "extension", (code,)))

    def load_binunicode(self) -> None:
        length = int.from_bytes(self.read(4), "little")  # type: ignore[attr-defined]
        data = self.read(length)  # type: ignore[attr-defined]
        if len(data) < length:
            raise EOFError("the pickle is cut off")
        try:
            self.append(str(data, "utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            if not self.catch_invalid_utf8:
                raise
            self.append(f"unrecoverable: {error}")

    def _build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, FakeObject):
            target.state = state
        else:
            self.stack[-1] = FakeObject("builtins", "object", (target, state))  # type: ignore[attr-defined]

    def _obj(self) -> None:
        cls, *args = self.pop_mark()  # type: ignore[attr-defined]
        self.append(cls(*args) if isinstance(cls, FakeClass) else FakeObject("builtins", "object", (cls, *args)))

    def _inst(self) -> None:
        module = self.readline()[:-1].decode("ascii")  # type: ignore[attr-defined]
        name = self.readline()[:-1].decode("ascii")  # type: ignore[attr-defined]
        args = tuple(self.pop_mark())  # type: ignore[attr-defined]
        self.append(FakeObject(module, name, args))

    def _newobj(self) -> None:
        args = self.stack.pop()  # type: ignore[attr-defined]
        cls = self.stack.pop()  # type: ignore[attr-defined]
        self.append(cls(*args) if isinstance(cls, FakeClass) else FakeObject("builtins", "object", (cls, *args)))

    def _newobj_ex(self) -> None:
        kwargs = self.stack.pop()  # type: ignore[attr-defined]
        self._newobj()
        if kwargs:
            self.stack[-1] = FakeObject("builtins", "object", (self.stack[-1], kwargs))  # type: ignore[attr-defined]

    def _reduce(self) -> None:
        args = self.stack.pop()  # type: ignore[attr-defined]
        function = self.stack.pop()  # type: ignore[attr-defined]
        arguments = args if isinstance(args, tuple) else (args,)
        made = function(*arguments) if isinstance(function, FakeClass) else FakeObject("builtins", "call", (function, *arguments))
        self.append(made)

    for _code, _step in (
        (pickle.BINUNICODE, load_binunicode), (pickle.BUILD, _build), (pickle.INST, _inst), (pickle.NEWOBJ, _newobj), (pickle.NEWOBJ_EX, _newobj_ex),
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
    """Show the pickle that a command line names; returns 2 if it names none."""
    if len(argv) != 2:
        print(__doc__, file=output_stream or sys.stderr)
        return 2
    path, at, pattern = argv[1].partition("@")
    out = output_stream or sys.stdout
    if not at:
        with open(path, "rb") as stream:
            DumpUnpickler.dump(stream, out)
        return None
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if fnmatch.fnmatch(name, pattern):
                DumpUnpickler.dump(io.BytesIO(archive.read(name)), out)
                return None
    print(f"{path} has no member {pattern}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
