"""A causal decoder with cross-attention to a memory, made of KerasHub's blocks, and its incremental form.

The memory [B, M, E] is the feature map of an image. Each block is a BERT block with cross-attention in between, and
layer norms after each part: causal self-attention, cross-attention, feed-forward. Or the memory is a prefix: M vectors
before the token embeddings, and BERT blocks without cross-attention. The head is tied to the token embeddings.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.models.attention import Attention, transposed, visible_tokens


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
        max_sequence_length: Longest sequence, with the prefix.
        memory_dim: Width E of the memory; D when not given.
        prefix_length: Above 0, the memory is a prefix of so many vectors, and there is no cross-attention.
        num_segments: Rows of the segment table. A decoder uses the first only; BERT's table fits.
        dropout: Rate of dropout.
        activation: Of the feed-forward layers.
        layer_norm_epsilon: ε of the blocks' norms.
        head_transform: A dense layer and a norm before the tied head, as in BERT's masked-language-model head.
        head_activation: Activation of that dense layer.
        head_epsilon: ε of that norm.
        name: The model's name.

    Returns:
        {"token_ids" int [B, T], "padding_mask" int [B, T], "memory" [B, M, E]} → logits float32 [B, T, V].

    Raises:
        UserError: The heads do not divide the width, or a prefix has another width or leaves no positions for tokens.
    """
    import keras_hub

    if hidden_dim % num_heads:
        raise UserError(f"{num_heads} heads do not divide a width of {hidden_dim}")
    if prefix_length and memory_dim not in (None, hidden_dim):
        raise UserError(
            f"a prefix needs the width of the token embeddings, {hidden_dim}; memory_dim={memory_dim} does not fit"
        )
    if prefix_length >= max_sequence_length:
        raise UserError(f"a prefix of {prefix_length} leaves none of {max_sequence_length} positions for tokens")
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding = keras.Input((None,), dtype="int32", name="padding_mask")
    memory = keras.Input((prefix_length or None, memory_dim or hidden_dim), name="memory")
    tokens = keras.layers.ReversibleEmbedding(
        vocabulary_size, hidden_dim, embeddings_initializer=_initializer(), name="token_embedding"
    )
    x, mask = tokens(token_ids), padding
    if prefix_length:
        x = keras.layers.Concatenate(axis=1, name="prefix")([memory, x])
        always = keras.ops.cast(keras.ops.ones_like(memory[:, :, 0]), "int32")
        mask = keras.layers.Concatenate(axis=1, name="prefix_mask")([always, padding])
    positions = keras_hub.layers.PositionEmbedding(
        max_sequence_length, initializer=_initializer(), name="position_embedding"
    )
    segments = keras.layers.Embedding(num_segments, hidden_dim, _initializer(), name="segment_embedding")
    x = keras.layers.Add(name="embeddings_add")([x, positions(x), segments(keras.ops.zeros_like(mask))])
    x = keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, name="embeddings_layer_norm")(x)
    x = keras.layers.Dropout(dropout, name="embeddings_dropout")(x)
    for i in range(num_layers):
        block = keras_hub.layers.TransformerDecoder(
            intermediate_dim=intermediate_dim or 4 * hidden_dim,
            num_heads=num_heads,
            dropout=dropout,
            activation=activation,
            layer_norm_epsilon=layer_norm_epsilon,
            kernel_initializer=_initializer(),
            name=f"decoder_layer_{i}",
        )
        attended = () if prefix_length else (memory,)
        x = block(x, *attended, decoder_padding_mask=mask)
    if prefix_length:
        x = keras.layers.Cropping1D((prefix_length, 0), name="words_only")(x)
    if head_transform:
        x = keras.layers.Dense(
            hidden_dim, activation=head_activation, kernel_initializer=_initializer(), name="head_dense"
        )(x)
        x = keras.layers.LayerNormalization(epsilon=head_epsilon, name="head_norm")(x)
    logits = OutputBias(name="head_bias", dtype="float32")(tokens(x, reverse=True))
    return keras.Model({"token_ids": token_ids, "padding_mask": padding, "memory": memory}, logits, name=name)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)  # as in BERT


@keras.saving.register_keras_serializable("tfxfer")
class OutputBias(keras.layers.Layer):
    """Add a bias to logits [B, T, V]."""

    def build(self, input_shape: Any) -> None:
        """Make the bias [V]."""
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, logits: Any) -> Any:
        """Return logits with the bias."""
        return logits + self.bias


def prefix_length_of(decoder: keras.Model) -> int:
    """Return the length of a decoder's prefix; 0 for a decoder with cross-attention."""
    names = {layer.name for layer in decoder.layers}
    return decoder.get_layer("words_only").cropping[0] if "words_only" in names else 0


