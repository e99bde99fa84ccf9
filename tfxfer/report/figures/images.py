"""Base64 PNGs as arrays and on axes, with a heat map over them where there is one."""

import base64
import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes


def decoded(png: str) -> np.ndarray:
    """Return a base64 PNG as uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png)))
    return np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB"))


def draw(axes: Axes, image: np.ndarray, heat: Any = None) -> None:
    """Draw an image on axes without ticks.

    Args:
        axes: The axes.
        image: uint8 [H, W] or [H, W, 3].
        heat: float [h, w], at least 0, drawn over the dimmed image, scaled to its maximum.
    """
    axes.axis("off")
    if heat is None:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        return
    dimmed = np.uint8(255 - 0.45 * (255.0 - image))  # opaque, so that it is the same on a dark page
    axes.imshow(dimmed, cmap="gray", vmin=0, vmax=255)
    values = np.asarray(heat, float)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes.imshow(values / max(values.max(), 1e-9), cmap="Oranges", vmin=0, vmax=1, alpha=0.55, extent=extent,
                interpolation="nearest")  # fmt: skip
