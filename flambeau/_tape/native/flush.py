"""Flushing, in the language of ``_runtime/words.py``: ``Tape.flush``, ``Storage.materialize`` and ``Tensor.item``."""

from __future__ import annotations

SOURCE = '''
def overwritten(tape: Tape, slot):
    """The input that a value may overwrite, or -1."""
    old = PyDict_GetItemWithError(tape.replaced, slot)
    while old != 0 and PyDict_Contains(tape.replaced, old) != 0 and PyDict_Contains(tape.inputs, old) == 0:
        old = PyDict_GetItemWithError(tape.replaced, old)
    if old == 0:
        return -1
    buffer = PyDict_GetItemWithError(tape.inputs, old)
    if buffer == 0 or references(buffer) > 2:
        return -1
    return PyLong_AsSsize_t(old)


def alive(tape: Tape, state: State):
    """What is alive, as the key of a program; 0 if a storage is one that others see."""
    count = PyList_Size(tape.values)
    if count > state.scratch_slots:
        return 0
    replaced = PyDict_Size(tape.replaced)
    end = state.scratch
    slot = 0
    while slot < count:
        storage: Storage = PyList_GetItem(tape.values, slot)
        if storage != state.none and references(storage) > 1:
            number = PyLong_FromSsize_t(slot)
            if PyDict_Contains(tape.inputs, number) == 0:
                if storage.exported != state.false:
                    Py_DecRef(number)
                    return 0
                old = -1
                if replaced != 0:
                    old = overwritten(tape, number)
                put(end, slot)
                put(end + 8, old)
                end += 16
            Py_DecRef(number)
        slot += 1
    return PyBytes_FromStringAndSize(state.scratch, end - state.scratch)


def known(tape: Tape, state: State):
    """The recipe of the program that computes what is alive; 0 if there is none, or the flush is not an ordinary one."""
    record: Record = tape.cursor
    trie: Trie = state.trie
    pool: Pool = state.pool
    if record.launches == state.none or pool.run == 0 or PyLong_AsSsize_t(trie.size) > PyLong_AsSsize_t(trie.turn):
        return 0
    execute = PyObject_GetAttr(state.program, state.execute_name)
    Py_DecRef(execute)
    if execute != state.execute:  # somebody watches programs
        return 0
    key = alive(tape, state)
    if key == 0:
        return 0
    launch: Launch = PyDict_GetItemWithError(record.launches, key)
    Py_DecRef(key)
    if launch == 0:
        return 0
    words: Words = PyLong_AsSsize_t(launch.words)
    if words.left == 0:
        return 0
    words.left -= 1
    return launch


def prepare(launch: Launch, tape: Tape, state: State):
    """Write addresses and numbers where the program reads them; the new buffers, or 0 (with an error, or without if Python has to do it)."""
    words: Words = PyLong_AsSsize_t(launch.words)
    place = words.table + 24
    index = 0
    while index < words.inputs:
        buffer: Buffer = PyDict_GetItemWithError(tape.inputs, PyTuple_GetItem(launch.inputs, index))
        if buffer == 0:
            return 0
        put(place, PyLong_AsSsize_t(buffer.address))
        place += 8
        index += 1
    index = 0
    while index < words.numbers:
        number = PyList_GetItem(tape.numbers, index)
        if PyLong_AsSsize_t(PyTuple_GetItem(launch.kinds, index)) != 0:
            word = PyFloat_AsDouble(number)
        else:
            word = PyLong_AsSsize_t(number)
        if word == -1 or word == -4616189618054758400:
            if PyErr_Occurred() != 0:
                PyErr_Clear()
                return 0
        put(words.number + 8 * index, word)
        index += 1
    buffers = PyTuple_New(words.buffers)
    index = 0
    while index < words.buffers:
        buffer = allocate(PyTuple_GetItem(launch.classes, index), PyTuple_GetItem(launch.sizes, index), state)
        if buffer == 0:
            Py_DecRef(buffers)
            return 0
        PyTuple_SetItem(buffers, index, buffer)
        if index == words.fresh:
            place = words.table + 16
        put(place, PyLong_AsSsize_t(buffer.address))
        place += 8
        index += 1
    return buffers


def commit(launch: Launch, buffers, following, tape: Tape, state: State):
    """``Tape._commit``; ``following`` are the empty values, inputs, numbers and replaced slots of what comes next."""
    words: Words = PyLong_AsSsize_t(launch.words)
    values = tape.values
    put(state.cells, 0)
    while PyDict_Next(tape.inputs, state.cells, state.cells + 8, 0) != 0:
        storage: Storage = PyList_GetItem(values, PyLong_AsSsize_t(at(state.cells + 8)))
        if storage != state.none and storage.tape == tape:
            storage.tape = new(state.none)
    index = 0
    while index < words.results:
        storage = PyList_GetItem(values, PyLong_AsSsize_t(PyTuple_GetItem(launch.slots, index)))
        if storage != state.none:
            source = PyTuple_GetItem(launch.sources, index)
            number = PyLong_AsSsize_t(source)
            if number < 0:
                source = PyLong_FromSsize_t(~number)
                buffer: Buffer = PyDict_GetItemWithError(tape.inputs, source)
                Py_DecRef(source)
                if buffer.packed != 0 and buffer.packed != state.false:
                    buffer.packed = new(state.none)
            else:
                buffer = PyTuple_GetItem(buffers, number)
            storage.tape = new(state.none)
            storage.buffer = new(buffer)
        index += 1
    inputs = new(tape.inputs)
    values = new(values)
    tape.flushed = new(tape.cursor)
    trie: Trie = state.trie
    record: Record = tape.cursor
    record.used = new(trie.generation)
    tape.cursor = new(trie.root)
    tape.limit = new(PyDict_GetItemWithError(state.module, state.max_slots))
    tape.values = new(PyTuple_GetItem(following, 0))
    tape.inputs = new(PyTuple_GetItem(following, 1))
    tape.numbers = new(PyTuple_GetItem(following, 2))
    tape.replaced = new(PyTuple_GetItem(following, 3))
    Py_DecRef(inputs)
    Py_DecRef(values)


def run(launch: Launch, tape: Tape, state: State):
    """1 if the tape was flushed, -1 if there is an error, 0 if Python has to do it."""
    words: Words = PyLong_AsSsize_t(launch.words)
    pool: Pool = state.pool
    cursor = tape.cursor
    values = tape.values
    count = PyList_Size(values)
    following = PyTuple_New(4)
    PyTuple_SetItem(following, 0, PyList_New(0))
    PyTuple_SetItem(following, 1, PyDict_New())
    if PyList_Size(tape.numbers) != 0:
        PyTuple_SetItem(following, 2, PyList_New(0))
    else:
        PyTuple_SetItem(following, 2, new(tape.numbers))
    if PyDict_Size(tape.replaced) != 0:
        PyTuple_SetItem(following, 3, PyDict_New())
    else:
        PyTuple_SetItem(following, 3, new(tape.replaced))
    buffers = prepare(launch, tape, state)
    if buffers == 0:
        Py_DecRef(following)
        return 0 - (PyErr_Occurred() != 0)
    failed = 1
    # What was allocated may have collected garbage, whose finalizers may record and flush, or have let another thread run.
    if tape == state.tape and pool.run != 0 and tape.cursor == cursor and tape.values == values and PyList_Size(values) == count:
        if words.short != 0:
            failed = call(pool.run, words.task)
        else:
            thread = PyEval_SaveThread()
            clock_gettime(state.clock, state.cells)
            failed = call(pool.run, words.task)
            clock_gettime(state.clock, state.cells + 16)
            PyEval_RestoreThread(thread)
            words.short = at(state.cells) == at(state.cells + 16) and at(state.cells + 24) - at(state.cells + 8) < state.short_time
        if failed != 0:
            put(words.error, 0)
            put(words.error + 8, 0)
            put(words.error + 16, 0)
            put(words.error + 24, 0)
        else:
            commit(launch, buffers, following, tape, state)
    Py_DecRef(following)
    Py_DecRef(buffers)
    return failed == 0


def flush(address, tape: Tape):
    state: State = PyLong_AsSsize_t(address)
    if tape != state.tape or PyThread_get_thread_ident() != state.thread or tape.flushing != state.false:
        return new(state.false)
    record: Record = tape.cursor
    if record.parent == state.none:
        return new(state.true)
    launch: Launch = known(tape, state)
    if launch == 0:
        return new(state.false)
    Py_IncRef(launch)
    words: Words = PyLong_AsSsize_t(launch.words)
    locked = words.short == 0
    done = 0
    if locked:
        held = PyObject_CallNoArgs(state.lock)
        Py_DecRef(held)
        if held == 0:
            done = -1
            locked = 0
    if done == 0 and tape == state.tape:
        done = run(launch, tape, state)
    Py_DecRef(launch)
    if locked:
        error = state.cells
        PyErr_Fetch(error, error + 8, error + 16)
        Py_DecRef(PyObject_CallNoArgs(state.unlock))
        PyErr_Restore(at(error), at(error + 8), at(error + 16))
    if done < 0:
        return 0
    if done != 0:
        return new(state.true)
    return new(state.false)


def materialize(address, storage: Storage):
    state: State = PyLong_AsSsize_t(address)
    tape: Tape = storage.tape
    if tape == state.tape and tape != 0 and PySet_Size(state.watched) == 0 and PyDict_Contains(tape.inputs, storage.slot) == 0:
        done = flush(address, tape)
        if done == 0:
            return 0
        Py_DecRef(done)
    if PySet_Size(state.watched) != 0 or storage.tape != state.none or storage.error != state.none or storage.buffer == state.none:
        return call_with(state.materialize, storage)
    return new(storage.buffer)


def item(address, tensor: Tensor):
    state: State = PyLong_AsSsize_t(address)
    layout: Layout = tensor.layout
    if class_of(layout) != state.layout or PyLong_AsSsize_t(layout.numel) != 1 or (layout.dtype != state.float32 and layout.dtype != state.int64):
        return call_with(state.item, tensor)
    buffer: Buffer = materialize(address, tensor.memory)
    if buffer == 0:
        return 0
    start = PyLong_AsSsize_t(buffer.address)
    offset = PyLong_AsSsize_t(layout.offset)
    Py_DecRef(buffer)
    if layout.dtype == state.float32:
        return PyFloat_FromDouble(single(start + 4 * offset))
    return PyLong_FromLongLong(at(start + 8 * offset))
'''
