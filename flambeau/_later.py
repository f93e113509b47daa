"""Names of the package that are loaded when they are first used, so that importing it stays quick."""

from __future__ import annotations

from importlib import import_module

__all__ = ["load"]

_MODULES = frozenset(
    [
        "_C",
        "__config__",
        "__future__",
        "_dynamo",
        "_inductor",
        "_tensor_str",
        "_utils",
        "accelerator",
        "amp",
        "ao",
        "backends",
        "compiler",
        "cpu",
        "cuda",
        "distributed",
        "distributions",
        "draw",
        "export",
        "fft",
        "func",
        "functional",
        "futures",
        "fx",
        "hub",
        "jit",
        "library",
        "linalg",
        "masked",
        "monitor",
        "mps",
        "multiprocessing",
        "nested",
        "onnx",
        "ops",
        "optim",
        "overrides",
        "package",
        "profiler",
        "quantization",
        "quasirandom",
        "random",
        "serialization",
        "signal",
        "sparse",
        "special",
        "storage",
        "testing",
        "torch_version",
        "types",
        "vision",
        "xpu",
    ]
)
"""Modules that are names themselves."""

_NAMES = {
    "_C": "PyTorchFileReader",
    "_alias": "install_as_torch",
    "_checks": "_check _check_index _check_is_size _check_not_implemented _check_tensor_all _check_tensor_all_with _check_type _check_value _check_with",
    "_compiler.explain": "explain",
    "_control": "OutOfMemoryError _assert _assert_async cond set_flush_denormal sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum while_loop",
    "_lobpcg": "lobpcg",
    "_named.tensor": "align_tensors",
    "_top_level": """
        affine_grid_generator alpha_dropout_ binary_cross_entropy_with_logits conv_tbc cosine_embedding_loss ctc_loss detach_copy embedding_bag
        embedding_renorm_ feature_alpha_dropout feature_alpha_dropout_ feature_dropout feature_dropout_ frobenius_norm from_file get_device get_device_module
        grid_sampler grid_sampler_2d grid_sampler_3d gru gru_cell hinge_embedding_loss kl_div lstm lstm_cell margin_ranking_loss max_pool1d_with_indices
        native_channel_shuffle native_dropout norm_except_dim nuclear_norm poisson_nll_loss rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell rrelu_ slice_copy
        triplet_margin_loss view_as_complex_copy view_as_real_copy
        """,
    "_types.symbolic": "SymBool SymFloat SymInt",
    "accelerator": "Event Stream",
    "amp.autocast_mode": """
        autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype
        is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled
        set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
        """,
    "amp.grad_scaler": "GradScaler",
    "ao.tensors.creation": """
        _choose_qparams_per_tensor _empty_affine_quantized _empty_per_channel_affine_quantized _make_per_channel_quantized_tensor
        _make_per_tensor_quantized_tensor dequantize int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
        quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_max_pool1d quantized_max_pool2d
        """,
    "ao.tensors.fake": "fused_moving_avg_obs_fake_quant",
    "autograd.anomaly": "is_anomaly_check_nan_enabled is_anomaly_enabled set_anomaly_enabled",
    "compiler": "compile",
    "func": "vmap",
    "jit": "ScriptFunction ScriptModule fork wait",
    "serialization": "load save",
    "sparse.creation": "sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor",
    "sparse.products": "dsmm hspmm smm spmm sspaddmm",
    "storage": "TypedStorage UntypedStorage",
    "utils.dlpack": "to_dlpack",
}
"""Other names, by the modules that they are in."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def load(package: str, name: str) -> object:
    """What a name of the package means that has not been used before.

    Raises:
        AttributeError: there is no such name.
    """
    if name in _MODULES:
        return import_module(f"{package}.{name}")
    home = "_foreach" if name.startswith("_foreach_") else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{home}"), name)
