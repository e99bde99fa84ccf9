"""Images into a text encoder: patch embeddings replace word embeddings (Frozen Pretrained Transformers).

Lu et al. 2021 train a linear input layer, the LayerNorms, the positions and the head; attention and feed-forward layers
stay as language pre-training left them. Rothermel et al. 2021 show that arms must be compared after a learning-rate
sweep for each.
"""

from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.body import Body, check_trainable, classify, pool

POOLING = ("last", "mean", "first", "all")


def image_to_text_body(
    body: keras.Model,
    image_shape: tuple[int, int, int],
    patch_size: int,
    num_classes: int,
    *,
    pooling: str = "last",
    trainable: str = "fpt",
    seed: int = 0,
) -> keras.Model:
    """Return an image classifier with a text body: patches → projection → positions → blocks → head.

    The body's blocks, embedding LayerNorm and position table are copied; the caller's model does not change.
    Word and segment embeddings are left out. Patches are ordered row by row.

    Args:
        body: A KerasHub text encoder such as `keras_hub.models.BertBackbone`, of width D.
        image_shape: Height, width and channels of the images, uint8 or float 0..255.
        patch_size: Side of a square patch in pixels; divides height and width.
        num_classes: Number of classes C.
        pooling: Input of the head: the "last" token, as in FPT, the "first", the "mean", or "all" of them.
        trainable: "none": only the head. "norms": also the body's LayerNorms. "fpt": also projection and
            positions. "all": all weights, with the body's dropout.
        seed: Seed of the projection: orthogonal with gain 1.41.

    Returns:
        A functional model: images [B, H, W, channels] → probabilities [B, C].

    Raises:
        UserError: The patches do not tile the image, there are more of them than the body has positions,
            the body is of another kind, or an option is unknown.
    """
    images, x = through_body(body, image_shape, patch_size, trainable=trainable, seed=seed)
    outputs = classify(read_tokens(x, pooling), num_classes)
    return train_inputs(keras.Model(images, outputs, name="image_to_text_body"), trainable)


def image_features(
    body: keras.Model,
    image_shape: tuple[int, int, int],
    patch_size: int,
    *,
    pooling: str = "mean",
    seed: int = 0,
) -> keras.Model:
    """Return the frozen φ of a text body for images, for a linear probe.

    Images uint8 [B, H, W, channels] → features [B, D].

    No weight is trained: the projection is the random orthogonal one of `seed`. Arguments and errors are those
    of `image_to_text_body`.
    """
    images, x = through_body(body, image_shape, patch_size, trainable="none", seed=seed)
    phi = keras.Model(images, read_tokens(x, pooling), name="image_features")
    phi.trainable = False
    return phi


def check_encoder(body: keras.Model) -> None:
    """Raise `UserError` unless a model is a KerasHub text encoder, by the names of its layers."""
    layers = {layer.name: layer for layer in body.layers}
    needed = [
        "position_embedding" if _positions(body) is None else "",
        "embeddings_layer_norm",
        "transformer_layer_0",
    ]
    missing = [name for name in needed if name and name not in layers]
    if missing:
        raise UserError(
            f"{body.name}: images enter a KerasHub text encoder such as BertBackbone, and this has no layer "
            f"'{missing[0]}'; {suggest(missing[0], layers)}. Of a KerasHub task, give its .backbone"
        )


def encoder_blocks(body: keras.Model, length: int) -> keras.Model:
    """Return a copy of a text encoder without its embedding tables: [B, T, D] → [B, T, D].

    Args:
        body: A KerasHub text encoder with layers "embeddings_layer_norm" and "transformer_layer_0", ….
        length: Number of tokens T.

    Raises:
        UserError: The body has no such layers.
    """
    check_encoder(body)
    layers = {layer.name: layer for layer in body.layers}
    blocks = [name for name in layers if name.startswith("transformer_layer_")]
    names = ["embeddings_layer_norm", *sorted(blocks, key=lambda name: int(name.rsplit("_", 1)[1]))]
    width = layers["embeddings_layer_norm"].weights[0].shape[0]
    embeddings = x = keras.Input((length, width), name="embeddings")
    for name in names:
        x = _copy(layers[name], x)
    return keras.Model(embeddings, x, name="encoder_blocks")


def through_body(
    body: keras.Model,
    image_shape: tuple[int, int, int],
    patch_size: int,
    *,
    trainable: str,
    seed: int = 0,
    stretch: bool = False,
    white_paper: bool = False,
) -> tuple[Any, Any]:
    """Return symbolic images [B, H, W, channels] and tokens [B, T, D], through a copy of a text encoder's blocks.

    Args:
        body: As in `image_to_text_body`; so are `image_shape`, `patch_size`, `trainable` and `seed`.
        image_shape: See there.
        patch_size: See there.
        trainable: See there.
        seed: See there.
        stretch: Where there are more patches than the body has positions, make a longer table, with fresh weights.
        white_paper: Scale pixels so that white is 0 and black 1, for printed text; otherwise black is −1 and white 1.
    """
    check_trainable(trainable)
    height, width, _ = image_shape
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise UserError(
            f"patches of {patch_size} x {patch_size} do not tile an image of {height} x {width}; give a "
            "patch_size that divides both, or resize the images"
        )
    length = (height // patch_size) * (width // patch_size)
    blocks = encoder_blocks(body, length)
    table = _positions(body)
    if table.sequence_length < length and not stretch:
        raise UserError(
            f"{height} x {width} images in patches of {patch_size} are {length} tokens; {body.name} has "
            f"{table.sequence_length} positions; use larger patches"
        )
    dim = blocks.input_shape[-1]
    images = keras.Input(image_shape, dtype="uint8", name="image")
    scale, offset = (-1 / 255, 1.0) if white_paper else (1 / 127.5, -1.0)
    x = keras.layers.Rescaling(scale, offset=offset, name="rescale")(images)
    orthogonal = keras.initializers.Orthogonal(gain=1.41, seed=seed)
    project = keras.layers.Conv2D(dim, patch_size, patch_size, kernel_initializer=orthogonal, name="patches")
    x = keras.layers.Reshape((length, dim), name="sequence")(project(x))  # [B, T, D]
    longer = {"sequence_length": length} if table.sequence_length < length else {}
    x = keras.layers.Add(name="embeddings")([x, _copy(table, x, name="positions", **longer)])
    return images, Body(blocks, trainable, name="body")(x)


def train_inputs(model: keras.Model, trainable: str) -> keras.Model:
    """Set whether patch projection and positions are trained; returns the model."""
    for name in ("patches", "positions"):
        model.get_layer(name).trainable = trainable in ("fpt", "all")
    return model


def read_tokens(tokens: Any, pooling: str) -> Any:
    """Return features [B, D], or [B, T · D] with pooling="all", of tokens [B, T, D]."""
    if pooling not in POOLING:
        raise UserError(f"pooling='{pooling}' is unknown; {suggest(pooling, POOLING)}")
    return pool(tokens, pooling)


def _positions(body: keras.Model) -> Any:
    return next((layer for layer in body.layers if layer.name == "position_embedding"), None)


def _copy(layer: keras.Layer, inputs: Any, **changes: Any) -> Any:
    """Call a copy of a layer on symbolic inputs; the weights are copied unless their shapes change."""
    copy = type(layer).from_config({**layer.get_config(), **changes})
    outputs = copy(inputs)
    if [w.shape for w in copy.weights] == [w.shape for w in layer.weights]:
        copy.set_weights(layer.get_weights())
    return outputs
