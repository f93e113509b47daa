"""Which names the result of a function has: the tables are what there is, and a function that is in none of them is refused.

The rules are those of https://docs.pytorch.org/docs/2.9/name_inference.html. Each gets the call as a :class:`Call`, whose result is there already, so that
what a function leaves of the dimensions need not be worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau._named.names import Names, distinct, shown, unified
from flambeau._tensor.overriding import Disabled


class Call(NamedTuple):
    """A call of a function of tensors, some of which have names; names of dimensions among its arguments are positions by now.

    ``result`` is the tensor, or the first of the tensors, that it returned.
    """

    function: Callable
    args: Sequence[Any]
    kwargs: dict[str, Any]
    tensors: list[Tensor]
    result: Tensor

    @property
    def names(self) -> Names:
        """Those of the first tensor."""
        return self.tensors[0].names

    def argument(self, place: int, *keys: str) -> Any:
        """An argument by its place or by one of its names; ``None`` if it is not given."""
        if place < len(self.args):
            return self.args[place]
        return next((self.kwargs[key] for key in keys if key in self.kwargs), None)

    def dims(self, place: int) -> list[int]:
        """The dimensions that an argument names, counted from the first; all of them if it is not given."""
        given, ndim = self.argument(place, "dim", "dims", "axis"), len(self.names)
        if given is None or isinstance(given, bool):
            return list(range(ndim))
        return [each % ndim for each in ((given,) if isinstance(given, int) else given)] if ndim else []


Rule = Callable[[Call], Names]


def kept(call: Call) -> Names:
    """Those of the first tensor; what broadcasting adds in front has none."""
    return (None,) * (call.result.dim() - len(call.names)) + call.names


def together(call: Call) -> Names:
    """Those of all tensors, which must match from the right."""
    names: Names = ()
    for tensor in call.tensors:
        names = unified(names, tensor.names)
    return names


def without(place: int) -> Rule:
    """The rule of functions that remove the dimensions that the argument at a place names, or keep them with size 1."""

    def rule(call: Call) -> Names:
        if place == 1 and isinstance(call.argument(1), Tensor):  # maximum(input, other), by its older name
            return together(call)
        if call.result.dim() == len(call.names):
            return call.names
        gone = call.dims(place)
        return tuple([name for number, name in enumerate(call.names) if number not in gone])

    return rule


def first(call: Call) -> Names:
    """Those without the dimension that ``unbind`` takes apart."""
    dim = (call.argument(1, "dim") or 0) % len(call.names)
    return call.names[:dim] + call.names[dim + 1 :]


def squeezed(call: Call) -> Names:
    """Those without dimensions of size 1, or those of them that are asked for."""
    gone = [dim for dim in call.dims(1) if call.tensors[0].shape[dim] == 1]
    return tuple([name for number, name in enumerate(call.names) if number not in gone])


def inserted(call: Call) -> Names:
    """Those of the first tensor, with a new dimension without a name where the result has one."""
    dim = call.argument(1, "dim") or 0
    dim += call.result.dim() if dim < 0 else 0
    names = together(call)
    return (*names[:dim], None, *names[dim:])


def permuted(call: Call) -> Names:
    """Those of the first tensor in another order: the function says in which, of a tensor whose sizes differ."""
    with Disabled():
        order = call.function(flambeau.empty(tuple(range(len(call.names))), device="meta"), *call.args[1:], **call.kwargs)
    return tuple([call.names[number] for number in order.shape])


def contracted(call: Call) -> Names:
    """Those of a product of matrices or vectors: what is summed over is gone, and what there are batches of must match."""
    return _product(*[tensor.names for tensor in call.tensors[:2]])


def added(call: Call) -> Names:
    """Those of a product and what is added to it, the first tensor."""
    start, *factors = [tensor.names for tensor in call.tensors[:3]]
    return unified(_product(*factors), start)


def projected(call: Call) -> Names:
    """Those of ``linear``: the last dimension is one of the weight."""
    weight = call.tensors[1].names
    return distinct((*call.names[:-1], *weight[:-1]), "linear: the result would have duplicate names")


def _product(left: Names, right: Names) -> Names:
    batch = unified(left[:-2], right[:-2])
    names = (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))
    return distinct(names, f"Matrix multiplying Tensor{shown(left)} with Tensor{shown(right)} would produce a tensor with duplicate names")


def indexed(call: Call) -> Names:
    """Those of ``x[i, :, None, ...]``.

    Raises:
        RuntimeError: an index is neither a number, a slice, ``None`` nor ``...``
    """
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    left, found = list(call.names), []
    for number, each in enumerate(index):
        if each is None:
            found.append(None)
        elif each is ...:
            behind = sum(other is not None for other in index[number + 1 :])
            count = len(left) - behind
            found += left[:count]
            del left[:count]
        elif isinstance(each, slice):
            found.append(left.pop(0))
        elif isinstance(each, int) and not isinstance(each, bool):
            left.pop(0)
        else:
            raise RuntimeError(
                f"a named tensor is indexed by numbers, slices, None and ..., not by a {type(each).__name__}: drop names with rename(None)"
            )
    return (*found, *left)


def _all(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(_all(names), rule)


RULES: dict[str, Rule] = {
    **_table(kept, """
        abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh bernoulli bfloat16 bitwise_not bool byte ceil celu char clone
        conj conj_physical contiguous cos cosh cpu deg2rad detach digamma double elu erf erfc erfinv exp exp2 expm1 fix float floor frac gelu half hardsigmoid hardswish hardtanh imag
        int isfinite isinf isnan leaky_relu lgamma log log10 log1p log2 logical_not logit logsigmoid long mish nan_to_num neg negative normal positive rad2deg real
        reciprocal relu relu6 requires_grad_ round rsqrt selu sgn short sigmoid sign signbit silu sin sinc sinh softplus softsign sqrt square tan tanh tanhshrink threshold to trunc type
        type_as zero
        cummax cummin cumprod cumsum logcumsumexp log_softmax softmax softmin normalize
        chunk flip index_fill index_select masked_fill narrow roll sort split topk triu tril
        broadcast_to expand expand_as
        dropout alpha_dropout feature_dropout cauchy exponential fill geometric log_normal random uniform
        empty_like full_like ones_like rand_like randint_like randn_like zeros_like resize resize_as
    """),
    **_table(together, """
        add addcdiv addcmul arctan2 atan2 bitwise_and bitwise_or bitwise_xor cat clamp clamp_max clamp_min clip concat copy div divide eq float_power floor_divide fmax fmin fmod ge greater
        greater_equal gt heaviside hypot isclose le lerp less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor lt maximum minimum mul multiply ne not_equal pow
        remainder rsub sub subtract true_divide where xlogy
    """),
    **_table(without(1), """
        all amax amin any argmax argmin aminmax count_nonzero logsumexp max mean median min mode nanmean nanmedian nansum prod select std std_mean sum var var_mean
    """),
    **_table(without(2), "kthvalue norm renorm"),
    **_table(permuted, "H T adjoint mH mT moveaxis movedim permute swapaxes swapdims t transpose"),
    **_table(contracted, "bmm dot inner matmul mm mv vdot"),
    **_table(added, "addbmm addmm addmv baddbmm"),
    **_table(inserted, "unsqueeze stack"),
    "__getitem__": indexed, "linear": projected, "squeeze": squeezed, "unbind": first,
}  # fmt: skip
"""The rules by the names of functions; that of ``abs`` is also that of ``abs_`` and of ``x.abs``."""

ALONG = _all("""
    __getitem__ all amax amin aminmax any argmax argmin cat chunk concat count_nonzero cummax cummin cumprod cumsum flip index_fill index_select kthvalue log_softmax logcumsumexp logsumexp max mean
    median min mode moveaxis movedim nanmean nanmedian nansum narrow norm normalize permute prod renorm roll select size softmax softmin sort split squeeze std std_mean stride sum swapaxes
    swapdims topk transpose unbind unflatten unsqueeze var var_mean
""")
"""Functions that take dimensions, which may be told by their names."""

NAMELESS = _all("""
    align_as align_to names refine_names rename rename_
    __bool__ __complex__ __contains__ __float__ __format__ __hash__ __index__ __int__ __len__ __setitem__ allclose backward data_ptr dim element_size equal get_device
    grad_fn has_names is_complex is_conj is_contiguous is_floating_point is_inference is_neg is_nonzero is_pinned is_same_size is_shared is_signed item ndimension nelement
    numel numpy register_hook register_post_accumulate_grad_hook retain_grad size storage storage_offset stride tolist untyped_storage __array__ __dlpack__ __dlpack_device__
""")
"""Functions whose results are no tensors with dimensions of these, or which say the names themselves."""
