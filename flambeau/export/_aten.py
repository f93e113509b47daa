"""What a call is to PyTorch's operators: `x.sum(1)` is `aten.sum.dim_IntList(x, [1])`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor, ops
from flambeau._aten import OPERATORS
from flambeau.nn import functional as F
from flambeau.nn.functional._loss_operators import REDUCTIONS
from flambeau.overrides import resolve_name

__all__ = ["Call", "aten_call", "name_of"]

_PREFIXES = {
    "torch.": "", "torch.Tensor.": "", "torch.nn.functional.": "", "torch.linalg.": "linalg_", "torch.fft.": "fft_", "torch.special.": "special_",
}  # fmt: skip
_COMPOSED = frozenset({
    "affine_grid", "asarray", "cross_entropy", "dropout1d", "dropout2d", "dropout3d", "fold", "from_dlpack", "from_numpy", "frombuffer", "gaussian_nll_loss", "grid_sample",
    "gumbel_softmax", "interpolate", "linear_cross_entropy", "local_response_norm", "logsigmoid", "lp_pool1d", "lp_pool2d", "lp_pool3d", "lu", "max_unpool1d",
    "multi_head_attention_forward", "multilabel_soft_margin_loss", "normalize", "pca_lowrank", "softmin", "softsign", "svd_lowrank", "tanhshrink",
    "triplet_margin_with_distance_loss", "unique", "unravel_index", "upsample", "upsample_bilinear", "upsample_nearest",
})  # fmt: skip
"""Public functions that are no operators of PyTorch's but made of some."""
_OPERATORS = {
    "__add__": "add", "__and__": "bitwise_and", "__eq__": "eq", "__floordiv__": "floor_divide", "__ge__": "ge", "__gt__": "gt", "__invert__": "bitwise_not", "__le__": "le",
    "__lshift__": "__lshift__", "__lt__": "lt", "__matmul__": "matmul", "__mod__": "remainder", "__mul__": "mul", "__ne__": "ne", "__neg__": "neg", "__or__": "bitwise_or",
    "__pow__": "pow", "__radd__": "add", "__rmul__": "mul", "__rsub__": "rsub", "__sub__": "sub", "__truediv__": "div", "__xor__": "bitwise_xor",
}  # fmt: skip
_SAME = {"concat": "cat", "concatenate": "cat", "divide": "div", "ger": "outer", "multiply": "mul", "subtract": "sub"}
"""Further names of operators."""
_OF_ONE_OR_SEVERAL = frozenset(["atleast_1d", "atleast_2d", "atleast_3d"])
"""Operators that give one tensor for one, and a tuple for a list."""
_CASTS = {
    "float": flambeau.float32, "double": flambeau.float64, "half": flambeau.float16, "bfloat16": flambeau.bfloat16, "long": flambeau.int64, "int": flambeau.int32,
    "short": flambeau.int16, "char": flambeau.int8, "byte": flambeau.uint8, "bool": flambeau.bool, "cfloat": flambeau.complex64, "cdouble": flambeau.complex128,
}  # fmt: skip


class Call(NamedTuple):
    """An operator and what it is called with."""

    target: Any
    args: tuple
    kwargs: dict[str, Any]


def name_of(function: Any) -> str:
    """PyTorch's name of the operator that a public function or a tensor's method is, or nothing."""
    qualified = resolve_name(function) or ""
    home, _, name = qualified.rpartition(".")
    prefix = _PREFIXES.get(f"{home}.")
    if prefix is None or name in _COMPOSED:
        return ""
    return prefix + {**_OPERATORS, **_SAME}.get(name, name)


