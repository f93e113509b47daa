"""Recording, in the language of ``_runtime/words.py``: an operator's call, in place and over several targets, and the operators of Python."""

from __future__ import annotations

SOURCE = '''
def enter(tape: Tape, storage: Storage, state: State):
    """Make a storage an input; 0 if it is not a plain one."""
    if storage.tape != state.none or storage.error != state.none or storage.exported != state.false or storage.buffer == state.none:
        return 0
    slot = PyLong_FromSsize_t(PyList_Size(tape.values))
    if slot == 0 or PyDict_SetItem(tape.inputs, slot, storage.buffer) != 0 or PyList_Append(tape.values, storage) != 0:
        return 0
    storage.tape = new(tape)
    storage.slot = slot
    return 1


def generic(function, operator, arguments, count, names):
    """What ``Operator.__call__`` or ``Operator.inplace`` says in Python."""
    PyErr_Clear()
    positional = PyTuple_New(count + 1)
    PyTuple_SetItem(positional, 0, new(operator))
    index = 0
    while index < count:
        PyTuple_SetItem(positional, index + 1, new(at(arguments + 8 * index)))
        index += 1
    named = 0
    if names != 0:
        named = PyDict_New()
        index = 0
        while index < PyTuple_Size(names):
            PyDict_SetItem(named, PyTuple_GetItem(names, index), at(arguments + 8 * (count + index)))
            index += 1
    result = PyObject_Call(function, positional, named)
    Py_DecRef(positional)
    Py_DecRef(named)
    return result


def size_in_key(operand: Tensor, tape: Tape, state: State):
    """How many parts of the key an operand takes; 0 if it is something out of the ordinary."""
    kind = class_of(operand)
    if kind == state.float or kind == state.bool:
        return 1
    if kind == state.int:
        PyLong_AsSsize_t(operand)
        return PyErr_Occurred() == 0
    if kind != state.tensor and PyType_IsSubtype(kind, state.tensor_base) == 0:
        return 0
    storage: Storage = operand.memory
    if storage == 0 or operand.node == 0:
        return 0
    if storage.tape != tape and not enter(tape, storage, state):
        return 0
    return 2


def user_line(state: State):
    """``user_line`` of ``_ops/origin.py``, where all code on the way is known."""
    frame = PyEval_GetFrame()
    Py_IncRef(frame)
    inside = state.true
    while frame != 0 and inside == state.true:
        code = PyFrame_GetCode(frame)
        Py_DecRef(code)  # which its frame holds
        number = PyLong_FromVoidPtr(code)
        known = PyDict_GetItemWithError(state.user_code, number)
        Py_DecRef(number)
        inside = 0
        if known != 0:
            inside = PyTuple_GetItem(known, 1)
        if inside == state.true:
            below = PyFrame_GetBack(frame)
            Py_DecRef(frame)
            frame = below
    if frame == 0 or inside == 0:
        Py_DecRef(frame)
        return PyObject_CallNoArgs(state.user_line)
    place = PyTuple_New(2)
    PyTuple_SetItem(place, 0, PyObject_GetAttr(code, state.file_name))
    PyTuple_SetItem(place, 1, PyLong_FromSsize_t(PyFrame_GetLineNumber(frame)))
    Py_DecRef(frame)
    return place


def matches(record: Record, operator, statics, arguments, count, state: State):
    """Whether a record, which keeps no line, is one of this call; to ask so of the latest one takes half of what a key and a look-up take."""
    if record == state.none:
        return 0
    if record.op != operator or record.origin != state.none or PyTuple_Size(record.operands) != count:
        return 0
    if record.statics != statics and PyObject_RichCompareBool(record.statics, statics, 2) != 1:
        PyErr_Clear()
        return 0
    index = 0
    while index < count:
        operand: Tensor = at(arguments + 8 * index)
        known = PyTuple_GetItem(record.operands, index)
        if is_number(operand, state):
            if PyTuple_GetItem(known, 1) != class_of(operand):
                return 0
        else:
            storage: Storage = operand.memory
            slot = PyTuple_GetItem(known, 0)
            if PyTuple_GetItem(known, 1) != operand.layout:
                return 0
            if slot != storage.slot and PyLong_AsSsize_t(slot) != PyLong_AsSsize_t(storage.slot):
                return 0
        index += 1
    return 1


def look_up(operator, statics, arguments, count, size, origin, tape: Tape, state: State):
    """The record of a call, or 0. It takes over ``origin``."""
    key = PyTuple_New(size + (origin != 0))
    fill_key(key, operator, statics, arguments, count, origin, state)
    cursor: Record = tape.cursor
    record = PyDict_GetItemWithError(cursor, key)
    Py_DecRef(key)
    if record != 0:
        cursor.latest = new(record)
    return record


def fill_key(key, operator, statics, arguments, count, origin, state: State):
    """The key of a record: operator, statics, for each operand the slot and layout or the class of a number, and the user's line."""
    PyTuple_SetItem(key, 0, new(operator))
    PyTuple_SetItem(key, 1, new(statics))
    size = 2
    index = 0
    while index < count:
        operand: Tensor = at(arguments + 8 * index)
        if is_number(operand, state):
            PyTuple_SetItem(key, size, new(class_of(operand)))
            size += 1
        else:
            source: Storage = operand.memory
            PyTuple_SetItem(key, size, new(source.slot))
            PyTuple_SetItem(key, size + 1, new(operand.layout))
            size += 2
        index += 1
    if origin != 0:
        PyTuple_SetItem(key, size, origin)


def push_numbers(arguments, count, tape: Tape, state: State):
    index = 0
    while index < count:
        operand = at(arguments + 8 * index)
        if class_of(operand) == state.bool:
            number = PyLong_FromSsize_t(operand != state.false)
            PyList_Append(tape.numbers, number)
            Py_DecRef(number)
        elif is_number(operand, state):
            PyList_Append(tape.numbers, operand)
        index += 1


def new_results(record: Record, slot, tape: Tape, state: State):
    """A tuple of pending tensors that have the slots from ``slot`` on; 0 if there is no memory."""
    count = PyTuple_Size(record.layouts)
    results = PyTuple_New(count)
    index = 0
    while index < count:
        storage = PyType_GenericAlloc(state.storage, 0)
        tensor = PyType_GenericAlloc(state.tensor, 0)
        if storage == 0 or tensor == 0:
            Py_DecRef(storage)
            Py_DecRef(tensor)
            Py_DecRef(results)
            return 0
        fill_storage(storage, new(state.none), new(PyTuple_GetItem(record.sizes, index)), tape, slot + index, new(tape.fresh), state)
        fill_tensor(tensor, storage, PyTuple_GetItem(record.layouts, index), state)
        PyTuple_SetItem(results, index, tensor)
        index += 1
    return results


def gradient(operator, arguments, count, record: Record, results, state: State):
    """The gradient node of a call with one result or a tuple of them; 0 if there is no memory."""
    edges = PyTuple_New(count)
    index = 0
    while index < count:
        operand: Tensor = at(arguments + 8 * index)
        edge = state.none
        if not is_number(operand, state) and operand.node != state.none:
            edge = PyTuple_New(2)
            PyTuple_SetItem(edge, 0, new(operand.node))
            PyTuple_SetItem(edge, 1, new(operand.output_nr))
        else:
            Py_IncRef(edge)
        PyTuple_SetItem(edges, index, edge)
        index += 1
    size = PyTuple_Size(record.saves)
    saved = PyTuple_New(size)
    index = 0
    while index < size:
        position = PyLong_AsSsize_t(PyTuple_GetItem(record.saves, index))
        if position < 0:
            result: Tensor = results
            if record.single == state.none:
                result = PyTuple_GetItem(results, ~position)
            storage: Storage = result.memory
            item = PyTuple_New(4)
            PyTuple_SetItem(item, 0, new(storage))
            PyTuple_SetItem(item, 1, new(result.layout))
            PyTuple_SetItem(item, 2, PyLong_FromSsize_t(~position))
            PyTuple_SetItem(item, 3, new(storage.version))
        else:
            operand = at(arguments + 8 * position)
            if is_number(operand, state):
                item = new(operand)
            else:
                storage = operand.memory
                item = PyTuple_New(3)
                PyTuple_SetItem(item, 0, new(operand))
                PyTuple_SetItem(item, 1, new(storage))
                PyTuple_SetItem(item, 2, new(storage.version))
        PyTuple_SetItem(saved, index, item)
        index += 1
    node: NewGradNode = PyType_GenericAlloc(state.grad_node, 0)
    if node != 0:
        node.op = new(operator)
        node.inputs = edges
        node.saved = saved
        node.record = new(record)
    return node


def finish_several(operator, arguments, count, record: Record, results, tracked, tape: Tape, state: State):
    """Let the tape know the results, and autograd."""
    index = 0
    while index < PyTuple_Size(results):
        result: Tensor = PyTuple_GetItem(results, index)
        PyList_Append(tape.values, result.memory)
        index += 1
    if tracked:
        node = gradient(operator, arguments, count, record, results, state)
        index = 0
        while index < PyTuple_Size(results) and node != 0:
            result = PyTuple_GetItem(results, index)
            layout: Layout = result.layout
            dtype: DType = layout.dtype
            if PyLong_AsSsize_t(dtype.category) >= 2:
                result.node = new(node)
                result.output_nr = PyLong_FromSsize_t(index)
            index += 1
        if node == 0:
            Py_DecRef(results)
            return 0
        Py_DecRef(node)
    return results


def statics_of(arguments, count, names, state: State):
    """The statics that a call names, or none; 0 if it names anything else."""
    if names == 0:
        return state.empty
    if PyTuple_Size(names) != 1 or PyTuple_GetItem(names, 0) != state.statics:
        return 0
    return at(arguments + 8 * count)


def is_recording(tape: Tape, state: State):
    """Whether this thread's tape is the one that native code serves, and nothing is being recorded."""
    return tape != 0 and PyThread_get_thread_ident() == state.thread and tape.entered == state.none


def size_of_key(arguments, count, tape, state: State):
    """How many parts a key has; 0 if an operand is something out of the ordinary. All storages are known to the tape afterwards."""
    size = 2
    index = 0
    while index < count:
        more = size_in_key(at(arguments + 8 * index), tape, state)
        if more == 0:
            return 0
        size += more
        index += 1
    return size


def with_history(arguments, count, state: State):
    """A bit for each operand that requires grad."""
    wanted = 0
    index = 0
    while index < count:
        operand: Tensor = at(arguments + 8 * index)
        if not is_number(operand, state) and operand.node != state.none:
            wanted = wanted | 1 << index
        index += 1
    return wanted


def find(operator: Operator, statics, arguments, count, size, tape: Tape, state: State):
    """The record of a call, or 0. Nothing is allocated once it has been found."""
    origin = 0
    if operator.keeps_origin != state.false:
        origin = user_line(state)
        if origin == 0:
            return 0
    cursor: Record = tape.cursor
    record = cursor.latest
    if origin != 0 or not matches(record, operator, statics, arguments, count, state):
        record = look_up(operator, statics, arguments, count, size, origin, tape, state)
    return record


def may_save(record: Record, arguments, state: State):
    """Whether nothing that the gradient of a call needs was made in inference mode."""
    if state.inference == 0:
        return 1
    index = 0
    while index < PyTuple_Size(record.saves):
        position = PyLong_AsSsize_t(PyTuple_GetItem(record.saves, index))
        if position >= 0:
            operand: Tensor = at(arguments + 8 * position)
            if not is_number(operand, state):
                storage: Storage = operand.memory
                if PyLong_AsSsize_t(storage.version) < 0:
                    return 0
        index += 1
    return 1


def record(operator: Operator, arguments, count, names):
    native: Native = operator.native
    state: State = PyLong_AsSsize_t(native.address)
    tape: Tape = state.tape
    statics = statics_of(arguments, count, names, state)
    size = 0
    if is_recording(tape, state) and count <= 60 and statics != 0:  # a word has a bit for each operand
        size = size_of_key(arguments, count, tape, state)
    if size == 0:
        return generic(state.generic, operator, arguments, count, names)

    # Made before anything is looked up: allocating may collect garbage, and that may run anything.
    storage: Storage = PyType_GenericAlloc(state.storage, 0)
    result: Tensor = PyType_GenericAlloc(state.tensor, 0)
    if storage == 0 or result == 0:
        Py_DecRef(storage)
        Py_DecRef(result)
        return generic(state.generic, operator, arguments, count, names)
    record: Record = find(operator, statics, arguments, count, size, tape, state)
    slot = PyList_Size(tape.values)
    known = record != 0 and slot < PyLong_AsSsize_t(tape.limit)
    tracked = 0
    if known and tape.grad != state.false and record.differentiable != state.false:
        wanted = with_history(arguments, count, state)
        tracked = wanted != 0
        if tracked:
            anomaly: Anomaly = state.anomaly
            known = PyLong_AsSsize_t(record.wanted) == wanted and anomaly.enabled == state.false and may_save(record, arguments, state)
    several = 0
    if known and record.single == state.none:
        several = new_results(record, slot, tape, state)
        known = several != 0 and record.parent == tape.cursor and PyList_Size(tape.values) == slot  # still, after what allocating may have run
    if not known:
        Py_DecRef(several)
        Py_DecRef(storage)
        Py_DecRef(result)
        return generic(state.generic, operator, arguments, count, names)
    tape.cursor = new(record)
    push_numbers(arguments, count, tape, state)
    if several != 0:
        Py_DecRef(storage)
        Py_DecRef(result)
        return finish_several(operator, arguments, count, record, several, tracked, tape, state)
    PyList_Append(tape.values, storage)
    fill_storage(storage, new(state.none), new(record.nbytes), tape, slot, new(tape.fresh), state)
    fill_tensor(result, storage, record.single, state)
    if tracked:
        node = gradient(operator, arguments, count, record, result, state)
        if node == 0:
            Py_DecRef(result)
            return 0
        result.node = node
    return result


def is_plain(target: Tensor, tape: Tape, state: State):
    """Whether a tensor may be written without a word to autograd or to others that see its memory."""
    if class_of(target) != state.tensor and PyType_IsSubtype(class_of(target), state.tensor_base) == 0:
        return 0
    storage: Storage = target.memory
    if storage == 0 or storage.exported != state.false or class_of(target.layout) != state.layout:
        return 0
    if state.inference != 0 and PyLong_AsSsize_t(storage.version) < 0 and PyLong_AsSsize_t(tape.fresh) == 0:
        return 0
    if tape.grad != state.false:
        base: Tensor = target.base
        if target.node != state.none:
            return 0
        if base != state.none and base.node != state.none and base.node != state.unseen:
            return 0
    return 1


def is_unseen(target: Tensor, state: State):
    """Whether autograd does not see what is written through a tensor: what ``is_unseen`` of ``_ops/writing.py`` says."""
    base: Tensor = target.base
    return base != state.none and base.node == state.unseen


def uncount(target: Tensor, state: State):
    """Take a write out of the version's count that autograd does not see."""
    if is_unseen(target, state):
        storage: Storage = target.memory
        storage.version = PyLong_FromLongLong(PyLong_AsSsize_t(storage.version) - 1)


def covers(target: Tensor, state: State):
    """Whether a tensor shows each element of its memory once."""
    storage: Storage = target.memory
    layout: Layout = target.layout
    dtype: DType = layout.dtype
    nbytes = PyLong_AsSsize_t(layout.numel) * PyLong_AsSsize_t(dtype.itemsize)
    return layout.dense != state.false and PyLong_AsSsize_t(layout.offset) == 0 and nbytes == PyLong_AsSsize_t(storage.nbytes)


def replace(tape: Tape, storage: Storage, slot, state: State):
    """Let a storage stand for a new value, whose slot is the next: what ``adopt`` does."""
    number = PyLong_FromSsize_t(slot)
    PyDict_SetItem(tape.replaced, number, storage.slot)
    PyList_SetItem(tape.values, PyLong_AsSsize_t(storage.slot), new(state.none))
    PyList_Append(tape.values, storage)
    storage.slot = number
    storage.version = PyLong_FromLongLong(PyLong_AsSsize_t(storage.version) + 1)


def fits(value: Tensor, target: Tensor, state: State):
    """Whether a result has the shape and the dtype of what it is written over."""
    if class_of(value) != state.tensor:
        return 0
    layout: Layout = value.layout
    wanted: Layout = target.layout
    return layout.dtype == wanted.dtype and PyObject_RichCompareBool(layout.shape, wanted.shape, 2) == 1


def write_part(operator, target: Tensor, flat, operands, count, names, tape: Tape, state: State):
    """Record a call, and that its result replaces the part of a storage that a tensor shows; ``flat`` is all of the storage."""
    value = record(operator, operands, count, names)
    if value == 0:
        return 0
    storage: Storage = target.memory
    base = PyType_GenericAlloc(state.tensor, 0)
    if base == 0 or not fits(value, target, state):
        Py_DecRef(base)
        PyErr_Clear()
        given = PyTuple_New(3)
        PyTuple_SetItem(given, 0, new(operator))
        PyTuple_SetItem(given, 1, new(target))
        PyTuple_SetItem(given, 2, value)
        result = PyObject_Call(state.finish_write, given, 0)
        Py_DecRef(given)
        return result
    fill_tensor(base, new(storage), flat, state)
    statics = PyTuple_New(1)
    PyTuple_SetItem(statics, 0, new(target.layout))
    given = PyTuple_New(3)
    PyTuple_SetItem(given, 0, base)
    PyTuple_SetItem(given, 1, value)
    PyTuple_SetItem(given, 2, statics)
    whole: Tensor = record(state.write_part, given + state.tuple_items, 2, state.names)
    Py_DecRef(given)
    if whole == 0:
        return 0
    made: Storage = whole.memory
    if made.tape == tape and storage.tape == tape:
        PyDict_SetItem(tape.replaced, made.slot, storage.slot)
        PyList_SetItem(tape.values, PyLong_AsSsize_t(storage.slot), new(state.none))
        PyList_SetItem(tape.values, PyLong_AsSsize_t(made.slot), new(storage))
        storage.slot = new(made.slot)
        storage.version = PyLong_FromLongLong(PyLong_AsSsize_t(storage.version) + 1)
    else:  # so many values were recorded that they were computed
        given = PyTuple_New(2)
        PyTuple_SetItem(given, 0, new(storage))
        PyTuple_SetItem(given, 1, new(made))
        Py_DecRef(PyObject_Call(state.adopt, given, 0))
        Py_DecRef(given)
    Py_DecRef(whole)
    uncount(target, state)
    return new(target)


def inplace(operator: Operator, arguments, count, names):
    """``Operator.inplace(target, *operands)`` of a call that was recorded before, and that autograd need not know of."""
    native: Native = operator.native
    state: State = PyLong_AsSsize_t(native.address)
    tape: Tape = state.tape
    statics = statics_of(arguments, count, names, state)
    operands = arguments + 8
    target: Tensor = 0
    size = 0
    if is_recording(tape, state) and count > 1 and count <= 60 and statics != 0:
        target = at(arguments)
        if is_plain(target, tape, state):  # before a storage is made an input, which Python would not do for what it refuses
            storage: Storage = target.memory
            layout: Layout = target.layout
            flat = 0
            whole = covers(target, state)
            if not whole:
                flat = PyDict_GetItemWithError(layout.memo, storage.nbytes)  # left by a write of this kind that Python has checked
            if whole or flat != 0:
                size = size_of_key(operands, count - 1, tape, state)
    if size != 0 and (tape.grad == state.false or with_history(operands, count - 1, state) == 0):
        if flat != 0:
            return write_part(operator, target, flat, operands, count - 1, names, tape, state)
        record: Record = find(operator, statics, operands, count - 1, size, tape, state)
        if record != 0:
            slot = PyList_Size(tape.values)
            if record.single == target.layout and storage.tape == tape and slot < PyLong_AsSsize_t(tape.limit):
                tape.cursor = new(record)
                push_numbers(operands, count - 1, tape, state)
                replace(tape, storage, slot, state)
                uncount(target, state)
                return new(target)
    return generic(state.generic_inplace, operator, arguments, count, names)


def overwrite(operator: Operator, arguments, count):
    """``Operator.overwrite(targets, numbers, tensors, statics)`` with lists of tensors and a tuple of floats; ``None`` if it is left to Python."""
    native: Native = operator.native
    state: State = PyLong_AsSsize_t(native.address)
    tape: Tape = state.tape
    targets = at(arguments)
    numbers = at(arguments + 8)
    tensors = at(arguments + 16)
    if tape == 0 or PyThread_get_thread_ident() != state.thread or tape.entered != state.none:
        return new(state.none)
    operands = PyList_Size(tensors)
    scalars = PyTuple_Size(numbers)
    key = PyTuple_New(2 + scalars + 2 * operands)
    PyTuple_SetItem(key, 0, new(operator))
    PyTuple_SetItem(key, 1, new(at(arguments + 24)))
    index = 0
    while index < scalars:
        PyTuple_SetItem(key, 2 + index, new(state.float))
        index += 1
    plain = 1
    index = 0
    while index < operands and plain:
        tensor: Tensor = PyList_GetItem(tensors, index)
        storage: Storage = tensor.memory
        plain = storage.tape == tape or enter(tape, storage, state)
        PyTuple_SetItem(key, 2 + scalars + index, new(storage.slot))
        PyTuple_SetItem(key, 2 + scalars + operands + index, new(tensor.layout))
        index += 1
    record: Record = 0
    if plain:
        record = PyDict_GetItemWithError(tape.cursor, key)
    Py_DecRef(key)
    results = PyList_Size(targets)
    slot = PyList_Size(tape.values)
    plain = record != 0 and slot + results <= PyLong_AsSsize_t(tape.limit)
    index = 0
    while plain and index < results:
        tensor = PyList_GetItem(targets, index)
        storage = tensor.memory
        plain = storage.tape == tape and tensor.layout == PyTuple_GetItem(record.layouts, index)
        if plain:
            plain = PyLong_AsSsize_t(storage.nbytes) == PyLong_AsSsize_t(PyTuple_GetItem(record.sizes, index))
        index += 1
    if not plain:
        PyErr_Clear()
        return new(state.none)
    index = 0
    while index < scalars:
        PyList_Append(tape.numbers, PyTuple_GetItem(numbers, index))
        index += 1
    index = 0
    while index < results:
        tensor = PyList_GetItem(targets, index)
        storage = tensor.memory
        replace(tape, storage, slot + index, state)
        index += 1
    tape.cursor = new(record)
    return new(state.true)


def binary(operator: Operator, arguments, count):
    """``x + other`` and its kin."""
    native: Native = operator.native
    state: State = PyLong_AsSsize_t(native.address)
    if count == 2:
        other = at(arguments + 8)
        if is_number(other, state) or class_of(other) == state.tensor or PyType_IsSubtype(class_of(other), state.tensor_base) != 0:
            return record(operator, arguments, count, 0)
    positional = PyTuple_New(count)
    index = 0
    while index < count:
        PyTuple_SetItem(positional, index, new(at(arguments + 8 * index)))
        index += 1
    result = PyObject_Call(PyDict_GetItemWithError(state.arithmetic, operator), positional, 0)
    Py_DecRef(positional)
    return result
'''
