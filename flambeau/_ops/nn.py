"""The operators that ``flambeau.nn.functional`` stands on and that are no names of the package: one namespace for them."""

from __future__ import annotations

from flambeau._ops.activation import elu as elu
from flambeau._ops.activation import elu_ as elu_
from flambeau._ops.activation import gelu as gelu
from flambeau._ops.activation import glu as glu
from flambeau._ops.activation import hardsigmoid as hardsigmoid
from flambeau._ops.activation import hardsigmoid_ as hardsigmoid_
from flambeau._ops.activation import hardswish as hardswish
from flambeau._ops.activation import hardswish_ as hardswish_
from flambeau._ops.activation import hardtanh as hardtanh
from flambeau._ops.activation import hardtanh_ as hardtanh_
from flambeau._ops.activation import leaky_relu as leaky_relu
from flambeau._ops.activation import leaky_relu_ as leaky_relu_
from flambeau._ops.activation import log_sigmoid as log_sigmoid
from flambeau._ops.activation import mish as mish
from flambeau._ops.activation import mish_ as mish_
from flambeau._ops.activation import relu6 as relu6
from flambeau._ops.activation import relu6_ as relu6_
from flambeau._ops.activation import silu as silu
from flambeau._ops.activation import silu_ as silu_
from flambeau._ops.activation import softplus as softplus
from flambeau._ops.activation import softshrink as softshrink
from flambeau._ops.attention import attention as attention
from flambeau._ops.attention import attention_weights as attention_weights
from flambeau._ops.convolution import convolve as convolve
from flambeau._ops.convolution import convolve_transposed as convolve_transposed
from flambeau._ops.encoding import one_hot as one_hot
from flambeau._ops.grid_sampling import Sampling as Sampling
from flambeau._ops.grid_sampling import sampled_at as sampled_at
from flambeau._ops.loss import binary_cross_entropy as binary_cross_entropy
from flambeau._ops.loss import nll_loss_nd as nll_loss_nd
from flambeau._ops.matrix import linear as linear
from flambeau._ops.padding import fold_border as fold_border
from flambeau._ops.padding import pad_border as pad_border
from flambeau._ops.pooling import adaptive_avg_pool as adaptive_avg_pool
from flambeau._ops.pooling import adaptive_max_pool as adaptive_max_pool
from flambeau._ops.pooling import avg_pool as avg_pool
from flambeau._ops.pooling import max_pool as max_pool
from flambeau._ops.recurrent import one_step as one_step
from flambeau._ops.recurrent import recurrence as recurrence
