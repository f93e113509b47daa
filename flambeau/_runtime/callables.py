"""Native functions as objects that Python can call, made by Python's own C interface."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

NO_ARGUMENTS, ONE_ARGUMENT, FAST, FAST_WITH_KEYWORDS = 0x0004, 0x0008, 0x0080, 0x0082
"""How a native function is given its arguments: Python's ``METH_`` constants. ``FAST`` gets an array and its length."""


class _Definition(ctypes.Structure):
    """Python's ``PyMethodDef``."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


DEFINITIONS: list[_Definition] = []
"""They must live as long as their functions."""


def _definition(name: str, address: int, flags: int) -> Any:
    DEFINITIONS.append(_Definition(name.encode(), address, flags, None))
    return ctypes.byref(DEFINITIONS[-1])


def array_functions() -> tuple[int, int]:
    """Where NumPy's ``PyArray_NewFromDescr`` and ``PyArray_SetBaseObject`` are: entries 94 and 282 of the table that every extension module uses."""
    core = getattr(numpy, "_core", None) or numpy.core
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = (ctypes.c_int64 * 283).from_address(pointer(core._multiarray_umath._ARRAY_API, None))
    return table[94], table[282]


def method(cls: type, name: str, address: int, flags: int) -> Any:
    """A native function as a method of a class."""
    make = ctypes.pythonapi.PyDescr_NewMethod
    make.restype, make.argtypes = ctypes.py_object, (ctypes.py_object, ctypes.c_void_p)
    return make(cls, _definition(name, address, flags))


def function(name: str, address: int, flags: int, first: Any) -> Any:
    """A native function that is given an object of ours as its first argument."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return make(_definition(name, address, flags), first, None)


def bound(function: Any) -> Any:
    """A native function that becomes a method of its class's instances: it is given ours first, then the instance."""
    make = ctypes.pythonapi.PyInstanceMethod_New
    make.restype, make.argtypes = ctypes.py_object, (ctypes.py_object,)
    return make(function)
