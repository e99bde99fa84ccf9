"""The blocks of a language model as an image encoder, and back: attention and feed-forward layers change modality.

A transformer's blocks map tokens [B, T, D] to tokens [B, T, D] of any modality. Lu et al. 2021 (Frozen Pretrained
Transformers) apply the blocks of a language model to image patches with a new projection. Here this is a weight map:
its ledger lists which tensors are copied, new, or unused.
"""

from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.body import Body, classify
from tfxfer.transfer.bridges.patches import POOLING, check_encoder, read_tokens, through_body, train_inputs
from tfxfer.transfer.structure.weight_map.planning import make_plan
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

PROJECTION = ("fresh", {"initializer": "orthogonal", "options": {"gain": 1.41}})  # as Lu et al. initialise it
TABLE = ("fresh", {"initializer": "truncated_normal", "options": {"stddev": 0.02}})  # as BERT's embeddings begin

# ViT's names (KerasHub) → those of a text encoder made of `keras_hub.layers.TransformerEncoder`
VIT_BLOCK = (
    ("ln_1/*", "self_attention_layer_norm/*"),
    ("mha/**", "self_attention_layer/**"),
    ("ln_2/*", "feedforward_layer_norm/*"),
    ("mlp/dense_1/*", "feedforward_intermediate_dense/*"),
    ("mlp/dense_2/*", "feedforward_output_dense/*"),
)


