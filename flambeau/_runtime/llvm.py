"""LLVM as we use it: verify, clean up, emit object code or assembly, link object code into the process.

``llvmlite`` holds one lock around every call into LLVM, so that two threads never compile at once. LLVM itself only asks
that threads share neither a context nor a target machine. What compiles therefore calls the same library through a
handle of its own, without that lock, and two cores compile twice as fast; what links uses ``llvmlite`` as it is.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as binding

from .targets import Target

VERSION = ".".join(map(str, binding.llvm_version_info))

# Kernels come in their final shape, and the code generator's own passes do the rest. These clean up what a generator of
# text leaves behind (helper functions, stack slots, repeated address arithmetic) for 0.3 to 0.8 ms a kernel. LLVM's O2
# pipeline doubles the time of compilation, and made none of our kernels faster. Value numbering (`NewGVN`) takes a sixth
# of the time; without it 95 of 100 kernels are as long as with it or at most 0.5 % longer (`docs/design/0006-latency.md`).
_PASSES = ("AlwaysInliner", "SROA", "InstCombine", "SimplifyCFG")

_POINTER, _TEXT = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)
_SIGNATURES = {
    "ContextCreate": (_POINTER,),
    "ContextDispose": (None, _POINTER),
    "ParseAssembly": (_POINTER, _POINTER, ctypes.c_char_p, _TEXT),
    "SetDataLayout": (None, _POINTER, ctypes.c_char_p),
    "SetTarget": (None, _POINTER, ctypes.c_char_p),
    "VerifyModule": (ctypes.c_bool, _POINTER, _TEXT),
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


def _unlocked_library() -> dict[str, Callable[..., Any]]:
    library = ctypes.CDLL(binding.ffi.lib._name)
    functions = {}
    for name, (returns, *arguments) in _SIGNATURES.items():
        function = getattr(library, f"LLVMPY_{name}")
        function.restype, function.argtypes = returns, arguments
        functions[name] = function
    return functions


_call = _unlocked_library()


class Compiler:
    """Turns IR text into object code or assembly for one target. One thread at a time may use it."""

    def __init__(self, target: Target) -> None:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        description = binding.Target.from_triple(target.triple)
        # `small` code with `pic` relocations reads constants relative to the program counter. It needs code and constants
        # of one object within 2 GB, which the linker below guarantees.
        self._machine = description.create_target_machine(target.cpu, target.features, opt=2, reloc="pic", codemodel="small", jit=True)
        self._address = ctypes.cast(self._machine._ptr, ctypes.c_void_p)
        self._layout = str(self._machine.target_data).encode()
        self._triple = target.triple.encode()

    def object_code(self, ir: str) -> bytes:
        """The object file that ``ir`` compiles to; ``ValueError`` says what is wrong with malformed IR."""
        return self._emit(ir, as_object=True)

    def assembly(self, ir: str) -> str:
        """The assembly text of what ``object_code`` returns."""
        return self._emit(ir, as_object=False).decode()

    def linker(self) -> Linker:
        return Linker(self._machine)

    def _emit(self, ir: str, as_object: bool) -> bytes:
        with _parsed(ir) as module:
            _call["SetDataLayout"](module, self._layout)
            _call["SetTarget"](module, self._triple)
            self._clean_up(module)
            message = ctypes.c_char_p()
            buffer = _call["TargetMachineEmitToMemory"](self._address, module, int(as_object), ctypes.byref(message))
            if not buffer:
                raise ValueError(f"LLVM cannot compile this module: {_take(message)}")
            try:
                return ctypes.string_at(_call["GetBufferStart"](buffer), _call["GetBufferSize"](buffer))
            finally:
                _call["DisposeMemoryBuffer"](buffer)

    def _clean_up(self, module: int) -> None:
        options = _call["CreatePipelineTuningOptions"]()
        builder = _call["CreatePassBuilder"](self._address, options)
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

    def __init__(self, machine: binding.TargetMachine) -> None:
        self._jit = _immortal(binding.create_lljit_compiler(machine, use_jit_link=True))
        self._numbers = itertools.count()

    def link(self, objects: Mapping[str, bytes], imports: Mapping[str, int]) -> dict[str, int]:
        """The addresses of functions; each object file defines the function it is listed under.

        What objects refer to is found among ``imports`` and in the process. ``RuntimeError`` if it is not.
        """
        builder = binding.JITLibraryBuilder().add_current_process()
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
def _parsed(ir: str) -> Iterator[int]:
    """A verified module in a context of its own."""
    message = ctypes.c_char_p()
    context = _call["ContextCreate"]()
    try:
        module = _call["ParseAssembly"](context, ir.encode(), ctypes.byref(message))
        if not module:
            raise ValueError(f"malformed LLVM IR: {_take(message)}")
        try:
            if _call["VerifyModule"](module, ctypes.byref(message)):
                raise ValueError(f"invalid LLVM IR: {_take(message)}")
            yield module
        finally:
            _call["DisposeModule"](module)
    finally:
        _call["ContextDispose"](context)


def _take(message: ctypes.c_char_p) -> str:
    """The text of a message that LLVM allocated, which is freed."""
    text = (message.value or b"no reason given").decode(errors="replace").strip()
    if message:
        _call["DisposeString"](ctypes.cast(message, ctypes.c_void_p))
    return text
