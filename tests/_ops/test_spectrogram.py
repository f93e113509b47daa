"""Short-time Fourier transforms against SciPy, and their inverse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import flambeau


def signal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("onesided", [False, True])
def test_stft(onesided: bool, normalized: bool) -> None:
    x, window = signal(2, 50), np.hanning(8)
    found = flambeau.stft(
        flambeau.tensor(x),
        8,
        3,
        window=flambeau.tensor(window),
        center=False,
        normalized=normalized,
        onesided=onesided,
        return_complex=True,
    )
    frames = np.stack([x[:, start : start + 8] for start in range(0, 43, 3)], 1) * window
    expected = (np.fft.rfft if onesided else np.fft.fft)(frames, norm="ortho" if normalized else None).swapaxes(1, 2)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    with pytest.warns(UserWarning, match="return_complex=False is deprecated"):
        parts = flambeau.stft(flambeau.tensor(x), 8, 3, window=flambeau.tensor(window), return_complex=False)
    assert parts.shape[-1] == 2 and not parts.is_complex()


def test_centred_frames_are_scipys() -> None:
    x, window = signal(64), scipy.signal.get_window("hann", 16)
    found = flambeau.stft(flambeau.tensor(x), 16, 4, window=flambeau.tensor(window), pad_mode="constant", return_complex=True)
    theirs = scipy.signal.ShortTimeFFT(window, 4, 1.0, fft_mode="onesided", phase_shift=None)
    expected = theirs.stft(x, p0=0, p1=found.shape[1])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("win", [16, 12])
@pytest.mark.parametrize("shape", [(64,), (3, 61)])
@pytest.mark.parametrize("complex", [False, True])
def test_istft_restores(complex: bool, shape: tuple, win: int) -> None:
    x = flambeau.tensor(signal(*shape) + (1j * signal(*shape) if complex else 0))
    options = {"n_fft": 16, "hop_length": 4, "win_length": win, "window": flambeau.hann_window(win, dtype=flambeau.float64)}
    spectrum = flambeau.stft(x, **options, return_complex=True)
    restored = flambeau.istft(spectrum, **options, length=shape[-1], return_complex=complex)
    np.testing.assert_allclose(restored.numpy(), x.numpy(), atol=1e-10)


def test_what_is_refused() -> None:
    x = flambeau.tensor(signal(40))
    with pytest.raises(RuntimeError, match="requires the return_complex parameter"):
        flambeau.stft(x, 8, window=flambeau.ones(8))
    with pytest.raises(RuntimeError, match="0 < n_fft <= 40, but got n_fft=64"):
        flambeau.stft(x, 64, window=flambeau.ones(64), center=False, return_complex=True)
    with pytest.raises(RuntimeError, match="equal to win_length=8"):
        flambeau.stft(x, 8, window=flambeau.ones(7), return_complex=True)
    gaps = flambeau.stft(x, 8, 4, window=flambeau.zeros(8, dtype=flambeau.float64), return_complex=True)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        flambeau.istft(gaps, 8, 4, window=flambeau.zeros(8, dtype=flambeau.float64))