def max_text_length(decoder: keras.Model) -> int:
    """Return the number of positions that a decoder has for tokens, behind the prefix."""
    return decoder.get_layer("position_embedding").sequence_length - prefix_length_of(decoder)


def check_visual_input(decoder: keras.Model) -> None:
    """Raise `UserError` unless the memory is an input of a decoder: by cross-attention in every block, or as a prefix.

    A decoder without it can be trained, but its captions do not depend on the image.
    """
    blocks = decoder_blocks(decoder)
    without = [b.name for b in blocks if not any("cross_attention/" in v.path for v in b.variables)]
    if not blocks or (without and not prefix_length_of(decoder)):
        problem = f"'{without[0]}' has no cross-attention" if without else "it has no decoder blocks"
        raise UserError(
            f"{decoder.name} has no visual input: {problem}; make it with tfxfer.models.decoder.causal_decoder, or "
            "call each keras_hub TransformerDecoder on its tokens and the memory"
        )


def decoder_blocks(decoder: keras.Model) -> list[Any]:
    """Return the Transformer blocks of a decoder in order."""
    return [layer for layer in decoder.layers if type(layer).__name__ == "TransformerDecoder"]


def incremental_decoder(
    decoder: keras.Model, memory: Any, num_beams: int, max_length: int
) -> tuple[Callable[..., Any], Any, Any]:
    """Return a decoder as a step function for `tfxfer.generate`, its first cache, and its context.

    For searches with `in_place=True` and `vocabulary_first=True`. Keys and values of the memory are computed once an
    image; keys and values of tokens are written at their position and never moved. The step uses the weights as they
    are at this call; inside a `tf.function`, call it there.

    Args:
        decoder: A model of `causal_decoder`.
        memory: float [B, M, E].
        num_beams: Hypotheses K an image.
        max_length: Longest sequence L.

    Returns:
        The step, (tokens [B, K], position, cache, context, beam_indices [B, K, L]) → (logits [V, B, K], cache); the
        cache; and the context, the keys and values of the memory. `beam_indices` can be left out when K is 1.

    Raises:
        UserError: The decoder has no visual input, or fewer positions than L.
    """
    check_visual_input(decoder)
    prefix, most = prefix_length_of(decoder), max_text_length(decoder)
    if max_length > most:
        raise UserError(f"max_length {max_length}: {decoder.name} has {most} positions for words; give at most {most}")
    embeddings = _tensor(decoder.get_layer("token_embedding").embeddings)  # [V, D]
    positions = (
        _tensor(decoder.get_layer("position_embedding").position_embeddings)[prefix:]
        + _tensor(decoder.get_layer("segment_embedding").embeddings)[0]
    )
    norm = _norm(decoder.get_layer("embeddings_layer_norm"))
    blocks = [_Block(block) for block in decoder_blocks(decoder)]
    adapters = [_adapter(decoder, block.name) for block in decoder_blocks(decoder)]
    context = _prefix_context(decoder, blocks, memory) if prefix else [block.context(memory) for block in blocks]
    head, bias = _head(decoder), _tensor(decoder.get_layer("head_bias").bias)
    images, heads, depth = tf.shape(memory)[0], blocks[0].self_attention.heads, blocks[0].self_attention.depth
    keys = tf.zeros([images, heads, depth, max_length * num_beams])
    values = tf.zeros([images, heads, max_length * num_beams, depth])
    cache = [(keys, values) for _ in blocks]

    def step(tokens: Any, position: Any, cache: Any, context: Any, beam_indices: Any = None) -> tuple[Any, Any]:
        """Return logits [V, B, K] of the next token."""
        x = norm(tf.transpose(tf.gather(embeddings, tf.reshape(tokens, [-1])) + positions[position]))  # [D, B · K]
        visible = visible_tokens(position, beam_indices, num_beams, max_length)
        new_cache = []
        for block, adapter, block_cache, block_context in zip(blocks, adapters, cache, context):
            x, block_cache = block.step(x, position, block_cache, block_context, visible, num_beams)
            x = adapter(x)
            new_cache.append(block_cache)
        logits = tf.matmul(embeddings, head(x)) + bias[:, None]
        return tf.reshape(logits, [embeddings.shape[0], -1, num_beams]), new_cache

    return step, cache, context


