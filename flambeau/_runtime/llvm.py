"""LLVM as we use it: verify, clean up, emit object code or assembly, link object code into the process.

It is the library inside ``llvmlite``, called by a handle of our own. The package takes 30 to 50 ms to be imported, as long as ten small
kernels take to be compiled, and holds one lock around every call, so that two threads never compile at once. LLVM itself only asks
that threads share neither a context nor a target machine. What links objects uses the package as it is.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau._runtime.targets import Target

# Kernels come in their final shape, and the code generator's own passes do the rest. These clean up what a generator of text leaves
# behind: helper functions, stack slots, branches. LLVM's O2 pipeline doubles the time of compilation and made none of our kernels
# faster; `NewGVN` takes a sixth of the time and `InstCombine` a tenth, for 0 to 1 % of the code (`docs/design/0006-latency.md`).
_PASSES = ("AlwaysInliner", "SROA", "SimplifyCFG")

_OPT_LEVEL = 1
"""Of the code generator. Level 2 takes a sixth longer, and micro-kernels have the same instructions (AVX2 and AVX-512)."""

# Tables of jumps would lie beside other functions' constants, and refer to all of their code.
_DEFINITION = re.compile(r"^(define [^\n]*@([\w.]+)\([^\n]*) \{$", re.MULTILINE)

_POINTER, _TEXT = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)
_NAMES = [ctypes.c_char_p] * 3
_SIGNATURES = {
    "GetVersionInfo": (ctypes.c_uint,),
    "GetProcessTriple": (None, _TEXT),
    "GetHostCPUName": (None, _TEXT),
    "GetHostCPUFeatures": (ctypes.c_int, _TEXT),
    "SetCommandLine": (None, ctypes.c_char_p, ctypes.c_char_p),
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargets": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllAsmPrinters": (None,),
    "GetTargetFromTriple": (_POINTER, ctypes.c_char_p, _TEXT),
    "CreateTargetMachine": (_POINTER, _POINTER, *_NAMES, ctypes.c_int, *_NAMES[:2], ctypes.c_int, ctypes.c_int, *_NAMES[:1]),
    "CreateTargetMachineData": (_POINTER, _POINTER),
    "CopyStringRepOfTargetData": (None, _POINTER, _TEXT),
    "DisposeTargetData": (None, _POINTER),
    "ContextCreate": (_POINTER,),
    "ContextDispose": (None, _POINTER),
    "ParseAssembly": (_POINTER, _POINTER, ctypes.c_char_p, _TEXT),
    "SetDataLayout": (None, _POINTER, ctypes.c_char_p),
    "SetTarget": (None, _POINTER, ctypes.c_char_p),
    "VerifyModule": (ctypes.c_bool, _POINTER, _TEXT),
    "LinkModules": (ctypes.c_int, _POINTER, _POINTER, _TEXT),
    "DisposeModule": (None, _POINTER),
    "CreatePipelineTuningOptions": (_POINTER,),
    "DisposePipelineTuningOptions": (None, _POINTER),
    "CreatePassBuilder": (_POINTER, _POINTER, _POINTER),
    "DisposePassBuilder": (None, _POINTER),
    "CreateNewModulePassManager": (_POINTER,),
    "RunNewModulePassManager": (None, _POINTER, _POINTER, _POINTER),
    "DisposeNewModulePassManger": (None, _POINTER),  # the library spells it so
    **{f"module_Add{name}Pass": (None, _POINTER) for name in _PASSES},
    "TargetMachineEmitToMemory": (_POINTER, _POINTER, _POINTER, ctypes.c_int, _TEXT),
    "GetBufferStart": (_POINTER, _POINTER),
    "GetBufferSize": (ctypes.c_size_t, _POINTER),
    "DisposeMemoryBuffer": (None, _POINTER),
    "DisposeString": (None, _POINTER),
}

_LONG = ("ParseAssembly", "VerifyModule", "RunNewModulePassManager", "TargetMachineEmitToMemory")
"""What takes long enough to be worth giving up Python's lock. Who gives it up while another thread is planning waits 5 ms to have it back (or what
``sys.setswitchinterval`` says), and a module takes twenty calls."""


def _library() -> ctypes.CDLL:
    """The library inside ``llvmlite``, found without importing the package unless it is where no release has had it."""
    package = importlib.util.find_spec("llvmlite")
    file = {"darwin": "libllvmlite.dylib", "win32": "llvmlite.dll"}.get(sys.platform, "libllvmlite.so")
    for folder in (package and package.submodule_search_locations) or ():
        if (path := Path(folder, "binding", file)).exists():
            return ctypes.CDLL(str(path))
    import llvmlite.binding as binding

    return ctypes.CDLL(binding.ffi.lib._name)


def _functions() -> dict[str, Callable[..., Any]]:
    library = _library()
    locked = ctypes.PyDLL(library._name, handle=library._handle)
    functions = {}
    for name, (returns, *arguments) in _SIGNATURES.items():
        function = getattr(library if name in _LONG else locked, f"LLVMPY_{name}")
        function.restype, function.argtypes = returns, arguments
        functions[name] = function
    return functions


_call = _functions()
for _part in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
    _call[f"InitializeAll{_part}"]()


def _text_of(function: str, *arguments: Any) -> str:
    """The text that a function of the library writes."""
    text = ctypes.c_char_p()
    _call[function](*arguments, ctypes.byref(text))
    return _take(text)


def version() -> str:
    packed = _call["GetVersionInfo"]()
    return f"{packed >> 16 & 255}.{packed >> 8 & 255}.{packed & 255}"


def host() -> tuple[str, str, dict[str, bool]]:
    """What LLVM calls this system and this processor, and the instruction sets that the processor has."""
    features = _text_of("GetHostCPUFeatures")
    has = {feature[1:]: feature[0] == "+" for feature in features.split(",") if feature[:1] in ("+", "-")}
    return _text_of("GetProcessTriple"), _text_of("GetHostCPUName"), has


@contextmanager
def quick() -> Iterator[None]:
    """Compile without loop strength reduction meanwhile: a quarter less time, and code that is as fast and a tenth shorter.

    Kernels address memory as they should already. LLVM has this option for the process only, which may hold other users of the
    library, so that it is taken back.
    """
    _call["SetCommandLine"](b"", b"-disable-lsr=true")
    try:
        yield
    finally:
        _call["SetCommandLine"](b"", b"-disable-lsr=false")


class Compiler:
    """Turns IR text into object code or assembly for one target. One thread at a time may use it."""

    def __init__(self, target: Target) -> None:
        message = ctypes.c_char_p()
        self._triple = target.triple.encode()
        description = _call["GetTargetFromTriple"](self._triple, ctypes.byref(message))
        if not description:
            raise RuntimeError(f"this LLVM knows no target {target.triple}: {_take(message)}")
        names = self._triple, target.cpu.encode(), target.features.encode()
        # `small` code with `pic` relocations reads constants relative to the program counter. It needs code and constants
        # of one object within 2 GB, which the linker below guarantees.
        self._machine = _call["CreateTargetMachine"](description, *names, _OPT_LEVEL, b"pic", b"small", 0, 1, b"")
        data = _call["CreateTargetMachineData"](self._machine)
        self._layout = _text_of("CopyStringRepOfTargetData", data).encode()
        _call["DisposeTargetData"](data)

    def object_code(self, *modules: str) -> bytes:
        """The object file that modules of IR compile to; ``ValueError`` says what is wrong with malformed IR.

        If there are several, each function has a section of its own.
        """
        return self._emit(modules, as_object=True)

    def assembly(self, ir: str) -> str:
        """The assembly text of what ``object_code`` returns."""
        return self._emit((ir,), as_object=False).decode()

    def _emit(self, modules: Sequence[str], as_object: bool) -> bytes:
        section = ' section ".text.{}.\\2"' if len(modules) > 1 else ""
        modules = [_DEFINITION.sub(rf'\1 "no-jump-tables"="true"{section.format(number)} {{', ir) for number, ir in enumerate(modules)]
        with _parsed(modules, self._target) as module:
            self._clean_up(module)
            message = ctypes.c_char_p()
            buffer = _call["TargetMachineEmitToMemory"](self._machine, module, int(as_object), ctypes.byref(message))
            if not buffer:
                raise ValueError(f"LLVM cannot compile this module: {_take(message)}")
            try:
                return ctypes.string_at(_call["GetBufferStart"](buffer), _call["GetBufferSize"](buffer))
            finally:
                _call["DisposeMemoryBuffer"](buffer)

    def _target(self, module: int) -> None:
        _call["SetDataLayout"](module, self._layout)
        _call["SetTarget"](module, self._triple)

    def _clean_up(self, module: int) -> None:
        options = _call["CreatePipelineTuningOptions"]()
        builder = _call["CreatePassBuilder"](self._machine, options)
        passes = _call["CreateNewModulePassManager"]()
        for name in _PASSES:
            _call[f"module_Add{name}Pass"](passes)
        _call["RunNewModulePassManager"](passes, module, builder)
        _call["DisposeNewModulePassManger"](passes)
        _call["DisposePassBuilder"](builder)
        _call["DisposePipelineTuningOptions"](options)


class Linker:
    """Links object files into this process. What it has linked stays for as long as the process lives.

    LLVM's JITLink puts the sections of an object into one mapping (the older MCJIT maps code and constants apart, and truncates
    silently an offset that does not fit 32 bits), and a missing symbol is an error and not an abort.
    """

    def __init__(self, target: Target) -> None:
        import llvmlite.binding as binding

        description = binding.Target.from_triple(target.triple)
        machine = description.create_target_machine(target.cpu, target.features, _OPT_LEVEL, "pic", "small", jit=True)
        self._jit = _immortal(binding.create_lljit_compiler(machine, use_jit_link=True))
        self._new_library = binding.JITLibraryBuilder
        self._numbers = itertools.count()

    def link(self, objects: Mapping[str, bytes], imports: Mapping[str, int]) -> dict[str, int]:
        """The addresses of functions; each object file defines the function it is listed under.

        What objects refer to is found among ``imports`` and in the process. ``RuntimeError`` if it is not.
        """
        builder = self._new_library().add_current_process()
        for name, address in imports.items():
            builder.import_symbol(name, address)
        for name, code in objects.items():
            builder.add_object_img(code).export_symbol(name)
        library = _immortal(builder.link(self._jit, f"kernels.{next(self._numbers)}"))
        return {name: library[name] for name in objects}


def _immortal(value: Any) -> Any:
    """``value``, never to be collected: code is unmapped with its tracker, and llvmlite cannot dispose of anything once the interpreter
    is being torn down."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    return value


