"""What `export` returns: an ONNX model that can be saved and run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau._serialization.files import is_path, writing
from flambeau.export.exported_program import ExportedProgram
from flambeau.onnx._graph import onnx_module, to_numpy
from flambeau.utils._pytree import tree_leaves

__all__ = ["ONNXProgram"]

_LARGEST = 2**31 - 1
"""Bytes that a file without files beside it can have."""


class ONNXProgram:
    """An ONNX model.

    Attributes:
        model_proto: the model, an `onnx.ModelProto`
        exported_program: what it was made of
    """

    def __init__(self, model_proto: Any, exported_program: ExportedProgram) -> None:
        self.model_proto = model_proto
        self.exported_program = exported_program

    def __repr__(self) -> str:
        return onnx_module().printer.to_text(self.model_proto)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Run the model, by ONNX Runtime where it is installed, else by ONNX's reference implementation, which is slow.

        Args:
            args, kwargs: those of the module that was exported
        """
        try:
            import onnxruntime
        except ImportError:
            return self.call_reference(*args, **kwargs)
        session = onnxruntime.InferenceSession(self.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return _tensors(session.run(None, self._feeds(args, kwargs)))

    def call_reference(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Run the model by ONNX's reference implementation."""
        from onnx.reference import ReferenceEvaluator

        return _tensors(ReferenceEvaluator(self.model_proto).run(None, self._feeds(args, kwargs)))

    def _feeds(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Arrays by the names of inputs.

        Raises:
            ValueError: there are more or fewer tensors than inputs
        """
        bound = self.exported_program.signature.bind(*args, **kwargs).arguments
        tensors = [leaf for leaf in tree_leaves(dict(bound)) if isinstance(leaf, Tensor)]
        weights = {each.name for each in self.model_proto.graph.initializer}
        names = [each.name for each in self.model_proto.graph.input if each.name not in weights]
        if len(names) != len(tensors):
            raise ValueError(f"the model has the inputs {names}, and {len(tensors)} tensors were given")
        return {name: to_numpy(tensor) for name, tensor in zip(names, tensors)}

    def optimize(self) -> None:
        """Take out what is not needed: there is nothing of it."""

    def apply_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Give parameters and buffers other values; names that the model has not are passed over.

        Raises:
            ValueError: one has another shape or dtype
        """
        onnx = onnx_module()
        for weight in self.model_proto.graph.initializer:
            if weight.name in state_dict:
                made = onnx.numpy_helper.from_array(to_numpy(state_dict[weight.name]), weight.name)
                if (made.data_type, list(made.dims)) != (weight.data_type, list(weight.dims)):
                    raise ValueError(f"{weight.name} has the shape {list(weight.dims)} in the model, and is given with {list(made.dims)}")
                weight.CopyFrom(made)

    def save(
        self, destination: str | os.PathLike | BinaryIO, *, include_initializers: bool = True, keep_initializers_as_inputs: bool = False,
        external_data: bool | None = None,
    ) -> None:  # fmt: skip
        """Write the model to a file.

        Args:
            destination: a path or a binary stream
            include_initializers: write parameters, buffers and constants
            keep_initializers_as_inputs: let them be inputs, too, so that other values can be given
            external_data: put them into a file beside, `DESTINATION.data`; by default only those of a model that is too large for one file
        """
        model = self.model_proto
        if not include_initializers or keep_initializers_as_inputs:
            model = with_weights_as_inputs(model, include_initializers)
        beside = model.ByteSize() > _LARGEST if external_data is None else external_data
        if beside and is_path(destination):
            path = os.fspath(destination)
            copied = onnx_module().ModelProto()
            copied.CopyFrom(model)  # saving takes the weights out of the model
            onnx_module().save_model(
                copied, path, save_as_external_data=True, location=f"{os.path.basename(path)}.data", size_threshold=1024
            )
            return
        with writing(destination) as file:
            file.write(model.SerializeToString())


def with_weights_as_inputs(model: Any, kept: bool) -> Any:
    """A model whose initializers are inputs, and initializers still or not."""
    onnx = onnx_module()
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for weight in model.graph.initializer:
        made.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    if not kept:
        del made.graph.initializer[:]
    return made


def _tensors(arrays: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple([flambeau.from_numpy(np.array(array)) for array in arrays])
