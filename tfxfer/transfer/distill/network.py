"""What trains: the student with its projector, compiled with the losses of its teacher."""

from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.distill.losses import AttentionMap, FeatureMatch, SoftTargets
from tfxfer.transfer.feature.pooling import last_maps
from tfxfer.transfer.graph import before_head, like_inputs, trace

KINDS = ("logits", "features", "attention")


def training_network(
    student: keras.Model,
    *,
    temperature: float = 2.0,
    label_weight: float = 0.5,
    width: int = 0,
    places: tuple[int, int] | None = None,
    weight: float = 1.0,
    jit: bool = False,
) -> keras.Model:
    """Return the student as it trains: raw input → [probabilities, projected features, attention], compiled.

    It shares the student's layers. What stands beside the probabilities is no part of the student, and is not saved.

    Args:
        student: Raw input → probabilities [B, C].
        temperature: T of the soft targets.
        label_weight: α of the labels.
        width: D of the teacher's features; 0: they are not learned. A `Dense` layer projects the student's to this
            width, also where it is their own: equal widths do not mean equal directions.
        places: (h, w) of the teacher's maps; None: their attention is not learned.
        weight: λ of features and of attention.
        jit: Compile with XLA.

    Raises:
        UserError: The student has no maps.
    """
    inputs = like_inputs(student)
    calls, probabilities = trace(student, inputs, frozen=False)
    outputs: dict[str, Any] = {"probabilities": probabilities}
    losses: dict[str, Any] = {"probabilities": SoftTargets(temperature, label_weight)}
    weights = {"probabilities": 1.0}
    if width:
        features = before_head(calls, probabilities, student)
        # features of length 1, as sentence encoders give, would take a projector hundreds of steps to scale
        even = keras.layers.LayerNormalization(center=False, scale=False, name="even")(features)
        outputs["features"] = keras.layers.Dense(width, dtype="float32", name="projector")(even)
        losses["features"], weights["features"] = FeatureMatch(), weight
    if places:
        outputs["attention"] = AttentionMap(places, name="attention")(maps_of(calls, student))
        losses["attention"], weights["attention"] = FeatureMatch(), weight
    network = keras.Model(inputs, outputs, name="distillation")
    network.compile(keras.optimizers.Adam(global_clipnorm=1.0), losses, loss_weights=weights, jit_compile=jit)
    network.optimizer.build(network.trainable_variables)
    return network


def feature_model(model: keras.Model) -> keras.Model:
    """Return a frozen model's input → the features [B, D] before its classification head."""
    inputs = like_inputs(model)
    calls, outputs = trace(model, inputs)
    return keras.Model(inputs, before_head(calls, outputs, model), name="features")


def attention_model(
    model: keras.Model, image_size: tuple[int, int] | None = None
) -> tuple[keras.Model, tuple[int, int]]:
    """Return a frozen model's input → the attention of its last maps [B, h · w], and (h, w).

    Args:
        model: A model of images, or of texts that it draws.
        image_size: (H, W) of its images, where it takes any.

    Raises:
        UserError: It has no maps of a known size.
    """
    inputs = like_inputs(model)
    if image_size and getattr(inputs, "dtype", "") != "string":
        inputs = keras.Input((*image_size, inputs.shape[3]), dtype=inputs.dtype, name=inputs.name)
    maps = maps_of(trace(model, inputs)[0], model)
    height, width = maps.shape[1:3]
    if None in (height, width):
        raise UserError(f"--match attention: the maps of {model.name} have no fixed size; use --match features")
    return keras.Model(inputs, AttentionMap(name="attention")(maps), name="attention"), (height, width)


def maps_of(calls: Any, model: keras.Model) -> Any:
    """Return the last maps [B, H, W, D] of a model; raises `UserError` where it has none."""
    maps = last_maps([call for call in calls if len(getattr(call.output, "shape", ())) == 4], model)
    if maps.dtype == "uint8":
        raise UserError(f"--match attention: {model.name} has no maps of its own; use --match features")
    return maps
