"""Images, videos and sounds as the files that an event holds: PNG, GIF and WAV.

PNG is written here, so that images need no other package; Pillow draws boxes, scales, and writes GIF.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import wave
import zlib

import numpy as np

_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA


def pillow():
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise ImportError('boxes, scaled images and videos need Pillow: pip install "flambeau[vision]"') from None
    return PIL


def check_positive(name: str, number: float) -> None:
    if not number > 0:
        raise ValueError(f"{name} must be positive, got {number}")


def check_image(shape: tuple[int, ...], dataformats: str) -> None:
    """Raise if ``to_hwc`` could not make an image of such an array."""
    layout = dataformats.upper()
    if len(set(layout)) != len(layout):
        raise AssertionError(f"dataformats {dataformats!r} names a dimension twice")
    if len(shape) != len(layout):
        raise AssertionError(f"dataformats {dataformats!r} names {len(layout)} dimensions, but the image has shape {tuple(shape)}")
    if sorted(layout) not in (sorted("HW"), sorted("CHW"), sorted("NCHW")):
        raise ValueError(f"dataformats must be an ordering of HW, CHW or NCHW, got {dataformats!r}")
    if 0 in shape:
        raise ValueError(f"an image of shape {tuple(shape)} ({dataformats}) has no pixels")
    channels = shape[layout.index("C")] if "C" in layout else 1
    if len(layout) == 4 and channels not in (1, 3):
        raise AssertionError(f"a batch of images must have 1 or 3 channels, got {channels} in shape {tuple(shape)} ({dataformats})")
    if channels not in _PNG_COLOUR_TYPES:
        raise TypeError(f"an image must have 1 to 4 channels, got {channels} in shape {tuple(shape)} ({dataformats})")


def to_hwc(pixels: np.ndarray, dataformats: str) -> np.ndarray:
    """Any layout as ``(H, W, C)``: one channel becomes three, a batch becomes a grid of at most eight columns."""
    check_image(pixels.shape, dataformats)
    layout = dataformats.upper()
    if len(layout) == 2:
        pixels = pixels.transpose([layout.index(letter) for letter in "HW"])[:, :, None]
    elif len(layout) == 3:
        pixels = pixels.transpose([layout.index(letter) for letter in "HWC"])
    else:
        pixels = grid(pixels.transpose([layout.index(letter) for letter in "NHWC"]), columns=8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """``(N, H, W, C)`` as one image, row by row; places that are left over are black."""
    count, height, width, channels = images.shape
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    canvas = np.zeros((rows * columns, height, width, channels), images.dtype)
    canvas[:count] = images
    return canvas.reshape(rows, columns, height, width, channels).swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8 as it is, anything else from [0, 1] to [0, 255]; NaN becomes 0."""
    if pixels.dtype == np.uint8:
        return pixels
    scaled = pixels.astype(np.float32) * 255
    return np.nan_to_num(scaled.clip(0, 255), copy=False).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Encode ``(H, W, C)`` uint8 pixels, C from 1 to 4 (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    # Each row is preceded by its filter: 2, the difference to the row above, which NumPy takes of the whole image at once.
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 2
    flat = pixels.reshape(height, -1)
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    # Run lengths alone: a photo takes a ninth of Pillow's time at the same size, a chart a quarter at a quarter more.
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    compressed = deflate.compress(rows.data) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", compressed), (b"IEND", b"")]
    framed = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def scale(pixels: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return pixels
    height, width, _ = pixels.shape
    image = pillow().Image
    return np.asarray(image.fromarray(pixels).resize((int(width * factor), int(height * factor)), image.Resampling.LANCZOS))


def draw_boxes(pixels: np.ndarray, boxes: np.ndarray, labels: list[str] | None) -> np.ndarray:
    """Red frames around ``boxes`` (rows of xmin, ymin, xmax, ymax), each with its label at its lower left corner."""
    library = pillow()
    picture = library.Image.fromarray(pixels)
    draw = library.ImageDraw.Draw(picture)
    font = library.ImageFont.load_default()
    for index, (left, top, right, bottom) in enumerate(boxes[:, :4].tolist()):
        draw.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], width=2, fill="Red")
        if labels is not None and labels[index]:
            x0, y0, x1, y1 = font.getbbox(labels[index])
            width, height = x1 - x0, y1 - y0
            margin = math.ceil(0.05 * height)
            draw.rectangle([(left, bottom - height - 2 * margin), (left + width, bottom)], fill="Red")
            draw.text((left + margin, bottom - height - margin), labels[index], fill="black", font=font)
    return np.asarray(picture)


def check_video(shape: tuple[int, ...]) -> None:
    if len(shape) != 5:
        raise ValueError(f"a video must have shape (N, T, C, H, W), got {tuple(shape)}")
    if 0 in shape:
        raise ValueError(f"a video of shape {tuple(shape)} has no pixels")
    if shape[2] not in (1, 3, 4):
        raise ValueError(f"a video must have 1, 3 or 4 channels, got {shape[2]} in shape {tuple(shape)} (N, T, C, H, W)")


def video_frames(videos: np.ndarray) -> np.ndarray:
    """``(N, T, C, H, W)`` as ``(T, H', W', C)`` uint8: a power of two of videos side by side, black ones added."""
    check_video(videos.shape)
    count, times, channels, height, width = videos.shape
    places = 1 << (count - 1).bit_length()
    rows = 1 << ((count.bit_length() - 1) // 2)
    canvas = np.zeros((places, times, channels, height, width), np.uint8)
    canvas[:count] = to_bytes(videos)
    canvas = canvas.reshape(rows, places // rows, times, channels, height, width).transpose(2, 0, 4, 1, 5, 3)
    return canvas.reshape(times, rows * height, places // rows * width, channels)


def gif(frames: np.ndarray, frames_per_second: float) -> bytes:
    """An endless animation of ``(T, H, W, C)`` uint8 frames."""
    image = pillow().Image
    if frames.shape[3] == 1:
        frames = frames[..., 0]
    first, *others = [image.fromarray(frame) for frame in frames]
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=1000 / frames_per_second, loop=0)
    return out.getvalue()


def check_sound(shape: tuple[int, ...]) -> None:
    if sum(extent != 1 for extent in shape) > 1:
        raise AssertionError(f"a sound must have one dimension besides those of size 1, got shape {tuple(shape)}")
    if 0 in shape:
        raise ValueError(f"a sound of shape {tuple(shape)} has no samples")


def wav(samples: np.ndarray, sample_rate: int) -> bytes:
    """16-bit mono of samples in [-1, 1]; what lies outside is clipped."""
    limit = np.iinfo(np.int16).max
    if np.abs(samples).max() > 1:
        warnings.warn("a sound has samples outside [-1, 1], which are clipped", UserWarning, stacklevel=3)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((np.nan_to_num(samples).clip(-1, 1) * limit).astype("<i2").tobytes())
    return out.getvalue()


def figure_pixels(figures, close: bool) -> np.ndarray:
    """One matplotlib figure as ``(C, H, W)`` uint8, or a list of them, equally large, as ``(N, C, H, W)``."""
    try:
        import matplotlib.pyplot
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise ImportError("add_figure needs matplotlib: pip install matplotlib") from None

    def render(figure) -> np.ndarray:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        rgba = np.asarray(canvas.buffer_rgba())
        if close:
            matplotlib.pyplot.close(figure)
        return rgba[:, :, :3].transpose(2, 0, 1).copy()

    return np.stack([render(figure) for figure in figures]) if isinstance(figures, list) else render(figures)
