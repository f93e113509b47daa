"""Eager mode: observe a network's layers, then put quantized ones in their places."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.quantized import FloatFunctional
from flambeau.ao.quantization.fake_quantize import FakeQuantizeBase
from flambeau.ao.quantization.observer_classes import ObserverBase
from flambeau.ao.quantization.qconfig import default_dynamic_qconfig, float_qparams_weight_only_qconfig
from flambeau.ao.quantization.quantization_mappings import (
    DYNAMIC,
    FIXED,
    QAT,
    STATIC,
    get_default_qconfig_propagation_list,
)
from flambeau.ao.quantization.stubs import DeQuantStub, QuantWrapper

__all__ = [
    "add_quant_dequant", "convert", "default_eval_fn", "get_default_custom_config_dict", "prepare", "prepare_qat", "propagate_qconfig_", "quantize", "quantize_dynamic",
    "quantize_qat", "swap_module",
]  # fmt: skip


def default_eval_fn(model: Callable, calib_data: Any) -> None:
    """Run a model on pairs of inputs and targets."""
    for data, _ in calib_data:
        model(data)


def get_default_custom_config_dict() -> dict[str, Any]:
    """Custom modules by default: none."""
    return {"float_to_observed_custom_module_class": {}, "observed_to_quantized_custom_module_class": {}}


# -- which configuration ---------------------------------------------------------------------------------------------


def propagate_qconfig_(module: nn.Module, qconfig_dict: dict[Any, Any] | None = None, prepare_custom_config_dict: Any = None) -> None:
    """Give each module the ``qconfig`` that it has, else the one for its name or class, else that of what it is in.

    Args:
        qconfig_dict: configurations by names and by classes; that of ``""`` is for all
    """
    _propagate(module, qconfig_dict or {}, None, "")


def _propagate(module: nn.Module, configs: dict[Any, Any], outer: Any, prefix: str) -> None:
    config = configs.get(prefix, configs.get(type(module), outer))
    config = getattr(module, "qconfig", config)
    check_outputs(module, config)
    module.qconfig = config
    for name, child in module.named_children():
        _propagate(child, configs, config, f"{prefix}.{name}" if prefix else name)


def check_outputs(module: nn.Module, config: Any) -> None:
    """Check that a weight will not be quantized along a dimension that does not count outputs.

    Raises:
        AssertionError: the module is a transposed convolution, whose outputs are dimension 1, and the observer looks at another.
    """
    if config is None or not isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return
    axis = getattr(config.weight(), "ch_axis", 1)
    if axis != 1:
        raise AssertionError(
            f"the weight of {type(module).__name__} has its outputs along dimension 1 and cannot be quantized along dimension {axis}: give it a qconfig "
            "whose weights are quantized as a whole, such as torch.ao.quantization.default_qconfig"
        )


def _is_configured(module: nn.Module) -> bool:
    return getattr(module, "qconfig", None) is not None


# -- observing -------------------------------------------------------------------------------------------------------


def _observe_result(module: nn.Module, inputs: Any, result: Tensor) -> Tensor:
    """The hook of a module with an observer."""
    return module.activation_post_process(result)


def _add_observer(module: nn.Module) -> None:
    """Let the result of a module be observed, and rounded if its configuration says so."""
    if not _is_configured(module) or isinstance(module, DeQuantStub) or hasattr(module, "activation_post_process"):
        return
    module.add_module("activation_post_process", module.qconfig.activation())
    module.register_forward_hook(_observe_result)


def _add_observers(module: nn.Module, allowed: set[Any], whole: set[Any]) -> None:
    for child in module.children():
        if type(child) is FloatFunctional:
            if _is_configured(child):
                child.activation_post_process = child.qconfig.activation()
        elif isinstance(child, nni._FusedModule) or type(child) in whole:
            _add_observer(child)
        elif type(child) in FIXED and _is_configured(child) and isinstance(child.qconfig.activation(), FakeQuantizeBase):
            child.add_module("activation_post_process", FIXED[type(child)]())
            child.register_forward_hook(_observe_result)
        elif not isinstance(child, (ObserverBase, FakeQuantizeBase)):
            _add_observers(child, allowed, whole)
    if not any(True for _ in module.children()) and not isinstance(module, nn.Sequential) and type(module) in allowed:
        _add_observer(module)


def prepare(
    model: nn.Module,
    inplace: bool = False,
    allow_list: Any = None,
    observer_non_leaf_module_list: Any = None,
    prepare_custom_config_dict: Any = None,
) -> nn.Module:
    """A model whose layers' results are observed, wherever ``qconfig`` says so; run it on some inputs, then ``convert`` it.

    Args:
        inplace: change the model itself
        allow_list: the classes of layers that are observed; the usual ones if left out
        observer_non_leaf_module_list: classes of modules with layers in them that are observed as a whole
    """
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    if not any(_is_configured(each) for each in model.modules()):
        warnings.warn(
            "no module has a qconfig, so that none will be quantized: set model.qconfig, or that of a part of it, before prepare",
            stacklevel=2,
        )
    allowed = set(allow_list) if allow_list is not None else get_default_qconfig_propagation_list()
    _add_observers(model, allowed, set(observer_non_leaf_module_list or ()))
    return model


def prepare_qat(model: nn.Module, mapping: dict[Any, Any] | None = None, inplace: bool = False) -> nn.Module:
    """A model in training mode whose weights and results are rounded as the quantized ones will be; train it, then ``convert`` it.

    Args:
        mapping: which layers become which; ``get_default_qat_module_mappings()`` if left out
        inplace: change the model itself

    Raises:
        AssertionError: the model is in evaluation mode.
    """
    if not model.training:
        raise AssertionError("prepare_qat is for models in training mode; call model.train()")
    mapping = QAT if mapping is None else mapping
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    convert(model, mapping=mapping, inplace=True, remove_qconfig=False)
    return prepare(model, observer_non_leaf_module_list=set(mapping.values()), inplace=True)


# -- converting ------------------------------------------------------------------------------------------------------


def convert(
    module: nn.Module,
    mapping: dict[Any, Any] | None = None,
    inplace: bool = False,
    remove_qconfig: bool = True,
    is_reference: bool = False,
    convert_custom_config_dict: Any = None,
    use_precomputed_fake_quant: bool = False,
) -> nn.Module:
    """A model with quantized layers in the places of those that were observed.

    Args:
        mapping: which layers become which; ``get_default_static_quant_module_mappings()`` if left out
        inplace: change the model itself
        remove_qconfig: leave no ``qconfig`` behind
        use_precomputed_fake_quant: keep the scales of weights that were trained with rounding, without a look at the weights

    Raises:
        NotImplementedError: ``is_reference``: reference modules are not implemented.
    """
    if is_reference:
        raise NotImplementedError("reference quantized modules are not implemented; leave is_reference out")
    if not inplace:
        module = copy.deepcopy(module)
    _convert(module, STATIC if mapping is None else mapping, use_precomputed_fake_quant)
    if remove_qconfig:
        for each in list(module.modules()):
            each.__dict__.pop("qconfig", None)
            if not isinstance(each, (FloatFunctional, FakeQuantizeBase)) and _observe_result in each._forward_hooks.values():
                _remove_observer(each)
    return module


def _remove_observer(module: nn.Module) -> None:
    """Of a layer that has no quantized form, and needs none."""
    del module.activation_post_process
    for key, hook in list(module._forward_hooks.items()):
        if hook is _observe_result:
            del module._forward_hooks[key]


def _convert(module: nn.Module, mapping: dict[Any, Any], precomputed: bool) -> None:
    for name, child in list(module.named_children()):
        if not isinstance(child, nni._FusedModule):
            _convert(child, mapping, precomputed)
        module._modules[name] = swap_module(child, mapping, {}, precomputed)


def swap_module(
    mod: nn.Module, mapping: dict[Any, Any], custom_module_class_mapping: Any = None, use_precomputed_fake_quant: bool = False
) -> nn.Module:
    """The layer that a mapping has for one with a ``qconfig``, made by its ``from_float``; else the layer itself.

    Hooks are kept, but for the observer's.
    """
    found = mapping.get(type(mod))
    if found is None or not _is_configured(mod):
        return mod
    made = found.from_float(mod, use_precomputed_fake_quant=use_precomputed_fake_quant)
    if found in QAT.values() or mapping is QAT:
        made.train(mod.training)
    for hook in mod._forward_pre_hooks.values():
        made.register_forward_pre_hook(hook)
    for hook in mod._forward_hooks.values():
        if hook is not _observe_result:
            made.register_forward_hook(hook)
    return made


# -- all at once -----------------------------------------------------------------------------------------------------


def quantize(model: nn.Module, run_fn: Callable, run_args: Any, mapping: Any = None, inplace: bool = False) -> nn.Module:
    """``prepare``, ``run_fn(model, *run_args)``, ``convert``."""
    model = model if inplace else copy.deepcopy(model)
    model.eval()
    prepare(model, inplace=True)
    run_fn(model, *run_args)
    convert(model, STATIC if mapping is None else mapping, inplace=True)
    return model


def quantize_qat(model: nn.Module, run_fn: Callable, run_args: Any, inplace: bool = False) -> nn.Module:
    """``prepare_qat``, ``run_fn(model, *run_args)``, which trains it, ``convert``."""
    model = model if inplace else copy.deepcopy(model)
    model.train()
    prepare_qat(model, inplace=True)
    run_fn(model, *run_args)
    convert(model, inplace=True)
    return model


def quantize_dynamic(
    model: nn.Module,
    qconfig_spec: Any = None,
    dtype: DType = flambeau.qint8,
    mapping: dict[Any, Any] | None = None,
    inplace: bool = False,
) -> nn.Module:
    """A model with weights of 8 bits, whose layers quantize their inputs when they come; no example of these is needed.

    Args:
        qconfig_spec: classes or names of the layers, as a set, or with a configuration each; Linear, LSTM, GRU and their cells if left out
        dtype: of the weights, ``torch.qint8``; ``torch.quint8`` is for tables, Embedding and EmbeddingBag
        mapping: which layers become which; ``get_default_dynamic_quant_module_mappings()`` if left out
        inplace: change the model itself

    Raises:
        NotImplementedError: the dtype is float16.
        ValueError: it is another one.

    Example::

        >>> from flambeau.ao.quantization import quantize_dynamic
        >>> model = flambeau.nn.Sequential(flambeau.nn.Linear(8, 16), flambeau.nn.ReLU(), flambeau.nn.Linear(16, 2))
        >>> quantize_dynamic(model, {flambeau.nn.Linear})
        Sequential(
          (0): DynamicQuantizedLinear(in_features=8, out_features=16, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
          (1): ReLU()
          (2): DynamicQuantizedLinear(in_features=16, out_features=2, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
        )
    """
    if qconfig_spec is None or isinstance(qconfig_spec, (set, list, tuple)):
        qconfig_spec = _spec(qconfig_spec, dtype)
    if not inplace:
        model = copy.deepcopy(model)
    model.eval()
    propagate_qconfig_(model, qconfig_spec)
    return convert(model, DYNAMIC if mapping is None else mapping, inplace=True)


def _spec(layers: Any, dtype: DType) -> dict[Any, Any]:
    """A configuration for each of some layers, or of the usual ones."""
    if dtype is flambeau.qint8:
        usual: tuple[Any, ...] = (nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.RNNCell, nn.GRUCell)
        config = default_dynamic_qconfig
    elif dtype is flambeau.quint8:
        usual, config = (nn.EmbeddingBag, nn.Embedding), float_qparams_weight_only_qconfig
    else:
        error = NotImplementedError if dtype is flambeau.float16 else ValueError
        raise error(
            f"quantize_dynamic is implemented for torch.qint8, and torch.quint8 for tables, got {dtype!r}; for half the memory, use model.half()"
        )
    return dict.fromkeys(layers if layers is not None else usual, config)


def add_quant_dequant(module: nn.Module) -> nn.Module:
    """The module with each layer that has a ``qconfig`` between ``QuantStub`` and ``DeQuantStub``."""
    if not any(True for _ in module.children()) and _is_configured(module):
        return QuantWrapper(module)
    for name, child in list(module.named_children()):
        module._modules[name] = add_quant_dequant(child)
    return module