@contextmanager
def _parsed(texts: Sequence[str], prepare: Callable[[int], None]) -> Iterator[int]:
    """A verified module, made of those of some texts, in a context of its own."""
    message = ctypes.c_char_p()
    context = _call["ContextCreate"]()
    modules: list[int] = []
    try:
        for text in texts:
            module = _call["ParseAssembly"](context, text.encode(), ctypes.byref(message))
            if not module:
                raise ValueError(f"malformed LLVM IR: {_take(message)}")
            modules.append(module)
            if _call["VerifyModule"](module, ctypes.byref(message)):
                raise ValueError(f"invalid LLVM IR: {_take(message)}")
            prepare(module)
        while len(modules) > 1:
            if _call["LinkModules"](modules[0], modules.pop(1), ctypes.byref(message)):  # which disposes of the second
                raise ValueError(f"LLVM cannot put modules together: {_take(message)}")
        yield modules[0]
    finally:
        for module in modules:
            _call["DisposeModule"](module)
        _call["ContextDispose"](context)


def _take(message: ctypes.c_char_p) -> str:
    """The text of a message that LLVM allocated, which is freed."""
    text = (message.value or b"no reason given").decode(errors="replace").strip()
    if message:
        _call["DisposeString"](ctypes.cast(message, ctypes.c_void_p))
    return text
