"""``parallelize_module``: a plan that says how the parts of a module are shared out."""

from __future__ import annotations

import warnings
from fnmatch import fnmatch
from typing import Any

from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.api import whole_mesh
from flambeau.distributed.tensor.parallel.style import ParallelStyle
from flambeau.nn.modules.module import Module

__all__ = ["parallelize_module"]


def parallelize_module(
    module: Module, device_mesh: DeviceMesh | None = None, parallelize_plan: ParallelStyle | dict[str, ParallelStyle] | None = None, *,
    src_data_rank: int | None = 0,
) -> Module:  # fmt: skip
    """Share out a module, in place (Shoeybi et al. 2019, arXiv:1909.08053).

    Args:
        device_mesh: the processes, in a row: of a mesh with more dimensions, the part with one (``mesh["tp"]``)
        parallelize_plan: how; or how each part, by its name, in which ``*`` stands for any name
        src_data_rank: whose weights count; ``None`` if each process takes its piece of its own

    Raises:
        ValueError: the mesh has several dimensions
        TypeError: the plan is none

    Example::

        mesh = init_device_mesh("cpu", (2,))
        parallelize_module(model, mesh, {"layers.*.up": ColwiseParallel(), "layers.*.down": RowwiseParallel()})
    """
    mesh = whole_mesh(device_mesh)
    if mesh.ndim != 1:
        raise ValueError(f"a module is parallelized over a mesh of one dimension, not over {mesh}: take one by its name, mesh['tp']")
    if parallelize_plan is None:
        warnings.warn("No parallelize_plan is provided, so that the module stays as it is.", stacklevel=2)
        return module
    if isinstance(parallelize_plan, ParallelStyle):
        parallelize_plan.src_data_rank = src_data_rank
        return parallelize_plan._apply(module, mesh)
    if not isinstance(parallelize_plan, dict):
        raise TypeError(f"parallelize_plan is a ParallelStyle or a dictionary of some by names, not {type(parallelize_plan).__name__}")
    for path, style in parallelize_plan.items():
        found = _parts(module, path.split(".") if path else [])
        if not found:
            warnings.warn(f"parallelize_plan: the module has no part {path!r}", stacklevel=2)
        for owner, name, part in found:
            done: Any = parallelize_module(part, mesh, style, src_data_rank=src_data_rank)
            if owner is not None and done is not part:
                owner._modules[name] = done
    return module


def _parts(module: Module, path: list[str], owner: Module | None = None, name: str = "") -> list[tuple[Module | None, str, Module]]:
    """The parts that a path with wildcards names, each with its owner and its name there."""
    if not path:
        return [(owner, name, module)]
    return [found for child, part in module.named_children() if fnmatch(child, path[0]) for found in _parts(part, path[1:], module, child)]
