"""What enters an image model: its values, 0..255 or a rescaling of them, and its channel axis."""

from typing import Any

import keras

Values = tuple[Any, Any]  # scale and offset, each a number or one for each channel: 0..255 · scale + offset


def image_inputs(model: keras.Model) -> list[Any]:
    """Return the inputs of a model that are images [B, H, W, C]."""
    return [tensor for tensor in model.inputs if len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3)]


def rescaled(model: keras.Model, values: Values) -> keras.Model:
    """Return a model that rescales its images before `model`; where they are the only input, it takes them alone."""
    scale, offset = values

    def fresh(tensor: Any) -> Any:
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)

    def rescale(tensor: Any) -> Any:
        if len(tensor.shape) != 4 or tensor.shape[-1] not in (1, 3):
            return tensor
        return keras.layers.Rescaling(scale, offset)(tensor)

    inputs = keras.tree.map_structure(fresh, model.input)
    outputs = model(keras.tree.map_structure(rescale, inputs))
    flat = keras.tree.flatten(inputs)
    return keras.Model(flat[0] if len(flat) == 1 else inputs, outputs, name=model.name)


def is_plane(shape: tuple[int | None, ...]) -> bool:
    """Return whether a shape is that of square images without a channel axis, [B, H, H].

    >>> is_plane((None, 28, 28)), is_plane((None, 28, 28, 1)), is_plane((None, 12, 64))
    (True, False, False)
    """
    return len(shape) == 3 and shape[1] is not None and shape[1] == shape[2]


def with_channels(model: keras.Model) -> keras.Model:
    """Return a model of images [B, H, H, 1] for one of [B, H, H]; any other model as it is."""
    if len(model.inputs) != 1 or not is_plane(model.inputs[0].shape) or model.inputs[0].dtype == "string":
        return model
    wanted = model.inputs[0]
    images = keras.Input((*wanted.shape[1:], 1), dtype=wanted.dtype, name="image")
    return keras.Model(images, model(keras.layers.Reshape(wanted.shape[1:])(images)), name=model.name)
