from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.utils.dlpack import DLDeviceType, to_dlpack


class Handed:
    """An array of another library, as far as the protocol goes."""

    def __init__(self, tensor):
        self.capsule = to_dlpack(tensor)

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


def test_other_libraries_read_the_same_memory():
    x = flambeau.arange(6).reshape(2, 3).T
    array = np.from_dlpack(x)
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]
    x[0, 0] = 7
    assert array[0, 0] == x[0, 0].item() == 7
    assert flambeau.from_dlpack(Handed(x)).data_ptr() == x.data_ptr()


def test_a_tensor_that_requires_grad_is_only_handed_over_by_name():
    x = flambeau.ones(2, requires_grad=True)
    with pytest.raises(BufferError, match="that require gradient"):
        x.__dlpack__()
    assert flambeau.from_dlpack(Handed(x)).tolist() == [1, 1]


def test_devices():
    assert flambeau.ones(1).__dlpack_device__() == (DLDeviceType.kDLCPU, 0)
    with pytest.raises(ValueError, match="Unknown device type meta"):
        flambeau.ones(1, device="meta").__dlpack_device__()
    for refused in (flambeau.ones(1, device="meta"), flambeau.ones(1).bfloat16()):
        with pytest.raises(BufferError, match="Can't export"):
            to_dlpack(refused)