def aten_call(function: Any, args: tuple, kwargs: dict[str, Any]) -> Call | None:
    """A call as that of an operator of PyTorch's with positional arguments, or nothing if it is none."""
    name = name_of(function)
    if function in _ADAPTED:
        try:
            name, args = _ADAPTED[function](*args, **kwargs)
        except TypeError:
            return None
        return _targeted(name, tuple(args), {})
    if name in _CASTS and len(args) == 1 and not kwargs:
        return _targeted("to", (args[0], _CASTS[name]), {})
    if name == "__rpow__":
        return _targeted("pow", (args[1], args[0]), {})
    if not name or name.startswith("__"):
        return None
    found = ops._function(name)
    is_same = function is found or (name not in OPERATORS and getattr(Tensor, function.__name__, None) is function)
    if found is None or not is_same:
        return None
    if name != "to" and not (name in _OF_ONE_OR_SEVERAL and len(args) == 1):
        args, kwargs = _normalized(function, args, kwargs)
    if kwargs.pop("inplace", False):
        name += "_"
    if len(args) > 1 and args[-1] is True and list(_parameters(function))[len(args) - 1 : len(args)] == ["inplace"]:
        name, args = f"{name}_", args[:-1]
    if name in ("mean", "sum") and len(args) > 1 and isinstance(args[1], int):
        args = (args[0], [args[1]], *args[2:])
    if name in _DEVIATIONS and len(args) > 2 and args[2] is None:  # what the deviation is of says `correction`
        kwargs = {"correction": kwargs.pop("correction", None), **({"keepdim": True} if args[3:] == (True,) else {})}
        args = (args[0], [args[1]] if isinstance(args[1], int) else args[1])
    return _targeted(name, args, kwargs)


def _targeted(name: str, args: tuple, kwargs: dict[str, Any]) -> Call | None:
    if ops._function(name) is None:
        return None
    return Call(getattr(getattr(ops.aten, name), overload_of(name, args, kwargs)), args, kwargs)


# -- arguments -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _parameters(function: Callable) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(inspect.unwrap(function)).parameters)


