"""A causal decoder that looks at a memory, made of KerasHub's blocks, and the same decoder one token at a time.

The memory [B, M, E] is a picture's grid. Each block is BERT's with cross-attention to it in between, norms after each
part: self-attention over the tokens so far, cross-attention, feed-forward. Or the memory is a prefix, M vectors that
stand before the words, and the blocks are BERT's own. The head is tied to the word embeddings.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.models.attention import Attention, own_tokens, upright


def causal_decoder(
    vocabulary_size: int,
    num_layers: int = 2,
    hidden_dim: int = 128,
    num_heads: int = 4,
    intermediate_dim: int | None = None,
    max_sequence_length: int = 64,
    memory_dim: int | None = None,
    *,
    prefix_length: int = 0,
    num_segments: int = 2,
    dropout: float = 0.1,
    activation: Any = "gelu",
    layer_norm_epsilon: float = 1e-12,
    head_transform: bool = True,
    head_activation: Any = "gelu",
    head_epsilon: float = 1e-12,
    name: str = "causal_decoder",
) -> keras.Model:
    """Return an untrained decoder as a functional model.

    Args:
        vocabulary_size: Number of word pieces V.
        num_layers: Blocks.
        hidden_dim: Width D.
        num_heads: Attention heads; must divide `hidden_dim`.
        intermediate_dim: Width of the feed-forward layers; 4 D when not given.
        max_sequence_length: Longest sequence, the prefix among it.
        memory_dim: Width E of the memory; D when not given.
        prefix_length: Above 0, the memory is a prefix of so many vectors, and there is no cross-attention.
        num_segments: Rows of the segment table, of which a decoder uses the first; kept so that BERT's fits.
        dropout: Rate of dropout.
        activation: Of the feed-forward layers.
        layer_norm_epsilon: ε of the blocks' norms.
        head_transform: A dense layer and a norm before the tied head, as BERT's masked-language head has them.
        head_activation: Activation of that dense layer.
        head_epsilon: ε of that norm.
        name: The model's name.

    Returns:
        {"token_ids" int [B, T], "padding_mask" int [B, T], "memory" [B, M, E]} → logits float32 [B, T, V].

    Raises:
        UserError: The heads do not divide the width, or a prefix is of another width or leaves no room for words.
    """
    import keras_hub

    if hidden_dim % num_heads:
        raise UserError(f"{num_heads} heads do not divide a width of {hidden_dim}")
    if prefix_length and memory_dim not in (None, hidden_dim):
        raise UserError(f"a prefix stands among words of width {hidden_dim}; memory_dim={memory_dim} does not fit")
    if prefix_length >= max_sequence_length:
        raise UserError(f"a prefix of {prefix_length} leaves none of {max_sequence_length} positions for words")
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding = keras.Input((None,), dtype="int32", name="padding_mask")
    memory = keras.Input((prefix_length or None, memory_dim or hidden_dim), name="memory")
    words = keras.layers.ReversibleEmbedding(
        vocabulary_size, hidden_dim, embeddings_initializer=_small(), name="token_embedding"
    )
    x, mask = words(token_ids), padding
    if prefix_length:
        x = keras.layers.Concatenate(axis=1, name="prefix")([memory, x])
        always = keras.ops.cast(keras.ops.ones_like(memory[:, :, 0]), "int32")
        mask = keras.layers.Concatenate(axis=1, name="prefix_mask")([always, padding])
    places = keras_hub.layers.PositionEmbedding(max_sequence_length, initializer=_small(), name="position_embedding")
    segments = keras.layers.Embedding(num_segments, hidden_dim, _small(), name="segment_embedding")
    x = keras.layers.Add(name="embeddings_add")([x, places(x), segments(keras.ops.zeros_like(mask))])
    x = keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, name="embeddings_layer_norm")(x)
    x = keras.layers.Dropout(dropout, name="embeddings_dropout")(x)
    for i in range(num_layers):
        block = keras_hub.layers.TransformerDecoder(
            intermediate_dim=intermediate_dim or 4 * hidden_dim,
            num_heads=num_heads,
            dropout=dropout,
            activation=activation,
            layer_norm_epsilon=layer_norm_epsilon,
            kernel_initializer=_small(),
            name=f"decoder_layer_{i}",
        )
        looked_at = () if prefix_length else (memory,)
        x = block(x, *looked_at, decoder_padding_mask=mask)
    if prefix_length:
        x = keras.layers.Cropping1D((prefix_length, 0), name="words_only")(x)
    if head_transform:
        x = keras.layers.Dense(hidden_dim, activation=head_activation, kernel_initializer=_small(), name="head_dense")(
            x
        )
        x = keras.layers.LayerNormalization(epsilon=head_epsilon, name="head_norm")(x)
    logits = OutputBias(name="head_bias", dtype="float32")(words(x, reverse=True))
    return keras.Model({"token_ids": token_ids, "padding_mask": padding, "memory": memory}, logits, name=name)


def _small() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)  # as BERT begins


@keras.saving.register_keras_serializable("tfxfer")
class OutputBias(keras.layers.Layer):
    """Add a bias to logits [B, T, V]."""

    def build(self, input_shape: Any) -> None:
        """Make the bias [V]."""
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, logits: Any) -> Any:
        """Return logits with the bias."""
        return logits + self.bias


def prefix_of(decoder: keras.Model) -> int:
    """Return how many vectors of the memory stand before the words; 0 for a decoder with cross-attention."""
    names = {layer.name for layer in decoder.layers}
    return decoder.get_layer("words_only").cropping[0] if "words_only" in names else 0


def room_of(decoder: keras.Model) -> int:
    """Return how many positions a decoder has for words."""
    return decoder.get_layer("position_embedding").sequence_length - prefix_of(decoder)


def check_looks(decoder: keras.Model) -> None:
    """Raise `UserError` unless a decoder sees its memory: by cross-attention in every block, or as a prefix.

    Without it a decoder trains without complaint and says the same of every picture.
    """
    blocks = blocks_of(decoder)
    blind = [b.name for b in blocks if not any("cross_attention/" in v.path for v in b.variables)]
    if not blocks or (blind and not prefix_of(decoder)):
        what = f"'{blind[0]}' has no cross-attention" if blind else "it has no decoder blocks"
        raise UserError(
            f"{decoder.name} cannot look at a picture: {what}; make it with tfxfer.models.decoder.causal_decoder, or "
            "call each keras_hub TransformerDecoder on its tokens and the memory"
        )


def blocks_of(decoder: keras.Model) -> list[Any]:
    """Return a decoder's blocks in order."""
    return [layer for layer in decoder.layers if type(layer).__name__ == "TransformerDecoder"]


