"""What the native functions share: new objects, the memory of buffers, and what is left to Python."""

from __future__ import annotations

SOURCE = '''
@inline
def new(object):
    Py_IncRef(object)
    return object


def call_with(function, argument):
    positional = PyTuple_New(1)
    PyTuple_SetItem(positional, 0, new(argument))
    result = PyObject_Call(function, positional, 0)
    Py_DecRef(positional)
    return result


def call_all(function, arguments, count):
    """Call a function with ``count`` arguments that lie in memory."""
    positional = PyTuple_New(count)
    index = 0
    while index < count:
        PyTuple_SetItem(positional, index, new(at(arguments + 8 * index)))
        index += 1
    result = PyObject_Call(function, positional, 0)
    Py_DecRef(positional)
    return result


def fill_storage(storage: NewStorage, buffer, nbytes, tape, slot, version, state: State):
    storage.buffer = buffer
    storage.nbytes = nbytes
    storage.tape = new(tape)
    storage.slot = PyLong_FromSsize_t(slot)
    storage.version = version
    storage.exported = new(state.false)
    storage.error = new(state.none)


def fill_tensor(tensor: NewTensor, storage, layout, state: State):
    tensor.memory = storage
    tensor.layout = new(layout)
    tensor.output_nr = PyLong_FromSsize_t(0)
    tensor.base = new(state.none)
    tensor.node = new(state.none)


@inline
def is_number(operand, state: State):
    return class_of(operand) == state.float or class_of(operand) == state.int or class_of(operand) == state.bool


def allocate(kind: SizeClass, nbytes, state: State):
    """Memory of a size class; 0 with an error set if there is none."""
    buffer: NewBuffer = 0
    if PyList_Size(kind.free) != 0:
        buffer = PyType_GenericAlloc(state.buffer, 0)
    last = PyList_Size(kind.free) - 1
    if buffer == 0 or last < 0:
        Py_DecRef(buffer)
        return call_with(state.allocate, nbytes)
    buffer.address = PyObject_CallNoArgs(kind.pop)
    buffer.nbytes = new(nbytes)
    buffer._class = new(kind)
    counters: Counters = state.counters
    place = PyLong_AsSsize_t(counters.address)
    allocated = at(place) + PyLong_AsSsize_t(kind.nbytes)
    put(place, allocated)
    if allocated > at(place + 8):
        put(place + 8, allocated)
    put(place + 16, at(place + 16) + 1)
    return buffer


def release(buffer: Buffer, ignored):
    """``Buffer.__del__``."""
    kind: SizeClass = buffer._class
    if kind == 0:  # made and never used
        return PyLong_FromSsize_t(0)
    counters: Counters = kind.counters
    PyList_Append(kind.free, buffer.address)
    place = PyLong_AsSsize_t(counters.address)
    put(place, at(place) - PyLong_AsSsize_t(kind.nbytes))
    return PyLong_FromSsize_t(0)
'''
