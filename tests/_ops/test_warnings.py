"""What PyTorch warns of: the same is warned of here, at the user's line."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

import flambeau


def _frozen() -> np.ndarray:
    array = np.ones(2)
    array.flags.writeable = False
    return array


WARNED = [
    (lambda: flambeau.tensor(flambeau.ones(2)), "To copy construct from a tensor"),
    (lambda: flambeau.tensor([np.ones(2), np.ones(2)]), "list of numpy.ndarrays is extremely slow"),
    (lambda: flambeau.from_numpy(_frozen()), "NumPy array is not writable"),
    (lambda: flambeau.frombuffer(b"abcd", dtype=flambeau.uint8), "buffer is not writable"),
    (lambda: flambeau.meshgrid(flambeau.ones(2), flambeau.ones(3)), "required to pass the indexing argument"),
    (lambda: flambeau.ones(2, 3, 4).T, "The use of `x.T`"),
    (lambda: flambeau.ones(2)[flambeau.tensor([1, 0], dtype=flambeau.uint8)], "indexing with dtype torch.uint8"),
    (lambda: flambeau.ones(3, 4)[[[0, 2], [1, 3]]], "Using a non-tuple sequence"),
    (lambda: flambeau.ones(1).std(), r"std\(\): degrees of freedom is <= 0"),
    (lambda: flambeau.cross(flambeau.ones(3), flambeau.ones(3)), "without specifying the dim arg"),
    (lambda: flambeau.stft(flambeau.ones(16), 8, return_complex=True), "A window was not provided"),
    (lambda: flambeau.stft(flambeau.ones(16), 8, window=flambeau.ones(8), return_complex=False), "return_complex=False is deprecated"),
    (lambda: flambeau.mul(flambeau.ones(1), 2, out=flambeau.ones(3)), "An output with one or more elements was resized"),
    (lambda: flambeau.ones(1, requires_grad=True).sum().backward(create_graph=True), "create_graph=True will create a reference cycle"),
    (lambda: flambeau.set_default_tensor_type(flambeau.FloatTensor), "set_default_tensor_type.. is deprecated"),
    (lambda: flambeau.autograd.detect_anomaly().__exit__(), "Anomaly Detection has been enabled"),
    (lambda: flambeau.utils.data.DataLoader([1], pin_memory=True), "'pin_memory' argument is set as true"),
    (lambda: flambeau.testing.assert_allclose(flambeau.ones(1), flambeau.ones(1)), "assert_allclose.*is deprecated"),
    (lambda: flambeau.autograd.gradcheck(flambeau.sin, flambeau.ones(1, requires_grad=True), atol=0.1), "not a double precision"),
    (lambda: flambeau.cuda.amp.GradScaler(enabled=False), "torch.cuda.amp.GradScaler"),
    (lambda: flambeau.cuda.amp.autocast(enabled=False), "torch.cuda.amp.autocast"),
]


@pytest.mark.parametrize(("call", "text"), WARNED, ids=[text for _, text in WARNED])
def test_what_is_warned_of(call: Callable, text: str) -> None:
    with pytest.warns((UserWarning, FutureWarning), match=text) as seen:
        call()
    assert seen[0].filename == __file__


def test_nothing_is_warned_of_what_is_as_it_should_be() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flambeau.meshgrid(flambeau.ones(2), flambeau.ones(3), indexing="ij")
        flambeau.cartesian_prod(flambeau.ones(2), flambeau.ones(3))
        flambeau.from_numpy(np.ones(2))
        flambeau.frombuffer(bytearray(b"abcd"), dtype=flambeau.uint8)
        flambeau.ones(2, 3).T, flambeau.tensor(1.0).T, flambeau.ones(1).std(correction=0), flambeau.empty(0, 2).var(0)
        flambeau.ones(3)[[0, 1]], flambeau.ones(3, 4)[[0, 1], [1, 2]], flambeau.ones(3)[[True, False, True]]
        flambeau.add(flambeau.ones(2), 1, out=flambeau.empty(0))


def test_lists_of_lists_index_several_dimensions() -> None:
    x = flambeau.arange(12).view(3, 4)
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 2], [1, 3]]].tolist() == [1, 11]
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[slice(0, 2), 1]].tolist() == [1, 5]
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        x[[[0], [1]]] = -1
    assert x[0, 1] == -1 and x.sum() == 64
