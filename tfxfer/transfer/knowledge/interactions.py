"""h(X, Y): the term of K that is computed from both sides of a pair together.

The hidden units of all pairs together may not fit in memory, so the columns of K are computed in blocks. In training,
the hidden units of a block are computed again for the gradient instead of being kept (rematerialisation).
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfxfer.errors import UserError

ELEMENTS = 2**23  # hidden values of one block, 32 MiB in float32


def pooled(features: Any, mask: Any = None) -> Any:
    """Return features [B, D] as they are, and sequences [B, T, D] averaged over the tokens that `mask` keeps."""
    if len(features.shape) == 2:
        return features
    if mask is None:
        return ops.mean(features, axis=1)
    kept = ops.expand_dims(ops.cast(mask, features.dtype), -1)  # [B, T, 1]
    return ops.sum(features * kept, axis=1) / ops.maximum(ops.sum(kept, axis=1), 1)  # nothing but padding gives 0


def in_blocks(pair: Callable[..., Any], x: tuple[Any, ...], y: tuple[Any, ...], elements: Any) -> Any:
    """Return pair(x, y) [B, C], computed over blocks of Y.

    Args:
        pair: Function (x, y) -> [B, c] of all of X and c rows of Y, of these arguments alone.
        x: Tensors [B, …].
        y: Tensors [C, …].
        elements: Hidden values that `pair` needs for one row of Y.
    """
    count, rows = ops.shape(y[0])[0], ELEMENTS // ops.maximum(elements, 1)
    rows = ops.maximum(rows, 1)
    if isinstance(count, int) and isinstance(elements, int) and count * elements <= ELEMENTS:
        return pair(x, y)
    rows = ops.minimum(rows, ops.maximum(count, 1))
    blocks = (count + rows - 1) // rows
    parts = [_cut(one, count, blocks, rows) for one in y]
    k = ops.map(lambda block: keras.remat(pair)(x, block), tuple(parts))  # [blocks, B, rows]
    k = ops.reshape(ops.transpose(k, (1, 0, 2)), (ops.shape(x[0])[0], blocks * rows))
    return k[:, :count]


def _cut(y: Any, count: Any, blocks: Any, rows: Any) -> Any:
    """Return [blocks, rows, …] of y [C, …], filled up with zeros."""
    rest = ops.zeros((blocks * rows - count, *ops.shape(y)[1:]), y.dtype)
    return ops.reshape(ops.concatenate([y, rest]), (blocks, rows, *ops.shape(y)[1:]))


@keras.saving.register_keras_serializable("tfxfer")
class PairNetwork(keras.layers.Layer):
    """h(x, y) = v·relu(A·x + B·y + b): a network of one hidden layer over each pair.

    The hidden layer of a pair is a sum, so A·x and B·y are computed once for each row and not for each pair.

    Args:
        hidden: Hidden units.
    """

    def __init__(self, hidden: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden
        self.from_x = keras.layers.Dense(hidden, use_bias=False, name="from_x")
        self.from_y = keras.layers.Dense(hidden, name="from_y")

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        self.from_x.build((None, x_shape[-1]))
        self.from_y.build((None, y_shape[-1]))
        self.v = self.add_weight((self.hidden,), keras.initializers.RandomNormal(stddev=self.hidden**-0.5), name="v")

    def call(self, x: Any, y: Any, x_mask: Any = None, y_mask: Any = None) -> Any:
        """Return h [B, C] of X [B, …, Dx] and Y [C, …, Dy]; sequences are averaged."""
        hidden_x = self.from_x(pooled(x, x_mask))  # [B, H]
        hidden_y = self.from_y(pooled(y, y_mask))  # [C, H]
        v = ops.convert_to_tensor(self.v)

        def pair(x: tuple[Any, ...], y: tuple[Any, ...]) -> Any:
            return ops.matmul(ops.relu(x[0][:, None] + y[0][None]), x[1])  # [B, c, H] -> [B, c]

        return in_blocks(pair, (hidden_x, v), (hidden_y,), ops.shape(x)[0] * self.hidden)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden}


@keras.saving.register_keras_serializable("tfxfer")
class PairAttention(keras.layers.Layer):
    """h(x, y) by cross-attention from the tokens of y to those of x: v·(mean over y's tokens of relu(W·y + context)).

    The context of a token is softmax(q·k/√d)·values, as in Vaswani et al. 2017. Rows without tokens, [B, D], are
    sequences of one: attention then has one token to choose from, and h is as "mlp".

    Args:
        hidden: Width of the attention and of the hidden layer.
        heads: Attention heads; divides `hidden`.
    """

    def __init__(self, hidden: int = 128, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if hidden % heads:
            raise UserError(f"{heads} attention heads do not divide a width of {hidden}")
        self.hidden, self.heads = hidden, heads
        each = (None, heads, hidden // heads)
        self.query, self.key, self.value = (
            keras.layers.EinsumDense("btd,dhe->bthe", each, name=name) for name in ("query", "key", "value")
        )
        self.own = keras.layers.Dense(hidden, name="own")
        for layer in (self.query, self.key, self.value):
            layer.supports_masking = True  # their masks are applied in `call`

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        for layer, shape in ((self.query, y_shape), (self.key, x_shape), (self.value, x_shape)):
            layer.build((None, None, shape[-1]))
        self.own.build((None, None, y_shape[-1]))
        start = keras.initializers.RandomNormal(stddev=self.hidden**-0.5)
        self.mix = self.add_weight((self.heads, self.hidden // self.heads, self.hidden), "glorot_uniform", name="mix")
        self.v = self.add_weight((self.hidden,), start, name="v")

    def call(self, x: Any, y: Any, x_mask: Any = None, y_mask: Any = None) -> Any:
        """Return h [B, C] of X [B, T, Dx] or [B, Dx], and Y [C, U, Dy] or [C, Dy]."""
        x, x_mask = _sequence(x, x_mask)
        y, y_mask = _sequence(y, y_mask)
        size = (self.hidden // self.heads) ** -0.5
        values = ops.einsum("bthe,hem->bthm", self.value(x), ops.convert_to_tensor(self.mix))  # [B, T, heads, H]
        x_side = (self.key(x) * size, values, x_mask, ops.convert_to_tensor(self.v))
        y_side = (self.query(y), self.own(y), y_mask)
        tokens, places = ops.shape(y)[1], ops.shape(x)[1]
        elements = ops.shape(x)[0] * tokens * (self.hidden + self.heads * places)
        return in_blocks(_attend, x_side, y_side, elements)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden, "heads": self.heads}


def _attend(x: tuple[Any, ...], y: tuple[Any, ...]) -> Any:
    """Return [B, c] of X's keys, values and mask, and c rows of Y's queries, own features and mask."""
    keys, values, x_mask, v = x
    queries, own, y_mask = y
    scores = ops.einsum("cuhe,bthe->bcuht", queries, keys)
    x_mask = x_mask[:, None, None, None]
    scores = ops.cast(scores, "float32") + 1e9 * (x_mask - 1)
    powers = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True)) * x_mask
    weights = powers / ops.maximum(ops.sum(powers, axis=-1, keepdims=True), 1e-9)  # nothing but padding: all 0
    context = ops.einsum("bcuht,bthm->bcum", ops.cast(weights, values.dtype), values)
    hidden = ops.relu(own[None] + context)  # [B, c, U, H]
    each = ops.matmul(hidden, v) * ops.cast(y_mask, hidden.dtype)[None]  # [B, c, U]
    return ops.sum(each, -1) / ops.maximum(ops.sum(ops.cast(y_mask, each.dtype), -1), 1)[None]


def _sequence(features: Any, mask: Any) -> tuple[Any, Any]:
    """Return [B, T, D] and its mask float32 [B, T]; a row [B, D] is one token."""
    if len(features.shape) == 2:
        features, mask = features[:, None], None
    if mask is None:
        mask = ops.ones(ops.shape(features)[:2], "float32")
    return features, ops.cast(mask, "float32")


INTERACTIONS: dict[str, type[keras.layers.Layer]] = {"mlp": PairNetwork, "cross_attention": PairAttention}
