"""Texts drawn again in other faces and sizes, at another place, blurred: augmentation of the `render` bridge."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tfxfer.data.augment.images import edited_images
from tfxfer.data.augment.policy import EDITS, Policy
from tfxfer.transfer.bridges.render import RenderText

FACES = ("DejaVuSerif", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif-Bold")
SAME = ("height", "width", "layout", "margin", "invert", "channels", "missing")  # options that are not edited
SIZES = 3  # sizes between the usual one and the smallest
FEWEST_PIXELS = 6  # per em
WHITE = 255
AT_A_TIME = 512  # texts


def rendered_copies(bridge: RenderText) -> Callable[[Sequence[str], Policy, int], np.ndarray]:
    """Return a function (texts, policy, seed) -> images of these texts, uint8 [N, H, W, C], drawn otherwise.

    Args:
        bridge: How they are drawn usually: the size of the images, and what is not edited, are its own.
    """
    usual = bridge.get_config()
    own = tuple((name, usual[name]) for name in SAME)

    def draw(texts: Sequence[str], policy: Policy, seed: int) -> np.ndarray:
        amounts, rng = amounts_of(policy), np.random.default_rng(seed)
        faces = np.array([bridge.face, *FACES], object)
        other = 1 + rng.integers(0, len(FACES), len(texts))
        face = faces[np.where(rng.random(len(texts)) < amounts["face"], other, 0)]
        step = rng.integers(0, SIZES, len(texts)) / (SIZES - 1)
        size = np.maximum(FEWEST_PIXELS, np.rint(bridge.font_size * (1 - amounts["size"] * step))).astype(int)
        images = np.empty((len(texts), bridge.height, bridge.width, bridge.channels), np.uint8)
        given = np.array(list(texts), object)
        for one in sorted(set(zip(face, size))):
            rows = np.flatnonzero((face == one[0]) & (size == one[1]))
            images[rows] = _drawn(_layer(own, *one), _layer(own, bridge.face, one[1]), given[rows])
        images = _moved(images, amounts["shift"], 0 if bridge.invert else WHITE, rng)
        return edited_images(images, "blur", amounts["blur"], seed) if amounts["blur"] else images

    return draw


def amounts_of(policy: Policy) -> dict[str, float]:
    """Return how much each edit of drawn text may change: face, size, shift and blur.

    >>> from tfxfer.data.augment.policy import parsed
    >>> amounts_of(parsed("rendered:size:0.5"))
    {'face': 0.0, 'size': 0.5, 'shift': 0.0, 'blur': 0.0}
    """
    found = dict.fromkeys(("face", "size", "shift", "blur"), 0.0)
    for part in policy.parts:
        if part.edit.name == "all":
            every = {name: EDITS[f"rendered:{name}"] for name in found}
            found = {name: min(one.most, (one.strength or 0) * part.strength) for name, one in every.items()}
        else:
            found[part.edit.name] = part.strength
    return found


@lru_cache(maxsize=32)
def _layer(own: tuple[tuple[str, Any], ...], face: str, size: int) -> RenderText:
    """Return a layer that draws in a face and size; it has an atlas of its own, which all arms share."""
    return RenderText(**dict(own), face=face, font_size=size)


def _drawn(layer: RenderText, usual: RenderText, texts: np.ndarray) -> np.ndarray:
    """Return images of texts; those that the face lacks a character of are drawn in the usual face."""
    found = []
    for start in range(0, len(texts), AT_A_TIME):
        some = texts[start : start + AT_A_TIME]
        images = np.array(layer(some))
        lacking = np.asarray(layer.count(some)["missing"]) > 0
        if lacking.any():
            images[lacking] = np.asarray(usual(some[lacking]))
        found.append(images)
    return np.concatenate(found)


def _moved(images: np.ndarray, share: float, background: int, rng: np.random.Generator) -> np.ndarray:
    """Return images moved by up to a share of their height in both directions, filled with the background."""
    most = round(share * images.shape[1])
    if not most:
        return images
    height, width = images.shape[1:3]
    edges = ((0, 0), (most, most), (most, most), (0, 0))
    padded = np.pad(images, edges, constant_values=background)
    down, right = rng.integers(0, 2 * most + 1, (2, len(images)))
    return np.stack([image[y : y + height, x : x + width] for image, y, x in zip(padded, down, right)])
