"""A decoder with cross-attention from a text encoder (Rothe et al. 2020): all is copied except cross-attention."""

from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.models.decoder import causal_decoder, check_visual_input, prefix_length_of
from tfxfer.transfer.bridges.patches import check_encoder
from tfxfer.transfer.structure.weight_map.planning import make_plan
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

CROSS_ATTENTION = ("fresh", "copied")
SMALL = {"initializer": "truncated_normal", "options": {"stddev": 0.02}}  # as BERT's kernels begin

BLOCK = (  # a block of KerasHub's encoder → of its decoder
    ("self_attention_layer/**", "self_attention/**"),
    ("self_attention_layer_norm/*", "self_attention_layer_norm/*"),
    ("feedforward_intermediate_dense/*", "feedforward_intermediate_dense/*"),
    ("feedforward_output_dense/*", "feedforward_output_dense/*"),
    ("feedforward_layer_norm/*", "feedforward_layer_norm/*"),
)
HEAD = (  # of the masked language model → of the decoder; the word embeddings are tied in both
    ("mlm_head/intermediate_dense/*", "head_dense/*"),
    ("mlm_head/intermediate_layer_norm/*", "head_norm/*"),
    ("mlm_head/output_bias", "head_bias/bias"),
)


def encoder_to_decoder(
    encoder: keras.Model,
    cross_attention: str = "fresh",
    memory_dim: int | None = None,
    *,
    target: keras.Model | None = None,
    prefix_length: int = 0,
    seed: int = 0,
) -> WeightMap:
    """Plan a causal decoder from a text encoder.

    Copied: word, position and segment embeddings, self-attention, feed-forward, norms, and the head of a masked
    language model. A BERT decoder needs a causal mask and visual input: the mask is new, the output is tied to the
    word embeddings, and cross-attention, which an encoder does not have, reads the memory.

    Args:
        encoder: A KerasHub BERT: a `BertBackbone`, or a `BertMaskedLM`, whose head is copied too. It is not changed.
        cross_attention: "fresh": initialised. "copied": from the self-attention of the same block, with its norm; for a
            memory of another width, keys and values are initialised.
        memory_dim: Width E of the memory; the encoder's own when not given.
        target: A decoder to fill, instead of a new one; `causal_decoder` makes one.
        prefix_length: Above 0, the memory is a prefix of so many vectors before the words, and the new decoder has no
            cross-attention.
        seed: Seed of new weights.

    Returns:
        The plan. Its target maps {"token_ids", "padding_mask", "memory" [B, M, E]} to logits [B, T, V].

    Raises:
        UserError: The encoder is of another kind, or the target has no cross-attention and no prefix.
    """
    if cross_attention not in CROSS_ATTENTION:
        raise UserError(f"cross_attention='{cross_attention}' is unknown; {suggest(cross_attention, CROSS_ATTENTION)}")
    backbone = getattr(encoder, "backbone", encoder)
    check_encoder(backbone)
    head = getattr(encoder, "masked_lm_head", None)
    if target is None:
        target = _like(backbone, head, memory_dim, prefix_length)
    check_visual_input(target)
    width = target.get_layer("embeddings_layer_norm").gamma.shape[0]
    same_width = target.input["memory"].shape[-1] == width
    how = None if prefix_length_of(target) else cross_attention
    return make_plan(encoder, target, _rules(head is not None, how, same_width, seed))


def _like(backbone: keras.Model, head: Any, memory_dim: int | None, prefix_length: int) -> keras.Model:
    """Return an untrained decoder of a backbone's sizes, activations and ε."""
    layers = {layer.name: layer for layer in backbone.layers}
    blocks = [layer for name, layer in layers.items() if name.startswith("transformer_layer_")]
    config = blocks[0].get_config()
    words, places = layers["token_embedding"].embeddings, layers["position_embedding"]
    extra = {"head_activation": head.intermediate_activation, "head_epsilon": head.layer_norm_epsilon} if head else {}
    return causal_decoder(
        vocabulary_size=words.shape[0],
        num_layers=len(blocks),
        hidden_dim=words.shape[1],
        num_heads=config["num_heads"],
        intermediate_dim=config["intermediate_dim"],
        max_sequence_length=places.sequence_length,
        memory_dim=memory_dim,
        prefix_length=prefix_length,
        num_segments=layers["segment_embedding"].input_dim,
        dropout=config["dropout"],
        activation=blocks[0].activation,
        layer_norm_epsilon=config["layer_norm_epsilon"],
        head_transform=head is not None,
        **extra,
    )


def _rules(has_head: bool, cross_attention: str | None, same_width: bool, seed: int) -> list[Any]:
    blocks = [(f"transformer_layer_*/{theirs}", f"decoder_layer_*/{ours}", "copy") for theirs, ours in BLOCK]
    fresh = ("fresh", {**SMALL, "seed": seed})
    cross: list[Any] = [
        (None, "decoder_layer_*/cross_attention/*/kernel", fresh),
        (None, "decoder_layer_*/cross_attention/*/bias", "zero"),
        (None, "decoder_layer_*/cross_attention_layer_norm/*", ("fresh", {"seed": seed})),
    ]
    if cross_attention is None:
        cross = []
    elif cross_attention == "copied":
        other = [(None, f"decoder_layer_*/cross_attention/{part}/kernel", fresh) for part in ("key", "value")]
        cross = [
            *([] if same_width else other),
            ("transformer_layer_*/self_attention_layer/**", "decoder_layer_*/cross_attention/**", "copy"),
            ("transformer_layer_*/self_attention_layer_norm/*", "decoder_layer_*/cross_attention_layer_norm/*", "copy"),
        ]
    head = [(*names, "copy") for names in HEAD] if has_head else [(None, "head_bias/bias", "zero")]
    return [*blocks, *cross, *head]
