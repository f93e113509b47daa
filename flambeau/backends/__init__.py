"""What computes: one module for each library that PyTorch may use, which says that it is not used here; and the CPU."""

from __future__ import annotations

from flambeau.backends import cpu as cpu
from flambeau.backends import cuda as cuda
from flambeau.backends import cudnn as cudnn
from flambeau.backends import mha as mha
from flambeau.backends import mkl as mkl
from flambeau.backends import mkldnn as mkldnn
from flambeau.backends import mps as mps
from flambeau.backends import nnpack as nnpack
from flambeau.backends import openmp as openmp
from flambeau.backends import opt_einsum as opt_einsum
from flambeau.backends import quantized as quantized

__all__ = ["cpu", "cuda", "cudnn", "mha", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum", "quantized"]
