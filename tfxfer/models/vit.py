"""A small ViT made with KerasHub, for images of characters."""

import keras

from tfxfer.errors import UserError


def small_vit(
    num_classes: int,
    input_shape: tuple[int, int, int] = (32, 32, 1),
    patch_size: int = 4,
    num_layers: int = 2,
    hidden_dim: int = 128,
    num_heads: int = 4,
) -> keras.Model:
    """Return an untrained vision Transformer (Dosovitskiy et al. 2021) that a laptop trains in a minute.

    Args:
        num_classes: Number of classes C.
        input_shape: Height, width and channels of the images, values 0..255.
        patch_size: Side of a square patch in pixels; divides height and width.
        num_layers: Transformer blocks, with layer norms before attention and feed-forward layers.
        hidden_dim: Width D.
        num_heads: Attention heads; must divide `hidden_dim`.

    Returns:
        A functional model [B, H, W, channels] -> probabilities [B, C] around a `keras_hub.models.ViTBackbone`, its
        layer "backbone".
    """
    import keras_hub

    if input_shape[0] % patch_size or input_shape[1] % patch_size:
        raise UserError(f"patches of {patch_size} pixels do not tile images of {input_shape[:2]}")
    backbone = keras_hub.models.ViTBackbone(
        image_shape=input_shape,
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        mlp_dim=4 * hidden_dim,
        name="backbone",
    )
    images = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0, name="ink")(images)  # white 0, black 1
    x = keras.layers.GlobalAveragePooling1D(name="pool")(backbone(x))  # [B, 1 + patches, D] -> [B, D]
    classes = keras.layers.Dense(num_classes, activation="softmax", name="classes", dtype="float32")
    return keras.Model(images, classes(x), name="small_vit")
