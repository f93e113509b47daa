"""Settings of PyTorch's compiler of kernels, which scripts make: kept, and without meaning here."""

from __future__ import annotations


class _Group:
    """Settings of one part of it."""


benchmark_kernel = False
conv_1x1_as_mm = False
coordinate_descent_check_all_directions = False
coordinate_descent_tuning = False
cpp = _Group()
cpp_wrapper = False
debug = False
epilogue_fusion = True
force_fuse_int_mm_with_mul = False
freezing = False
fx_graph_cache = True
max_autotune = False
max_autotune_gemm_backends = "ATEN,TRITON,CPP"
shape_padding = True
trace = _Group()
triton = _Group()
use_mixed_mm = True
