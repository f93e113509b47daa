"""Making tensors, in the language of ``_runtime/words.py``: with memory of their own, and views."""

from __future__ import annotations

SOURCE = '''
def fresh(address, layout: Layout):
    """A new tensor with memory."""
    state: State = PyLong_AsSsize_t(address)
    dtype: DType = layout.dtype
    nbytes = PyLong_FromLongLong(PyLong_AsSsize_t(layout.numel) * PyLong_AsSsize_t(dtype.itemsize))
    kind = PyDict_GetItemWithError(state.class_of, nbytes)
    if kind == 0:
        Py_DecRef(nbytes)
        return call_with(state.fresh, layout)
    buffer = allocate(kind, nbytes, state)
    storage = PyType_GenericAlloc(state.storage, 0)
    tensor = PyType_GenericAlloc(state.tensor, 0)
    if buffer == 0 or storage == 0 or tensor == 0:
        Py_DecRef(buffer)
        Py_DecRef(storage)
        Py_DecRef(tensor)
        Py_DecRef(nbytes)
        return 0
    fill_storage(storage, buffer, nbytes, state.none, -1, PyLong_FromSsize_t(0), state)
    fill_tensor(tensor, storage, layout, state)
    return tensor


def layout_of(address, arguments, count):
    """``layout_of(size, dtype)`` of ``_ops/creation.py``, of sizes that were asked for before."""
    state: State = PyLong_AsSsize_t(address)
    if count != 2:
        return call_all(state.layout_of, arguments, count)
    size = at(arguments)
    if class_of(size) == state.tuple and PyTuple_Size(size) == 1:
        first = PyTuple_GetItem(size, 0)
        if class_of(first) == state.tuple:
            size = first
    found = 0
    if class_of(size) == state.tuple:
        index = PyTuple_Size(size) - 1
        while index >= 0 and class_of(PyTuple_GetItem(size, index)) == state.int:
            index -= 1
        if index < 0:
            key = PyTuple_New(2)
            PyTuple_SetItem(key, 0, new(size))
            PyTuple_SetItem(key, 1, new(at(arguments + 8)))
            found = PyDict_GetItemWithError(state.contiguous, key)
            Py_DecRef(key)
    if found == 0:
        PyErr_Clear()
        return call_all(state.layout_of, arguments, count)
    return new(found)


def make_view(address, arguments, count):
    """``view_of(source, layout, operator, statics)`` of ``_ops/views.py``."""
    state: State = PyLong_AsSsize_t(address)
    tape: Tape = state.tape
    source: Tensor = at(arguments)
    layout: Layout = at(arguments + 8)
    anomaly: Anomaly = state.anomaly
    views = 0
    plain = tape != 0 and PyThread_get_thread_ident() == state.thread and class_of(layout) == state.layout and anomaly.enabled == state.false
    kept = plain
    if plain and tape.grad == state.false:
        kept = is_unseen(source, state)
    if kept:
        base = source.base
        if base == state.none:
            base = source
        fields = PyObject_GenericGetDict(base, 0)
        views = PyDict_GetItemWithError(fields, state.views)
        if views == 0:
            views = PyList_New(0)
            PyDict_SetItem(fields, state.views, views)
            Py_DecRef(views)
        Py_DecRef(fields)
        count = PyList_Size(views)
        plain = count < 64 or count & (count - 1) != 0
    tensor: Tensor = 0
    if plain:
        tensor = PyType_GenericAlloc(state.tensor, 0)
    if tensor == 0:
        PyErr_Clear()
        return call_all(state.make_view, arguments, 4)
    fill_tensor(tensor, new(source.memory), layout, state)
    if views != 0:
        tensor.base = new(base)
        reference = PyWeakref_NewRef(tensor, 0)
        PyList_Append(views, reference)
        Py_DecRef(reference)
        dtype: DType = layout.dtype
        if source.node != state.none and PyLong_AsSsize_t(dtype.category) >= 2:
            tensor.node = view_node(source, layout, at(arguments + 16), at(arguments + 24), state)
    return tensor


def view_node(source: Tensor, layout, operator, statics, state: State):
    edge = PyTuple_New(2)
    PyTuple_SetItem(edge, 0, new(source.node))
    PyTuple_SetItem(edge, 1, new(source.output_nr))
    edges = PyTuple_New(1)
    PyTuple_SetItem(edges, 0, edge)
    operand = PyTuple_New(2)
    PyTuple_SetItem(operand, 0, PyLong_FromSsize_t(-1))
    PyTuple_SetItem(operand, 1, new(source.layout))
    operands = PyTuple_New(1)
    PyTuple_SetItem(operands, 0, operand)
    layouts = PyTuple_New(1)
    PyTuple_SetItem(layouts, 0, new(layout))
    record: NewViewRecord = PyType_GenericAlloc(state.view_record, 0)
    record.operands = operands
    record.layouts = layouts
    record.statics = new(statics)
    node: NewGradNode = PyType_GenericAlloc(state.grad_node, 0)
    node.op = new(operator)
    node.inputs = edges
    node.saved = new(state.empty)
    node.record = record
    return node


def largest(address, tensor: Tensor):
    """``largest`` of ``_ops/encoding.py``, of a few integers that are not negative."""
    state: State = PyLong_AsSsize_t(address)
    layout: Layout = tensor.layout
    if class_of(layout) != state.layout:
        return call_with(state.largest, tensor)
    count = PyLong_AsSsize_t(layout.numel)
    if layout.contiguous == state.false or layout.dtype != state.int64 or count > 1000:
        return call_with(state.largest, tensor)
    buffer: Buffer = materialize(address, tensor.memory)
    if buffer == 0:
        return 0
    place = PyLong_AsSsize_t(buffer.address) + 8 * PyLong_AsSsize_t(layout.offset)
    Py_DecRef(buffer)
    end = place + 8 * count
    found = 0
    while place < end:
        if at(place) < 0:
            return call_with(state.largest, tensor)
        if at(place) > found:
            found = at(place)
        place += 8
    return PyLong_FromLongLong(found)
'''
