"""Networks as files in the Open Neural Network Exchange format. https://docs.pytorch.org/docs/stable/onnx.html"""

from __future__ import annotations

from flambeau.onnx._export import OnnxExporterError as OnnxExporterError
from flambeau.onnx._export import export as export
from flambeau.onnx._export import is_in_onnx_export as is_in_onnx_export

__all__ = ["OnnxExporterError", "export", "is_in_onnx_export"]
