"""CNNs as Keras functional models: the article's, and a small one for characters."""

import keras
from keras import layers

from tfxfer.errors import UserError


def article_cnn(
    num_classes: int,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    filters: tuple[int, ...] = (32, 64, 128),
    hidden: int = 512,
) -> keras.Model:
    """Return the article's CNN: three 3x3 convolutions with max-pooling, Flatten, Dense 512, softmax.

    Args:
        num_classes: Number of classes C.
        input_shape: Height, width and channels of the images, values 0..255.
        filters: Channels of each convolution; each is followed by 2x2 max-pooling.
        hidden: Width of the dense layer before the classes.

    Returns:
        A functional model [B, H, W, channels] -> probabilities [B, C].
    """
    if min(input_shape[:2]) < 2 ** len(filters):
        raise UserError(f"images of {input_shape[:2]} are too small to be halved {len(filters)} times")
    images = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(images)
    for i, width in enumerate(filters, start=1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden, activation="relu", name="hidden")(x)
    return keras.Model(images, layers.Dense(num_classes, activation="softmax", name="classes")(x), name="article_cnn")


def glyph_cnn(
    num_classes: int,
    channels: int = 1,
    filters: tuple[int, ...] = (16, 32, 64, 128),
    kernels: tuple[int, ...] = (5, 3, 3, 1),
    strides: tuple[int, ...] = (2, 2, 1, 1),
) -> keras.Model:
    """Return a small fully convolutional CNN for images of any size.

    Global average pooling after the last convolution makes the features independent of height and width: a model
    trained on 32x32 characters can be applied to a line of text 224 pixels wide. Ink is sparse, so averages are small;
    the normalisation after the pooling makes thousands of classes learnable within a few epochs.

    Args:
        num_classes: Number of classes C.
        channels: 1 (grey) or 3 (RGB); values 0..255, black on white.
        filters: Channels of each convolution.
        kernels: Side of each convolution's window.
        strides: Step of each convolution, in pixels.

    Returns:
        A functional model [B, H, W, channels] -> probabilities [B, C].
    """
    images = keras.Input((None, None, channels), name="image")
    x = layers.Rescaling(-1 / 255, offset=1.0, name="ink")(images)  # white 0, black 1: zero padding is white
    for i, (width, side, step) in enumerate(zip(filters, kernels, strides, strict=True), start=1):
        x = layers.Conv2D(width, side, strides=step, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)  # [B, H/4, W/4, width] from the second on
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # [B, D]
    x = layers.BatchNormalization(momentum=0.9, name="norm_pool")(x)
    classes = layers.Dense(num_classes, activation="softmax", name="classes", dtype="float32")
    return keras.Model(images, classes(x), name="glyph_cnn")
