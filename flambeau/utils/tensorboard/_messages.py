"""The messages that events are made of; field numbers are those of tensorboard/compat/proto/*.proto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._records import EVENT_SUMMARY, SUMMARY_VALUE, VALUE_TAG, event

DT_FLOAT, DT_DOUBLE, DT_INT32, DT_UINT8, DT_INT16, DT_INT8, DT_STRING, DT_COMPLEX64, DT_INT64, DT_BOOL = range(1, 11)
DT_UINT16, DT_COMPLEX128, DT_HALF, DT_UINT32, DT_UINT64 = 17, 18, 19, 22, 23

# Fields of TensorProto that hold the elements.
FLOAT_VALUES, DOUBLE_VALUES, INT_VALUES, STRING_VALUES, COMPLEX_VALUES, INT64_VALUES, BOOL_VALUES = range(5, 12)
DOUBLE_COMPLEX_VALUES, HALF_VALUES = 12, 13
TENSOR_CONTENT = 4  # of any dtype, as they lie in memory

# Fields of Event and of Summary.Value.
EVENT_FILE_VERSION, EVENT_GRAPH, EVENT_SESSION_LOG, EVENT_RUN_METADATA, EVENT_SOURCE_METADATA = 3, 4, 7, 8, 10
VALUE_TENSOR, VALUE_METADATA = 8, 9

SESSION_START = 1


@dataclass
class Message:
    """An encoded message. It has protobuf's method, so that what takes one of these takes one of protobuf's too."""

    data: bytes

    def SerializeToString(self) -> bytes:
        return self.data


class Summary(Message):
    """An encoded ``Summary``: what ``FileWriter.add_summary`` takes."""

    @property
    def payload(self) -> bytes:
        """The field of an event that holds it."""
        return wire.data(EVENT_SUMMARY, self.data)


@dataclass
class Event:
    """An ``Event`` message around one encoded field: what ``FileWriter.add_event`` takes."""

    payload: bytes
    step: int = 0
    wall_time: float = 0.0

    def SerializeToString(self) -> bytes:
        return event(self.payload, self.wall_time, self.step)


def value(tag: str, content: bytes, plugin: str = "", plugin_data: bytes = b"", display_name: str = "", description: str = "") -> bytes:
    """A ``Summary.Value``; ``content`` is the encoded field that holds its data."""
    metadata = b""
    if plugin:
        metadata = wire.data(1, wire.text(1, plugin) + (wire.data(2, plugin_data) if plugin_data else b""))
        metadata += (wire.text(2, display_name) if display_name else b"") + (wire.text(3, description) if description else b"")
        metadata = wire.data(VALUE_METADATA, metadata)
    return wire.data(SUMMARY_VALUE, wire.text(VALUE_TAG, tag) + content + metadata)


def tensor(dtype: int, elements: bytes, shape: Sequence[int] | None) -> bytes:
    """A value's ``TensorProto``; ``elements`` is the encoded field that holds them."""
    shape_field = b"" if shape is None else wire.data(2, tensor_shape(shape))
    return wire.data(VALUE_TENSOR, wire.integer(1, dtype) + shape_field + elements)


def tensor_shape(shape: Sequence[int]) -> bytes:
    return wire.repeated(2, [wire.integer(1, extent) for extent in shape])


def graph_payload(graph_def: bytes) -> bytes:
    """The field of an event that holds a ``GraphDef``."""
    return wire.data(EVENT_GRAPH, graph_def)


def run_metadata_payload(tag: str, run_metadata: bytes) -> bytes:
    """The field of an event that holds a ``RunMetadata``."""
    return wire.data(EVENT_RUN_METADATA, wire.text(1, tag) + wire.data(2, run_metadata))