def _normalized(function: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments by position where they can be, without those that say what is so anyway."""
    parameters = _parameters(function)
    try:
        bound = inspect.signature(inspect.unwrap(function)).bind(*args, **kwargs).arguments
    except TypeError:
        return args, dict(kwargs)
    positional: list[tuple[Any, Any]] = []
    named: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(bound.get(name, {}))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if name in bound and bound[name] is not parameter.default:
                named[name] = bound[name]
        elif parameter.kind is parameter.VAR_POSITIONAL:
            given = bound.get(name, ())
            whole = len(given) == 1 and isinstance(given[0], (tuple, list))
            positional.append((list(given[0] if whole else given), ()))
        else:
            positional.append((bound.get(name, parameter.default), parameter.default))
    while positional and _is_default(*positional[-1]):
        positional.pop()
    return tuple([list(value) if isinstance(value, tuple) else value for value, _ in positional]), named


def _is_default(value: Any, default: Any) -> bool:
    if value is default or (default == () and value == []):
        return True
    return type(value) is type(default) and isinstance(value, (bool, int, float, str)) and value == default


def _flag(name: str, inplace: bool) -> str:
    return f"{name}_" if inplace else name


_ADAPTED: dict[Any, Callable[..., tuple[str, tuple]]] = {
    flambeau.norm: lambda *args, **kwargs: _norm(*args, **kwargs),
    F.batch_norm: lambda input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5: (
        "batch_norm", (input, weight, bias, running_mean, running_var, training, momentum, eps, False)),
    flambeau.rsub: lambda input, other, *, alpha=1: ("rsub", (input, other) if alpha == 1 else (input, other, alpha)),
    Tensor.__rsub__: lambda input, other: ("rsub", (input, other)),
    F.elu: lambda input, alpha=1.0, inplace=False: (_flag("elu", inplace), (input, alpha)),
    F.fold: lambda input, output_size, kernel_size, dilation=1, padding=0, stride=1: (
        "col2im", (input, *map(_pair, (output_size, kernel_size, dilation, padding, stride)))),
    F.interpolate: lambda *args, **kwargs: _interpolate(*args, **kwargs),
    F.grid_sample: lambda input, grid, mode="bilinear", padding_mode="zeros", align_corners=None: (
        "grid_sampler", (input, grid, _GRID_MODES.index(mode), _GRID_PADDINGS.index(padding_mode), bool(align_corners))),
    F.kl_div: lambda input, target, size_average=None, reduce=None, reduction="mean", log_target=False: _kl_div(
        input, target, _reduction("mean" if reduction == "batchmean" else reduction, size_average, reduce), reduction, log_target),
    F.logsigmoid: lambda input: ("log_sigmoid", (input,)),
    F.unfold: lambda input, kernel_size, dilation=1, padding=0, stride=1: ("im2col", (input, *map(_pair, (kernel_size, dilation, padding, stride)))),
    F.celu: lambda input, alpha=1.0, inplace=False: (_flag("celu", inplace), (input, alpha)),
    F.dropout: lambda input, p=0.5, training=True, inplace=False: (_flag("dropout", inplace), (input, p, training)),
    F.group_norm: lambda input, num_groups, weight=None, bias=None, eps=1e-5: ("group_norm", (input, num_groups, weight, bias, eps)),
    F.layer_norm: lambda input, normalized_shape, weight=None, bias=None, eps=1e-5: ("layer_norm", (input, list(normalized_shape), weight, bias, eps)),
    F.log_softmax: lambda input, dim=None, _stacklevel=3, dtype=None: ("log_softmax", (input, dim) if dtype is None else (input, dim, dtype)),
    F.prelu: lambda input, weight: ("prelu", (input, weight)),
    F.relu: lambda input, inplace=False: (_flag("relu", inplace), (input,)),
    F.selu: lambda input, inplace=False: (_flag("selu", inplace), (input,)),
    F.sigmoid: lambda input: ("sigmoid", (input,)),
    F.softmax: lambda input, dim=None, _stacklevel=3, dtype=None: ("softmax", (input, dim) if dtype is None else (input, dim, dtype)),
    F.tanh: lambda input: ("tanh", (input,)),
    F.instance_norm: lambda input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5: (
        "instance_norm", (input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, False)),
    F.rms_norm: lambda input, normalized_shape, weight=None, eps=None: ("rms_norm", (input, list(normalized_shape), weight, eps)),
    F.mse_loss: lambda *args, **kwargs: _loss("mse_loss", (), *args, **kwargs),
    F.l1_loss: lambda *args, **kwargs: _loss("l1_loss", (), *args, **kwargs),
    F.smooth_l1_loss: lambda *args, beta=1.0, **kwargs: _loss("smooth_l1_loss", (beta,), *args, **kwargs),
    F.huber_loss: lambda input, target, reduction="mean", delta=1.0, weight=None: _loss(
        "huber_loss", (delta,), input, target, reduction=reduction, weight=weight),
    F.binary_cross_entropy_with_logits: lambda input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None: (
        "binary_cross_entropy_with_logits", (input, target, weight, pos_weight, _reduction(reduction, size_average, reduce))),
    F.binary_cross_entropy: lambda input, target, weight=None, size_average=None, reduce=None, reduction="mean": (
        "binary_cross_entropy", (input, target, weight, _reduction(reduction, size_average, reduce))),
    F.nll_loss: lambda input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean": (
        "nll_loss_nd", (input, target, weight, _reduction(reduction, size_average, reduce), ignore_index)),
    F.cross_entropy: lambda input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0: (
        "cross_entropy_loss", (input, target, weight, _reduction(reduction, size_average, reduce), ignore_index, label_smoothing)),
    F.embedding: lambda input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False: _embedding(
        input, weight, padding_idx, max_norm, scale_grad_by_freq, sparse),
}  # fmt: skip
"""Functions of `nn.functional` whose operators take their arguments in another order."""


def _reduction(reduction: str, size_average: Any, reduce: Any) -> int:
    if size_average is not None or reduce is not None or reduction not in REDUCTIONS:
        raise TypeError("an operator has a reduction only")
    return REDUCTIONS.index(reduction)


def _loss(
    name: str,
    more: tuple,
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> tuple[str, tuple]:
    if weight is not None:
        raise TypeError("an operator has no weights")
    return name, (input, target, _reduction(reduction, size_average, reduce), *more)


_GRID_MODES = ("bilinear", "nearest", "bicubic")
_GRID_PADDINGS = ("zeros", "border", "reflection")
_UPSAMPLING = {"nearest": "upsample_nearest{}d", "linear": "upsample_linear1d", "bilinear": "upsample_bilinear2d", "bicubic": "upsample_bicubic2d",
    "trilinear": "upsample_trilinear3d"}  # fmt: skip
"""Modes of `interpolate` and their operators."""


def _pair(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value, value]


def _interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> tuple[str, tuple]:  # fmt: skip
    spatial = input.dim() - 2
    if mode not in _UPSAMPLING or antialias or recompute_scale_factor or (size is None) == (scale_factor is None):
        raise TypeError("only F.interpolate does that")
    sizes, factors = ([each] * spatial if isinstance(each, (int, float)) else each and list(each) for each in (size, scale_factor))
    if factors is not None:
        factors = [float(each) for each in factors]
    aligned = () if mode == "nearest" else (bool(align_corners),)
    return _UPSAMPLING[mode].format(spatial), (input, sizes, *aligned, factors)


def _kl_div(input: Any, target: Any, number: int, reduction: str, log_target: bool) -> tuple[str, tuple]:
    if reduction == "batchmean" or log_target:
        raise TypeError("only F.kl_div does that")
    return "kl_div", (input, target, number)


def _norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None) -> tuple[str, tuple]:
    if p == "nuc" or out is not None or dtype is not None:
        raise TypeError("only torch.norm does that")
    dims = [dim] if isinstance(dim, int) else dim
    args = (input, 2.0 if p in ("fro", None) else p, *((dims, keepdim) if keepdim else (dims,) if dims is not None else ()))
    return "linalg_vector_norm", args


def _embedding(input: Any, weight: Any, padding_idx: int | None, max_norm: Any, scale: bool, sparse: bool) -> tuple[str, tuple]:
    if max_norm is not None or scale or sparse:
        raise TypeError("only F.embedding does that")
    return "embedding", (weight, input) if padding_idx is None else (weight, input, padding_idx)


# -- overloads -------------------------------------------------------------------------------------------------------

_BY_OTHER = frozenset(
    ["bitwise_and", "bitwise_or", "bitwise_xor", "eq", "fmod", "ge", "gt", "le", "lt", "masked_fill", "ne", "remainder"]
)  # Scalar or Tensor, by the last argument
_ALWAYS = {
    "add": "Tensor", "conv_transpose2d": "input", "conv_transpose3d": "input", "div": "Tensor", "flatten": "using_ints", "index": "Tensor", "log_softmax": "int", "lstm": "input", "mul": "Tensor", "rsub": "Scalar", "scatter_add": "default",
    "select": "int", "slice": "Tensor", "softmax": "int", "split": "Tensor", "sub": "Tensor", "sym_size": "int", "sym_stride": "int", "to": "dtype", "transpose": "int",
    "unbind": "int", "unflatten": "int", "upsample_bicubic2d": "vec", "upsample_bilinear2d": "vec", "upsample_linear1d": "vec", "upsample_nearest1d": "vec",
    "upsample_nearest2d": "vec", "upsample_nearest3d": "vec", "upsample_trilinear3d": "vec", "where": "self",
}  # fmt: skip
_BY_DIMENSION = {
    "all": "dim", "any": "dim", "max": "dim", "mean": "dim", "median": "dim", "min": "dim", "nanmean": "dim", "prod": "dim_int", "squeeze": "dim", "std": "dim", "sum": "dim_IntList",
    "var": "dim",
}  # fmt: skip
"""Reductions: the overload with a dimension."""


_DEVIATIONS = frozenset(["std", "std_mean", "var", "var_mean"])


def overload_of(name: str, args: tuple, kwargs: dict[str, Any]) -> str:
    """Which of an operator's overloads a call is."""
    base = name.rstrip("_")
    if base in _BY_OTHER:
        return "Tensor" if isinstance(args[-1], Tensor) else "Scalar"
    if base == "where" and len(args) == 3:
        kinds = "".join(name for name, each in zip(("Self", "Other"), args[1:]) if not isinstance(each, Tensor))
        return {"": "self", "SelfOther": "Scalar"}.get(kinds, f"Scalar{kinds}")
    if base == "pow":
        kinds = ["Tensor" if isinstance(each, Tensor) else "Scalar" for each in args[:2]]
        return "Scalar" if kinds == ["Scalar", "Tensor"] else "_".join(kinds)
    if base == "div" and ("rounding_mode" in kwargs or len(args) > 2):
        return "Tensor_mode"
    if base in _DEVIATIONS and "correction" in kwargs:
        return "correction"
    if base in ("max", "min") and len(args) > 1 and isinstance(args[1], Tensor):
        return "other"
    if base == "split" and len(args) > 1 and isinstance(args[1], (list, tuple)):
        return "sizes"
    if base == "arange":
        return ("default", "start", "start_step")[min(len(args), 3) - 1] if args else "default"
    if base in _BY_DIMENSION:
        return _BY_DIMENSION[base] if len(args) > 1 or "dim" in kwargs else "default"
    return _ALWAYS.get(base, "default")
