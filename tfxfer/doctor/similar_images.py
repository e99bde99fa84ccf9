"""Images that look the same: scaled, compressed again, brighter, or saved in another format.

An image is stretched to 24 x 24 pixels in colour, less its mean, at length 1: its *signature*. Two images look the same
when the cosine of their signatures is at least `NEAR`. Brightness, contrast, size and compression change it little;
another letter or another colour changes it more. A perceptual hash of 64 bits keeps the signs of such a grid only. That
is coarse for drawings of few strokes: docs/doctor.md has both measured.
"""

import numpy as np

SIDE = 24
NEAR = 0.99  # the least cosine of images that look the same
BLANK = 2.0  # of 255: the standard deviation below which an image shows nothing
CHUNK = 2048


def signatures(images: np.ndarray) -> np.ndarray:
    """Return the signatures of images of one size, float32 [N, D]; zeros for an image that shows nothing.

    Args:
        images: uint8 [N, 24, 24, 3].
    """
    flat = images.astype(np.float32).reshape(len(images), -1)
    centred = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    shows = length > BLANK * np.sqrt(flat.shape[1])
    return np.where(shows, centred / np.maximum(length, 1e-6), 0).astype(np.float32)


def blank(found: np.ndarray) -> np.ndarray:
    """Return which signatures are of images that show nothing, bool [N]."""
    return np.asarray(~found.any(1))


def nearest(asked: np.ndarray, known: np.ndarray, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return for each signature the place of the nearest of `known`, int [N], and the cosine, float [N].

    Args:
        asked: [N, D].
        known: [M, D]; with `same` it is `asked`, and an image is not its own neighbour.
        same: Whether both are one list.
    """
    places, cosines = np.zeros(len(asked), int), np.full(len(asked), -1, np.float32)
    for first in range(0, len(asked), CHUNK):
        found = asked[first : first + CHUNK] @ known.T
        if same:
            rows = np.arange(len(found))
            found[rows, first + rows] = -1
        if found.size:
            places[first : first + CHUNK] = found.argmax(1)
            cosines[first : first + CHUNK] = found.max(1)
    return places, cosines
