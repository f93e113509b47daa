"""Memory that others see or fill, in the language of ``_runtime/words.py``: ``Tensor.numpy`` and the kernels of random numbers."""

from __future__ import annotations

SOURCE = '''
def over(memory, buffer: Buffer, layout: Layout, state: State):
    """The array that shows a tensor's elements in ``memory``, which it takes over; 0 if there is none."""
    dtype: DType = layout.dtype
    itemsize = PyLong_AsSsize_t(dtype.itemsize)
    count = PyTuple_Size(layout.shape)
    shape = state.scratch
    strides = shape + 8 * count
    index = 0
    while index < count:
        put(shape + 8 * index, PyLong_AsSsize_t(PyTuple_GetItem(layout.shape, index)))
        put(strides + 8 * index, itemsize * PyLong_AsSsize_t(PyTuple_GetItem(layout.strides, index)))
        index += 1
    start = PyLong_AsSsize_t(buffer.address) + itemsize * PyLong_AsSsize_t(layout.offset)
    aligned_and_writable = 256 + 1024
    array = call(state.new_array, state.array, new(dtype.numpy), count, shape, strides, start, aligned_and_writable, 0)
    if array == 0:
        Py_DecRef(memory)
        return 0
    call(state.set_base, array, memory)
    return array


def export(storage: Storage, memory, state: State):
    """``Storage.export`` where no record has yet to read the bytes, and nobody else sees them; otherwise 0."""
    tape: Tape = state.tape
    reference = PyWeakref_NewRef(memory, 0)
    others = PyTuple_New(1)
    PyTuple_SetItem(others, 0, reference)
    done = 0
    seen = storage.exported
    if seen == state.false:
        record: Record = tape.cursor
        done = storage.tape == state.none and record.parent == state.none
    elif class_of(seen) == class_of(others) and PyTuple_Size(seen) == 1:
        other = PyObject_CallNoArgs(PyTuple_GetItem(seen, 0))
        done = other == state.none
        Py_DecRef(other)
    if done:
        storage.exported = others
    else:
        Py_DecRef(others)
    return done


def shown(storage: Storage, buffer: Buffer, layout: Layout, state: State):
    """The array of a tensor whose bytes are computed; 0 if Python has to make it."""
    kind: SizeClass = buffer._class
    if state.tape == 0 or PyThread_get_thread_ident() != state.thread or kind.memory_at == state.none:
        return 0
    memory = call_with(kind.memory_at, buffer.address)
    if memory == 0:
        return 0
    if PyObject_SetAttr(memory, state.buffer_name, buffer) != 0:
        Py_DecRef(memory)
        return 0
    Py_IncRef(memory)
    array = over(memory, buffer, layout, state)
    # Making objects may have collected garbage, and that may have run anything.
    if array != 0 and (storage.buffer != buffer or state.tape == 0 or not export(storage, memory, state)):
        Py_DecRef(array)
        array = 0
    Py_DecRef(memory)
    if array != 0 and buffer.packed != 0 and buffer.packed != state.false:
        buffer.packed = new(state.none)
    return array


def numpy(address, tensor: Tensor):
    """``_numpy`` of ``_tensor/tensor.py``."""
    state: State = PyLong_AsSsize_t(address)
    layout: Layout = tensor.layout
    storage: Storage = tensor.memory
    if storage == 0 or layout == 0 or tensor.node != state.none or class_of(storage) != state.storage or class_of(layout) != state.layout:
        return call_with(state.numpy, tensor)
    dtype: DType = layout.dtype
    if dtype.numpy == 0 or PyLong_AsSsize_t(layout.numel) == 0 or PyDict_Contains(state.no_numpy, dtype) != 0 or PyTuple_Size(layout.shape) > 32:
        return call_with(state.numpy, tensor)
    buffer: Buffer = materialize(address, storage)
    if buffer == 0:
        return 0
    array = 0
    if class_of(buffer) == state.buffer:
        array = shown(storage, buffer, layout, state)
    Py_DecRef(buffer)
    if array == 0:
        PyErr_Clear()
        return call_with(state.numpy, tensor)
    return array


def run_random(address, arguments, count):
    """``run_at(name, x, y, a, b, end)`` of ``_runtime/random_kernels.py``; a kernel that takes long is left to Python, which lets other threads run."""
    state: State = PyLong_AsSsize_t(address)
    kernel = 0
    if count == 6:
        kernel = PyDict_GetItemWithError(state.random_kernels, at(arguments))
    if kernel != 0:
        block = state.block
        put(block, PyLong_AsSsize_t(at(arguments + 8)))
        put(block + 8, PyLong_AsSsize_t(at(arguments + 16)))
        put(block + 16, PyFloat_AsDouble(at(arguments + 24)))
        put(block + 24, PyFloat_AsDouble(at(arguments + 32)))
        put(block + 32, 0)
        put(block + 40, PyLong_AsSsize_t(at(arguments + 40)))
        if PyErr_Occurred() == 0 and at(block + 40) <= 4096:
            call(PyLong_AsSsize_t(kernel), block)
            return new(state.none)
    PyErr_Clear()
    return call_all(state.run_random, arguments, count)
'''
