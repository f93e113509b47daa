"""Flambeau: a deep-learning framework with PyTorch's API, whose kernels LLVM compiles at run time."""

from __future__ import annotations

import sys as _sys
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi
from typing import TYPE_CHECKING

import flambeau._ops as _ops
from flambeau import _settings
from flambeau import autograd as autograd
from flambeau import return_types as return_types
from flambeau._compiler import lazy as _lazy
from flambeau._later import load as _load
from flambeau._ops import copying as _copying
from flambeau._ops.registry import FUNCTIONS as _FUNCTIONS
from flambeau._runtime.pool import get_num_threads as get_num_threads
from flambeau._runtime.pool import set_num_threads as set_num_threads
from flambeau._tape.tape import flush as flush
from flambeau._tape.tape import set_compiler as _set_compiler
from flambeau._tensor import aliases as _aliases
from flambeau._tensor import classes as _classes
from flambeau._tensor.printing import get_printoptions as get_printoptions
from flambeau._tensor.printing import set_printoptions as set_printoptions
from flambeau._tensor.size import Size as Size
from flambeau._tensor.tensor import Tensor as Tensor
from flambeau._types import dtype as _dtypes
from flambeau._types.device import device as device
from flambeau._types.dtype import dtype as dtype
from flambeau._types.finfo import finfo as finfo
from flambeau._types.finfo import iinfo as iinfo
from flambeau._types.promotion import can_cast as can_cast
from flambeau._types.promotion import get_default_dtype as get_default_dtype
from flambeau._types.promotion import promote_types as promote_types
from flambeau._types.promotion import set_default_dtype as set_default_dtype
from flambeau._types.quantized import QUANTIZED as _QUANTIZED_DTYPES
from flambeau._types.quantized import SCHEMES as _SCHEMES
from flambeau._types.quantized import qscheme as qscheme
from flambeau._types.strided import jagged as jagged
from flambeau._types.strided import layout as layout
from flambeau._types.strided import sparse_bsc as sparse_bsc
from flambeau._types.strided import sparse_bsr as sparse_bsr
from flambeau._types.strided import sparse_coo as sparse_coo
from flambeau._types.strided import sparse_csc as sparse_csc
from flambeau._types.strided import sparse_csr as sparse_csr
from flambeau._types.strided import strided as strided
from flambeau.autograd.grad_mode import enable_grad as enable_grad
from flambeau.autograd.grad_mode import inference_mode as inference_mode
from flambeau.autograd.grad_mode import is_grad_enabled as is_grad_enabled
from flambeau.autograd.grad_mode import is_inference_mode_enabled as is_inference_mode_enabled
from flambeau.autograd.grad_mode import no_grad as no_grad
from flambeau.autograd.grad_mode import set_grad_enabled as set_grad_enabled
from flambeau.torch_version import __version__ as __version__

if TYPE_CHECKING:  # so that tools know of modules that are loaded when they are first used
    from flambeau import distributions as distributions
    from flambeau import fft as fft
    from flambeau import linalg as linalg
    from flambeau import optim as optim
    from flambeau import special as special
    from flambeau import testing as testing

for _dtype in _dtypes.DTYPES:
    globals()[_dtype.name] = _dtype
for _named in (*_QUANTIZED_DTYPES, *_SCHEMES):
    globals()[_named.name] = _named
for _alias in ("half", "float", "double", "chalf", "cfloat", "cdouble", "short", "int", "long"):
    globals()[_alias] = getattr(_dtypes, _alias)
for _name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d", "memory_format"):
    globals()[_name] = getattr(_copying, _name)
for _family in _ops.FAMILIES:
    for _name in _family.PUBLIC:
        globals()[_name] = getattr(_family, _name)

for _home in (_classes, _settings):
    for _name in _home.PUBLIC:
        globals()[_name] = getattr(_home, _name)
globals().update(_aliases.FUNCTIONS)
newaxis = None
torch = _sys.modules[__name__]  # packages write `torch.torch`

_set_compiler(_lazy.compile)


def _sparse() -> object:
    from flambeau.sparse import creation

    return creation


def _names() -> object:
    from flambeau._named import tensor

    return tensor


_FUNCTIONS.sparse, _FUNCTIONS.named = _sparse, _names

from flambeau import nn as nn  # noqa: E402  (these need the names above)
from flambeau import utils as utils  # noqa: E402
from flambeau import version as version  # noqa: E402


def __getattr__(name: str) -> object:
    return _load(__name__, name)


for _name in (
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "bilinear", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cosine_similarity", "max_pool1d", "max_pool2d", "max_pool3d", "pairwise_distance", "pdist", "pixel_shuffle",
    "pixel_unshuffle", "rrelu",
):  # fmt: skip
    globals()[_name] = getattr(nn.functional, _name)
