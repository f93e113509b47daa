"""The short-time Fourier transform and its inverse: Fourier transforms of overlapping frames of a signal.

See Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops import fourier
from flambeau._ops.autocast import in_float32
from flambeau._ops.copying import view_as_real
from flambeau._ops.creation import ones
from flambeau._ops.joining import constant_pad_nd
from flambeau._ops.origin import warn
from flambeau._ops.padding import pad_border
from flambeau._ops.positions import require_tensor
from flambeau._ops.ranges import arange
from flambeau._types import dtype as dt
from flambeau._types.device import CPU
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def _described(name: str, source: Layout, n_fft: int, hop: int, win: int, window: Tensor | None) -> str:
    shown = "None" if window is None else f"{window.layout.dtype!r}{list(window.layout.shape)}"
    return f"{name}({source.dtype!r}{list(source.shape)}, n_fft={n_fft}, hop_length={hop}, win_length={win}, window={shown})"


def _check(name: str, source: Layout, n_fft: int, hop: int, win: int, window: Tensor | None) -> str:
    what = _described(name, source, n_fft, hop, win, window)
    if hop <= 0:
        raise RuntimeError(f"{what}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win <= n_fft:
        raise RuntimeError(f"{what}: expected 0 < win_length <= n_fft, but got win_length={win}")
    if window is not None and window.layout.shape != (win,):
        raise RuntimeError(
            f"{what}: expected a 1D window tensor of size equal to win_length={win}, but got window with size {list(window.layout.shape)}"
        )
    return what


def _centred(window: Tensor, n_fft: int) -> Tensor:
    """The window in the middle of a frame."""
    before = (n_fft - window.layout.shape[0]) // 2
    return constant_pad_nd(window, (before, n_fft - window.layout.shape[0] - before)) if window.layout.shape[0] < n_fft else window


@in_float32
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The Fourier transforms of frames of ``n_fft`` samples that begin ``hop_length`` apart, each times the window.

    ``X[f, t] = sum over k of window[k] input[t hop_length + k] exp(-2 pi i f k / n_fft)``

    Shapes: input ``(L)`` or ``(B, L)``; result ``(B, F, T)``, complex, with ``F = n_fft // 2 + 1`` if onesided (the default for a real
    signal), else ``n_fft``, and T frames: ``1 + L // hop_length`` if centered.

    Args:
        center: the signal is padded by half a frame on both sides, as ``pad_mode`` says, so that frame t is around sample ``t * hop_length``
        normalized: divide by the root of ``n_fft``
        return_complex: must be given for a real signal; False gives real and imaginary parts in a last dimension of size 2
        align_to_window: without ``center``, whether the frames begin where their windows do

    Raises:
        RuntimeError: lengths do not fit, the signal has integers, or what a real signal's result is to be is not said; the message has all lengths.
    """
    require_tensor("stft", "input", input)
    if window is None:
        warn(
            "A window was not provided. A rectangular window will be applied, which is known to cause spectral leakage. Other windows such as "
            "torch.hann_window or torch.hamming_window are recommended to reduce it; window=torch.ones(n) is the rectangular one, without this warning."
        )
    source = input.layout
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    complex_input = source.dtype.is_complex or (window is not None and window.is_complex())
    if return_complex is None:
        if not complex_input:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that return_complex=True in a future PyTorch release."
            )
        return_complex = True
    elif not return_complex:
        warn(
            "stft with return_complex=False is deprecated. In a future pytorch release, stft will return complex tensors for all inputs, and "
            "return_complex=False will raise an error: torch.view_as_real(stft(…, return_complex=True)) is the same."
        )
    what = _described("stft", source, n_fft, hop, win, window)
    if source.dtype.category < dt.FLOAT:
        raise RuntimeError(f"{what}: expected a tensor of floating point or complex values")
    if not 1 <= source.ndim <= 2:
        raise RuntimeError(f"{what}: expected a 1D or 2D tensor")
    if center and align_to_window is not None:
        raise RuntimeError(f"{what}: stft only supports align_to_window for center = False.")
    x = input if source.ndim == 2 else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        x = constant_pad_nd(x, (half, half)) if pad_mode == "constant" else pad_border(x, pad_mode, ((0, 0), (half, half)))
    length = x.layout.shape[1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"{what}: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    _check("stft", source, n_fft, hop, win, window)
    if not center and align_to_window:
        x = constant_pad_nd(x, ((n_fft - win) // 2,) * 2)
    frames = x.unfold(1, n_fft, hop)
    if window is not None or win < n_fft:
        frames = frames * _centred(ones(win, dtype=source.dtype.to_real()) if window is None else window, n_fft)
    if onesided is None:
        onesided = not complex_input
    if onesided and complex_input:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    transform = fourier.rfft if onesided else fourier.fft
    result = transform(frames, norm="ortho" if normalized else None).transpose(1, 2)
    if source.ndim == 1:
        result = result.squeeze(0)
    return result if return_complex else view_as_real(result)


def _check_inverse(
    source: Layout, n_fft: int, hop: int, win: int, window: Tensor | None, onesided: bool | None, return_complex: bool
) -> str:
    """Check the arguments of ``istft``; returns what they are, to begin a message with."""
    what = _check("istft", source, n_fft, hop, win, window)
    if not source.dtype.is_complex:
        raise RuntimeError(f"{what}: istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if source.numel == 0:
        raise RuntimeError(f"{what}: input tensor cannot be empty.")
    if not 2 <= source.ndim <= 3:
        raise RuntimeError(f"{what}: expected a tensor with 2 or 3 dimensions (frequencies, frames), but got {source.ndim}")
    count = source.shape[-2]
    if onesided is None:
        onesided = count != n_fft
    if onesided and return_complex:
        raise RuntimeError("cannot have onesided output if window or input is complex")
    expected = n_fft // 2 + 1 if onesided else n_fft
    if count != expected:
        raise RuntimeError(
            f"{what}: expected the frequency dimension (3rd to the last) of the input tensor to match {expected}, but got {count}"
        )
    if window is not None and window.is_complex() and not return_complex:
        raise RuntimeError(f"{what}: Complex windows are incompatible with return_complex=False")
    if hop > win:
        raise RuntimeError(f"{what}: expected 0 < hop_length <= win_length")
    return what


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose ``stft`` with the same arguments is nearest to ``input``: frames, windowed and added, over the sum of squared windows.

    Shapes: input ``(F, T)`` or ``(B, F, T)``, complex; result ``(L)`` or ``(B, L)``.

    Args:
        length: the length of the result, which is cut or padded with zeros

    Raises:
        RuntimeError: the sum of squared windows is 0 somewhere.
    """
    require_tensor("istft", "input", input)
    source = input.layout
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    what = _check_inverse(source, n_fft, hop, win, window, onesided, return_complex)
    x = input if source.ndim == 3 else input.unsqueeze(0)
    frames = x.layout.shape[2]
    window = _centred(ones(win, dtype=source.dtype.to_real()) if window is None else window, n_fft)
    norm = "ortho" if normalized else None
    x = x.transpose(1, 2)
    if return_complex:
        x = fourier.ifft(x, norm=norm)
    else:  # of a real signal the upper half of the frequencies says nothing
        x = fourier.irfft(x[..., : n_fft // 2 + 1], n_fft, norm=norm)
    total = n_fft + hop * (frames - 1)
    signal = _overlap(x * window, hop, total)
    envelope = _overlap((window * window).expand(1, frames, n_fft), hop, total)
    start = n_fft // 2 if center else 0
    end = total - start if length is None else start + length
    signal, envelope = signal[:, start:end], envelope[:, start:end]
    least = envelope.detach().abs().min()
    if least.memory.device is CPU and not float(least) > 1e-11:
        raise RuntimeError(f"{what}: window overlap add min: {float(least)}; the windows must cover every sample")
    signal = signal / envelope
    if length is not None and end > total:
        signal = constant_pad_nd(signal, (0, end - total))
    return signal if source.ndim == 3 else signal.squeeze(0)


def _overlap(frames: Tensor, hop: int, total: int) -> Tensor:
    """The sum of frames ``(B, T, N)``, each laid ``hop`` after the one before, as ``(B, total)``."""
    batch, count, size = frames.layout.shape
    places = (arange(count).unsqueeze(1) * hop + arange(size)).reshape(-1)
    return frames.new_zeros(batch, total).index_add(1, places, frames.reshape(batch, count * size))


PUBLIC = ("istft", "stft")
METHODS = ("istft", "stft")
