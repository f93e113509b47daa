"""Networks as files in the Open Neural Network Exchange format. https://docs.pytorch.org/docs/stable/onnx.html"""

from __future__ import annotations

from typing import Any

from flambeau.onnx._export import OnnxExporterError as OnnxExporterError
from flambeau.onnx._export import export as export
from flambeau.onnx._export import is_in_onnx_export as is_in_onnx_export
from flambeau.onnx._program import ONNXProgram as ONNXProgram

__all__ = [
    "ONNXProgram",
    "OnnxExporterError",
    "export",
    "is_in_onnx_export",
    "register_custom_op_symbolic",
    "unregister_custom_op_symbolic",
]


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int) -> None:
    """Say how PyTorch's first exporter is to write an operator. Nobody asks here: an operator that :func:`export` does not know stays one."""


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Take back what :func:`register_custom_op_symbolic` said."""