class _Block:
    """One Transformer block of the decoder, for one token at a time."""

    def __init__(self, block: Any) -> None:
        w = {v.path.split(f"{block.name}/", 1)[1]: _tensor(v) for v in block.variables if "seed_gen" not in v.path}
        self.self_attention = Attention(_under("self_attention", w))
        has_cross = "cross_attention/query/kernel" in w
        self.cross_attention = Attention(_under("cross_attention", w)) if has_cross else None
        names = ("self_attention", "feedforward", *(["cross_attention"] if has_cross else []))
        self.projection = self.self_attention.projection("query", "key", "value")
        self.norms = {
            name: _layer_norm(w[f"{name}_layer_norm/gamma"], w[f"{name}_layer_norm/beta"], block.layer_norm_epsilon)
            for name in names
        }
        dense = (_under(f"feedforward_{part}_dense", w) for part in ("intermediate", "output"))
        self.inner, self.outer = (transposed(part["kernel"], part["bias"]) for part in dense)
        self.activation = block.activation

    def context(self, memory: Any) -> list[Any]:
        """Return keys [B, H, d, M] and values [B, H, M, d] of a memory [B, M, E]."""
        assert self.cross_attention is not None
        return _keys_and_values(self.cross_attention, memory)

    def step(self, x: Any, position: Any, cache: Any, context: Any, visible: Any, num_beams: int) -> tuple[Any, Any]:
        """Return the block's output [D, B · K] and its cache with the keys and values of this token."""
        attention, cross = self.self_attention, self.cross_attention
        queries, keys, values = attention.project(x, num_beams, self.projection, "rows", "columns", "rows")
        row = position * num_beams
        cache = (
            keras.ops.slice_update(cache[0], [0, 0, 0, row], keys),
            keras.ops.slice_update(cache[1], [0, 0, row, 0], values),
        )
        if cross is None:  # the prefix is before the tokens and visible to all
            keys, values = tf.concat([context[0], cache[0]], 3), tf.concat([context[1], cache[1]], 2)
            visible = tf.pad(visible, [[0, 0]] * 3 + [[tf.shape(context[1])[2], 0]], constant_values=True)
            x = self.norms["self_attention"](x + attention.attend(queries, keys, values, visible))
        else:
            x = self.norms["self_attention"](x + attention.attend_to_cache(queries, cache[0], cache[1], visible, row))
            (queries,) = cross.project(x, num_beams, cross.query, "rows")
            x = self.norms["cross_attention"](x + cross.attend(queries, context[0], context[1]))
        inner = self.activation(tf.matmul(self.inner[0], x) + self.inner[1])
        return self.norms["feedforward"](x + tf.matmul(self.outer[0], inner) + self.outer[1]), cache


def _keys_and_values(attention: Attention, x: Any) -> list[Any]:
    """Return keys [B, H, d, N] and values [B, H, N, d] of x [B, N, D]."""
    columns = tf.transpose(tf.reshape(x, [-1, x.shape[-1]]))
    return attention.project(columns, tf.shape(x)[1], attention.projection("key", "value"), "columns", "rows")


def _prefix_context(decoder: keras.Model, blocks: list[_Block], memory: Any) -> list[Any]:
    """Return the keys [B, H, d, P] and values [B, H, P, d] of a prefix in each block; the tokens do not change them."""
    count = memory.shape[1]
    table = _tensor(decoder.get_layer("position_embedding").position_embeddings)[:count]
    x = decoder.get_layer("embeddings_layer_norm")(
        memory + table + _tensor(decoder.get_layer("segment_embedding").embeddings)[0]
    )
    context = []
    for block, layer in zip(blocks, decoder_blocks(decoder)):
        context.append(_keys_and_values(block.self_attention, _tensor(x)))
        x = layer(x, training=False)
        adapter = adapter_of(decoder, layer.name)
        x = x if adapter is None else adapter(x)
    return context


def adapter_of(decoder: keras.Model, block: str) -> Any:
    """Return the adapter behind a block of a decoder; None where there is none."""
    return next((layer for layer in decoder.layers if layer.name == f"adapter_{block}"), None)


def _adapter(decoder: keras.Model, block: str) -> Callable[[Any], Any]:
    """Return what the adapter behind a block makes of [D, B · K], or the identity."""
    layer = adapter_of(decoder, block)
    if layer is None:
        return lambda x: x
    down, down_bias = transposed(_tensor(layer.down), _tensor(layer.down_bias))
    up, up_bias = transposed(_tensor(layer.up), _tensor(layer.up_bias))
    return lambda x: x + tf.matmul(up, keras.ops.gelu(tf.matmul(down, x) + down_bias)) + up_bias


def _head(decoder: keras.Model) -> Callable[[Any], Any]:
    """Return the dense layer and the norm before the tied head, or the identity."""
    names = {layer.name for layer in decoder.layers}
    if "head_dense" not in names:
        return lambda x: x
    dense, norm = decoder.get_layer("head_dense"), _norm(decoder.get_layer("head_norm"))
    kernel, bias = transposed(_tensor(dense.kernel), _tensor(dense.bias))
    return lambda x: norm(dense.activation(tf.matmul(kernel, x) + bias))


def _norm(layer: Any) -> Callable[[Any], Any]:
    return _layer_norm(_tensor(layer.gamma), _tensor(layer.beta), layer.epsilon)


def _layer_norm(gamma: Any, beta: Any, epsilon: float) -> Callable[[Any], Any]:
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