def encoder_to_vision(
    encoder: keras.Model,
    image_shape: tuple[int, int, int],
    patch_size: int,
    num_classes: int | None = None,
    pooling: str | None = "mean",
    trainable: str = "fpt",
    white_paper: bool = False,
    seed: int = 0,
) -> WeightMap:
    """Plan a vision transformer with a text encoder's blocks.

    Copied: the embeddings' LayerNorm, the positions (interpolated where there are more patches than positions) and all
    blocks. New: the patch projection and the head. Unused: word and segment embeddings, the pooler.

    Args:
        encoder: A KerasHub text encoder such as `keras_hub.models.BertBackbone`, of width D; it is not changed.
        image_shape: Height, width and channels of the images, which are uint8 or float 0..255.
        patch_size: Side of a square patch in pixels; divides height and width.
        num_classes: Number of classes C of a new head; None for no head.
        pooling: How tokens become features: "mean", "first", "last", or "all" (concatenated, which
            keeps positions); None returns tokens, without a head.
        trainable: Trainable weights of the target: "none": only the head. "norms": and the body's LayerNorms. "fpt":
            and projection and positions. "all": everything.
        white_paper: The images are dark on white, like print: white becomes 0 and black 1, so that the background
            contributes nothing. Otherwise black is −1 and white 1.
        seed: Seed of new weights.

    Returns:
        The plan. Its target maps images [B, H, W, channels] to probabilities [B, C], features [B, D] or
        tokens [B, T, D].

    Raises:
        UserError: The patches do not tile the image, the encoder is of another kind, or an option is unknown.
    """
    if pooling is None and num_classes is not None:
        raise UserError(f"a head needs pooled tokens: give pooling={' or '.join(map(repr, POOLING))}")
    check_encoder(encoder)
    empty = keras.models.clone_model(encoder)
    options: dict[str, Any] = {"trainable": trainable, "seed": seed, "white_paper": white_paper}
    images, x = through_body(empty, image_shape, patch_size, stretch=True, **options)
    x = x if pooling is None else read_tokens(x, pooling)
    outputs = x if num_classes is None else classify(x, num_classes)
    target = train_inputs(keras.Model(images, outputs, name="vision_from_text"), trainable)
    length = (image_shape[0] // patch_size) * (image_shape[1] // patch_size)
    enough = _positions(encoder).sequence_length >= length
    rules: list[Any] = [
        ("position_embedding/embeddings", "positions/embeddings", "copy" if enough else "interpolate"),
        (None, "patches/kernel", _seeded(PROJECTION, seed)),
        (None, "patches/bias", "zero"),
    ]
    if num_classes is not None:
        rules += [(None, "classes/*", ("fresh", {"seed": seed}))]
    return make_plan(encoder, target, rules)


def vision_to_encoder(
    vision: keras.Model, vocabulary_size: int | None = None, *, like: keras.Model | None = None, seed: int = 0
) -> WeightMap:
    """Plan a text encoder with a vision transformer's blocks.

    Args:
        vision: A target of `encoder_to_vision`, or a `keras_hub.models.ViTBackbone`; it is not changed.
        vocabulary_size: Number of word pieces of the new word embeddings.
        like: A KerasHub BERT whose vocabulary size, segments and dropout the encoder gets; instead of
            `vocabulary_size`.
        seed: Seed of new weights.

    Returns:
        The plan. For a target of `encoder_to_vision`, its target is a `BertBackbone` with the same blocks, positions
        and norms. For a ViT, it is a functional model {"token_ids", "padding_mask"}, int [B, T] → tokens [B, T, D],
        whose blocks normalise first, like ViT's.

    Raises:
        UserError: The model is neither, or no vocabulary size is given.
    """
    size = vocabulary_size or (like.get_config()["vocabulary_size"] if like is not None else None)
    if not size or size < 1:
        raise UserError("a text encoder needs a vocabulary: give vocabulary_size, or like=BERT")
    # A preset's ViT stands behind the rescaling of its images.
    vision = next((layer for layer in vision.layers if type(layer).__name__ == "ViTBackbone"), vision)
    layers = {layer.name: layer for layer in vision.layers}
    if isinstance(layers.get("body"), Body) and "positions" in layers:
        return _to_bert(vision, layers, size, like, seed)
    if "vit_encoder" in layers and "vit_patching_and_embedding" in layers:
        return _from_vit(vision, layers["vit_encoder"].get_config(), size, seed)
    raise UserError(
        f"{vision.name}: a text encoder can be made from a target of encoder_to_vision or a KerasHub ViTBackbone; "
        "for a KerasHub task, give its .backbone"
    )


def _to_bert(vision: keras.Model, layers: dict[str, Any], size: int, like: Any, seed: int) -> WeightMap:
    """Plan a BERT with the blocks of a target of `encoder_to_vision`."""
    from tfxfer.models.hugging_face import BertBackbone, name_of_activation

    blocks = [one for one in layers["body"].model.layers if one.name.startswith("transformer_layer_")]
    block = blocks[0].get_config()
    given = like.get_config() if like is not None else {"num_segments": 2, "dropout": block["dropout"]}
    target = BertBackbone(
        hidden_act=name_of_activation(blocks[0].activation),
        layer_norm_eps=block["layer_norm_epsilon"],
        vocabulary_size=size,
        num_layers=len(blocks),
        num_heads=block["num_heads"],
        hidden_dim=layers["positions"].weights[0].shape[1],
        intermediate_dim=block["intermediate_dim"],
        dropout=given["dropout"],
        max_sequence_length=layers["positions"].sequence_length,
        num_segments=given["num_segments"],
    )
    rules = [
        ("positions/embeddings", "position_embedding/embeddings", "copy"),
        *((None, f"{name}_embedding/embeddings", _seeded(TABLE, seed)) for name in ("token", "segment")),
        (None, "pooled_dense/*", ("fresh", {"seed": seed})),
    ]
    return make_plan(vision, target, rules)


def _from_vit(vision: keras.Model, config: dict[str, Any], size: int, seed: int) -> WeightMap:
    """Plan a text encoder with padding masks and the blocks of a ViT."""
    import keras_hub

    table = "vit_patching_and_embedding/position_embedding/embeddings"
    length = next(v.shape[0] for v in vision.variables if v.path == table) - 1  # without the class token
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    padding = keras.Input((length,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(size, config["hidden_dim"], name="token_embedding")(token_ids)
    place = keras_hub.layers.PositionEmbedding(length, name="position_embedding")
    x = keras.layers.Add(name="embeddings")([x, place(x)])
    for i in range(config["num_layers"]):
        x = keras_hub.layers.TransformerEncoder(
            intermediate_dim=config["mlp_dim"],
            num_heads=config["num_heads"],
            dropout=config["dropout_rate"],
            activation="gelu",
            layer_norm_epsilon=config["layer_norm_epsilon"],
            normalize_first=True,
            name=f"transformer_layer_{i}",
        )(x, padding_mask=padding)
    x = keras.layers.LayerNormalization(epsilon=config["layer_norm_epsilon"], name="ln")(x)
    target = keras.Model({"token_ids": token_ids, "padding_mask": padding}, x, name="text_from_vision")
    blocks = [
        (f"vit_encoder/transformer_block_{{*+1}}/{theirs}", f"transformer_layer_*/{ours}", "copy")
        for theirs, ours in VIT_BLOCK
    ]
    rules = [
        *blocks,
        ("vit_encoder/ln/*", "ln/*", "copy"),
        (table, "position_embedding/embeddings", ("slice", {"axis": 0, "start": 1})),
        (None, "token_embedding/embeddings", _seeded(TABLE, seed)),
    ]
    return make_plan(vision, target, rules)


def _seeded(op: tuple[str, dict[str, Any]], seed: int) -> tuple[str, dict[str, Any]]:
    return op[0], op[1] | {"seed": seed}


def _positions(encoder: keras.Model) -> Any:
    return next(layer for layer in encoder.layers if layer.name == "position_embedding")
