"""Edits of images by the layers of Keras 3, the same for the same seed."""

from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

GROUP = 8  # images that share what Keras draws once a call: the two edits of RandAugment, the width of a blur
FAINT = 8  # of 255: what differs less from the background is none of what an image shows
OTHER = 2**30  # added to a seed: draws that have nothing to do with those of the seed
PIXELS = {"value_range": (0, 255)}


def edited_images(images: np.ndarray, name: str, strength: float, seed: int) -> np.ndarray:
    """Return images with one kind of edit.

    Args:
        images: uint8 [N, H, W, C].
        name: "shift", "crop", "flip", "standard", "rotate", "colour", "blur" or "randaugment".
        strength: How much, see `tfxfer.data.augment.policy.EDITS`.
        seed: Decides every draw.
    """
    if not len(images):
        return images
    if name == "standard":
        mirrored = edited_images(images, "flip", 1.0, seed + OTHER)  # else mirrored ones all move one way
        return edited_images(mirrored, "shift", strength, seed)
    grey = images.shape[-1] == 1
    if grey and name in ("randaugment", "colour"):
        rgb = edited_images(
            np.repeat(images, 3, -1), "randaugment" if name == "randaugment" else "light", strength, seed
        )
        return _pixels(rgb.mean(-1, keepdims=True))
    if name == "blur":  # Keras takes what is beyond the edge as black
        edge = _odd(strength) // 2
        wider = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode="edge")
        return _in_groups(wider, name, strength, seed)[:, edge:-edge, edge:-edge]
    if name == "randaugment":
        return _in_groups(images, name, strength, seed)
    made = layer(name, strength)
    reseed(made, seed)
    return _pixels(made(tf.constant(images, tf.float32), training=True))


def moved_within(images: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return images moved by up to a share of their side, but never so far that what they show is cut at the edge.

    Args:
        images: uint8 [N, H, W, C] of something on a plain background, such as a character.
        share: Of the height and of the width.
        seed: Decides every draw.
    """
    rng, found = np.random.default_rng(seed), np.empty_like(images)
    for i, image in enumerate(images):
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        shown = np.abs(image.astype(int) - int(np.median(edge))).max(-1) > FAINT
        for axis in (0, 1):
            filled = shown.any(1 - axis)
            most = int(share * len(filled))
            before, after = (min(most, int(side.argmax())) for side in (filled, filled[::-1]))
            image = np.roll(image, rng.integers(-before, after + 1), axis)  # only background goes round the edge
        found[i] = image
    return found


def mixed_images(
    images: np.ndarray, shares: np.ndarray, name: str, strength: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return images mixed with one another, and the shares of their classes.

    Args:
        images: uint8 [N, H, W, C].
        shares: float32 [N, C], each row sums to 1.
        name: "mixup" or "cutmix".
        strength: α of mixup; the factor of cutmix.
        seed: Decides every draw.
    """
    made = layer(name, strength)
    reseed(made, seed)
    both = {"images": tf.constant(images, tf.float32), "labels": tf.constant(shares, tf.float32)}
    found = made(both, training=True)
    return _pixels(found["images"]), np.asarray(found["labels"], np.float32)


@lru_cache(maxsize=32)
def layer(name: str, strength: float) -> Any:
    """Return the layer of Keras that makes an edit; `reseed` sets what it draws."""
    layers, s = keras.layers, strength
    light = {**PIXELS, "brightness_factor": s, "contrast_factor": s}
    made = {
        "shift": lambda: layers.RandomTranslation(s, s, fill_mode="nearest"),
        "crop": lambda: layers.RandomZoom((-s, 0.0), fill_mode="nearest"),
        "flip": lambda: layers.RandomFlip("horizontal"),
        "rotate": lambda: layers.RandomRotation(s, fill_mode="nearest"),
        "light": lambda: layers.RandomColorJitter(**light),
        "colour": lambda: layers.RandomColorJitter(
            **light, saturation_factor=(0.5 - s / 2, 0.5 + s / 2), hue_factor=s / 4
        ),
        "blur": lambda: layers.RandomGaussianBlur((1.0, 1.0), _odd(s), (0.0, s), **PIXELS),
        "randaugment": lambda: layers.RandAugment(**PIXELS, num_ops=2, factor=s),
        "mixup": lambda: layers.MixUp(alpha=s),
        "cutmix": lambda: layers.CutMix(factor=s),
    }[name]
    return made()


def reseed(made: Any, seed: int) -> None:
    """Set what a layer draws next, and the layers inside it, as if each were made with this seed."""
    for each in made._flatten_layers():
        if hasattr(each, "generator"):
            each.generator.state.assign(np.array([seed, 0], each.generator.state.dtype))


@lru_cache(maxsize=8)
def _grouped(name: str, strength: float, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return a layer, and the same as one graph for groups of one shape."""
    made = layer(name, strength)
    made.build((GROUP, *shape))
    signature = tf.TensorSpec((GROUP, *shape), tf.float32)
    return made, tf.function(lambda rows: made(rows, training=True), input_signature=[signature])


def _in_groups(images: np.ndarray, name: str, strength: float, seed: int) -> np.ndarray:
    """Return images edited in groups that a seed draws, so that the images of a class differ in their edits."""
    made, run = _grouped(name, strength, images.shape[1:])
    reseed(made, seed)
    order = np.random.default_rng(seed).permutation(len(images))
    order = np.concatenate([order, np.resize(order, -len(order) % GROUP)])
    found = np.empty_like(images)
    for start in range(0, len(order), GROUP):
        rows = order[start : start + GROUP]
        found[rows] = _pixels(run(images[rows].astype(np.float32)))
    return found


def _odd(sigma: float) -> int:
    return 2 * int(np.ceil(2 * sigma)) + 1


def _pixels(values: Any) -> np.ndarray:
    return np.clip(np.rint(np.asarray(values)), 0, 255).astype(np.uint8)
