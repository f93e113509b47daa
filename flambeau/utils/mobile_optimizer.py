"""A network made ready for inference: in evaluation mode, without dropout, batch normalisations folded into the layers before them."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any

from flambeau.fx.experimental.optimization import fuse, remove_dropout
from flambeau.fx.proxy import TraceError
from flambeau.jit import ScriptModule
from flambeau.jit._script import mark
from flambeau.nn import Module
from flambeau.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from flambeau.nn.modules.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d

__all__ = ["LintCode", "MobileOptimizerType", "generate_mobile_module_lints", "optimize_for_mobile"]


class LintCode(Enum):
    """What can be wrong with a module that is to be used for inference only."""

    BUNDLED_INPUT = 1
    REQUIRES_GRAD = 2
    DROPOUT = 3
    BATCHNORM = 4


class MobileOptimizerType(Enum):
    """Steps of the optimisation. Only the folding of normalisations and the removal of dropout change a module here: additions are fused with
    activations, and weights are packed, when kernels are compiled.
    """

    CONV_BN_FUSION = 0
    INSERT_FOLD_PREPACK_OPS = 1
    REMOVE_DROPOUT = 2
    FUSE_ADD_RELU = 3
    HOIST_CONV_PACKED_PARAMS = 4
    VULKAN_AUTOMATIC_GPU_TRANSFER = 6


def optimize_for_mobile(
    script_module: Module,
    optimization_blocklist: set[MobileOptimizerType] | None = None,
    preserved_methods: list[str] | None = None,
    backend: str = "CPU",
) -> Module:
    """A copy of a module for inference, with the same results up to rounding.

    Args:
        script_module: what `jit.script` or `jit.trace` has returned
        optimization_blocklist: steps to leave out
        preserved_methods: methods besides `forward` that have to remain, which cannot be kept

    Raises:
        TypeError: the module is not scripted, a step is no `MobileOptimizerType`, or there is no such backend
        AttributeError: the module has no method of a name in `preserved_methods`
        NotImplementedError: a method besides `forward` is to be preserved, the backend is not the CPU, or the module's control flow depends
            on values, so that its graph cannot be known
    """
    _check_scripted(script_module)
    left_out = set(optimization_blocklist or ())
    for each in left_out:
        if not isinstance(each, MobileOptimizerType):
            raise TypeError(f"steps to leave out are of MobileOptimizerType, not {each!r}")
    kept = [str(name) for name in preserved_methods or () if str(name) != "forward"]
    missing = [name for name in kept if not hasattr(script_module, name)]
    if missing:
        raise AttributeError(f"methods to preserve do not exist in {type(script_module).__name__}: {', '.join(missing)}")
    if kept:
        raise NotImplementedError(f"only forward is optimised; call {', '.join(kept)} of the module itself")
    if backend.lower() not in ("cpu", "vulkan", "metal"):
        raise TypeError(f"backend is 'CPU', 'Vulkan' or 'Metal', not {backend!r}")
    if backend.lower() != "cpu":
        raise NotImplementedError(f"there is no {backend} here: Flambeau computes on the CPU")
    training = script_module.training
    try:
        script_module.eval()
        optimized: Any = script_module
        if MobileOptimizerType.CONV_BN_FUSION not in left_out:
            optimized = fuse(script_module)
        if MobileOptimizerType.REMOVE_DROPOUT not in left_out:
            optimized = remove_dropout(optimized)
    except TraceError as error:
        raise NotImplementedError(
            f"the graph of {type(script_module).__name__} depends on values, so that it cannot be changed: {error}"
        ) from error
    finally:
        script_module.train(training)
    if optimized is script_module:
        optimized = copy.deepcopy(script_module)
    return mark(optimized.eval())


def generate_mobile_module_lints(script_module: Module) -> list[dict[str, str]]:
    """What to change in a module that is to be used for inference only: a name of `LintCode` and a message for each.

    Raises:
        TypeError: the module is not scripted
    """
    _check_scripted(script_module)
    lints = []
    if not hasattr(script_module, "get_all_bundled_inputs"):
        lints.append((LintCode.BUNDLED_INPUT, "the module brings no example of its inputs along"))
    lints += [
        (LintCode.REQUIRES_GRAD, f"{name} requires grad: use torch.no_grad(), which saves memory")
        for name, parameter in script_module.named_parameters()
        if parameter.requires_grad
    ]
    for code, classes in (
        (LintCode.BATCHNORM, (BatchNorm1d, BatchNorm2d, BatchNorm3d)),
        (LintCode.DROPOUT, (Dropout, Dropout1d, Dropout2d, Dropout3d, AlphaDropout)),
    ):
        found = [name or "the module" for name, module in script_module.named_modules() if isinstance(module, classes)]
        if found:
            what = "batch normalisation" if code is LintCode.BATCHNORM else "dropout"
            lints.append((code, f"{what} in {', '.join(found)}: call eval(), and optimize_for_mobile to remove it"))
    return [{"name": code.name, "message": message} for code, message in lints]


def _check_scripted(module: Any) -> None:
    if not isinstance(module, ScriptModule):
        raise TypeError(f"expected what jit.script or jit.trace has returned, not a {type(module).__name__}")
