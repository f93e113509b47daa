"""Modules as programs: graphs of PyTorch's operators that can be looked at, changed, saved, and run without the module's code.

https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

from flambeau.export._export import export as export
from flambeau.export._saving import load as load
from flambeau.export._saving import save as save
from flambeau.export._tracing import check as check
from flambeau.export.decomposition import default_decompositions as default_decompositions
from flambeau.export.dynamic_shapes import AdditionalInputs as AdditionalInputs
from flambeau.export.dynamic_shapes import Dim as Dim
from flambeau.export.dynamic_shapes import ShapesCollection as ShapesCollection
from flambeau.export.dynamic_shapes import dims as dims
from flambeau.export.dynamic_shapes import register_dataclass as register_dataclass
from flambeau.export.exported_program import ExportedProgram as ExportedProgram
from flambeau.export.graph_signature import ExportGraphSignature as ExportGraphSignature
from flambeau.export.unflatten import UnflattenedModule as UnflattenedModule
from flambeau.export.unflatten import unflatten as unflatten

__all__ = [
    "AdditionalInputs",
    "Dim",
    "ExportGraphSignature",
    "ExportedProgram",
    "ShapesCollection",
    "UnflattenedModule",
    "default_decompositions",
    "dims",
    "export",
    "load",
    "register_dataclass",
    "save",
    "unflatten",
]