def stepper(decoder: keras.Model, memory: Any, beams: int, length: int) -> tuple[Callable[..., Any], Any, Any]:
    """Return the decoder one token at a time, for `tfxfer.generate`, its first cache and `seen`.

    For searches with `in_place=True` and `words_first=True`. The memory's keys and values are made once a picture. The
    tokens' are written at their position and never moved. Weights are used as they are when this is called; inside a
    `tf.function` call it there.

    Args:
        decoder: A model of `causal_decoder`.
        memory: float [B, M, E].
        beams: Hypotheses K a picture.
        length: Longest sequence L.

    Returns:
        The step, (tokens [B, K], position, cache, seen, places [B, K, L]) → (logits [V, B, K], cache), the cache, and
        the keys and values of the memory, `seen`. With one hypothesis `places` can be left out.

    Raises:
        UserError: The decoder does not look at the memory, or has fewer positions than L.
    """
    check_looks(decoder)
    prefix, room = prefix_of(decoder), room_of(decoder)
    if length > room:
        raise UserError(f"max_length {length}: {decoder.name} has {room} positions for words; ask for at most so many")
    words = _tensor(decoder.get_layer("token_embedding").embeddings)  # [V, D]
    at = (
        _tensor(decoder.get_layer("position_embedding").position_embeddings)[prefix:]
        + _tensor(decoder.get_layer("segment_embedding").embeddings)[0]
    )
    first = _norm(decoder.get_layer("embeddings_layer_norm"))
    blocks = [_Block(block) for block in blocks_of(decoder)]
    seen = _prefix_seen(decoder, blocks, memory) if prefix else [block.memory(memory) for block in blocks]
    head, bias = _head(decoder), _tensor(decoder.get_layer("head_bias").bias)
    pictures, heads, depth = tf.shape(memory)[0], blocks[0].own.heads, blocks[0].own.depth
    keys = tf.zeros([pictures, heads, depth, length * beams])
    values = tf.zeros([pictures, heads, length * beams, depth])
    cache = [(keys, values) for _ in blocks]

    def step(tokens: Any, position: Any, cache: Any, seen: Any, places: Any = None) -> tuple[Any, Any]:
        """Return logits [V, B, K] of the next token."""
        x = first(tf.transpose(tf.gather(words, tf.reshape(tokens, [-1])) + at[position]))  # [D, B · K]
        visible = own_tokens(position, places, beams, length)
        new = []
        for block, kept, looked_at in zip(blocks, cache, seen):
            x, kept = block.step(x, position, kept, looked_at, visible, beams)
            new.append(kept)
        logits = tf.matmul(words, head(x)) + bias[:, None]
        return tf.reshape(logits, [words.shape[0], -1, beams]), new

    return step, cache, seen


