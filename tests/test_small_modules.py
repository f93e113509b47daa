"""Names that programs import from PyTorch's smaller modules."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn


def test_versions_compare_by_their_numbers() -> None:
    version = flambeau.__version__
    assert version >= "2.4" and version >= (1, 8) and not version < "2.2.0" and version > "2.13.0" and isinstance(version, str)


def test_functions_of_lists() -> None:
    xs = [flambeau.ones(2), flambeau.full((3,), 2.0)]
    assert [x.tolist() for x in flambeau._foreach_add(xs, [1.0, 2.0])] == [[2.0, 2.0], [4.0, 4.0, 4.0]]
    assert flambeau._foreach_mul_(xs, 3) is None and xs[0].tolist() == [3.0, 3.0]
    flambeau._foreach_addcdiv_(xs, xs, xs, value=-1.0)
    flambeau._foreach_lerp_(xs, [flambeau.zeros(2), flambeau.zeros(3)], 0.5)
    assert xs[0].tolist() == [1.0, 1.0] and flambeau._foreach_norm(xs)[0].item() == pytest.approx(2**0.5)
    flambeau._foreach_mul_(xs, scalar=0)
    assert xs[0].tolist() == [0.0, 0.0]
    flambeau._foreach_copy_(xs, [flambeau.ones(2), flambeau.ones(3)])
    assert flambeau._foreach_addcmul(xs, xs, xs, scalars=[2.0, 3.0])[1].tolist() == [4.0, 4.0, 4.0]


def test_control_flow_is_pythons() -> None:
    x = flambeau.ones(1)
    assert flambeau.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)).item() == 2
    assert flambeau.while_loop(lambda i: i < 3, lambda i: (i + 1,), (flambeau.tensor(0),))[0].item() == 3
    with pytest.raises(AssertionError, match="no"):
        flambeau._assert(False, "no")


@pytest.mark.filterwarnings("ignore:.torch.testing.assert_allclose")
def test_random_tensors_for_tests() -> None:
    from flambeau.testing import assert_allclose, make_tensor

    whole = make_tensor((50,), dtype=flambeau.int64, low=2, high=4)
    assert set(whole.tolist()) == {2, 3} and make_tensor(2, 3, dtype=flambeau.float32, noncontiguous=True).stride() == (6, 2)
    assert make_tensor(2, 3, dtype=flambeau.float32, noncontiguous=True, requires_grad=True).is_leaf
    assert_allclose(flambeau.ones(1), flambeau.ones(1, dtype=flambeau.float64))


def test_there_is_no_cuda_to_be_initialized_and_no_graph_of_torchscript() -> None:
    from flambeau._C import Value

    assert not (flambeau.cuda.is_initialized() or flambeau.cuda._initialized or flambeau.cuda.is_available())
    assert not isinstance(flambeau.ones(1), Value)
    with pytest.raises(TypeError, match="no graphs of TorchScript"):
        Value()


def test_settings_of_libraries_hold_within_a_context() -> None:
    from flambeau.backends import cuda, cudnn, mkldnn

    for library in (cudnn, mkldnn):
        with library.flags(enabled=False, deterministic=True):
            assert library.deterministic and not library.enabled
        assert library.enabled and not library.deterministic
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            library.flags(determinstic=True)
    cuda.preferred_linalg_library("magma")
    with cuda.sdp_kernel(enable_math=False):
        assert not cuda.math_sdp_enabled() and cuda.preferred_linalg_library("default") == "default"
    assert cuda.math_sdp_enabled() and cuda.preferred_linalg_library() == "default"


def test_settings_of_libraries_that_only_choose_an_order_or_a_kernel() -> None:
    from flambeau.backends import nnpack, opt_einsum

    assert not opt_einsum.is_available() and not opt_einsum.enabled and opt_einsum.strategy is None
    with opt_einsum.flags(enabled=True, strategy="greedy"):
        assert opt_einsum.enabled and opt_einsum.strategy == "greedy"
    assert not opt_einsum.enabled and opt_einsum.strategy is None
    assert nnpack.set_flags(False) == (True,) and nnpack.set_flags(True) == (False,)
    with nnpack.flags(enabled=False):
        assert nnpack.set_flags(False) == (False,)
    assert nnpack.set_flags(True) == (True,)


def test_the_fast_path_of_attention_is_a_setting() -> None:
    from flambeau.backends import mha

    assert mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    assert not mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(True)


def test_marks_for_profilers_of_cuda_need_a_device() -> None:
    from flambeau.cuda import nvtx

    whole = nvtx.range("step")
    for call in (lambda: nvtx.range_push("step"), nvtx.range_pop, lambda: nvtx.mark("step"), lambda: nvtx.range_end(1), whole.__enter__):
        with pytest.raises(RuntimeError, match="torch.cuda.nvtx.* needs a CUDA device"):
            call()


def test_gradients_of_convolutions() -> None:
    from flambeau.nn.grad import conv2d_input, conv2d_weight

    x, weight = flambeau.randn(1, 2, 5, 5, requires_grad=True), flambeau.randn(3, 2, 3, 3, requires_grad=True)
    y = nn.functional.conv2d(x, weight, padding=1)
    grad = flambeau.randn_like(y)
    y.backward(grad)
    assert flambeau.allclose(conv2d_input(x.shape, weight, grad, padding=1), x.grad, atol=1e-5)
    assert flambeau.allclose(conv2d_weight(x, weight.shape, grad, padding=1), weight.grad, atol=1e-5)


def test_times_are_measured() -> None:
    from flambeau.utils import benchmark

    timer = benchmark.Timer("x.sum().item()", globals={"x": flambeau.ones(8)}, label="sum", description="ones")
    measurement = timer.timeit(3)
    assert measurement.number_per_run == 3 and measurement.mean > 0 and "sum" in repr(measurement)
    assert "ones" in str(benchmark.Compare([measurement, timer.blocked_autorange(min_run_time=0.01)]))
    seen: list[tuple[int, float]] = []
    adapted = timer.adaptive_autorange(max_run_time=0.05, callback=lambda number, time: seen.append((number, time)))
    assert [time for _, time in seen] == adapted.raw_times
    with pytest.raises(ValueError, match="use setup"):
        benchmark.Timer(global_setup="int x;")


def test_what_cannot_be_says_so() -> None:
    from flambeau.utils.cpp_extension import include_paths, load

    with pytest.raises(RuntimeError, match="torch.library.custom_op"):
        load("x", ["x.cpp"])
    with pytest.raises(RuntimeError, match="include_paths"):
        include_paths()


def test_too_much_memory_is_pytorchs_error_and_pythons() -> None:
    for error in (RuntimeError, MemoryError, flambeau.cuda.OutOfMemoryError):
        with pytest.raises(error, match="DefaultCPUAllocator: can't allocate memory"):
            flambeau.empty(1 << 60)


def test_keys_are_weak() -> None:
    from flambeau.utils.weak import WeakIdRef, WeakTensorKeyDictionary

    x, y = flambeau.ones(1), flambeau.ones(1)
    one = WeakIdRef(x)
    assert one == WeakIdRef(x) and one != WeakIdRef(y) and one.__ne__(WeakIdRef(x)) is False
    table = WeakTensorKeyDictionary()
    table[x] = 1
    assert x in table and y not in table and len(table) == 1
    del x
    assert len(table) == 0


def test_numpys_names_of_arguments() -> None:
    x = flambeau.arange(6.0).reshape(2, 3)
    assert x.sum(axis=0).tolist() == [3.0, 5.0, 7.0] and x.mean(axis=1, keepdims=True).tolist() == [[1.0], [4.0]]
    assert (
        flambeau.cat([x, x], axis=1).shape == (2, 6)
        and x.argmax(axis=1).tolist() == [2, 2]
        and flambeau.cumprod(x, axis=0)[1, 2].item() == 10.0
    )
    assert flambeau.softmax(x, axis=1).sum(axis=1).tolist() == pytest.approx([1.0, 1.0]) and x.unsqueeze(axis=0).shape == (1, 2, 3)
    with pytest.raises(TypeError):
        flambeau.cumsum(x)


def test_names_of_dispatch_keys():
    from flambeau._C import DispatchKey, DispatchKeySet

    keys = DispatchKeySet(DispatchKey.AutocastCPU) | DispatchKeySet(DispatchKey.AutocastCUDA)
    assert keys.has("AutocastCPU") and keys.has(DispatchKey.AutocastCUDA) and not keys.has("CPU")


def test_what_packages_of_vision_import():
    from flambeau._custom_ops import get_ctx
    from flambeau._dynamo.utils import is_compile_supported
    from flambeau.fx.graph_module import _CodeOnlyModule, _copy_attr
    from flambeau.onnx.symbolic_helper import parse_args

    layer, made = flambeau.nn.Sequential(flambeau.nn.Linear(2, 3)), flambeau.nn.Module()
    _copy_attr(layer, made, "0.weight")
    copied = _CodeOnlyModule(dict(layer.__dict__))
    assert made.get_parameter("0.weight") is layer[0].weight and copied.get_submodule("0") is layer[0]
    assert is_compile_supported("cpu") and not is_compile_supported("cuda") and parse_args("v")(len) is len
    with pytest.raises(RuntimeError, match="depend on data"):
        get_ctx()


def test_regions_are_counted_and_caches_are_asked_for() -> None:
    assert flambeau.get_autocast_gpu_dtype() is flambeau.float16
    assert (flambeau.autocast_increment_nesting(), flambeau.autocast_decrement_nesting()) == (1, 0)
    assert flambeau.is_autocast_cache_enabled() and flambeau.clear_autocast_cache() is None
    flambeau.set_autocast_cache_enabled(False)
    assert not flambeau.is_autocast_cache_enabled()
    flambeau.set_autocast_cache_enabled(True)


def test_anomaly_detection_is_a_setting() -> None:
    assert not flambeau.is_anomaly_enabled()
    flambeau.set_anomaly_enabled(True, False)
    assert flambeau.is_anomaly_enabled() and not flambeau.is_anomaly_check_nan_enabled()
    flambeau.set_anomaly_enabled(False)
    assert not flambeau.is_anomaly_enabled() and flambeau.is_anomaly_check_nan_enabled()


def test_devices_have_modules() -> None:
    assert (
        flambeau.get_device_module() is flambeau.get_device_module("cpu") is flambeau.cpu
        and flambeau.get_device_module("cuda") is flambeau.cuda
    )
    with pytest.raises(RuntimeError, match="no module of the device 'meta'"):
        flambeau.get_device_module("meta")


def test_checkpoints_may_be_selective() -> None:
    from functools import partial

    from flambeau.utils import checkpoint as module

    x = flambeau.ones(3, requires_grad=True)
    contexts = partial(module.create_selective_checkpoint_contexts, lambda context, op, *args, **kwargs: module.CheckpointPolicy.MUST_SAVE)
    with module.set_checkpoint_early_stop(False), module.set_checkpoint_debug_enabled(True):
        module.checkpoint(lambda x: (x * 2).exp(), x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert flambeau.equal(x.grad, flambeau.full((3,), 2.0).exp() * 2)
    with pytest.raises(TypeError, match="either a function or a list"):
        module.create_selective_checkpoint_contexts(3)
