"""K = f(X)·g(Y) + h(X, Y): how well each of B examples matches each of C others, as one matrix.

    f(X)·g(Y)   each side is encoded to a vector by itself; one matrix product compares all pairs     [B, C]
    h(X, Y)     each pair is encoded together, by a small network or by cross-attention               [B, C]

f·g is cheap: the vectors of each side can be kept and searched. h can use both sides of a pair at once, and costs B·C
evaluations. Where f, g and h are in each model of knowledge transfer: docs/knowledge.md.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras import ops

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.knowledge.interactions import INTERACTIONS, pooled

MIN_TEMPERATURE = 0.01  # below it one pair decides the loss (Radford et al. 2021 have the same limit)
TERMS = ("dot", "h")


@keras.saving.register_keras_serializable("tfxfer")
class KnowledgeMatrix(keras.layers.Layer):
    """Compute K [B, C] of X [B, …] and Y [C, …], which are features or token sequences.

    f(X)·g(Y) is the cosine of both sides divided by a learned temperature: f(X) = X·F and g(Y) = Y·G, scaled to
    length 1. Sequences are averaged over their tokens first. h is optional.

    Args:
        f_dim: Width of X, float [B, f_dim] or [B, T, f_dim].
        g_dim: Width of Y, float [C, g_dim] or [C, U, g_dim].
        h: None; "mlp", a network over each pair; "cross_attention", from the tokens of Y to those of X; or
            a Keras layer (x, y, x_mask, y_mask) -> [B, C].
        dim: Width of f(X) and g(Y). None leaves X as it is, f(X) = X, and only g is learned: X·G·Y is bilinear.
        temperature: Where the learned temperature starts; it stays above 0.01. None divides by nothing.
        normalise: Scale f(X) and g(Y) to length 1. False compares them as they are.
        dot: False leaves f·g out for good.
        h_dim: Hidden width of h.
        heads: Attention heads of h="cross_attention"; they divide `h_dim`.

    Raises:
        UserError: h is unknown, both terms are off, or X or Y have another width than was said.

    Example:
        >>> K = KnowledgeMatrix(128, 64, h="mlp")                       # doctest: +SKIP
        >>> K(images, texts)                                            # doctest: +SKIP
        >>> fg, h = K(images, texts, return_terms=True)                 # doctest: +SKIP
    """

    def __init__(
        self,
        f_dim: int,
        g_dim: int,
        h: str | keras.layers.Layer | None = None,
        *,
        dim: int | None = None,
        temperature: float | None = 0.07,
        normalise: bool = True,
        dot: bool = True,
        h_dim: int = 128,
        heads: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_terms(h, dot, INTERACTIONS)
        if temperature is not None and temperature < MIN_TEMPERATURE:
            raise UserError(f"temperature {temperature:g}: must be at least {MIN_TEMPERATURE}, or None")
        self.f_dim, self.g_dim, self.dim = int(f_dim), int(g_dim), dim
        self.temperature, self.normalise, self.dot = temperature, normalise, dot
        self.h_name, self.h_dim, self.heads = h, h_dim, heads
        self.f_projection = keras.layers.Dense(dim, use_bias=False, name="f") if dot and dim else None
        self.g_projection = keras.layers.Dense(dim or f_dim, use_bias=False, name="g") if dot else None
        options = {"mlp": {"hidden": h_dim}, "cross_attention": {"hidden": h_dim, "heads": heads}}
        self.h = INTERACTIONS[h](**options[h], name="h") if isinstance(h, str) else h

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Check the widths and make the weights."""
        for name, shape, width in (("X", x_shape, self.f_dim), ("Y", y_shape, self.g_dim)):
            if len(shape) not in (2, 3) or shape[-1] != width:
                raise UserError(f"{self.name}: {name} must be [B, {width}] or [B, T, {width}], not {list(shape)}")
        if self.f_projection is not None:
            self.f_projection.build((None, self.f_dim))
        if self.g_projection is not None:
            self.g_projection.build((None, self.g_dim))
        if self.h is not None and not self.h.built:
            self.h.build(x_shape, y_shape)
        if self.dot and self.temperature is not None:
            start = keras.initializers.Constant(math.log(self.temperature))
            self.log_temperature = self.add_weight((), start, dtype="float32", autocast=False, name="log_temperature")

    def call(
        self,
        x: Any,
        y: Any,
        x_mask: Any = None,
        y_mask: Any = None,
        *,
        without: str | None = None,
        return_terms: bool = False,
    ) -> Any:
        """Return K [B, C].

        Args:
            x: X, float [B, f_dim] or [B, T, f_dim].
            y: Y, float [C, g_dim] or [C, U, g_dim].
            x_mask: bool [B, T], False for padding.
            y_mask: bool [C, U].
            without: "dot" or "h": leave this term out, to see what the other one gives.
            return_terms: Return (f·g, h) instead of their sum, each [B, C]; a term that is off is zeros.
        """
        check_without(without)
        count = (ops.shape(x)[0], ops.shape(y)[0])
        fg = h = ops.zeros(count, self._float_type)
        if self.dot and without != "dot":
            fg = ops.matmul(self.f(x, x_mask), ops.transpose(self.g(y, y_mask))) * self.scale()  # f(X)·g(Y)
        if self.h is not None and without != "h":
            h = ops.cast(self.h(x, y, x_mask=x_mask, y_mask=y_mask), self._float_type)  # h(X, Y)
        return (fg, h) if return_terms else fg + h

    def f(self, x: Any, mask: Any = None) -> Any:
        """Return f(X), float [B, dim]."""
        features = pooled(x, mask)
        return self._vectors(features if self.f_projection is None else self.f_projection(features))

    def g(self, y: Any, mask: Any = None) -> Any:
        """Return g(Y), float [C, dim]."""
        assert self.g_projection is not None  # `dot` is on
        return self._vectors(self.g_projection(pooled(y, mask)))

    def scale(self) -> Any:
        """Return the factor of the cosines, 1/temperature, at most 100."""
        if self.temperature is None:
            return ops.cast(1.0, self._float_type)
        return ops.cast(ops.minimum(ops.exp(-self.log_temperature), 1 / MIN_TEMPERATURE), self._float_type)

    @property
    def _float_type(self) -> str:
        """Type of K: sums of squares and logits are not computed in half precision."""
        return keras.backend.result_type(self.compute_dtype, "float32")

    def _vectors(self, features: Any) -> Any:
        vectors = ops.cast(features, self._float_type)
        if not self.normalise:
            return vectors
        squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
        # Keras' own `normalize` has no gradient at a row of zeros under XLA: NaN
        return vectors * ops.rsqrt(ops.maximum(squares, 1e-12))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        h = (
            self.h_name
            if self.h_name is None or isinstance(self.h_name, str)
            else keras.saving.serialize_keras_object(self.h_name)
        )
        names = ("f_dim", "g_dim", "dim", "temperature", "normalise", "dot", "h_dim", "heads")
        return super().get_config() | {name: getattr(self, name) for name in names} | {"h": h}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KnowledgeMatrix":
        """Rebuild the layer, and an h that is a layer."""
        if isinstance(config["h"], dict):
            config = config | {"h": keras.saving.deserialize_keras_object(config["h"])}
        return cls(**config)


def check_terms(h: Any, dot: bool, interactions: Mapping[str, Any]) -> None:
    """Raise `UserError` when h is none of the interactions, or K has no term."""
    if isinstance(h, str) and h not in interactions:
        raise UserError(f"h='{h}' is unknown; {suggest(h, interactions)}")
    if h is None and not dot:
        raise UserError("dot=False and h=None leave nothing of K; switch one of them on")


def check_without(without: str | None) -> None:
    """Raise `UserError` when K has no such term to leave out."""
    if without not in (None, *TERMS):
        raise UserError(f"without='{without}': there is no such term; {suggest(str(without), TERMS)}")


@contextmanager
def rebuilding(path: str | Path, model: keras.Model, layer: str = "K") -> Iterator[None]:
    """Rebuild a network around a saved layer: in its precision, and errors name the folder.

    Args:
        path: The folder, for an error.
        model: What was loaded from it.
        layer: Name of the layer.

    Raises:
        UserError: A part is missing or has another shape.
    """
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(model.get_layer(layer).dtype_policy)
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: model.json and model.keras do not belong together ({error}); save the model again"
        ) from error
    finally:
        keras.config.set_dtype_policy(policy)
