"""The body of a model of another modality: which of its weights are trained, and how it is called."""

from typing import Any

import keras

from tfxfer.errors import UserError, suggest

TRAINABLE = ("none", "norms", "fpt", "all")


@keras.saving.register_keras_serializable("tfxfer")
class Body(keras.layers.Layer):
    """Call a model of another modality with most of its weights frozen.

    Unless all weights are trained, the model is called in inference mode even inside `fit`: no dropout, and BatchNorm
    keeps the statistics of the source; only its scale and offset are trained. (In a functional model,
    `body(x, training=False)` has no effect: `fit` overrides it in Keras 3.) The trainable set is saved with the layer;
    Keras does not save the flags of layers inside layers.

    Args:
        model: A functional model, used as it is. To leave the caller's weights alone, give a copy.
        trainable_set: "none" freezes the model, "norms" and "fpt" train its normalisation layers, "all" trains all
            weights.
    """

    def __init__(self, model: keras.Model, trainable_set: str = "norms", **kwargs: Any):
        super().__init__(**kwargs)
        check_trainable(trainable_set)
        self.model, self.trainable_set = model, trainable_set
        model.trainable = True
        layers = [layer for layer in model._flatten_layers() if "norm" in type(layer).__name__.lower()]
        norms = {id(weight) for layer in layers for weight in layer.trainable_weights}
        for weight in model.trainable_weights:
            is_norm = trainable_set != "none" and id(weight) in norms
            weight.trainable = trainable_set == "all" or is_norm

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the model's output."""
        return self.model(inputs, training=training if self.trainable_set == "all" else False)

    def build(self, input_shape: Any) -> None:
        """Do nothing: the model is already built."""

    @property
    def metrics(self) -> list[keras.Metric]:
        """None: those of a model that was compiled for its own training are not those of the model around it."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the config of the model and its trainable set."""
        model = keras.saving.serialize_keras_object(self.model)
        return {**super().get_config(), "model": model, "trainable_set": self.trainable_set}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Body":
        """Rebuild the layer and its model."""
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})


def check_trainable(trainable: str) -> None:
    """Raise `UserError` for an unknown set of trainable weights."""
    if trainable not in TRAINABLE:
        raise UserError(f"trainable='{trainable}' is unknown; {suggest(trainable, TRAINABLE)}")


def pool(features: Any, how: str) -> Any:
    """Pool maps [B, H, W, D] or sequences [B, T, D] to features [B, D], or [B, T · D]; features [B, D] are unchanged.

    Args:
        features: A symbolic tensor.
        how: "mean"; for sequences also "first" or "last" token, or "all": concatenated, so that the head can use
            positions.
    """
    if len(features.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name="pool")(features)
    if len(features.shape) == 2:
        return features
    if how == "mean":
        return keras.layers.GlobalAveragePooling1D(name="pool")(features)
    if how == "all":
        return keras.layers.Flatten(name="pool")(features)
    others = features.shape[1] - 1
    token = keras.layers.Cropping1D((others, 0) if how == "last" else (0, others), name="read")(features)
    return keras.layers.Flatten(name="pool")(token)  # [B, 1, D] → [B, D]


def classify(features: Any, num_classes: int) -> Any:
    """Put the head on features: [B, D] → probabilities float32 [B, C]."""
    if num_classes < 2:
        raise UserError(f"num_classes={num_classes}: a classifier needs two classes or more")
    return keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="classes")(features)