class _Block:
    """One block of the decoder, for single steps."""

    def __init__(self, block: Any) -> None:
        w = {v.path.split(f"{block.name}/", 1)[1]: _tensor(v) for v in block.variables if "seed_gen" not in v.path}
        self.own = Attention(_under("self_attention", w))
        self.cross = Attention(_under("cross_attention", w)) if "cross_attention/query/kernel" in w else None
        names = ("self_attention", "feedforward", *(["cross_attention"] if self.cross else []))
        self.all_three = self.own.projection("query", "key", "value")
        self.norms = {
            name: _norm_of(w[f"{name}_layer_norm/gamma"], w[f"{name}_layer_norm/beta"], block.layer_norm_epsilon)
            for name in names
        }
        dense = (_under(f"feedforward_{part}_dense", w) for part in ("intermediate", "output"))
        self.inner, self.outer = (upright(part["kernel"], part["bias"]) for part in dense)
        self.activation = block.activation

    def memory(self, memory: Any) -> list[Any]:
        """Return keys [B, H, d, M] and values [B, H, M, d] of a memory [B, M, E]."""
        assert self.cross is not None
        return _keys_and_values(self.cross, memory)

    def step(self, x: Any, position: Any, kept: Any, seen: Any, visible: Any, beams: int) -> tuple[Any, Any]:
        """Return the block's output [D, B · K] and its cache with this token's keys and values."""
        queries, keys, values = self.own.project(x, beams, self.all_three, "rows", "upright", "rows")
        row = position * beams
        kept = (
            keras.ops.slice_update(kept[0], [0, 0, 0, row], keys),
            keras.ops.slice_update(kept[1], [0, 0, row, 0], values),
        )
        if self.cross is None:  # the prefix comes before the words and is seen by all
            keys, values = tf.concat([seen[0], kept[0]], 3), tf.concat([seen[1], kept[1]], 2)
            visible = tf.pad(visible, [[0, 0]] * 3 + [[tf.shape(seen[1])[2], 0]], constant_values=True)
            x = self.norms["self_attention"](x + self.own.look(queries, keys, values, visible))
        else:
            x = self.norms["self_attention"](x + self.own.look_back(queries, kept[0], kept[1], visible, row))
            (queries,) = self.cross.project(x, beams, self.cross.query, "rows")
            x = self.norms["cross_attention"](x + self.cross.look(queries, seen[0], seen[1]))
        inner = self.activation(tf.matmul(self.inner[0], x) + self.inner[1])
        return self.norms["feedforward"](x + tf.matmul(self.outer[0], inner) + self.outer[1]), kept


def _keys_and_values(attention: Attention, x: Any) -> list[Any]:
    """Return keys [B, H, d, N] and values [B, H, N, d] of x [B, N, D]."""
    columns = tf.transpose(tf.reshape(x, [-1, x.shape[-1]]))
    return attention.project(columns, tf.shape(x)[1], attention.projection("key", "value"), "upright", "rows")


def _prefix_seen(decoder: keras.Model, blocks: list[_Block], memory: Any) -> list[Any]:
    """Return the keys [B, H, d, P] and values [B, H, P, d] of a prefix in each block; it does not see the words."""
    count = memory.shape[1]
    table = _tensor(decoder.get_layer("position_embedding").position_embeddings)[:count]
    x = decoder.get_layer("embeddings_layer_norm")(
        memory + table + _tensor(decoder.get_layer("segment_embedding").embeddings)[0]
    )
    seen = []
    for block, layer in zip(blocks, blocks_of(decoder)):
        seen.append(_keys_and_values(block.own, _tensor(x)))
        x = layer(x, training=False)
    return seen


def _head(decoder: keras.Model) -> Callable[[Any], Any]:
    """Return the dense layer and the norm before the tied head, or what changes nothing."""
    names = {layer.name for layer in decoder.layers}
    if "head_dense" not in names:
        return lambda x: x
    dense, norm = decoder.get_layer("head_dense"), _norm(decoder.get_layer("head_norm"))
    kernel, bias = upright(_tensor(dense.kernel), _tensor(dense.bias))
    return lambda x: norm(dense.activation(tf.matmul(kernel, x) + bias))


def _norm(layer: Any) -> Callable[[Any], Any]:
    return _norm_of(_tensor(layer.gamma), _tensor(layer.beta), layer.epsilon)


def _norm_of(gamma: Any, beta: Any, epsilon: float) -> Callable[[Any], Any]:
    gamma, beta = gamma[:, None], beta[:, None]
    mean_of = tf.fill([1, gamma.shape[0]], 1 / gamma.shape[0])  # a product is the fastest mean of columns on a CPU

    def norm(x: Any) -> Any:
        centred = x - tf.matmul(mean_of, x)  # [D, N]
        variance = tf.matmul(mean_of, centred * centred)
        return centred * (tf.math.rsqrt(variance + epsilon) * gamma) + beta

    return norm


def _under(name: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {path.removeprefix(f"{name}/"): w for path, w in weights.items() if path.startswith(f"{name}/")}


def _tensor(variable: Any) -> Any:
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
