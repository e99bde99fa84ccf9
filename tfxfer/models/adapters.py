"""Small layers that stand in a frozen network: adapters, prompt tokens, and normalisation with fixed statistics."""

from typing import Any

import keras

SMALL = keras.initializers.TruncatedNormal(stddev=0.02)


@keras.saving.register_keras_serializable("tfxfer")
class Adapter(keras.layers.Layer):
    """x + W₂·gelu(W₁·x + b₁) + b₂ over the last axis (Houlsby et al. 2019). W₂ and b₂ are 0 at first: the identity.

    Args:
        width: Width R between W₁ [D, R] and W₂ [R, D].
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        """Make the weights."""
        dim = shape[-1]
        self.down = self.add_weight(name="down", shape=(dim, self.width), initializer=SMALL)
        self.down_bias = self.add_weight(name="down_bias", shape=(self.width,), initializer="zeros")
        self.up = self.add_weight(name="up", shape=(self.width, dim), initializer="zeros")
        self.up_bias = self.add_weight(name="up_bias", shape=(dim,), initializer="zeros")

    def call(self, x: Any) -> Any:
        """Return the same shape [..., D]."""
        inner = keras.ops.gelu(keras.ops.matmul(x, self.down) + self.down_bias)
        return x + keras.ops.matmul(inner, self.up) + self.up_bias

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"width": self.width}


@keras.saving.register_keras_serializable("tfxfer")
class PromptTokens(keras.layers.Layer):
    """Put P learned vectors before token embeddings: [B, T, D] → [B, P + T, D] (Lester et al. 2021).

    Args:
        count: P.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape: Any) -> None:
        """Make the vectors [P, D]."""
        self.tokens = self.add_weight(name="tokens", shape=(self.count, shape[-1]), initializer=SMALL)

    def call(self, x: Any) -> Any:
        """Return the vectors and the embeddings."""
        own = keras.ops.broadcast_to(self.tokens, (keras.ops.shape(x)[0], *self.tokens.shape))
        return keras.ops.concatenate([keras.ops.cast(own, x.dtype), x], 1)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return [B, P + T, D]."""
        batch, length, dim = shape
        return batch, None if length is None else length + self.count, dim

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"count": self.count}


@keras.saving.register_keras_serializable("tfxfer")
class FixedStatistics(keras.layers.Wrapper):
    """A `BatchNormalization` that keeps its moving statistics in training too; its scale and offset can train.

    In a functional model `norm(x, training=False)` has no effect: `fit` overrides it in Keras 3.
    """

    def call(self, x: Any, mask: Any = None) -> Any:
        """Normalise by the moving statistics."""
        return self.layer(x, training=False, mask=mask)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape
