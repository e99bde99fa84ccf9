"""Test examples for people: which ones a report shows, and how their images are stored."""

import base64
import io

import numpy as np

SHOWN = 24  # examples in a report


def evenly_spaced(count: int, wanted: int = SHOWN) -> np.ndarray:
    """Return up to `wanted` different row numbers of `count`, evenly spaced, first and last among them.

    >>> evenly_spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int))


def png(pixels: np.ndarray) -> str:
    """Return uint8 [H, W, C] as a base64 PNG."""
    from PIL import Image

    pixels = np.asarray(pixels).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
